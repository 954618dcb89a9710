"""A run in pieces, each from the state the one before left, equals the run in one: on every path, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fused_cases as cases
from spiketwin.experiments.training import detached
from spiketwin.models import Network, Population, Projection, Spikes, SpikeSource
from spiketwin.models.engines.torch import TorchNetwork
from spiketwin.models.engines.torch.kernels import fused
from spiketwin.models.engines.torch.state import NetworkState, PopulationState
from spiketwin.models.neurons import neuron
from spiketwin.rules.surrogate import fast_sigmoid

DOUBLE = torch.float64
B = 2
# delta, current and conductance synapses, tau_ref that gates or silences, a condition instead, noise, random thresholds
MODELS = (
    "lif",
    "lif_delta",
    "coba_lif",
    "alpha_lif",
    "adaptive_lif",
    "izhikevich",
    "diehl_cook_exc",
    "escape_lif",
    "noisy_lif",
    "hh_neuron",
)


def module_of(name: str, kernels: str, **how) -> TorchNetwork:
    scheme = [scheme for model, scheme in cases.MODELS_AND_SCHEMES if model == name][-1]
    how = {"scheme": scheme, "surrogate": fast_sigmoid(5.0), "dt_ms": cases.dt_ms(name), "dtype": DOUBLE} | how
    return TorchNetwork(cases.network(name), kernels=kernels, **how)


def inputs_of(name: str, T: int) -> tuple[Spikes, dict]:
    rng, spec = np.random.default_rng(0), neuron(name)
    spikes = Spikes.from_dense(rng.random((T, B, cases.IN)) < 0.15, dt_ms=cases.dt_ms(name))
    noise = {f"{p}.xi": torch.from_numpy(rng.standard_normal((T, B, cases.SIZE))) for p in ("first", "second") if spec.is_noisy}
    noise |= {f"{p}.rand": torch.from_numpy(rng.random((T, B, cases.SIZE))) for p in ("first", "second") if spec.has_random_threshold}
    return spikes, noise


def pieces(module: TorchNetwork, spikes: Spikes, noise, cuts, cut=lambda state: state):
    """The activities of runs from cut to cut. cut: what is done to a state on its way."""
    state, found = None, []
    for a, b in zip(cuts, cuts[1:]):
        record = {p.name: p.neuron.states for p in module.network.populations}
        run = module({"input": spikes.during(a, b)}, start=state, noise={n: x[a:b] for n, x in noise.items()}, record=record)
        found.append(run)
        state = cut(run.state)
    return found


def assert_same(whole, parts) -> None:
    for name, fired in whole.spikes.items():
        assert torch.equal(torch.cat([run.spikes[name] for run in parts]), fired)
        for s in whole.states[name]:
            assert torch.equal(torch.cat([run.states[name][s] for run in parts]), whole.states[name][s]), (name, s)
            assert torch.equal(parts[-1].final[name][s], whole.final[name][s])


@pytest.mark.parametrize("kernels", ["torch", "fused"])
@pytest.mark.parametrize("name", MODELS)
def test_pieces_equal_the_whole(name, kernels, monkeypatch):
    """Synaptic states, refractory periods (tau_ref and conditions), recurrent, forward and input spikes in delays of 0 … 6 steps."""
    monkeypatch.setattr(fused, "_kernel", cases.interpreted)
    T, module = cases.steps(name), module_of(name, kernels)
    spikes, noise = inputs_of(name, T)
    (whole,) = pieces(module, spikes, noise, [0, T])
    if neuron(name).threshold:
        assert whole.spikes["first"].sum() > 3 and whole.spikes["second"].sum() > 3
    # pieces shorter than the delays, and of one step, too
    assert_same(whole, pieces(module, spikes, noise, [0, 1, 3, 17, 18, 19, 20, 24, T], cut=detached))


ORDERS = [
    ("receive", "count_down", "integrate", "threshold", "reset"),
    ("count_down", "integrate", "reset", "threshold", "receive"),
    ("integrate", "receive", "threshold", "reset", "count_down"),
]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ["cuba_lif", "lif_delta", "hh_neuron"])
def test_orders_in_which_a_spike_acts_in_the_next_step(name, order):
    T, module = cases.steps(name), module_of(name, "torch", order=order, scheme="euler", detach_reset=False)
    spikes, noise = inputs_of(name, T)
    (whole,) = pieces(module, spikes, noise, [0, T])
    assert whole.spikes["first"].sum() > 0
    assert_same(whole, pieces(module, spikes, noise, [0, 1, 7, 8, 9, 20, T]))


SCALE = {"v": 1e-3, "i_syn": 1e-10}


def losses(runs) -> list[torch.Tensor]:
    """A loss for each piece: every spike and state with a weight that grows with its step."""
    found, n = [], 0
    for run in runs:
        total = torch.zeros((), dtype=DOUBLE)
        for name, fired in run.spikes.items():
            mix = (
                torch.linspace(0.2, 1, B * cases.SIZE, dtype=DOUBLE).reshape(B, -1) * torch.arange(n + 1, n + 1 + len(fired))[:, None, None]
            )
            total = total + (fired * mix).sum() + sum((x / SCALE[s] * mix).sum() for s, x in run.states[name].items())
        found.append(total)
        n += len(fired)
    return found


CUTS = [0, 13, 14, 30, 50]


def gradients(kernels: str, cut, cuts=CUTS, **how):
    """Summed over the pieces."""
    module = module_of("cuba_lif", kernels, trainable_parameters={"first": ("tau_mem", "tau_syn", "v_threshold")}, **how)
    spikes, noise = inputs_of("cuba_lif", CUTS[-1])
    runs = pieces(module, spikes, noise, cuts, cut)
    names, parameters = zip(*module.named_parameters())
    return dict(zip(names, torch.autograd.grad(sum(losses(runs)), parameters))), runs


def test_with_states_that_pass_gradients_pieces_have_the_gradient_of_the_whole():
    wanted, _ = gradients("torch", cut=detached, cuts=[0, CUTS[-1]])
    found, _ = gradients("torch", cut=lambda state: state)
    cut, _ = gradients("torch", cut=detached)
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-10, atol=1e-12 * float(wanted[name].abs().max()))
        assert not torch.allclose(cut[name], wanted[name], rtol=1e-3)


@pytest.mark.parametrize("how", [{}, {"checkpoint_steps": 5}, {"detach_reset": False}])
def test_the_gradient_of_a_piece_is_that_of_the_derived_step(how, monkeypatch):
    """Also that of weights whose spikes were fired in the piece before."""
    monkeypatch.setattr(fused, "_kernel", cases.interpreted)
    (wanted, one), (found, other) = (gradients(kernels, detached, **how) for kernels in ("torch", "fused"))
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.spikes["first"], b.spikes["first"])
    assert all(gradient.any() for gradient in wanted.values())
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-10, atol=1e-12 * float(wanted[name].abs().max()))


def test_spikes_on_their_way_that_ask_for_a_gradient_have_no_kernel():
    module = module_of("cuba_lif", "auto")
    spikes, noise = inputs_of("cuba_lif", 20)
    (run,) = pieces(module_of("cuba_lif", "torch"), spikes, noise, [0, 20])
    assert module.plan()["first"].path == module.plan(detached(run.state))["first"].path == "fused kernel 1"
    row = module.plan(run.state)["first"]
    assert row.path == "step by step in torch" and "detach its state" in row.why


def test_machine_code_goes_on_too():
    """A recurrent population that fires enough for products and for events, with delays; the sums are formed alike."""
    rng = np.random.default_rng(0)
    n, trials, T = 24, 9, 40
    network = Network(
        [Population("a", neuron("cuba_lif"), n, {"tau_ref": 3.0})],
        [
            Projection("in", "a", rng.normal(0.4, 1, (n, 16)), "i_syn", "nA", delay_ms=2.0, name="in_a"),
            Projection("a", "a", rng.normal(0.1, 0.3, (n, n)), "i_syn", "nA", delay_ms=rng.integers(0, 4, (n, n)), name="a_a"),
        ],
        [SpikeSource("in", 16)],
    )
    module = TorchNetwork(network, dt_ms=1.0, kernels="fused")
    spikes = Spikes.from_dense(rng.random((T, trials, 16)) < np.where(np.arange(T) % 20 < 10, 0.02, 0.15)[:, None, None], dt_ms=1.0)

    def run(a, b, start=None):
        return module({"in": spikes.during(a, b)}, start=start, record={"a": ("v", "i_syn")})

    with torch.no_grad():
        whole, parts, state = run(0, T), [], None
        for a, b in zip([0, 3, 17, 31], [3, 17, 31, T]):
            parts.append(run(a, b, state))
            state = parts[-1].state
    rate = whole.spikes["a"].mean((1, 2))
    assert (rate > 0.2).any() and ((rate > 0) & (rate < 0.2)).any()
    assert_same(whole, parts)


def test_a_start_by_hand():
    """tau_mem dv/dt = -v from v = 10 mV above rest: after n steps 10 exp(-n dt/tau_mem); a neuron that has to wait for 3 steps is held."""
    spec = neuron("lif")
    module = TorchNetwork(Network([Population("cells", spec, 2, {"tau_mem": 20.0, "tau_ref": 5.0})]), dt_ms=1.0, dtype=DOUBLE)
    rest = module.populations["cells"].values()["v_rest"]
    v = (rest + 0.01).expand(1, 2)
    wait = torch.tensor([[0, 3]], dtype=torch.int32)
    run = module(start=NetworkState({"cells": PopulationState({"v": v}, wait)}), steps=8)
    expected = rest + 0.01 * torch.exp(-torch.tensor([[8.0, 5.0]], dtype=DOUBLE) / 20)
    torch.testing.assert_close(run.final["cells"]["v"], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "start, message",
    [
        (NetworkState({"strange": PopulationState()}), "unknown population 'strange'"),
        (NetworkState({"first": PopulationState({"u": torch.zeros(B, cases.SIZE)})}), "unknown state 'u'"),
        (NetworkState({"first": PopulationState({"v": torch.zeros(B + 1, cases.SIZE, dtype=DOUBLE)})}), "of the same trials"),
        (NetworkState({"first": PopulationState({"v": torch.full((B, cases.SIZE), torch.nan, dtype=DOUBLE)})}), "NaN"),
        (NetworkState(spikes={"nobody": torch.zeros(1, B, 3)}), "unknown source or population 'nobody'"),
    ],
)
def test_a_start_that_does_not_fit_is_named(start, message):
    spikes, _ = inputs_of("cuba_lif", 5)
    with pytest.raises(ValueError, match=message):
        module_of("cuba_lif", "torch")({"input": spikes}, start=start)
