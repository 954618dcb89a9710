"""What every engine checks before it runs: each mistake is named, with its value and the fix."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from spiketwin.models import Network, PoissonSource, Population, Projection, SpecError, Spikes, SpikeSource, UnitError, get_engine, neuron
from spiketwin.models.engines import ENGINES, UnstableError, UnsupportedError
from spiketwin.models.engines.base import delay_steps, prepare, refractory_steps

LIF = Population("a", neuron("cuba_lif"), 3)
BARE = Network((LIF,))
DRIVEN = Network((LIF,), (Projection("s", "a", np.ones((3, 2)), "i_syn", "nA"),), (SpikeSource("s", 2),))


def spikes(steps=10, trials=1, size=2, dt_ms=1.0) -> Spikes:
    return Spikes([0], [0], [0], (steps, trials, size), dt_ms)


@pytest.mark.parametrize(
    ("network", "arguments", "message"),
    [
        (BARE, dict(dt_ms=0.0, duration_ms=10.0), "dt_ms = 0.0 must be positive"),
        (BARE, dict(dt_ms=1.0), "give duration_ms"),
        (BARE, dict(dt_ms=1.0, duration_ms=0.2), "0 steps"),
        (BARE, dict(dt_ms=1.0, inputs={"a.i_ext": np.full(5, np.nan)}), "'a.i_ext' holds NaN"),
        (BARE, dict(dt_ms=1.0, inputs={"a.i_exr": np.zeros(5)}), "Did you mean 'a.i_ext'"),
        (BARE, dict(dt_ms=1.0, inputs={"a.i_ext": np.zeros((5, 7))}), r"has shape \(5, 7\)"),
        (BARE, dict(dt_ms=1.0, duration_ms=9.0, inputs={"a.i_ext": np.zeros(5)}), "has 5 steps, but the run has 9"),
        (BARE, dict(dt_ms=1.0, duration_ms=5.0, record={"a": ("w",)}), "unknown state to record 'w'"),
        (BARE, dict(dt_ms=1.0, duration_ms=5.0, noise={"a.xi": np.zeros((5, 1, 3))}), "unknown noise"),
        (DRIVEN, dict(dt_ms=1.0, duration_ms=5.0), "no spikes given for source 's'"),
        (DRIVEN, dict(dt_ms=1.0, inputs={"s": spikes(size=4)}), "the run needs"),
        (DRIVEN, dict(dt_ms=0.5, inputs={"s": spikes(dt_ms=1.0)}), "on a grid of 1.0 ms"),
        (DRIVEN, dict(dt_ms=1.0, inputs={"s": np.zeros((10, 1, 2))}), "pass Spikes"),
        (DRIVEN, dict(dt_ms=1.0, inputs={"s": Spikes([], [], [], (10, 0, 2), 1.0)}), "input 's' has no trials"),
        (BARE, dict(dt_ms=1.0, duration_ms=5.0, trials=0), "trials = 0 must be at least 1"),
    ],
)
def test_a_mistake_is_named(network, arguments, message):
    with pytest.raises(ValueError, match=message):
        prepare(network, arguments.pop("inputs", None), scheme="exact", **arguments)


def test_a_module_is_not_given_a_batch_of_none():
    import torch

    from spiketwin.models.engines.torch import TorchNetwork

    module = TorchNetwork(DRIVEN, dt_ms=1.0)
    for nothing in (Spikes([], [], [], (10, 0, 2), 1.0), torch.zeros(10, 0, 2)):
        with pytest.raises(ValueError, match="input 's' has no trials"):
            module({"s": nothing})


@pytest.mark.parametrize("engine", ["brian", "torch", "compiled"])
def test_a_step_too_large_for_the_scheme_says_what_is_stable(engine):
    # Euler of tau_syn = 5 ms is stable below 10 ms
    with pytest.raises(UnstableError, match="stable below 10 ms"):
        get_engine(engine).run(BARE, dt_ms=11.0, scheme="euler", duration_ms=50.0)
    # the same step is fine for exact
    get_engine(engine).run(BARE, dt_ms=11.0, scheme="exact", duration_ms=50.0)


def test_a_step_at_which_a_nonlinear_model_diverges_is_an_error():
    hh = Network((Population("h", neuron("hh_neuron"), 1, drives={"i_ext": "10 uA/cm**2"}),))
    with pytest.raises(UnstableError, match="use a smaller dt"):
        get_engine("compiled").run(hh, dt_ms=0.1, scheme="euler", duration_ms=100.0)


@pytest.mark.parametrize("engine", ["brian", "torch", "compiled"])
def test_a_scheme_that_cannot_integrate_the_model_is_refused_with_what_can(engine):
    network = Network((Population("x", neuron("adex"), 1),))
    assert "use rk4" in get_engine(engine).unsupported(network, "exact")[0]
    with pytest.raises(UnsupportedError, match="use rk4"):
        get_engine(engine).run(network, dt_ms=0.1, scheme="exact", duration_ms=5.0)


def test_an_unknown_engine_is_named():
    with pytest.raises(ValueError, match="Did you mean 'brian'"):
        get_engine("brain")
    assert set(ENGINES) == {"brian", "torch", "compiled", "scipy"}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Projection("a", "a", np.full((3, 3), np.nan), "i_syn"), ValueError, "NaN or infinite"),
        (lambda: Network((LIF,), (Projection("a", "a", np.ones((3, 3)), "i_sin"),)), SpecError, "Did you mean 'i_syn'"),
        (lambda: Network((LIF,), (Projection("a", "a", np.ones((3, 3)), "i_syn", "mV"),)), UnitError, "are in mV"),
        (lambda: Network((LIF,), (Projection("a", "a", np.ones((2, 3)), "i_syn"),)), ValueError, r"\[N_post, N_pre\] is \(3, 3\)"),
        (lambda: Network((LIF,), (Projection("a", "a", np.ones((3, 3)), "i_syn", delay_ms=-1.0),)), ValueError, "not negative"),
        (lambda: Population("a", neuron("cuba_lif"), 0), ValueError, "at least 1"),
        (lambda: Population("a", neuron("cuba_lif"), 2, {"tau_mem": [1, 2, 3]}), ValueError, "one per neuron"),
        (lambda: Population("a", neuron("cuba_lif"), 2, {"tau_mem": "-3 ms"}), SpecError, "outside"),
        (lambda: PoissonSource("p", 2, -1.0), ValueError, "not negative"),
        (
            lambda: Network((Population("r", neuron("leaky_readout"), 2),), (Projection("r", "r", np.ones((2, 2)), "i_syn"),)),
            ValueError,
            "never spikes",
        ),
    ],
)
def test_a_network_that_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_delays_and_refractory_periods_round_as_in_brian2():
    assert delay_steps([0.0, 0.24, 0.25, 0.5, 1.0], 0.5).tolist() == [0, 0, 1, 1, 2]
    assert refractory_steps(Population("a", neuron("cuba_lif"), 1, {"tau_ref": "2 ms"}), 0.1).tolist() == [20]


def test_stored_zeros_of_sparse_delays_are_delays():
    weights = scipy.sparse.csr_array(np.array([[0.0, 2.0], [3.0, 0.0]]))
    delays = weights.copy()
    delays.data = np.array([0.0, 1.5])
    pre, post, weight, delay = Projection("a", "a", weights, "i_syn", delay_ms=delays).synapses()
    assert list(zip(pre, post, weight, delay, strict=True)) == [(0, 1, 3.0, 1.5), (1, 0, 2.0, 0.0)]
