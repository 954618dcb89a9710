"""The rules besides e-prop: what each is when its random weights are the network's own, and against losses that torch differentiates."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from spiketwin.models import stack
from spiketwin.models.stacks.cells import leaky, leaky_integrator
from spiketwin.rules.local import (
    LOCAL_RULES,
    Bptt,
    Decolle,
    DirectFeedbackAlignment,
    EProp,
    FeedbackAlignment,
    Lesson,
    Neuromodulated,
    failure,
    feedback_alignment,
    local_rule,
    localities,
    surprise,
    true_signals,
)
from spiketwin.rules.local.decolle import local_readouts
from spiketwin.rules.local.feedback import drawn
from spiketwin.rules.local.layers import stages
from spiketwin.rules.losses import step_cross_entropy
from spiketwin.rules.surrogate import fast_sigmoid

DOUBLE = torch.float64
LABELS = torch.tensor([0, 1, 2, 1])


def net_of(text, shape=(7,), **options):
    options = {"neuron": leaky(), "readout": leaky_integrator(), "dtype": DOUBLE, "seed": 0, "kernels": "torch"} | options
    net = stack(text, dt_ms=1.0, input_shape=shape, surrogate=fast_sigmoid(2.0), **options)
    with torch.no_grad():
        next(net.parameters()).mul_(2)
    return net


def spikes(*shape):
    return (torch.rand(*(shape or (30, 4, 7)), generator=torch.Generator().manual_seed(1), dtype=DOUBLE) < 0.4).to(DOUBLE)


def assert_equal(found, wanted, tolerance=1e-10):
    assert set(found) == set(wanted)
    for name, one in wanted.items():
        assert one.abs().max() > 0 and (found[name] - one).abs().max() / one.abs().max() < tolerance, name


# -- local losses -------------------------------------------------------------------------------------------------------


def test_decolle_is_the_gradient_of_each_layers_own_loss():
    """No recurrence and no gradient through the reset: then forward in time and backward are the same."""
    net, x = net_of("FC9-FC8-FC3"), spikes()
    lesson = Decolle(seed=5, gain=2.0, chunk_steps=7)(net, x, LABELS)
    readouts, wanted, z = local_readouts(net, 5, 2.0), {}, x
    called = {id(p): name for name, p in net.named_parameters()}
    for stage in stages(net):
        out, _ = stage.run(z)
        y = out if stage.is_readout else out @ readouts[stage.name]
        own = list(stage.parts.parameters())
        wanted |= {called[id(p)]: g for p, g in zip(own, torch.autograd.grad(step_cross_entropy(y, LABELS), own))}
        z = out.detach()
    assert all(counts.mean() > 0.5 for counts in lesson.counts.values())
    assert_equal(lesson.gradients, wanted)


def test_a_local_readout_is_fixed_and_another_seed_is_another():
    net = net_of("FC9-FC8-FC3")
    first, again, other = (local_readouts(net, seed, 2.0)["neurons1"] for seed in (1, 1, 2))
    assert first.shape == (9, 3) and torch.equal(first, again) and not torch.equal(first, other)
    assert 0.5 < first.abs().max() <= 2 / 3  # ±gain/sqrt(9)


def test_a_modulator_scales_what_layers_learn():
    net, x = net_of("FC9-FC8R-FC3"), spikes()
    plain = Decolle(seed=5)(net, x, LABELS).gradients
    always = Neuromodulated(lambda output, labels: torch.ones(output.shape[:2], dtype=DOUBLE), seed=5)(net, x, LABELS).gradients
    assert_equal(always, plain)
    never = Neuromodulated(lambda output, labels: torch.zeros(output.shape[:2], dtype=DOUBLE), seed=5)(net, x, LABELS).gradients
    assert not never["parts.fc1.module.fc1.weight"].any() and torch.equal(
        never["parts.fc3.module.fc3.weight"], plain["parts.fc3.module.fc3.weight"]
    )
    # of one trial alone: the modulator is of a trial and a step
    only = Neuromodulated(lambda output, labels: (torch.arange(4) == 2).to(DOUBLE).expand(len(output), 4), seed=5)(net, x, LABELS).gradients
    alone = Decolle(seed=5)(net, x[:, 2:3], LABELS[2:3]).gradients
    assert torch.allclose(only["parts.fc1.module.fc1.weight"], alone["parts.fc1.module.fc1.weight"] / 4)


def test_modulators_by_hand():
    # p = softmax(ln 3, 0) = (3/4, 1/4)
    output = torch.tensor([[[1.0986122886681098, 0.0], [1.0986122886681098, 0.0]]], dtype=DOUBLE)
    labels = torch.tensor([0, 1])
    assert surprise(output, labels).tolist() == [[pytest.approx(1 / 4), pytest.approx(3 / 4)]]
    assert failure(output, labels).tolist() == [[0, 1]]


# -- random weights on the way back -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["FC9-FC8R-FC3", "FC9-FC8-FC7-FC3"])
def test_feedback_alignment_with_the_networks_own_weights_is_bptt(text, monkeypatch):
    net, x = net_of(text), spikes()
    wanted = Bptt()(net, x, LABELS)
    random = FeedbackAlignment()(net, x, LABELS)
    assert torch.equal(random.output, wanted.output)  # what goes forward is the network's own, bit for bit
    assert not torch.allclose(random.gradients["parts.fc1.module.fc1.weight"], wanted.gradients["parts.fc1.module.fc1.weight"])
    own = {name: random.gradients[name] for name in random.gradients if ".fc3." in name and text.endswith("R-FC3")}
    assert all(torch.allclose(g, wanted.gradients[name]) for name, g in own.items())  # nothing random lies behind the last layer
    monkeypatch.setattr(
        feedback_alignment, "random_weights", lambda module, seed, name: {n: p.detach() for n, p in module.named_parameters()}
    )
    assert_equal(FeedbackAlignment()(net, x, LABELS).gradients, wanted.gradients)


def test_feedback_alignment_by_hand():
    """δ of the hidden spikes is δ_out B, and what a layer does with it is its own."""
    net, x = net_of("FC9-FC3"), spikes()
    found = FeedbackAlignment(seed=2)(net, x, LABELS).gradients
    hidden, last = stages(net)
    z, _ = hidden.run(x)
    currents = last.parts["fc2"](z.detach()).requires_grad_()
    (error,) = torch.autograd.grad(step_cross_entropy(_membrane(last, currents), LABELS), currents)
    back = drawn((3, 9), 2, "fc2.fc2.weight", net.like)
    weight = net.get_parameter("parts.fc1.module.fc1.weight")
    (wanted,) = torch.autograd.grad(z, weight, error @ back)
    assert torch.allclose(found["parts.fc1.module.fc1.weight"], wanted, rtol=1e-10) and wanted.any()


def _membrane(last, currents):
    done = last.layer.run(currents, record=("v",))
    return torch.cat([done.states["v"][1:], done.final["v"][None]])


def test_direct_feedback_with_the_output_weights_is_bptt_of_one_hidden_layer(monkeypatch):
    net, x = net_of("FC9R-FC3"), spikes()
    weight = net.get_parameter("parts.fc2.module.fc2.weight").detach()
    monkeypatch.setattr(feedback_alignment, "drawn", lambda shape, seed, name, like: weight)
    assert_equal(DirectFeedbackAlignment()(net, x, LABELS).gradients, Bptt()(net, x, LABELS).gradients)


@pytest.mark.parametrize("rule", [FeedbackAlignment(), DirectFeedbackAlignment(), Bptt()], ids=lambda r: r.name)
def test_convolutions_learn_by_random_feedback(rule):
    net = net_of("4C3-MP2-6C2-FC3", (1, 8, 8))
    lesson = rule(net, spikes(12, 4, 1, 8, 8) * 2, LABELS)
    assert set(lesson.gradients) == {name for name, _ in net.named_parameters()}
    assert all(torch.isfinite(g).all() and g.any() for g in lesson.gradients.values())
    assert torch.equal(lesson.output, Bptt()(net, spikes(12, 4, 1, 8, 8) * 2, LABELS).output)


# -- all alike ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOCAL_RULES)
def test_every_rule_learns_a_toy_task(name):
    """Three classes, each with inputs of its own, in 20 updates, from a loss of log 3."""
    net, rule = net_of("FC20R-FC16-FC3"), local_rule(name)
    x = torch.zeros(15, 12, 7, dtype=DOUBLE)
    labels = torch.arange(12) % 3
    for b in range(12):
        x[(torch.arange(15) + b) % 3 == 0, b, 2 * (b % 3) : 2 * (b % 3) + 2] = 1
    losses = []
    moments = [torch.zeros_like(p) for p in net.parameters()]
    for _ in range(20):
        lesson = rule(net, x, labels)
        lesson.objective(net).backward()
        losses.append(lesson.loss.item())
        with torch.no_grad():
            for p, m in zip(net.parameters(), moments):
                m.mul_(0.9).add_(p.grad.square(), alpha=0.1)
                p -= 0.02 * p.grad / (m.sqrt() + 1e-6)
                p.grad = None
    assert losses[0] > 0.9 and losses[-1] < 0.6 * losses[0]
    assert all(counts.shape[0] == 12 and counts.sum() > 0 for counts in lesson.counts.values())


@pytest.mark.parametrize("name", LOCAL_RULES)
def test_bad_input_is_named(name):
    net, rule, x = net_of("FC9-FC8-FC3"), local_rule(name), spikes()
    for wrong in (x[0], x[:, :, :5], x.flatten(), x[:0]):
        with pytest.raises(ValueError, match=r"x has shape .* give \[T, B, \*\(7,\)\] with a step at least"):
            rule(net, wrong, LABELS)
    with pytest.raises(ValueError, match="there are 3 labels"):
        rule(net, x, LABELS[:3])
    with pytest.raises(ValueError, match="x is of torch.float32, the network of torch.float64"):
        rule(net, x.float(), LABELS)
    with pytest.raises(ValueError, match="labels lie in 1 … 3; give 0 … 2 for 3 classes"):
        rule(net, x, LABELS + 1)
    with pytest.raises(ValueError, match="holds NaN or infinite values"):
        rule(net, x * torch.nan, LABELS)


@pytest.mark.parametrize("name", [n for n in LOCAL_RULES if n != "stdp"])
def test_without_a_surrogate_no_error_comes_back(name):
    """STDP needs none: it has no error."""
    bare = stack("FC9-FC3", dt_ms=1.0, input_shape=(7,), neuron=leaky(), readout=leaky_integrator(), dtype=DOUBLE, seed=0)
    with pytest.raises(ValueError, match="'neurons1' has no surrogate gradient to tell how near a spike was"):
        local_rule(name)(bare, spikes(), LABELS)


def test_bad_constants_are_named():
    net, x = net_of("FC9-FC3"), spikes()
    for gain in (0, -1, float("nan"), float("inf")):
        for rule in (Decolle(gain=gain), Neuromodulated(gain=gain)):
            with pytest.raises(ValueError, match=f"gain = {gain} of the local read-outs must be positive"):
                rule(net, x, LABELS)
    with pytest.raises(ValueError, match="through: unknown state 'theta' of 'FC9-FC3'"):
        EProp(through=frozenset({"theta"}))(net, x, LABELS)
    with pytest.raises(ValueError, match="x has shape"):
        true_signals(net, x[0], LABELS)


def test_a_lesson_fits_an_optimiser():
    net, x = net_of("FC9-FC3"), spikes()
    lesson = local_rule("eprop")(net, x, LABELS)
    value = lesson.objective(net)
    assert value.item() == lesson.loss.item()
    (2 * value).backward()
    for name, p in net.named_parameters():
        assert torch.equal(p.grad, 2 * lesson.gradients[name])
    partial = replace(lesson, gradients={"parts.fc1.module.fc1.weight": lesson.gradients["parts.fc1.module.fc1.weight"]})
    net.zero_grad()
    partial.objective(net).backward()
    assert net.get_parameter("parts.fc2.module.fc2.weight").grad is None
    with pytest.raises(ValueError, match="no parameter of this network"):
        Lesson({"elsewhere": x}, lesson.loss, lesson.output, {}).objective(net)


def test_what_synapses_know_is_listed():
    rows = localities()
    assert len(rows) == len(LOCAL_RULES) and len({row["rule"] for row in rows}) == len(rows)
    assert all(row[column] for row in rows for column in row)
    needs = {row["rule"]: row for row in rows}
    assert needs["BPTT"]["weight transport"] == "yes" and needs["BPTT"]["forward in time"] == "no"
    assert needs["DECOLLE"]["weight transport"] == "no" and needs["DECOLLE"]["a layer waits for"] == "nothing"
    with pytest.raises(ValueError, match="Did you mean 'decolle'"):
        local_rule("decole")
