"""E-prop: traces worked by hand, and the gradient of backpropagation through time wherever nothing is left out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from spiketwin.models import stack
from spiketwin.models.engines.torch.layer import SpikingLayer
from spiketwin.models.neurons import neuron
from spiketwin.models.spec import NeuronSpec, Parameter
from spiketwin.models.stacks.cells import leaky, leaky_integrator
from spiketwin.rules.local import Adaptive, Bptt, DirectFeedbackAlignment, EProp, Random, true_signals
from spiketwin.rules.local.layers import stages, synapses
from spiketwin.rules.local.online import learn_online
from spiketwin.rules.local.traces import Traces, filter_of
from spiketwin.rules.losses import step_cross_entropy
from spiketwin.rules.surrogate import fast_sigmoid

DOUBLE = torch.float64
HALVES = 1 / math.log(2)  # tau in ms of a membrane that loses half in a step of 1 ms
LABELS = torch.tensor([0, 1, 2, 1])
RECEIVE_FIRST = ("count_down", "receive", "integrate", "threshold", "reset")


def net_of(text, spec=None, *, weights=1.0, **options):
    options = {"readout": leaky_integrator(), "dt_ms": 1.0, "surrogate": fast_sigmoid(2.0)} | options
    net = stack(text, neuron=spec or leaky(), input_shape=(7,), seed=0, dtype=DOUBLE, kernels="torch", **options)
    if weights != 1:
        with torch.no_grad():
            net.get_parameter("parts.fc1.module.fc1.weight").mul_(weights)
    return net


def spikes(T=24, B=4, N=7):
    return (torch.rand(T, B, N, generator=torch.Generator().manual_seed(1), dtype=DOUBLE) < 0.4).to(DOUBLE)


def millivolts(v, labels):
    return step_cross_entropy(v * 1e3, labels)


def assert_equal(found, wanted, names=None, tolerance=1e-10):
    """Relative to the largest entry of each gradient, which is not 0."""
    for name in names or wanted:
        scale = wanted[name].abs().max()
        assert scale > 0, name
        assert (found[name] - wanted[name]).abs().max() / scale < tolerance, name


# -- by hand -----------------------------------------------------------------------------------------------------


def traces_of(net, x):
    stage = stages(net)[0]
    traces = Traces(stage, synapses(net, stage), x.shape[1])
    _, run = stage.run(x, traces.record)
    return traces, list(traces.advance(x, run))


def test_the_trace_of_a_leaky_neuron_by_hand():
    """One input spikes in steps 0 and 2; v halves in each step. What arrives in step t is in v at the threshold of t + 1."""
    net = stack(
        "FC1-FC1",
        neuron=leaky(HALVES),
        readout=leaky_integrator(HALVES),
        dt_ms=1.0,
        input_shape=(1,),
        dtype=DOUBLE,
        surrogate=fast_sigmoid(1.0),
    )
    with torch.no_grad():
        net.get_parameter("parts.fc1.module.fc1.weight").fill_(0.8)
        net.get_parameter("parts.fc1.module.fc1.bias").fill_(0.0)
    x = torch.tensor([1.0, 0, 1, 0, 0], dtype=DOUBLE).view(5, 1, 1)
    traces, steps = traces_of(net, x)
    assert traces.is_shared and steps[0].margin.shape == (1, 1, 2)  # one trace per input, the bias is one
    # x̄: 0, 1/2, 1/4, (1/4 + 1)/2 … before the threshold
    assert [s.margin[0, 0, 0].item() for s in steps] == pytest.approx([0, 1 / 2, 1 / 4, (1 / 4 + 1) / 2, (1 / 4 + 1) / 4])
    assert [s.margin[0, 0, 1].item() for s in steps] == pytest.approx([0, 1 / 2, 3 / 4, 7 / 8, 15 / 16])
    # v is .8 times that and below 1, so h = 1/(1 + |v - 1|)²
    assert [s.slope.item() for s in steps] == pytest.approx([1 / (1 + abs(0.8 * k - 1)) ** 2 for k in (0, 0.5, 0.25, 0.625, 0.3125)])
    # the read-out halves, too, and hears a spike in the step in which it is fired
    filter = filter_of(stages(net)[1])
    assert filter.a.tolist() == [[pytest.approx(0.5)]] and filter.b.tolist() == [1.0]


def test_a_reset_to_a_value_ends_the_trace_and_a_refractory_neuron_keeps_none():
    spec = neuron("lif_delta").with_defaults(v_rest=0.0, v_reset=0.0, v_threshold=1.0, tau_mem=HALVES, tau_ref=3.0)
    net = stack("FC1-FC1", neuron=spec, readout=leaky_integrator(), dt_ms=1.0, input_shape=(1,), dtype=DOUBLE, surrogate=fast_sigmoid(1.0))
    with torch.no_grad():
        net.get_parameter("parts.fc1.module.fc1.weight").fill_(3.0)  # mV: one spike makes it fire in the next step
        net.get_parameter("parts.fc1.module.fc1.bias").fill_(0.0)
    traces, steps = traces_of(net, torch.ones(6, 1, 1, dtype=DOUBLE))
    assert not traces.is_shared
    # fires in step 1; deaf and at rest in steps 2 and 3 (Brian2 counts the spike's own step as the first of three); hears again in step 4
    assert [s.slope.item() > 0 for s in steps] == [True, True, False, False, True, True]
    assert [s.margin[0, 0, 0].item() for s in steps] == pytest.approx([0, 0.5e-3, 0, 0, 0, 0.5e-3])


ALIF = NeuronSpec(
    name="alif",
    equations="""
        dv/dt = -v/tau_mem : 1
        da/dt = -a/tau_a : 1
    """,
    parameters={"tau_mem": Parameter(20, "ms", "(0, inf)"), "tau_a": Parameter(100, "ms", "(0, inf)"), "rise": Parameter(0.3, "1")},
    threshold="v > 1 + rise*a",
    reset="v -= 1; a += 1",
    inputs=("v",),
    source="Bellec et al. 2020, Methods, with inputs that arrive after the threshold",
)


def test_the_adaptive_threshold_is_that_of_the_paper():
    """ε_a(t+1) = h ε_v + (ρ - h β) ε_a and e = h (ε_v - β ε_a) (Methods, ALIF); here the jump of a decays with a, as all of it does."""
    x, T = spikes(), 24
    net = net_of("FC9-FC3", ALIF, weights=2.0)
    stage = stages(net)[0]
    wires = synapses(net, stage)
    traces = Traces(stage, wires, 4, through=frozenset({"a"}))
    z, run = stage.run(x, ("v", "a"))
    found = list(traces.advance(x, run))
    assert not traces.is_shared and z.sum() > 10
    decay, rho = math.exp(-1 / 20), math.exp(-1 / 100)
    v, a = (run.states[stage.name][s].detach() for s in ("v", "a"))
    eps_v, eps_a = torch.zeros(4, 1, 8, dtype=DOUBLE), torch.zeros(4, 9, 8, dtype=DOUBLE)
    presynaptic = torch.cat([x, torch.ones(T, 4, 1, dtype=DOUBLE)], dim=2)
    for t in range(T):
        eps_v, eps_a = decay * eps_v, rho * eps_a
        h = (1 / (2 * (decay * v[t] - 1 - 0.3 * rho * a[t]).abs() + 1) ** 2)[..., None]
        e = h * (eps_v - 0.3 * eps_a)
        assert torch.allclose(found[t].slope * found[t].margin, e, rtol=1e-12, atol=1e-15)
        eps_v, eps_a = eps_v + presynaptic[t][:, None], eps_a + e


# -- against backpropagation -------------------------------------------------------------------------------------------

CASES = [
    (leaky(), 1.0, {}),
    (neuron("cuba_lif"), 3.0, {"readout": "leaky_readout", "dt_ms": 0.5}),
    (neuron("adaptive_lif"), 3.0, {"readout": "leaky_readout", "dt_ms": 0.5}),
    (neuron("alpha_lif"), 3.0, {"readout": "leaky_readout", "dt_ms": 0.5}),
    (neuron("lif_delta"), 60.0, {"dt_ms": 0.5}),
    (neuron("izhikevich"), 30.0, {"readout": "leaky_readout", "dt_ms": 0.5, "scheme": "rk4"}),
]


@pytest.mark.parametrize(
    ("spec", "weights", "options", "detach_reset"),
    [(*case, detached) for detached, cases in ((True, CASES), (False, CASES[:3])) for case in cases],
    ids=lambda c: getattr(c, "name", None),
)
def test_one_layer_without_recurrence_has_the_gradient_of_bptt(spec, weights, options, detach_reset):
    loss = millivolts if "readout" in options else step_cross_entropy
    net, x = net_of("FC9-FC3", spec, weights=weights, detach_reset=detach_reset, **options), spikes(32)
    wanted = Bptt(loss)(net, x, LABELS)
    assert all(counts.mean() > 0.5 for counts in wanted.counts.values())
    for chunk_steps in (11, 32):
        found = EProp(loss=loss, chunk_steps=chunk_steps)(net, x, LABELS)
        assert_equal(found.gradients, wanted.gradients)
        assert found.loss.item() == pytest.approx(wanted.loss.item()) and torch.allclose(found.output, wanted.output)


def test_it_holds_for_inputs_that_act_in_their_own_step_and_neurons_that_differ():
    rng = np.random.default_rng(0)
    net = net_of("FC9-FC3", order=RECEIVE_FIRST, parameters={"tau_mem": {"neurons1": rng.uniform(5, 30, 9)}})
    assert_equal(EProp(chunk_steps=8)(net, spikes(), LABELS).gradients, Bptt()(net, spikes(), LABELS).gradients)


@pytest.mark.parametrize("order", [None, RECEIVE_FIRST])
def test_with_recurrence_it_is_bptt_whose_way_through_other_neurons_is_cut(order):
    net, x = net_of("FC9R-FC3", weights=1.5, **({"order": order} if order else {})), spikes()
    lesson = EProp(chunk_steps=7)(net, x, LABELS)
    hidden, last = stages(net)
    z, _ = hidden.run(x)
    z = z.detach()
    assert z.sum() > 50
    # the same layer with its own spikes as one more input that is given
    back = z if order is None else torch.cat([torch.zeros_like(z[:1]), z[:-1]])
    names = list(lesson.gradients)
    given = [net.get_parameter(n) for n in names]
    weight, bias, recurrent = given[:3]
    alone = SpikingLayer(
        leaky(), 9, dt_ms=1.0, surrogate=fast_sigmoid(2.0), dtype=DOUBLE, kernels="torch", **({"order": order} if order else {})
    )
    again = alone(x @ weight.T + bias + back @ recurrent.T)
    assert torch.equal(again, z)
    output, _ = last.run(again)
    wanted = dict(zip(names, torch.autograd.grad(step_cross_entropy(output, LABELS), given)))
    assert_equal(lesson.gradients, wanted)
    assert (lesson.gradients[names[0]] - Bptt()(net, x, LABELS).gradients[names[0]]).abs().max() > 1e-3  # which leaves something out


def test_true_learning_signals_make_the_gradient_of_a_deep_network():
    """dE/dW = Σ_t dE/dS(t) e(t), eq. 1 of the paper, of all layers."""
    net, x = net_of("FC9-FC8-FC3", weights=2.0), spikes()
    signals = true_signals(net, x, LABELS)
    assert signals["neurons1"].shape == (24, 4, 9) and signals["neurons1"].any()
    found = learn_online(net, x, LABELS, lambda piece: signals, loss=step_cross_entropy, through_readout=False, chunk_steps=24)
    assert_equal(found.gradients, Bptt()(net, x, LABELS).gradients)


def test_with_random_feedback_and_no_recurrence_it_is_direct_feedback_alignment():
    net, x = net_of("FC9-FC8-FC3", weights=2.0), spikes()
    assert_equal(EProp(Random(3))(net, x, LABELS).gradients, DirectFeedbackAlignment(3)(net, x, LABELS).gradients)
    other = EProp(Random(4))(net, x, LABELS).gradients
    assert not torch.allclose(
        other["parts.fc1.module.fc1.weight"], EProp(Random(3))(net, x, LABELS).gradients["parts.fc1.module.fc1.weight"]
    )


@pytest.mark.parametrize("spec", [leaky(), ALIF], ids=lambda s: s.name)
def test_the_length_of_a_piece_changes_nothing(spec):
    net, x = net_of("FC9R-FC8R-FC3", spec, weights=2.0), spikes()
    whole = EProp(chunk_steps=100)(net, x, LABELS)
    for chunk_steps in (1, 7):
        piecewise = EProp(chunk_steps=chunk_steps)(net, x, LABELS)
        assert_equal(piecewise.gradients, whole.gradients, tolerance=1e-12)
        assert all(torch.equal(piecewise.counts[n], whole.counts[n]) for n in whole.counts)


# -- feedback ------------------------------------------------------------------------------------------------------------


def test_adaptive_feedback_meets_the_weights():
    """Both get the same updates and decay, so their difference shrinks by 1 - rate · decay each time, whatever is learned."""
    net, x = net_of("FC9-FC3"), spikes()
    feedback = Adaptive(net, seed=1, decay=0.1)
    rule, output = EProp(feedback), net.get_parameter("parts.fc2.module.fc2.weight")
    apart = (feedback.weight - output).detach()
    for _ in range(5):
        rule(net, x, LABELS).objective(net).backward()
        with torch.no_grad():
            for p in (*net.parameters(), *feedback.parameters()):
                p -= 0.5 * p.grad
                p.grad = None
    assert torch.allclose((feedback.weight - output).detach(), apart * (1 - 0.5 * 0.1) ** 5, rtol=1e-10)


def test_symmetric_feedback_of_a_lower_layer_is_the_product_of_the_weights():
    net = net_of("FC9-FC8-FC3")
    w2, w3 = (net.get_parameter(f"parts.fc{k}.module.fc{k}.weight") for k in (2, 3))
    matrices = EProp().feedback.matrices(net)
    assert torch.equal(matrices["neurons2"], w3) and torch.allclose(matrices["neurons1"], w3 @ w2)


# -- what it cannot do ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: net_of("FC9-FC3", readout=None), "the last layer 'neurons2', of 'leaky', spikes"),
        (lambda: net_of("FC3"), "has no hidden layer"),
        (lambda: net_of("FC9-FC3", surrogate=None), "has no surrogate gradient"),
        (lambda: net_of("FC9-FC3", trainable_parameters=("tau_mem",)), "trains tau_mem"),
        (lambda: net_of("FC9d5-FC3"), "before 'neurons1' stands DelayedLinear"),
        (
            lambda: net_of("FC9-FC3", neuron("hh_neuron"), scheme="exponential_euler", readout="leaky_readout"),
            "'.*' is refractory until|receptors",
        ),
        (lambda: net_of("FC9-FC3", parameters={"tau_mem": {"neurons2": np.array([5.0, 10, 20])}}), "not linear or differ"),
    ],
)
def test_networks_it_does_not_serve_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        EProp()(make(), spikes(), LABELS)


def test_bad_input_is_named():
    net = net_of("FC9-FC3")
    with pytest.raises(ValueError, match=r"x has shape \(4, 7\)"):
        EProp()(net, spikes()[0], LABELS)
    with pytest.raises(ValueError, match="3 labels"):
        EProp()(net, spikes(), LABELS[:3])
    with pytest.raises(ValueError, match="chunk_steps = 0"):
        EProp(chunk_steps=0)(net, spikes(), LABELS)
    with pytest.raises(ValueError, match="decay = 0"):
        Adaptive(net, decay=0)
    images = stack("4C3-FC3", neuron=leaky(), readout=leaky_integrator(), dt_ms=1.0, input_shape=(1, 5, 5), surrogate=fast_sigmoid())
    with pytest.raises(ValueError, match="before 'neurons1' stands Conv2d; rules with traces work on one fully connected layer"):
        EProp()(images, torch.zeros(3, 2, 1, 5, 5), LABELS[:2])
    blocks = stack(
        "4C3p1-4SEW3-FC3", neuron=leaky(), readout=leaky_integrator(), dt_ms=1.0, input_shape=(1, 5, 5), surrogate=fast_sigmoid(), steps=3
    )
    with pytest.raises(ValueError, match="two ways side by side"):
        EProp()(blocks, torch.zeros(3, 2, 1, 5, 5), LABELS[:2])
