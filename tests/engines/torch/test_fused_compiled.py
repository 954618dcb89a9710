"""Training kernels as machine code: some of what test_fused.py interprets, and what only machine code can show."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fused_cases as cases
from spiketwin.models import Network, Population, Projection, Spikes, SpikeSource
from spiketwin.models.engines.fused import kernels
from spiketwin.models.engines.torch import TorchNetwork
from spiketwin.models.neurons import NEURONS, neuron
from spiketwin.rules.losses import max_cross_entropy
from spiketwin.rules.surrogate import fast_sigmoid, sigmoid


@pytest.mark.parametrize("name", NEURONS)
def test_compiled_kernels_do_what_the_derived_step_does(name):
    scheme = [scheme for model, scheme in cases.MODELS_AND_SCHEMES if model == name][-1]
    same = dict(scheme=scheme, surrogate=sigmoid(5.0), trials=3, detach_reset=False)
    one, other = (cases.outcome(cases.network(name), name, kernels, **same) for kernels in ("torch", "fused"))
    for cells in one[0].spikes:
        assert torch.equal(one[0].spikes[cells], other[0].spikes[cells])
        assert one[0].spikes[cells].sum() > 0 or not neuron(name).threshold
    assert max(cases.differences(one, other)) < 2e-12


def classifier(
    hidden: int = 70, recurrent: bool = True, dtype=torch.float32, inputs: int = 33, weight: float = 1.0, **settings
) -> TorchNetwork:
    rng = np.random.default_rng(0)
    cells = [Population("hidden", neuron("cuba_lif"), hidden), Population("out", neuron("leaky_readout"), 10)]
    projections = [
        Projection("in", "hidden", rng.normal(0.3, 1, (hidden, inputs)) * weight, "i_syn", unit="nA"),
        Projection("hidden", "out", rng.normal(0, 1, (10, hidden)), "i_syn", unit="nA"),
    ]
    if recurrent:
        projections.append(Projection("hidden", "hidden", rng.normal(0, 0.1, (hidden, hidden)), "i_syn", unit="nA", name="back"))
    network = Network(cells, projections, [SpikeSource("in", inputs)])
    return TorchNetwork(network, dt_ms=1.0, surrogate=fast_sigmoid(5.0), dtype=dtype, **settings)


def gradients(module: TorchNetwork, density: float = 0.05, T: int = 60, B: int = 19) -> tuple[torch.Tensor, list[torch.Tensor]]:
    rng = np.random.default_rng(1)
    source = module.network.sources[0]
    spikes = Spikes.from_dense(rng.random((T, B, source.size)) < density, dt_ms=1.0)
    activity = module({"in": spikes}, record={"out": ("v",)})
    loss = max_cross_entropy(activity.states["out"]["v"] * 1e3, torch.arange(B) % 10) + 1e-3 * activity.spikes["hidden"].sum()
    return activity.spikes["hidden"], torch.autograd.grad(loss, list(module.parameters()))


@pytest.mark.parametrize("density, weight", [(0.0, 1.0), (0.01, 1.0), (0.1, 3.0), (0.3, 1.0), (1.0, 1.0)])
def test_silent_sparse_busy_and_full(density, weight):
    fired, wanted = gradients(classifier(dtype=torch.float64, kernels="torch", weight=weight), density)
    same, found = gradients(classifier(dtype=torch.float64, kernels="fused", weight=weight), density)
    assert torch.equal(fired, same)
    if weight > 1:
        assert fired.mean() > kernels.CROSSOVER, "some rows must be busy enough for a product"
    assert (fired.sum() > 0) == (density > 0)
    for a, b in zip(wanted, found, strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12 * float(a.abs().max()))


def test_threads_change_nothing():
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(gradients(classifier()))
    finally:
        torch.set_num_threads(before)
    for fired, values in found[1:]:
        assert torch.equal(fired, found[0][0])
        assert all(torch.equal(a, b) for a, b in zip(values, found[0][1], strict=True))


@pytest.mark.parametrize("T, B", [(3, 1), (4, 5), (7, 31)])
def test_small_shapes(T, B):
    _, wanted = gradients(classifier(dtype=torch.float64, kernels="torch", hidden=1), T=T, B=B, density=0.5)
    _, found = gradients(classifier(dtype=torch.float64, kernels="fused", hidden=1), T=T, B=B, density=0.5)
    for a, b in zip(wanted, found, strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12 * float(a.abs().max()) + 1e-300)


def test_a_million_neurons():
    spec = neuron("cuba_lif")
    size = 1_000_000
    import scipy.sparse

    one_to_one = scipy.sparse.eye_array(size, format="csr") * 30.0
    net = Network([Population("cells", spec, size)], [Projection("in", "cells", one_to_one, "i_syn", unit="nA")], [SpikeSource("in", size)])
    module = TorchNetwork(net, dt_ms=1.0, surrogate=fast_sigmoid(5.0), kernels="fused")
    weight = module.projections["in_to_cells_i_syn"].weight
    for every in (3, 1):  # few spikes, gathered one by one, and all neurons at once, by a sparse product
        active = np.arange(0, size, every)
        step, neurons = np.divmod(np.arange(2 * len(active)), len(active))
        spikes = Spikes(step, np.zeros_like(step), active[neurons], (4, 1, size), 1.0)
        fired = module({"in": spikes}).spikes["cells"]
        assert torch.equal(fired.sum(0)[0] > 0, torch.arange(size) % every == 0)
        (gradient,) = torch.autograd.grad(fired.sum(), [weight])
        assert (gradient[::every] > 0).all() and gradient.count_nonzero() == len(active)


@pytest.mark.parametrize("kernels", ["fused", "torch"])
def test_large_sparse_weights_stay_sparse(kernels, monkeypatch):
    """Many spikes, delays and recurrence: the gradients of a product that leaves out the zeros are those of one that does not."""
    import scipy.sparse

    from spiketwin.models.engines.torch import projections

    rng, size = np.random.default_rng(0), 40
    delays = scipy.sparse.csr_array(np.where(rng.random((size, 30)) < 0.2, rng.uniform(0.5, 3, (size, 30)), 0))
    inward = scipy.sparse.csr_array((rng.uniform(0, 1.0, delays.nnz), delays.indices, delays.indptr), shape=delays.shape)
    around = scipy.sparse.csr_array(np.where(rng.random((size, size)) < 0.1, rng.normal(0, 0.5, (size, size)), 0))
    net = Network(
        [Population("cells", neuron("cuba_lif"), size)],
        [Projection("in", "cells", inward, "i_syn", unit="nA", delay_ms=delays), Projection("cells", "cells", around, "i_syn", unit="nA")],
        [SpikeSource("in", 30)],
    )
    spikes = Spikes.from_dense(rng.random((20, 6, 30)) < 0.5, dt_ms=1.0)
    found = []
    for most in (projections.MOST_ENTRIES, 0):
        monkeypatch.setattr(projections, "MOST_ENTRIES", most)
        monkeypatch.setattr("spiketwin.models.engines.torch.kernels.sparse_product.CHUNK", 1000)
        module = TorchNetwork(net, dt_ms=1.0, surrogate=fast_sigmoid(5.0), kernels=kernels, dtype=torch.float64)
        fired = module({"in": spikes}).spikes["cells"]
        found.append((fired.detach(), *torch.autograd.grad((fired * torch.arange(size)).sum(), list(module.parameters()))))
    assert found[0][0].sum() > 50
    for dense, sparse in zip(*found, strict=True):
        assert torch.allclose(dense, sparse, rtol=1e-12, atol=1e-12 * float(dense.abs().max()))


def test_two_losses_over_one_graph_and_none():
    module = classifier(dtype=torch.float64)
    spikes = Spikes.from_dense(np.random.default_rng(0).random((30, 4, 33)) < 0.1, dt_ms=1.0)
    activity = module({"in": spikes}, record={"out": ("v",)})
    first = torch.autograd.grad(activity.states["out"]["v"].sum(), list(module.parameters()), retain_graph=True)
    again = torch.autograd.grad(activity.states["out"]["v"].sum(), list(module.parameters()), retain_graph=True)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    # the readout's weights have no part in the hidden spikes: a gradient of zero
    weight = module.projections["hidden_to_out_i_syn"].weight
    (nothing,) = torch.autograd.grad(activity.spikes["hidden"].sum(), [weight])
    assert nothing.count_nonzero() == 0


def test_memory_is_used_again_and_never_while_in_use():
    module = classifier(hidden=200, inputs=100)
    spikes = Spikes.from_dense(np.random.default_rng(0).random((40, 8, 100)) < 0.1, dt_ms=1.0)
    kept = [module({"in": spikes}).spikes["hidden"] for _ in range(4)]
    views = [k[3:5] for k in kept]
    values = [v.clone() for v in views]
    del kept
    for _ in range(4):
        module({"in": Spikes.from_dense(np.ones((40, 8, 100)), dt_ms=1.0)}).spikes["hidden"].sum().backward()
    assert all(torch.equal(v, saved) for v, saved in zip(views, values, strict=True))


def test_what_cannot_be_asked():
    module = classifier(kernels="fused")
    with pytest.raises(ValueError, match="kernels = 'fast' is unknown"):
        classifier(kernels="fast")
    with pytest.raises(ValueError, match="checkpoint_steps = 0 must be at least 1"):
        classifier(checkpoint_steps=0)
    with pytest.raises(ValueError, match="no kernel for hidden: torch.bfloat16 has no kernel"):
        module.to(torch.bfloat16)({"in": Spikes.from_dense(np.ones((3, 1, 33)), dt_ms=1.0)})
    module = classifier(kernels="fused")
    with torch.no_grad():
        module.projections["back"].weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="weights of 'back' hold NaN"):
        module({"in": Spikes.from_dense(np.ones((3, 1, 33)), dt_ms=1.0)})


def test_the_plan_says_what_runs_where():
    plan = classifier().plan()
    assert plan["hidden"].path == plan["out"].path == "fused kernel 1"
    assert "margin" in plan["hidden"].why and "9 bytes" not in plan["hidden"].why
    assert plan["in_to_hidden_i_syn"].path == "events" and "20 %" in plan["in_to_hidden_i_syn"].why
    assert plan["back"].path == "events inside the kernel"
    slow = classifier(kernels="torch").plan()
    assert slow["hidden"].path == "step by step in torch" and "kernels='torch'" in slow["hidden"].why
    assert len(repr(plan).splitlines()) == 5
    with pytest.raises(KeyError, match="Did you mean 'hidden'"):
        plan["hiden"]
