"""Training kernels against the derived step in torch: every model, scheme, reset and surrogate.

Here the generated source runs as plain Python, so that all of it can be run in a minute; test_fused_compiled.py
compiles some of it.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fused_cases as cases
from spiketwin.models import Network, Population, Projection, Spikes, SpikeSource
from spiketwin.models.discretisation.program import program, unsupported_order
from spiketwin.models.engines.torch import TorchNetwork
from spiketwin.models.engines.torch.kernels import fused
from spiketwin.models.neurons import NEURONS, neuron
from spiketwin.rules.surrogate import SURROGATES, fast_sigmoid, surrogate

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")


@pytest.fixture(autouse=True)
def plain_python(monkeypatch):
    monkeypatch.setattr(fused, "_kernel", cases.interpreted)


def make(name: str):
    """A surrogate, gentle enough that a voltage in the last digit does not show in its slope."""
    return SURROGATES[name](scale=5.0) if name in ("fast_sigmoid", "sigmoid") else SURROGATES[name]()


@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("name, scheme", cases.MODELS_AND_SCHEMES)
def test_a_kernel_does_what_the_derived_step_does(name, scheme, detach_reset):
    net = cases.network(name)
    for surrogate_name in SURROGATES:
        same = dict(scheme=scheme, detach_reset=detach_reset, surrogate=make(surrogate_name))
        one, other = (cases.outcome(net, name, kernels, **same) for kernels in ("torch", "fused"))
        if neuron(name).threshold:
            assert one[0].spikes["first"].sum() > 3 and one[0].spikes["second"].sum() > 3, "the neurons must fire"
        for cells in ("first", "second"):
            assert torch.equal(one[0].spikes[cells], other[0].spikes[cells])
        states, gradients = cases.differences(one, other)
        # 1e-12, twice that for the eighty exponentials of each step of a Runge-Kutta Hodgkin-Huxley neuron; where every slope is
        # 1, gradients grow on each round through the recurrent weights, and those of shared parameters are differences of large sums,
        # as with these two slopes that of theta_offset is: it raises theta at the start and lowers the threshold, 104 - 104 = .06
        cancels = name == "diehl_cook_exc" and surrogate_name in ("exponential", "slayer")
        bound = 1e-11 if surrogate_name == "straight_through" or cancels else 2e-12
        assert states < 2e-12 and gradients < bound, surrogate_name
        if not neuron(name).threshold:
            break


@pytest.mark.parametrize("name", NEURONS)
def test_single_precision_to_1e_5(name):
    scheme = next(scheme for model, scheme in cases.MODELS_AND_SCHEMES if model == name)
    net = cases.network(name, recurrent=False)
    same = dict(scheme=scheme, surrogate=make("sigmoid"), dtype=torch.float32, T=12)
    one, other = (cases.outcome(net, name, kernels, **same) for kernels in ("torch", "fused"))
    assert all(torch.equal(one[0].spikes[p], other[0].spikes[p]) for p in one[0].spikes)
    assert max(cases.differences(one, other)) < 1e-5


@pytest.mark.parametrize("name, scheme", cases.MODELS_AND_SCHEMES)
def test_single_precision_over_whole_trajectories(name, scheme):
    """To 1e-5, or to ten times what single precision itself costs the derived step, where its equations magnify rounding."""
    net = cases.network(name, recurrent=False)
    same = dict(scheme=scheme, surrogate=make("sigmoid"))
    one, other = (cases.outcome(net, name, kernels, dtype=torch.float32, **same) for kernels in ("torch", "fused"))
    assert all(torch.equal(one[0].spikes[p], other[0].spikes[p]) for p in one[0].spikes)
    assert bool(sum(s.sum() for s in one[0].spikes.values()) > 5) == bool(neuron(name).threshold)
    exact = cases.outcome(net, name, "torch", dtype=torch.float64, **same)
    for found, rounded in zip(cases.differences(one, other), cases.differences(exact, one)):
        assert found < max(1e-5, 10 * rounded)


ORDERS = [
    ("count_down", "integrate", "threshold", "receive", "reset"),
    ("receive", "count_down", "integrate", "threshold", "reset"),
    ("threshold", "integrate", "receive", "reset"),
    ("count_down", "integrate", "threshold", "reset", "receive"),
    ("count_down", "threshold", "receive", "integrate", "reset"),
]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ["cuba_lif", "lif_delta", "adaptive_lif", "hh_neuron"])
def test_any_order_of_events(name, order):
    spec = neuron(name)
    if reason := unsupported_order(spec, order):
        with pytest.raises(ValueError, match="no kernel for first"):
            cases.outcome(cases.network(name), name, "fused", scheme="euler", order=order, surrogate=make("arctan"))
        assert cases.outcome(cases.network(name), name, "auto", scheme="euler", order=order, surrogate=make("arctan"), T=5), reason
        return
    same = dict(scheme="euler", order=order, surrogate=make("arctan"), detach_reset=False)
    one, other = (cases.outcome(cases.network(name), name, kernels, **same) for kernels in ("torch", "fused"))
    assert one[0].spikes["first"].sum() > 0
    assert torch.equal(one[0].spikes["first"], other[0].spikes["first"])
    assert max(cases.differences(one, other)) < 1e-12


def test_a_surrogate_that_only_torch_knows():
    tent = surrogate(lambda x: torch.relu(1 - x.abs()))
    assert not tent.expression
    net, same = cases.network("cuba_lif"), dict(scheme="exact", surrogate=tent)
    one, other = (cases.outcome(net, "cuba_lif", kernels, **same) for kernels in ("torch", "fused"))
    assert max(cases.differences(one, other)) < 1e-12
    written = cases.outcome(net, "cuba_lif", "fused", scheme="exact", surrogate=surrogate("(1 - abs(x) + abs(1 - abs(x)))/2"))
    assert max(cases.differences(one, written)) < 1e-12


@pytest.mark.parametrize("every", [1, 7, 50, 1000])
def test_checkpoints_change_no_gradient(every):
    net, same = cases.network("adaptive_lif"), dict(scheme="exact", surrogate=make("sigmoid"), detach_reset=False)
    one = cases.outcome(net, "adaptive_lif", "fused", **same)
    other = cases.outcome(net, "adaptive_lif", "fused", checkpoint_steps=every, **same)
    assert one[1]["projections.in_i_syn.weight"].abs().sum() > 0
    for name, gradient in one[1].items():
        assert gradient is None or torch.equal(gradient, other[1][name])


def test_gradients_reach_analogue_drives_and_dense_spikes():
    spec = neuron("cuba_lif")
    net = Network(
        [Population("cells", spec, 3)], [Projection("in", "cells", np.full((3, 4), 0.4), "i_syn", unit="nA")], [SpikeSource("in", 4)]
    )
    found = {}
    for path in ("torch", "fused"):
        drive = torch.linspace(0, 1e-9, 40, dtype=torch.float64)[:, None, None].requires_grad_()
        constant = torch.full((1, 2, 3), 3e-10, dtype=torch.float64, requires_grad=True)
        rates = torch.rand((40, 2, 4), dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
        gradients = []
        for given_drive in (drive, constant):
            module = TorchNetwork(net, dt_ms=0.5, surrogate=fast_sigmoid(5.0), dtype=torch.float64, kernels=path)
            out = module({"in": rates, "cells.i_ext": given_drive}, steps=40, trials=2)
            assert out.spikes["cells"].sum() > 0
            gradients += torch.autograd.grad(out.final["cells"]["v"].sum() * 1e3 + out.spikes["cells"].sum(), [given_drive, rates])
        found[path] = gradients
    for a, b in zip(*found.values(), strict=True):
        assert a.shape == b.shape and a.abs().sum() > 0
        assert torch.allclose(a, b, rtol=1e-11, atol=1e-13 * float(a.abs().max()))


def test_sparse_weights_and_their_delays():
    import scipy.sparse

    rng, spec = np.random.default_rng(3), neuron("cuba_lif")
    into = scipy.sparse.random_array((5, 6), density=0.6, format="csr", rng=rng)
    inside = scipy.sparse.random_array((5, 5), density=0.5, format="csr", rng=rng)
    delays = inside.copy()
    delays.data = rng.choice([0.0, 1.0, 2.5], delays.nnz)
    net = Network(
        [Population("cells", spec, 5)],
        [
            Projection("in", "cells", into, "i_syn", unit="nA"),
            Projection("cells", "cells", inside * 0.5, "i_syn", unit="nA", delay_ms=delays),
        ],
        [SpikeSource("in", 6)],
    )
    spikes = Spikes.from_dense(rng.random((60, 3, 6)) < 0.2, dt_ms=0.5)
    gradients = {}
    for path in ("torch", "fused"):
        module = TorchNetwork(net, dt_ms=0.5, surrogate=fast_sigmoid(5.0), dtype=torch.float64, kernels=path)
        out = module({"in": spikes})
        assert out.spikes["cells"].sum() > 10
        (out.spikes["cells"] * torch.linspace(0, 1, 60, dtype=torch.float64)[:, None, None]).sum().backward()
        gradients[path] = [p.grad for p in module.parameters()]
    for a, b in zip(*gradients.values(), strict=True):
        assert a.abs().sum() > 0 and torch.allclose(a, b, rtol=1e-12, atol=1e-12 * float(a.abs().max()))


@settings(max_examples=25, deadline=None)
@given(
    model=st.sampled_from([m for m in cases.MODELS_AND_SCHEMES if neuron(m[0]).inputs and not m[0].startswith("hh")]),
    trials=st.integers(1, 6),
    T=st.integers(1, 30),
    dtype=st.sampled_from([torch.float64, torch.float32]),
    dt=st.floats(0.02, 0.5),
    share=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    vary=st.sampled_from([0.0, 0.1]),
    slope=st.sampled_from(["sigmoid", "fast_sigmoid", "arctan", "triangle"]),
    detach_reset=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_fuzz(model, trials, T, dtype, dt, share, shape, vary, slope, detach_reset, seed):
    (name, scheme), (size, inputs) = model, shape
    if dtype == torch.float32:  # steeper slopes, and gradients through the reset, magnify rounding beyond any one bound
        slope, detach_reset = "sigmoid", True
    spec, rng = neuron(name), np.random.default_rng(seed)
    net = cases.network(name, seed=seed, size=size, inputs=inputs, vary=vary)
    spikes = Spikes.from_dense(rng.random((T, trials, inputs)) < share, dt_ms=dt)

    def outcome(path):
        module = TorchNetwork(net, dt_ms=dt, scheme=scheme, surrogate=make(slope), detach_reset=detach_reset, dtype=dtype, kernels=path)
        generator = torch.Generator().manual_seed(seed)
        out = module({"input": spikes}, record={"second": spec.states}, generator=generator)
        loss = sum(s.square().sum() / s.detach().square().sum().clamp(min=1e-30) for s in out.states["second"].values())
        if loss.requires_grad:  # a single step records states from before any input
            loss.backward()
        return out, [torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters()]

    (a, ga), (b, gb) = outcome("torch"), outcome("fused")
    if not all(torch.equal(a.spikes[p], b.spikes[p]) for p in a.spikes):
        # rounding may push a voltage over the threshold; in double precision only next to never
        assert dtype == torch.float32
        return
    if not all(torch.isfinite(g).all() for g in ga):
        return  # the step is too long for the model
    bound = 1e-9 if dtype == torch.float64 else 2e-3  # a steep exponential or surrogate magnifies rounding
    for x, y in zip(ga, gb, strict=True):
        assert torch.allclose(x, y, rtol=bound, atol=bound * float(x.abs().max()))


def test_a_program_says_why_an_order_cannot_be_written():
    with pytest.raises(ValueError, match="reset comes before the threshold"):
        program(neuron("cuba_lif"), "exact", ("count_down", "integrate", "reset", "threshold"))
    assert "counted down after" in unsupported_order(neuron("cuba_lif"), ("integrate", "count_down", "threshold"))
    assert not unsupported_order(neuron("rnn_lif"), ("integrate", "threshold", "reset"))


def test_a_function_as_surrogate_beside_a_readout_that_never_spikes():
    cells = [Population("hidden", neuron("cuba_lif"), 3), Population("out", neuron("leaky_readout"), 2)]
    weights = [
        Projection("in", "hidden", np.ones((3, 4)), "i_syn", unit="nA"),
        Projection("hidden", "out", np.ones((2, 3)), "i_syn", unit="nA"),
    ]
    spikes = Spikes.from_dense(np.random.default_rng(0).random((20, 2, 4)) < 0.3, dt_ms=1.0)
    found = []
    for path in ("fused", "torch"):
        tent = surrogate(lambda x: torch.relu(1 - x.abs()))
        module = TorchNetwork(Network(cells, weights, [SpikeSource("in", 4)]), dt_ms=1.0, surrogate=tent, kernels=path, dtype=torch.float64)
        activity = module({"in": spikes}, record={"out": ("v",)})
        assert activity.spikes["hidden"].sum() > 3
        found.append(torch.autograd.grad(activity.states["out"]["v"].sum() * 1e3, list(module.parameters())))
    assert all(torch.allclose(a, b, rtol=1e-12) and a.any() for a, b in zip(*found, strict=True))
