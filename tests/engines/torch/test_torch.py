"""The torch module against loops in plain Python, pen and paper, and finite differences."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
import torch

from spiketwin.models.engines import get_engine
from spiketwin.models.engines.torch import TorchNetwork, groups
from spiketwin.models.network import Convolution, Network, PoissonSource, Population, Projection, SpikeSource
from spiketwin.models.neurons import neuron
from spiketwin.models.spec import NeuronSpec, Parameter, SpecError
from spiketwin.models.spikes import Spikes
from spiketwin.rules.surrogate import fast_sigmoid

DOUBLE = torch.float64

# 1 mV threshold, 1 Mohm, weights in nA: voltages count thresholds
CUBA = neuron("cuba_lif").with_defaults(tau_mem=10, tau_syn=5, tau_ref=0, r=1, v_rest=0, v_threshold=1, v_reset=0)
READOUT = neuron("leaky_readout")


def rng(seed=0):
    return np.random.default_rng(seed)


def some_spikes(T, B, N, share=0.2, dt_ms=1.0, seed=0):
    return Spikes.from_dense((rng(seed).random((T, B, N)) < share).astype(int), dt_ms)


def chain(*, hidden=CUBA, n_in=6, n_hidden=5, n_out=3, recurrent=False, seed=1):
    """in -> hidden (-> hidden) -> out, where out is a leaky read-out."""
    r = rng(seed)
    projections = [
        Projection("in", "hidden", r.normal(0.8, 0.8, (n_hidden, n_in)), "i_syn", unit="nA", name="w_in"),
        Projection("hidden", "out", r.normal(0, 0.7, (n_out, n_hidden)), "i_syn", unit="nA", name="w_out"),
    ]
    if recurrent:
        projections.append(Projection("hidden", "hidden", r.normal(0, 1, (n_hidden, n_hidden)), "i_syn", unit="nA", name="w_rec"))
    return Network((Population("hidden", hidden, n_hidden), Population("out", READOUT, n_out)), projections, (SpikeSource("in", n_in),))


def loop(network, spikes, name, dt_ms, *, hold=0, subtract=False):
    """One current-based population, exactly integrated, neuron by neuron as a person would by hand: voltages and spikes [T, B, N].

    hold: refractory steps as Brian2 counts them (a spike at n lets the neuron move again in step n + hold).
    """
    population = network.population(name)
    p = {k: float(v) for k, v in population.parameter_values().items()}
    tau_m, tau_s, dt = p["tau_mem"], p["tau_syn"], dt_ms * 1e-3
    alpha, beta = math.exp(-dt / tau_s), math.exp(-dt / tau_m)
    gain = p["r"] * tau_s / (tau_m - tau_s) * (beta - alpha)
    T, B, _ = next(iter(spikes.values())).shape
    v, i = np.full((B, population.size), p["v_rest"]), np.zeros((B, population.size))
    last = np.full((B, population.size), -(10**9))
    voltages, fired = [], []
    for n in range(T):
        voltages.append(v.copy())
        active = n - last >= hold
        v = np.where(active, p["v_rest"] + (v - p["v_rest"]) * beta + gain * i, v)
        i = alpha * i
        s = (v > p["v_threshold"]) & active if "v_threshold" in p else np.zeros_like(active)
        fired.append(s.astype(float))
        last[s] = n
        history = {**spikes, name: np.array(fired)}
        for projection in network.projections:
            if projection.target != name:
                continue
            pre, post, weight, delay = projection.synapses()
            for j, k, w, d in zip(pre, post, weight, np.floor(delay / dt_ms + 0.5).astype(int), strict=True):
                if n - d >= 0:
                    i[:, k] += w * history[projection.source][n - d][:, j]
        v = np.where(s, v - p["v_threshold"] if subtract else p.get("v_reset", 0), v)
    return np.array(voltages), np.array(fired)


def assert_same(activity, name, expected):
    voltages, fired = expected
    np.testing.assert_array_equal(activity.spikes[name].detach(), fired)
    # float64, sums in another order: a few ulp of a threshold of 1e-3 V
    np.testing.assert_allclose(activity.states[name]["v"].detach(), voltages, atol=1e-15)


# -- the schedule ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau_ref_ms", [0, 1, 2, 3.5])
@pytest.mark.parametrize("recurrent", [False, True])
def test_two_layers_equal_a_hand_written_loop(recurrent, tau_ref_ms):
    network = chain(hidden=CUBA.with_defaults(tau_ref=tau_ref_ms), recurrent=recurrent)
    spikes = some_spikes(60, 3, 6)
    activity = TorchNetwork(network, dt_ms=1.0, dtype=DOUBLE)({"in": spikes}, record={"hidden": ("v",), "out": ("v",)})
    hidden = loop(network, {"in": spikes.dense()}, "hidden", 1.0, hold=int(tau_ref_ms + 1e-3))
    assert hidden[1].sum() > 50
    assert_same(activity, "hidden", hidden)
    assert_same(activity, "out", loop(network, {"in": spikes.dense(), "hidden": hidden[1]}, "out", 1.0))
    assert not activity.spikes["out"].any()


def test_the_first_steps_by_hand():
    # One input spike at step 0, weight w = 50 nA, r = 1 Mohm: it enters after the integration of step 0.
    # Step 1: v = w r g, g = 5/(10 - 5) (e^-0.1 - e^-0.2) = 0.0861067; 50 · 0.0861 = 4.3 mV > 1 mV: spike labelled 1, then v = 0.
    network = Network(
        (Population("a", CUBA, 1),), (Projection("in", "a", np.array([[50.0]]), "i_syn", unit="nA"),), (SpikeSource("in", 1),)
    )
    spikes = Spikes([0], [0], [0], (4, 1, 1), 1.0)
    activity = TorchNetwork(network, dt_ms=1.0, dtype=DOUBLE)({"in": spikes}, record={"a": ("v", "i_syn")})
    assert activity.spikes["a"].flatten().tolist() == [0, 1, 1, 1]
    assert activity.states["a"]["v"].flatten().tolist() == [0, 0, 0, 0]
    decay = math.exp(-0.2)
    np.testing.assert_allclose(activity.states["a"]["i_syn"].detach().flatten(), [0, 50e-9, 50e-9 * decay, 50e-9 * decay**2], rtol=1e-14)
    np.testing.assert_allclose(activity.final["a"]["i_syn"].item(), 50e-9 * decay**3, rtol=1e-14)


def test_receiving_first_makes_an_input_act_in_its_own_step():
    network = Network(
        (Population("a", CUBA, 1),), (Projection("in", "a", np.array([[50.0]]), "i_syn", unit="nA"),), (SpikeSource("in", 1),)
    )
    order = ("count_down", "receive", "integrate", "threshold", "reset")
    spikes = Spikes([1], [0], [0], (3, 1, 1), 1.0)
    fired = TorchNetwork(network, dt_ms=1.0, order=order)({"in": spikes}).spikes["a"].flatten()
    assert fired.tolist() == [0, 1, 1]


def test_a_reset_before_the_threshold_acts_one_step_later():
    network = Network(
        (Population("a", CUBA, 1),), (Projection("in", "a", np.array([[50.0]]), "i_syn", unit="nA"),), (SpikeSource("in", 1),)
    )
    spikes = Spikes([0], [0], [0], (3, 1, 1), 1.0)
    late = TorchNetwork(network, dt_ms=1.0, dtype=DOUBLE, order=("count_down", "integrate", "reset", "threshold", "receive"))
    activity = late({"in": spikes}, record={"a": ("v",)})
    # the spike of step 1 is seen in v at the start of step 2, and wiped, with what step 2 adds, before the test of step 2
    assert activity.spikes["a"].flatten().tolist() == [0, 1, 0]
    assert activity.states["a"]["v"][2].item() == pytest.approx(50e-3 * (math.exp(-0.1) - math.exp(-0.2)))


def test_a_closed_gate_ignores_delta_input_of_refractory_and_just_spiking_neurons():
    spec = neuron("lif_delta").with_defaults(tau_mem=1e9, tau_ref=3, v_rest=0, v_threshold=1, v_reset=0)
    network = Network((Population("a", spec, 1),), (Projection("in", "a", np.array([[2.0]]), "v", unit="mV"),), (SpikeSource("in", 1),))
    spikes = Spikes.from_dense(np.ones((8, 1, 1)), 1.0)
    activity = TorchNetwork(network, dt_ms=1.0, dtype=DOUBLE)({"in": spikes}, record={"a": ("v",)})
    # weight enters at the end of step 0, is tested in step 1; held in 2 and 3; open again in 4, where the weight enters; spike in 5
    assert activity.spikes["a"].flatten().tolist() == [0, 1, 0, 0, 0, 1, 0, 0]
    # tau_mem is 1e9 ms, so the decay of 1 ms is 1e-9
    np.testing.assert_allclose(activity.states["a"]["v"].detach().flatten(), [0, 2e-3, 0, 0, 0, 2e-3, 0, 0], atol=1e-11)


def test_a_threshold_that_includes_equality_spikes_at_equality():
    at_least = NeuronSpec(
        name="at_least",
        equations="dv/dt = 0*v/tau : 1",
        parameters={"tau": Parameter(1, "ms")},
        threshold="v >= 1",
        reset="v = 0",
        inputs=("v",),
    )
    network = Network(
        (Population("a", at_least, 1), Population("b", replace(at_least, name="beyond", threshold="v > 1"), 1)),
        (Projection("in", "a", np.array([[1.0]]), "v"), Projection("in", "b", np.array([[1.0]]), "v")),
        (SpikeSource("in", 1),),
    )
    for surrogate in (None, fast_sigmoid()):
        activity = TorchNetwork(network, dt_ms=1.0, scheme="euler", surrogate=surrogate)({"in": Spikes([0], [0], [0], (3, 1, 1), 1.0)})
        assert activity.spikes["a"].flatten().tolist() == [0, 1, 0]
        assert activity.spikes["b"].flatten().tolist() == [0, 0, 0]


def test_groups_follow_the_flow_of_spikes():
    def link(a, b):
        return Projection(a, b, np.array([[1.0]]), "i_syn", unit="nA")

    populations = [Population(n, CUBA, 1) for n in "edcba"]
    network = Network(populations, [link("a", "b"), link("b", "c"), link("c", "b"), link("c", "d"), link("a", "d")])
    assert groups(network)[-1] == ("d",)
    assert set(groups(network)) == {("a",), ("c", "b"), ("d",), ("e",)}
    assert groups(network).index(("a",)) < groups(network).index(("c", "b"))


def test_layer_by_layer_equals_all_together():
    # a projection back that carries nothing makes one group of the two layers
    network = chain()
    network = replace(network, populations=(network.populations[0], Population("out", CUBA, 3)))
    spikes = {"in": some_spikes(50, 2, 6)}
    back = Projection("out", "hidden", np.zeros((5, 3)), "i_syn", unit="nA")
    together = replace(network, projections=(*network.projections, back))
    assert len(groups(together)) == 1
    a, b = (TorchNetwork(n, dt_ms=1.0, dtype=DOUBLE)(spikes, record={"out": ("v",)}) for n in (network, together))
    assert a.spikes["hidden"].sum() > 20
    assert torch.equal(a.spikes["hidden"], b.spikes["hidden"])
    torch.testing.assert_close(a.states["out"]["v"], b.states["out"]["v"], rtol=0, atol=1e-15)


# -- projections --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("needs_gradient", [False, True])
def test_one_delay_per_synapse_in_input_and_recurrent_projections(kind, needs_gradient):
    r, n = rng(3), 5
    weights, recurrent = r.normal(1.5, 1, (n, 6)), r.normal(0, 1.5, (n, n))
    delays, back = r.uniform(0, 6, (n, 6)), r.uniform(0, 6, (n, n))
    if kind == "sparse":
        weights, recurrent = (
            scipy.sparse.csr_array(weights * (r.random((n, 6)) < 0.6)),
            scipy.sparse.coo_array(recurrent * (r.random((n, n)) < 0.6)),
        )
    network = Network(
        (Population("hidden", CUBA, n),),
        (
            Projection("in", "hidden", weights, "i_syn", unit="nA", delay_ms=delays),
            Projection("hidden", "hidden", recurrent, "i_syn", unit="nA", delay_ms=back),
        ),
        (SpikeSource("in", 6),),
    )
    spikes = some_spikes(60, 2, 6)
    with torch.set_grad_enabled(needs_gradient):
        activity = TorchNetwork(network, dt_ms=1.0, dtype=DOUBLE)({"in": spikes}, record={"hidden": ("v",)})
    expected = loop(network, {"in": spikes.dense()}, "hidden", 1.0)
    assert expected[1].sum() > 50
    assert_same(activity, "hidden", expected)


def test_a_delay_moves_the_response_and_nothing_else():
    def run(delay_ms):
        network = chain()
        first, second = network.projections
        network = replace(network, projections=(replace(first, delay_ms=delay_ms), second))
        return TorchNetwork(network, dt_ms=1.0)({"in": some_spikes(40, 2, 6)}).spikes["hidden"]

    assert run(0.0).sum() > 10
    assert torch.equal(run(7.0)[7:], run(0.0)[:-7])
    assert not run(7.0)[:7].any()
    # rounding as in Brian2: floor(2.5 + 0.5) = 3
    assert torch.equal(run(2.5), run(3.0))
    assert not run(1000.0).any()


def test_events_dense_spikes_and_sparse_weights_give_the_same_result_and_gradient():
    network = chain()
    spikes = some_spikes(40, 3, 6)
    first, second = network.projections
    sparse = replace(network, projections=(replace(first, weights=scipy.sparse.csr_array(first.weights)), second))
    results = []
    for net, given in ((network, spikes), (network, torch.as_tensor(spikes.dense())), (sparse, spikes)):
        module = TorchNetwork(net, dt_ms=1.0, dtype=DOUBLE, surrogate=fast_sigmoid(10))
        activity = module({"in": given}, record={"out": ("v",)})
        activity.states["out"]["v"].square().sum().backward()
        results.append((activity.spikes["hidden"], module.projections["w_in"].weight.grad.reshape(5, 6)))
    assert results[0][0].sum() > 20
    for fired, gradient in results[1:]:
        assert torch.equal(fired, results[0][0])
        torch.testing.assert_close(gradient, results[0][1], rtol=1e-12, atol=0)


def test_two_events_of_a_neuron_in_one_step_count_once():
    twice = Spikes([1, 1, 2], [0, 0, 0], [0, 0, 1], (4, 1, 6), 1.0)
    once = Spikes([1, 2], [0, 0], [0, 1], (4, 1, 6), 1.0)
    a, b = (TorchNetwork(chain(), dt_ms=1.0)({"in": s}, record={"hidden": ("i_syn",)}).final["hidden"]["i_syn"] for s in (twice, once))
    assert a.any()
    assert torch.equal(a, b)


@pytest.mark.parametrize("share", [0.05, 0.2])  # by events, and dense
def test_convolution_equals_its_sparse_matrix(share):
    shape = Convolution(rng(2).normal(0.6, 0.5, (2, 1, 3, 3)), 6, 5, stride=2, padding=1)
    size = shape.shape[0]
    spikes = some_spikes(60, 2, 30, share)
    fired, gradients = [], []
    for weights in (shape, shape.to_sparse()):
        projection = Projection("in", "a", weights, "i_syn", unit="nA", delay_ms=2.0)
        module = TorchNetwork(Network((Population("a", CUBA, size),), (projection,), (SpikeSource("in", 30),)), dt_ms=1.0, dtype=DOUBLE)
        activity = module({"in": spikes}, record={"a": ("i_syn",)})
        activity.states["a"]["i_syn"].sum().backward()
        fired.append(activity.spikes["a"])
        gradients.append(module.projections["in_to_a_i_syn"].weight.grad.sum())
    assert fired[0].sum() > 50
    assert torch.equal(*fired)
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=0)


def test_two_receptors_and_parameters_per_neuron_equal_separate_runs():
    spec = neuron("cuba_lif_2")
    taus = np.array([10.0, 20.0, 30.0])
    links = [
        Projection("in", "a", np.full((3, 4), 0.3), "i_exc", unit="nA"),
        Projection("in", "a", np.full((3, 4), -0.05), "i_inh", unit="nA"),
    ]
    spikes = {"in": some_spikes(100, 2, 4)}
    together = TorchNetwork(
        Network((Population("a", spec, 3, {"tau_mem": taus}),), links, (SpikeSource("in", 4),)), dt_ms=1.0, dtype=DOUBLE
    )(spikes).spikes["a"]
    assert together.sum() > 10
    for k, tau in enumerate(taus):
        alone = Network(
            (Population("a", spec, 1, {"tau_mem": tau}),), [replace(p, weights=p.weights[:1]) for p in links], (SpikeSource("in", 4),)
        )
        assert torch.equal(TorchNetwork(alone, dt_ms=1.0, dtype=DOUBLE)(spikes).spikes["a"][..., 0], together[..., k])


def test_trials_do_not_influence_each_other():
    spikes = some_spikes(50, 4, 6)
    module = TorchNetwork(chain(recurrent=True, hidden=CUBA.with_defaults(tau_ref=2)), dt_ms=1.0, dtype=DOUBLE)
    together = module({"in": spikes}, record={"out": ("v",)})
    assert together.spikes["hidden"].sum() > 20
    for b in range(4):
        alone = module({"in": spikes.trial(b)}, record={"out": ("v",)})
        assert torch.equal(alone.spikes["hidden"][:, 0], together.spikes["hidden"][:, b])
        torch.testing.assert_close(alone.states["out"]["v"][:, 0], together.states["out"]["v"][:, b], rtol=0, atol=1e-15)


# -- gradients -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detach_reset", [True, False])
def test_back_propagation_through_three_steps_by_hand(detach_reset):
    # delta-like chain with numbers: in -> a (v decays by d, reset to 0) -> b (never spikes); in fires at steps 0 and 1.
    #   step 0: a receives w               v0 = w
    #   step 1: u1 = d w,  s1 = H(u1 - 1), b receives z s1;  a receives w:  v1 = (1 - s1)(u1 + w)
    #   step 2: u2 = d v1, s2 = H(u2 - 1), b receives z s2 (in its final state)
    # L = y = d z s1 + z s2
    #   dL/dw = z h1 d · d + z h2 d [(1 - s1)(d + 1) - h1 d (d w + w)]    (the last term only if the reset is not detached)
    #   dL/dz = d s1 + s2
    d, w, z = 0.9, 1.2, 0.7
    spec = NeuronSpec(
        name="toy",
        equations="dv/dt = -v/tau : 1",
        parameters={"tau": Parameter(-1 / math.log(d), "ms", "(0, inf)")},
        threshold="v > 1",
        reset="v = 0",
        inputs=("v",),
        spike_scale="1",
    )
    network = Network(
        (Population("a", spec, 1), Population("b", replace(spec, name="leak", threshold="", reset="", spike_scale=""), 1)),
        (Projection("in", "a", np.array([[w]]), "v", name="w"), Projection("a", "b", np.array([[z]]), "v", name="z")),
        (SpikeSource("in", 1),),
    )
    module = TorchNetwork(network, dt_ms=1.0, dtype=DOUBLE, surrogate=fast_sigmoid(2.0), detach_reset=detach_reset)
    activity = module({"in": Spikes([0, 1], [0, 0], [0, 0], (3, 1, 1), 1.0)})
    s1, s2 = 1, 0  # d w = 1.08 > 1; after the reset v1 = 0
    assert activity.spikes["a"].flatten().tolist() == [0, s1, s2]
    activity.final["b"]["v"].sum().backward()

    h1, h2 = (1 / (2 * abs(u - 1) + 1) ** 2 for u in (d * w, 0.0))
    through_reset = 0 if detach_reset else -h1 * d * (d * w + w)
    by_hand = z * h1 * d * d + z * h2 * d * ((1 - s1) * (d + 1) + through_reset)
    assert module.projections["w"].weight.grad.item() == pytest.approx(by_hand, rel=1e-12)
    assert module.projections["z"].weight.grad.item() == pytest.approx(d * s1 + s2, rel=1e-12)


def test_a_refractory_neuron_passes_no_gradient():
    spec = neuron("lif_delta").with_defaults(tau_mem=10, tau_ref=5, v_rest=0, v_threshold=1, v_reset=0)
    network = Network((Population("a", spec, 1),), (Projection("in", "a", np.array([[2.0]]), "v", unit="mV"),), (SpikeSource("in", 1),))
    module = TorchNetwork(network, dt_ms=1.0, dtype=DOUBLE, surrogate=fast_sigmoid(1.0))
    # fires in step 1 and is held in steps 2 … 5; the inputs of steps 1 … 5 meet a closed gate
    activity = module({"in": Spikes([0, 1, 2, 3, 4, 5], [0] * 6, [0] * 6, (6, 1, 1), 1.0)})
    assert activity.spikes["a"].flatten().tolist() == [0, 1, 0, 0, 0, 0]
    activity.spikes["a"].sum().backward()
    # ds/dw = h(u - 1) du/dw: u = 2 e^-0.1 thresholds, the weight counts thresholds; step 0 has u = 0, and no weight before it
    u = 2 * math.exp(-0.1)
    assert module.projections["in_to_a_v"].weight.grad.item() == pytest.approx(math.exp(-0.1) / (u - 1 + 1) ** 2, rel=1e-12)


def test_finite_differences_of_a_network_that_does_not_spike():
    # Read-out weights and time constants act smoothly: autograd equals central differences.
    network = Network(
        (Population("a", READOUT, 3, {"tau_mem": np.array([8.0, 12.0, 20.0])}), Population("b", READOUT, 2)),
        (Projection("in", "a", rng(4).normal(0, 1, (3, 4)), "i_syn", unit="nA"),),
        (SpikeSource("in", 4),),
    )
    module = TorchNetwork(network, dt_ms=1.0, dtype=DOUBLE, trainable_parameters={"a": ("tau_mem", "tau_syn", "v_rest")})
    spikes = some_spikes(12, 2, 4, 0.4)
    names = [n for n, _ in module.named_parameters()]
    assert names == ["populations.a.tau_mem", "populations.a.tau_syn", "populations.a.v_rest", "projections.in_to_a_i_syn.weight"]

    def voltages(*values):
        out = torch.func.functional_call(module, dict(zip(names, values, strict=True)), ({"in": spikes},), {"record": {"a": ("v",)}})
        return out.states["a"]["v"] * 1e3

    assert torch.autograd.gradcheck(voltages, tuple(p.detach().clone().requires_grad_() for p in module.parameters()))


def test_trained_time_constants_stay_within_their_bounds():
    module = TorchNetwork(chain(), dt_ms=1.0, trainable_parameters={"hidden": ("tau_mem",)})
    tau = module.populations["hidden"].tau_mem
    assert tau.item() == 10  # in ms, as declared
    with torch.no_grad():
        tau.fill_(-3.0)
    module({"in": some_spikes(5, 1, 6)})
    # (0, inf) excludes 0: a thousandth of the way from the start
    assert tau.item() == pytest.approx(0.01)


def test_a_few_steps_of_adam_lower_the_loss():
    torch.manual_seed(0)
    module = TorchNetwork(
        chain(n_in=20, n_hidden=20, recurrent=True), dt_ms=1.0, surrogate=fast_sigmoid(10), trainable_parameters={"hidden": ("tau_mem",)}
    )
    spikes, label = some_spikes(20, 16, 20, 0.05), torch.arange(16) % 3
    optimiser = torch.optim.Adam(module.parameters(), 0.05)
    losses = []
    for _ in range(15):
        optimiser.zero_grad()
        activity = module({"in": spikes}, record={"out": ("v",)})
        loss = torch.nn.functional.cross_entropy(activity.states["out"]["v"].amax(0) * 1e3, label)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert activity.spikes["hidden"].sum() > 50
    assert losses[-1] < 0.5 * losses[0]
    assert all(p.grad.abs().sum() > 0 for p in module.parameters())


# -- noise -------------------------------------------------------------------------------------------------------


def test_escape_noise_fires_where_the_draw_says_and_has_a_gradient():
    network = Network((Population("a", neuron("escape_lif"), 2, {"v_rest": -50.0, "tau_ref": 0.0}),))
    module = TorchNetwork(
        network, dt_ms=1.0, dtype=DOUBLE, surrogate=fast_sigmoid(1.0), trainable_parameters={"a": ("delta_v", "hazard_0")}
    )
    # at v = v_threshold the hazard is 100 Hz: p = 1 - exp(-0.1) = 0.09516
    noise = torch.tensor([[[0.095, 0.0952]]], dtype=DOUBLE)
    activity = module(noise={"a.rand": noise}, steps=1)
    assert activity.spikes["a"].flatten().tolist() == [1, 0]
    activity.spikes["a"].sum().backward()
    # dp/d hazard_0 = dt exp(-hazard_0 dt), the surrogate's slope is 1 within 2e-4 of the threshold
    p = 1 - math.exp(-0.1)
    by_hand = sum(1e-3 * math.exp(-0.1) / (1 + abs(p - u)) ** 2 for u in (0.095, 0.0952))
    assert module.populations["a"].hazard_0.grad.item() == pytest.approx(by_hand, rel=1e-9)


def test_noise_is_drawn_from_the_generator():
    module = TorchNetwork(Network((Population("a", neuron("noisy_lif"), 20, {"v_rest": -52.0}),)), dt_ms=0.5, scheme="euler_maruyama")
    a, b, c = (module(steps=100, generator=torch.Generator().manual_seed(s)).spikes["a"] for s in (1, 1, 2))
    assert a.sum() > 10
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_a_poisson_source_draws_its_own_spikes():
    network = Network(
        (Population("a", CUBA, 1),), (Projection("in", "a", np.ones((1, 200)), "i_syn", unit="nA"),), (PoissonSource("in", 200, 100.0),)
    )
    final = TorchNetwork(network, dt_ms=1.0)(steps=200, generator=torch.Generator().manual_seed(0)).final["a"]["i_syn"].item()
    # mean of shot noise, sampled at the end of a step: N p w/(1 - e^-0.2), p = 1 - e^-0.1; sd is sqrt(N p/(1 - e^-0.4)) = 7.6
    assert final * 1e9 == pytest.approx(200 * (1 - math.exp(-0.1)) / (1 - math.exp(-0.2)), abs=4 * 7.6)


# -- a module as torch users expect ----------------------------------------------------------------------------


def test_double_computes_in_double():
    spikes = some_spikes(50, 2, 6)
    exact = TorchNetwork(chain(), dt_ms=1.0, dtype=DOUBLE)
    converted = TorchNetwork(chain(), dt_ms=1.0).double()
    converted.load_state_dict(exact.state_dict())
    a, b = (m({"in": spikes}, record={"out": ("v",)}).states["out"]["v"] for m in (exact, converted))
    assert a.any()
    assert a.dtype == b.dtype == DOUBLE
    # the derived decays too: not one bit of difference
    assert torch.equal(a, b)


def test_state_dict_round_trip_and_deep_copy():
    first = TorchNetwork(chain(seed=1, recurrent=True), dt_ms=1.0)
    second = TorchNetwork(chain(seed=2, recurrent=True, hidden=CUBA.with_defaults(tau_mem=17)), dt_ms=1.0)
    spikes = {"in": some_spikes(40, 2, 6)}
    fired = first(spikes).spikes["hidden"]
    assert fired.sum() > 10
    assert not torch.equal(second(spikes).spikes["hidden"], fired)
    second.load_state_dict(first.state_dict())
    assert torch.equal(second(spikes).spikes["hidden"], fired)
    assert torch.equal(copy.deepcopy(first)(spikes).spikes["hidden"], fired)
    assert set(first.state_dict()) >= {"populations.hidden.tau_mem", "projections.w_in.weight"}


def test_weights_are_parameters_in_their_unit_unless_frozen():
    network = chain()
    first, second = network.projections
    module = TorchNetwork(replace(network, projections=(replace(first, trainable=False), second)), dt_ms=1.0, dtype=DOUBLE)
    assert [n for n, _ in module.named_parameters()] == ["projections.w_out.weight"]
    np.testing.assert_array_equal(module.projections["w_in"].weight, first.weights)


def test_to_network_returns_what_was_trained():
    module = TorchNetwork(chain(), dt_ms=1.0, dtype=DOUBLE, trainable_parameters={"hidden": ("tau_mem",)})
    with torch.no_grad():
        module.projections["w_out"].weight.mul_(2)
        module.populations["hidden"].tau_mem.fill_(12.0)
    network = module.to_network()
    np.testing.assert_array_equal(network.projections[1].weights, 2 * chain().projections[1].weights)
    assert float(network.population("hidden").parameter_values()["tau_mem"]) == pytest.approx(12e-3)
    spikes = {"in": some_spikes(40, 2, 6)}
    assert torch.equal(TorchNetwork(network, dt_ms=1.0, dtype=DOUBLE)(spikes).spikes["hidden"], module(spikes).spikes["hidden"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_cuda_equals_cpu():
    module = TorchNetwork(chain(recurrent=True, hidden=CUBA.with_defaults(tau_ref=2)), dt_ms=1.0, dtype=DOUBLE, surrogate=fast_sigmoid())
    spikes = {"in": some_spikes(40, 2, 6)}
    a = module(spikes, record={"out": ("v",)})
    b = module.to("cuda")(spikes, record={"out": ("v",)})
    b.states["out"]["v"].sum().backward()
    assert torch.equal(a.spikes["hidden"], b.spikes["hidden"].cpu())
    torch.testing.assert_close(a.states["out"]["v"], b.states["out"]["v"].cpu(), rtol=0, atol=1e-15)


# -- the engine ------------------------------------------------------------------------------------------------


def test_the_engine_records_what_the_module_computes():
    network, spikes = chain(recurrent=True), some_spikes(40, 2, 6)
    recording = get_engine("torch").run(network, {"in": spikes}, dt_ms=1.0, record={"hidden": ("v", "i_syn")})
    expected = loop(network, {"in": spikes.dense()}, "hidden", 1.0)
    assert recording.spikes["hidden"].equals(Spikes.from_dense(expected[1], 1.0))
    assert len(recording.spikes["hidden"]) > 20
    np.testing.assert_allclose(recording.states["hidden"]["v"], expected[0], atol=1e-15)
    assert recording.engine == "torch"
    assert len(recording.spikes["out"]) == 0
    assert recording.final["out"]["v"].shape == (2, 3)


def test_drives_may_vary_in_time_and_space():
    network = Network((Population("a", neuron("cuba_lif"), 2, drives={"i_ext": "0.3 nA"}),))
    engine = get_engine("torch")
    constant = engine.run(network, dt_ms=0.5, duration_ms=100, record={"a": ("v",)})
    assert len(constant.spikes["a"]) > 0
    for shape in ((200,), (200, 2), (200, 1, 2)):
        given = engine.run(network, {"a.i_ext": np.full(shape, 0.3e-9)}, dt_ms=0.5, record={"a": ("v",)})
        np.testing.assert_array_equal(given.states["a"]["v"], constant.states["a"]["v"])


def test_unsupported_gives_reasons():
    kernel = Convolution(np.ones((1, 1, 1, 1)), 2, 2)
    network = Network(
        (Population("a", CUBA, 4),), (Projection("in", "a", kernel, "i_syn", unit="nA", delay_ms=np.ones((4, 4))),), (SpikeSource("in", 4),)
    )
    reasons = get_engine("torch").unsupported(network, "euler_maruyama")
    assert len(reasons) == 2
    assert "use euler" in reasons[0]
    assert "to_sparse" in reasons[1]
    with pytest.raises(ValueError, match="one delay per synapse"):
        get_engine("torch").run(network, dt_ms=1.0, duration_ms=5)


# -- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ({}, ValueError, "no steps"),
        ({"hidden.i_ext": torch.zeros(20)}, ValueError, "no spikes given for source 'in'"),
        ({"in": np.zeros((20, 2, 6))}, TypeError, "ndarray"),
        ({"in": torch.zeros(20, 2, 7)}, ValueError, r"\(20, 2, 7\), but \[T, B, N\] is \(20, 2, 6\)"),
        ({"in": torch.zeros(20, 2, 6, dtype=DOUBLE)}, TypeError, "float64, the module torch.float32"),
        ({"in": torch.full((20, 2, 6), math.nan)}, ValueError, "spikes of 'in' hold NaN"),
        ({"in": some_spikes(20, 2, 6, dt_ms=0.5)}, ValueError, "grid of 0.5 ms"),
        ({"in": torch.zeros(20, 2, 6), "inn": torch.zeros(20, 2, 6)}, ValueError, "unknown input 'inn'.*Did you mean 'in'"),
        ({"in": torch.zeros(20, 2, 6), "hidden.i_ext": torch.zeros(10)}, ValueError, "10 steps"),
        ({"in": torch.zeros(20, 2, 6), "hidden.i_ext": torch.zeros(20, 3)}, ValueError, r"'hidden.i_ext' has shape \(20, 3\)"),
        ({"in": torch.zeros(20, 2, 6), "hidden.i_ext": torch.full((20,), math.inf)}, ValueError, "'hidden.i_ext' holds NaN or infinite"),
    ],
)
def test_bad_input_is_named(inputs, error, message):
    with pytest.raises(error, match=message):
        TorchNetwork(chain(), dt_ms=1.0)(inputs)


def test_a_weight_that_became_nan_is_named():
    module = TorchNetwork(chain(), dt_ms=1.0)
    with torch.no_grad():
        module.projections["w_in"].weight[0, 0] = math.nan
    with pytest.raises(ValueError, match="weights of 'w_in' hold NaN"):
        module({"in": torch.zeros(5, 1, 6)})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dt_ms": 0.0}, ValueError, "dt_ms = 0.0 must be positive"),
        ({"dt_ms": 1.0, "trainable_parameters": {"hiden": ("tau_mem",)}}, ValueError, "Did you mean 'hidden'"),
        ({"dt_ms": 1.0, "trainable_parameters": {"hidden": ("tau_men",)}}, SpecError, "Did you mean 'tau_mem'"),
        ({"dt_ms": 1.0, "trainable_parameters": {"hidden": ("tau_ref",)}}, ValueError, "whole number of steps"),
        ({"dt_ms": 1.0, "order": ("receive", "integrate_membrane", "threshold")}, ValueError, "no event 'integrate_membrane'"),
        ({"dt_ms": 1.0, "scheme": "exakt"}, ValueError, "Did you mean 'exact'"),
    ],
)
def test_bad_settings_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        TorchNetwork(chain(), **arguments)({"in": some_spikes(5, 1, 6)})


@pytest.mark.parametrize("name", ["pop", "keys", "a.b"])
def test_names_that_torch_keeps_for_itself(name):
    with pytest.raises(ValueError, match=f"torch modules cannot be called '{name}'; rename"):
        TorchNetwork(Network([Population(name, neuron("cuba_lif"), 1)]), dt_ms=1)
