"""A trained stack passes through the cross-check like a time-to-first-spike network, and a network that is another one does not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from spiketwin.experiments import EXPERIMENTS, experiment
from spiketwin.experiments.crosscheck import trained
from spiketwin.experiments.crosscheck.networks import crosscheck_networks
from spiketwin.experiments.crosscheck.subjects import subject
from spiketwin.experiments.data import Dataset, Samples, load
from spiketwin.experiments.studies.gradients import deep_spike_backprop
from spiketwin.experiments.studies.gradients.classifier import Classifier, StillNetwork, counts, images
from spiketwin.experiments.studies.gradients.image_classifier import Recipe, spiking
from spiketwin.models import stack
from spiketwin.models.stacks import AT_ONCE, leaky, leaky_integrator


def nothing(run, labels):
    raise AssertionError("nothing is trained here")


def classifier(text="3C3-MP2-FC12-FC10", feed=images, scores=counts, steps=12, **how):
    """A network that looks at digits, with large weights so that all layers fire."""
    torch.manual_seed(1)
    net = stack(text, input_shape=(1, 8, 8), neuron=leaky(4.0), dt_ms=1.0, **how)
    with torch.no_grad():
        [p.mul_(3) for p in net.parameters() if p.ndim > 1]
    return Classifier(net, load("digits"), feed, scores, nothing, steps, settings={})


def bright(samples, index, rng=None):
    """Pixels brighter than one half as spikes at even steps."""
    x = (images(samples, index) > 0.5).float()
    return torch.stack([x, torch.zeros_like(x)] * 6)


def found(rows, quantity):
    return [r for r in rows if quantity in r.quantity]


def test_a_stack_is_the_same_in_brian2_and_finer_steps_are_measured():
    network = classifier()
    rows, curves = trained.check(network, samples=15, factors=(1, 2))
    assert {r.level for r in rows} == {"identity", "convergence", "consequence"}
    assert [r.value > 50 for r in rows if r.quantity.endswith("spikes, torch against brian")] == [True] * 3
    assert all(r.ok for r in rows if r.level == "identity" or "at 1 ms" in r.quantity)
    assert len(found(rows, "Brian2 at 1 ms: neurons2 layer")) == len(found(rows, "Brian2 at 0.5 ms: neurons2 layer")) >= 3
    votes = network.scores(network.net.double()(images(network.data.test, np.arange(15)).double(), 12)).argmax(1).numpy()
    assert curves["accuracy"]["reference"] == pytest.approx(100 * np.mean(votes == network.data.test.labels[:15]))
    assert len(curves["distance"]["neurons1"]["van_rossum"][1]) == 15


@pytest.mark.parametrize("study", ["fashion_conv", "deep_spike_backprop"])
def test_studies_whose_neurons_hear_at_once_are_the_same_in_brian2(study):
    """Their networks at the size of a smoke test, after their norms have seen some images."""
    squares = np.kron(np.random.default_rng(0).integers(0, 256, (20, 7, 7)), np.ones((4, 4))).astype(np.uint8)
    part = Samples(squares.reshape(20, -1), np.arange(20) % 10, 255)
    noise = Dataset("noise", part, part, part, (28, 28), tuple("0123456789"), "all three the same", "drawn")
    if study == "fashion_conv":
        made = spiking(Recipe("4C3p1-AP4-BN-6C3p1-AP2-BN-FC16-FC10", steps=4, tau_mem_ms=4.0), noise, 0, order=AT_ONCE)
    else:
        config = replace(deep_spike_backprop.Config(), steps=6)
        made = deep_spike_backprop.classifier(config, "4C3p1-AP4-BN-6MS3-N-GAP-FC10", noise, "lee", 0)
    made.net.train()
    for _ in range(20):
        made.run(part, np.arange(20), np.random.default_rng(1))
    with torch.no_grad():
        [p.mul_(12) for p in made.net.parameters() if p.ndim == 2]  # a full layer without norm would hardly fire
    rows, _ = trained.check(made, samples=6, factors=(1,), name=study)
    assert len(found(rows, "spikes, torch")) == 3 and all(r.value > 20 for r in found(rows, "spikes, torch"))
    assert all(r.ok for r in rows)


def test_a_network_that_is_another_one_fails():
    right = subject(classifier())
    first, *others = right.network.projections
    weights = first.weights.copy()
    weights[0, np.argmax(np.abs(weights[0]))] *= -1
    wrong = replace(right, network=replace(right.network, projections=(replace(first, weights=weights), *others)))
    rows, _ = trained.check(wrong, samples=3, factors=(1,))
    assert [r.ok for r in found(rows, "neurons1 spikes that differ")] == [True]
    assert [r.ok for r in found(rows, "neurons2 spikes that differ")] == [False]


@pytest.mark.parametrize("feed", [images, bright], ids=["numbers", "spikes"])
def test_read_outs_are_compared_whether_numbers_or_spikes_come_in(feed):
    steps = 12 if feed is images else None
    made = subject(classifier("FC8-FC10", feed, lambda run: run.output.amax(0), steps, readout=leaky_integrator(10.0)), "toy")
    assert made.name == "toy" and made.layers == ("neurons1",)
    assert [s.name for s in made.network.sources] == ([] if feed is images else ["input"])
    rows, _ = trained.check(made, samples=10, factors=(1,))
    (off,) = found(rows, "read-out difference over scale")
    assert off.ok and all(r.ok for r in rows) and found(rows, "same prediction")[0].value == 100


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_read_outs_that_never_move_are_said_to_be_silent():
    made = classifier("FC8-FC10", images, lambda run: run.output.amax(0), 12, readout=leaky_integrator(10.0))
    with torch.no_grad():
        [p.zero_() for p in made.net.parameters()]
    rows, _ = trained.check(made, samples=3, factors=(1,))
    (silent,) = found(rows, "read-outs that move")
    assert not silent.ok and silent.value == 0 and not found(rows, "read-out difference")


def test_each_network_of_an_experiment_has_a_report(tmp_path):
    toy = SimpleNamespace(
        __name__="some.toy",
        networks=lambda config, seed, *, folder, quiet: {"toy": classifier("FC10", steps=6), "b": classifier("FC10", steps=6)},
    )
    made = list(crosscheck_networks(toy, None, 3, folder=tmp_path, samples=4, factors=(1,), quiet=True))
    assert [out.name for _, out in made] == ["crosscheck_3", "crosscheck_3_b"]
    assert all((out / name).is_file() for _, out in made for name in ("report.html", "report.json", "report.md"))
    assert [report.checks[0].model for report, _ in made] == ["trained_toy", "trained_toy_b"]
    assert all(report.ok for report, _ in made)
    # with the limit of a step as a refractory period they are the same at the step of training, and fire less often at a finer one
    held = list(crosscheck_networks(toy, None, 3, folder=tmp_path, samples=4, factors=(1, 4), once_per_step=(True,), quiet=True))
    assert [out.name for _, out in held] == ["crosscheck_3_once_per_step", "crosscheck_3_b_once_per_step"]
    (report, _), *_ = held
    assert report.checks[0].model == "trained_toy_once_per_step" and all(r.ok for r in report.checks if r.level == "identity")
    free, _ = trained.check(classifier("FC10", steps=6), samples=4, factors=(1, 4), name="free")
    per_spike = [[r.value for r in rows if "at 0.25 ms" in r.quantity and "per spike" in r.quantity] for rows in (report.checks, free)]
    assert 0 < per_spike[0][0] < per_spike[1][0]
    with pytest.raises(ValueError, match="'none' offers no trained networks"):
        next(crosscheck_networks(SimpleNamespace(__name__="some.none"), None, 0, folder=tmp_path, samples=1, factors=(1,)))


def test_whoever_trains_one_network_offers_it():
    """What learns in batches learns by gradients; rules of synapses have a check of their own, learning included."""
    by_gradients = [name for name in EXPERIMENTS if hasattr(experiment(name).Config(), "batch_size")]
    assert [name for name in EXPERIMENTS if hasattr(experiment(name), "networks")] == by_gradients


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: subject(torch.nn.Linear(2, 2)), TypeError, "a Linear is no trained network"),
        (lambda: subject(replace(classifier(), net=StillNetwork(torch.nn.Flatten())), "cnn"), TypeError, "'cnn' is a StillNetwork"),
        (lambda: trained.check(classifier("FC10"), factors=(2, 4)), ValueError, r"factors \(2, 4\) must begin with 1"),
        (lambda: trained.check(classifier("FC10"), samples=0), ValueError, "samples = 0"),
    ],
)
def test_what_cannot_be_checked_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
