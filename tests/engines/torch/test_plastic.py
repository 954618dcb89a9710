"""Projections that learn in torch: against the compiled engine, in pieces, and with gradients."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
import torch

from plastic_cases import EVERYTHING, FAST, FORMS, largest_difference, random_network
from spiketwin.experiments.training import detached
from spiketwin.models import Network, Population, Projection, Spikes, SpikeSource, neuron
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.engines.torch import TorchEngine, TorchNetwork
from spiketwin.models.engines.torch.state import LearningState, NetworkState
from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.spec import Parameter
from spiketwin.rules import rule
from spiketwin.rules.protocols import pairs, weight_changes
from spiketwin.rules.surrogate import fast_sigmoid

DOUBLE = torch.float64
BOTH = {"feed": ("w",), "recurrent": ("w",)}


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_every_form_is_equal_in_the_compiled_engine(options):
    """Weights at every step of two trials, which learn each on its own."""
    network = random_network(np.random.default_rng(2), **options)
    arguments = dict(dt_ms=1.0, scheme="exact", duration_ms=1500, record=BOTH, seed=3, trials=2)
    compiled, torched = CompiledEngine().run(network, **arguments), TorchEngine().run(network, **arguments)
    assert torched.spikes["cells"].equals(compiled.spikes["cells"])
    assert len(torched.spikes["cells"]) > 100
    for name in BOTH:
        trace = torched.states[name]["w"]
        assert trace.shape == compiled.states[name]["w"].shape
        assert np.ptp(trace, axis=0).max() > 0.1 and not np.array_equal(trace[-1, 0], trace[-1, 1])
        assert largest_difference(compiled, torched, name) < 1e-9


def test_a_rule_that_compares_may_be_the_first_thing_that_torch_does():
    """In a process of its own: torch imports itself at its first comparison, wherever that is, here in calcium's every_step."""
    code = (
        "from spiketwin.rules import rule; from spiketwin.rules.protocols import pairs, weight_changes; "
        "print(weight_changes(rule('calcium'), [pairs(10, count=1)], dt_ms=1.0, engine='torch')[0])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert float(ran.stdout) == pytest.approx(weight_changes(rule("calcium"), [pairs(10, count=1)], dt_ms=1.0)[0], rel=1e-9)


def test_populations_one_after_the_other_and_a_projection_without_synapses():
    """Each runs all its steps before the next begins; one source reaches both, at once and late, and a third finds nobody."""
    rng = np.random.default_rng(4)
    cells = [Population(n, neuron("cuba_lif"), 5, drives={"i_ext": "0.19 nA"}) for n in ("a", "b")]
    projections = [Projection("input", n, rng.random((5, 6)), "i_syn", "nA", d, rule=FAST) for n, d in (("a", 0.0), ("b", 2.5))]
    projections += [Projection("a", "b", rng.random((5, 5)), "i_syn", "pA", rule=FAST)]
    projections += [Projection("input", "b", scipy.sparse.csr_array((5, 6)), "i_syn", "nA", rule=FAST, name="nothing")]
    network = Network(cells, projections, [SpikeSource("input", 6)])
    spikes = {"input": Spikes.from_dense(rng.random((1000, 1, 6)) < 0.02, dt_ms=0.5)}
    compiled, torched = (e.run(network, spikes, dt_ms=0.5, scheme="exact", seed=1) for e in (CompiledEngine(), TorchEngine()))
    for name, weights in compiled.weights.items():
        np.testing.assert_allclose(torched.weights[name], weights, rtol=1e-9, atol=1e-12)
    assert torched.spikes["b"].equals(compiled.spikes["b"]) and len(torched.spikes["b"]) > 20
    assert np.abs(torched.weights["input_to_b_i_syn"][0] - projections[1].synapse_values()).max() > 0.05


def test_pieces_equal_the_whole():
    """Weights, traces, states of synapses, spikes on their way and random numbers go on, whatever the length of the pieces."""
    network = random_network(np.random.default_rng(8), rule=EVERYTHING)
    module = TorchNetwork(network, dt_ms=1.0, dtype=DOUBLE)
    spikes = Spikes.from_dense(np.random.default_rng(0).random((400, 2, 12)) < 0.03, dt_ms=1.0)
    whole = module({"input": spikes}, record=BOTH, synapse_seed=5)
    assert whole.spikes["cells"].sum() > 50
    state, found = None, []
    for a, b in ((0, 1), (1, 3), (3, 150), (150, 400)):
        run = module({"input": spikes.during(a, b)}, start=state, record=BOTH, synapse_seed=5)
        state = detached(run.state)
        found.append(run)
    assert torch.equal(torch.cat([run.spikes["cells"] for run in found]), whole.spikes["cells"])
    for name in BOTH:
        assert torch.equal(torch.cat([run.states[name]["w"] for run in found]), whole.states[name]["w"])
        assert torch.equal(found[-1].weights[name], whole.weights[name])
        assert not torch.equal(whole.weights[name][0], module.projections[name].weight), "the module's own weights stay"
    other = module({"input": spikes}, synapse_seed=6)
    assert not torch.equal(other.weights["feed"], whole.weights["feed"])


def test_without_gradients_weights_change_in_place_and_are_the_same():
    network = random_network(np.random.default_rng(8), rule=EVERYTHING)
    module = TorchNetwork(network, dt_ms=1.0, dtype=DOUBLE)
    spikes = Spikes.from_dense(np.random.default_rng(0).random((200, 2, 12)) < 0.03, dt_ms=1.0)
    kept = {name: p.weight.clone() for name, p in module.projections.items()}
    with_graph = module({"input": spikes}, synapse_seed=5)
    with torch.no_grad():
        without = module({"input": spikes}, synapse_seed=5)
        again = module({"input": spikes.during(0, 50)}, start=without.state)
    for name in BOTH:
        assert torch.equal(with_graph.weights[name], without.weights[name])
        assert torch.equal(kept[name], module.projections[name].weight)
        assert not torch.equal(again.weights[name], without.weights[name]), "a run does not change the state it started from"


# a weight's change depends on the weight, so that the last weights do on the first in a way of their own
MULTIPLICATIVE = PlasticityRule(
    name="multiplicative",
    pre_traces="dx/dt = -x/tau : 1",
    post_traces="dy/dt = -y/tau : 1",
    on_pre="w = w - eta*y*w; x += 1",
    on_post="w = w + eta*x*(1 - w)**2; y += 1",
    parameters=dict(tau=Parameter(20, "ms"), eta=Parameter(0.01)),
    bounds=("0", "1"),
)


def small(rule_: PlasticityRule | None, weights: np.ndarray) -> Network:
    return Network(
        [Population("cells", neuron("cuba_lif"), 4, {"r": 8}, {"i_ext": np.linspace(2.6e-9, 3.4e-9, 4)})],
        [Projection("input", "cells", weights, "i_syn", "nA", 2.0, name="feed", rule=rule_)],
        [SpikeSource("input", 6)],
    )


def test_the_gradient_of_learnt_weights_is_that_of_finite_differences():
    """At spikes that stay where they are, the weights after 150 ms are a smooth function of those before."""
    rng = np.random.default_rng(3)
    start, spikes = 0.02 + 0.01 * rng.random((4, 6)), Spikes.from_dense(rng.random((150, 1, 6)) < 0.1, dt_ms=1.0)
    mix = torch.as_tensor(rng.random(24))

    def loss(weights: np.ndarray):
        module = TorchNetwork(small(MULTIPLICATIVE, weights), dt_ms=1.0, dtype=DOUBLE)
        run = module({"input": spikes})
        return (run.weights["feed"][0] * mix).sum(), module, run

    value, module, run = loss(start)
    assert run.spikes["cells"].sum() > 10
    (gradient,) = torch.autograd.grad(value, module.projections["feed"].weight)
    for post, pre in ((0, 0), (1, 4), (3, 2)):
        moved = []
        for step in (1e-6, -1e-6):
            weights = start.copy()
            weights[post, pre] += step
            at, _, other = loss(weights)
            assert torch.equal(other.spikes["cells"], run.spikes["cells"])
            moved.append(float(at.detach()))
        assert float(gradient[pre * 4 + post]) == pytest.approx((moved[0] - moved[1]) / 2e-6, rel=1e-6)
    # the rule alone: without it the gradient is the mix itself
    assert not torch.allclose(gradient, mix, rtol=0.05)


def test_a_rule_that_changes_nothing_leaves_gradients_as_they_are():
    """Of spikes that are there and of those that are not, of weights and through recurrent synapses."""
    rng = np.random.default_rng(5)
    weights, inner = rng.random((4, 6)), 0.3 * rng.random((4, 4))
    idle = MULTIPLICATIVE.with_parameters(eta=0)
    dense = torch.as_tensor((rng.random((80, 2, 6)) < 0.1).astype(float))
    found = []
    for rule_ in (None, idle):
        network = small(rule_, weights)
        inside = Projection("cells", "cells", inner, "i_syn", "nA", 1.0, name="recurrent", rule=rule_)
        network = replace(network, projections=(*network.projections, inside))
        module = TorchNetwork(network, dt_ms=1.0, dtype=DOUBLE, surrogate=fast_sigmoid(5.0), kernels="torch")
        given = dense.clone().requires_grad_()
        run = module({"input": given})
        loss = (run.spikes["cells"] * torch.linspace(0.2, 1, 80, dtype=DOUBLE)[:, None, None]).sum()
        by_name = {name: p.weight for name, p in module.projections.items()}
        gradients = torch.autograd.grad(loss, [given, *by_name.values()])
        found.append([g if rule_ is None or g.ndim == 3 else torch.as_tensor(by_synapse(g)) for g in gradients])
    assert (found[0][0][dense == 0] != 0).any()
    for standing, learning in zip(*found, strict=True):
        torch.testing.assert_close(learning, standing, rtol=1e-9, atol=1e-15)


def by_synapse(values: torch.Tensor) -> np.ndarray:
    """[S] by (pre, post) as a matrix [4, N_pre]."""
    return values.numpy().reshape(-1, 4).T


def test_weights_go_back_to_a_network_and_into_a_state_dict():
    network = random_network(np.random.default_rng(1))
    module = TorchNetwork(network, dt_ms=1.0, dtype=DOUBLE)
    back = module.to_network()
    for p, q in zip(network.projections, back.projections, strict=True):
        assert q.rule is p.rule and (p.weights != q.weights).nnz == 0
    assert {name for name in module.state_dict() if "projections" in name} == {"projections.feed.weight", "projections.recurrent.weight"}


def test_the_plan_says_what_learns_and_that_no_kernel_runs_it():
    plan = TorchNetwork(random_network(np.random.default_rng(1)), dt_ms=1.0).plan()
    assert plan["cells"].path == "step by step in torch" and "'feed' learns" in plan["cells"].why
    assert plan["feed"].path == "event by event" and "diehl_cook" in plan["feed"].why


def test_what_a_network_that_learns_cannot_do_is_refused_by_name():
    network = random_network(np.random.default_rng(1))
    with pytest.raises(ValueError, match="'feed' learns, which takes place between threshold and reset"):
        TorchNetwork(network, dt_ms=1.0, order=("receive", "count_down", "integrate", "threshold", "reset"))
    spikes = {"input": torch.zeros(5, 2, 12)}
    with pytest.raises(ValueError, match="no kernel for cells: 'feed' learns"):
        TorchNetwork(network, dt_ms=1.0, kernels="fused")(spikes)
    module = TorchNetwork(network, dt_ms=1.0)
    with pytest.raises(ValueError, match="spikes of 'input' hold NaN or infinite values"):
        module({"input": torch.full((5, 2, 12), torch.nan)})
    with pytest.raises(ValueError, match="unknown state to record 'v'"):
        module(spikes, record={"feed": ("v",)})
    with pytest.raises(ValueError, match="unknown projection 'fed' of 'start'. Did you mean 'feed'"):
        module(spikes, start=NetworkState(learning={"fed": LearningState()}))
    with pytest.raises(ValueError, match=r"'w' of 'feed' in start has shape \(2, 3\)"):
        module(spikes, start=NetworkState(learning={"feed": LearningState({"w": torch.zeros(2, 3)})}))
    with pytest.raises(ValueError, match="unknown value 'pro' of 'start of 'feed''"):
        module(spikes, start=NetworkState(learning={"feed": LearningState({"pro": torch.zeros(2, 3)})}))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_cuda_equals_cpu(options):
    network = random_network(np.random.default_rng(2), **options)
    arguments = dict(dt_ms=1.0, scheme="exact", duration_ms=300, record=BOTH, seed=3, trials=2)
    cpu, cuda = (TorchEngine(device=device).run(network, **arguments) for device in ("cpu", "cuda"))
    assert cuda.spikes["cells"].equals(cpu.spikes["cells"])
    assert all(largest_difference(cpu, cuda, name) < 1e-9 for name in BOTH)


def test_single_precision_learns_the_same():
    network = random_network(np.random.default_rng(2), rule=rule("triplet_cortex"))
    arguments = dict(dt_ms=1.0, scheme="exact", duration_ms=300, seed=3)
    single, double = (TorchEngine(dtype=d).run(network, **arguments) for d in (torch.float32, DOUBLE))
    assert single.weights["feed"].dtype == np.float32
    assert np.abs(double.weights["feed"][0] - network.projections[0].synapse_values()).max() > 1e-3
    np.testing.assert_allclose(single.weights["feed"], double.weights["feed"], atol=1e-5)
