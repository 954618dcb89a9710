"""Convolutional studies: images are moved as they say, networks start as they say, and all of them learn."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from spiketwin.experiments import experiment, results_page
from spiketwin.experiments.data import Dataset, Samples
from spiketwin.experiments.protocol import COMMITTED, Result, summary
from spiketwin.experiments.protocol import load as load_result
from spiketwin.experiments.studies.gradients import (
    conv_snn,
    deep_spike_backprop,
    fashion_conv,
    image_classifier,
    lenet,
    snn_vs_cnn,
    snn_vs_cnn_claims,
)
from spiketwin.experiments.studies.gradients.image_classifier import Recipe, augmented, few, schedule_of, spiking
from spiketwin.experiments.training import CheckpointError, Schedule
from spiketwin.models.engines.torch.stacks import NormThroughTime
from spiketwin.models.stacks import AT_ONCE
from spiketwin.rules.spike_backprop import SpikeBackprop


def samples(images, maximum=255):
    return Samples(np.asarray(images, dtype=np.uint8).reshape(len(images), -1), np.arange(len(images)) % 10, maximum)


def dataset(shape=(28, 28), count=20):
    part = samples(np.random.default_rng(0).integers(0, 256, (count, *shape)))
    return Dataset("noise", part, part, part, shape, tuple("0123456789"), "all three the same", "drawn")


def draws(*shifts, mirrored=()):
    """Random numbers of which the shifts (down, right) are known."""
    return SimpleNamespace(
        integers=lambda low, high, size: np.array(shifts).T.reshape(size),
        random=lambda size: np.where(np.isin(range(size), mirrored), 0.0, 1.0),
    )


# -- augmentation ----------------------------------------------------------------------------------------------


def test_images_are_moved_and_filled_up_with_nothing():
    image = np.arange(1, 10).reshape(1, 3, 3)
    feed = augmented(1, 0.0, (3, 3))
    given = samples(np.repeat(image, 3, axis=0), maximum=9)
    # 0 and 2 are the ends of a range of one pixel to each side: the window moves, and the image the other way
    moved = feed(given, np.arange(3), draws((1, 1), (0, 1), (2, 0)))
    assert (9 * moved).round().int().tolist() == [
        [[[1, 2, 3], [4, 5, 6], [7, 8, 9]]],
        [[[0, 0, 0], [1, 2, 3], [4, 5, 6]]],
        [[[0, 4, 5], [0, 7, 8], [0, 0, 0]]],
    ]
    # only in training
    assert (9 * feed(given, np.arange(3))).round().int()[1].tolist() == image.tolist()


def test_images_are_mirrored_left_for_right_colour_by_colour():
    colours = np.arange(8).reshape(1, 2, 2, 2).repeat(2, axis=0)
    shown = augmented(0, 0.5, (2, 2, 2))(samples(colours, maximum=1), np.arange(2), draws(mirrored=[1]))
    assert shown[0].tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    assert shown[1].tolist() == [[[1, 0], [3, 2]], [[5, 4], [7, 6]]]


def test_every_shift_is_drawn():
    dot = np.zeros((1, 5, 5), np.uint8)
    dot[0, 2, 2] = 1
    shown = augmented(2, 0.0, (5, 5))(samples(dot.repeat(500, axis=0), maximum=1), np.arange(500), np.random.default_rng(0))
    assert (shown.sum((1, 2, 3)) == 1).all()
    assert (shown.sum(0) > 0).all()  # 25 places, 20 images each on average


# -- networks --------------------------------------------------------------------------------------------------

STARTS = {
    "lenet": lambda data, seed: spiking(lenet.Config(), data, seed),
    "fashion_conv": lambda data, seed: spiking(fashion_conv.Config(), data, seed, order=AT_ONCE),
    "conv_snn": lambda data, seed: conv_snn.classifier(conv_snn.Config(), data, seed),
    "snn_vs_cnn": lambda data, seed: snn_vs_cnn.spiking(snn_vs_cnn.Config(), data, 5, seed),
}


@pytest.mark.parametrize("name", STARTS)
def test_a_seed_makes_the_same_weights_whatever_was_drawn_before(name):
    data = dataset()
    one, again, other = (list(STARTS[name](data, seed).net.parameters()) for seed in (3, 3, 4) if torch.rand(1) < 2)
    assert all(torch.equal(a, b) for a, b in zip(one, again))
    assert not torch.equal(one[0], other[0])


def test_the_price_of_weights_is_half_their_squares():
    data = dataset()
    recipe = Recipe("4C5-AP2-BN-FC10", steps=4)
    free, dear = spiking(recipe, data, 0), spiking(replace(recipe, weight_decay=0.1), data, 0)
    labels = torch.arange(5)
    losses = [made.loss(made.run(data.train, np.arange(5)), labels).item() for made in (free, dear)]
    weights = [p for name, p in dear.net.named_parameters() if name.endswith(("conv1.weight", "fc2.weight"))]
    assert [tuple(w.shape) for w in weights] == [(4, 1, 5, 5), (10, 4 * 12 * 12)]
    assert losses[1] - losses[0] == pytest.approx(0.05 * sum(w.square().sum().item() for w in weights), rel=1e-3)


def test_smoothed_labels_and_a_norm_for_each_step():
    data, recipe = dataset(), Recipe("4C5-AP2-BN-FC10", steps=4, smoothing=0.2, norm="through_time")
    made = spiking(recipe, data, 0)
    assert any(isinstance(m, NormThroughTime) for m in made.net.modules())
    run = made.run(data.train, np.arange(5))
    log_p = torch.log_softmax(run.output.mean(0), 1)
    by_hand = -(0.8 * log_p[range(5), range(5)] + 0.2 * log_p.mean(1)).mean()
    assert made.loss(run, torch.arange(5)).item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_the_first_images_are_named_in_the_split():
    assert few(dataset(), 10, 5, 3).split == "the first 10 / 5 / 3 of all three the same"
    assert len(few(dataset(), 10, 5, 3).test) == 3
    assert schedule_of(Recipe("FC10")).rate(0, 1000) == pytest.approx(2e-3 / 50)


def test_larger_first_weights_begin_with_a_small_learning_rate():
    """Of conv_snn, counts alone: the network of membranes has torch's weights and the rate of before."""
    config, data = replace(conv_snn.Config(), layers="2C5-MP2-4C5-MP2-64FC10", steps=2), dataset()
    counted, of_membranes = (dict(conv_snn.classifier(config, data, 0, of_membranes=how).net.named_parameters()) for how in (False, True))
    assert len(counted) > 5
    for name, values in counted.items():
        torch.testing.assert_close(values, (3.0 if name.endswith("weight") else 1.0) * of_membranes[name])
    rising, falling = conv_snn.schedule(config), conv_snn.schedule(config, of_membranes=True)
    assert rising.rate(0, 400) < 0.1 * config.learning_rate < 0.9 * config.learning_rate < rising.rate(20, 400)
    assert falling.rate(0, 400) > 0.99 * config.membrane_learning_rate
    assert conv_snn.schedule(config, ends_early=True).rate(149, 150) == config.learning_rate


@pytest.mark.parametrize("rule", deep_spike_backprop.RULES)
@pytest.mark.parametrize("network", ["vgg", "resnet"])
def test_every_weight_of_the_deep_networks_learns_by_each_rule(network, rule):
    small = {"vgg": "4C3p1-AP4-BN-6C3p1-BN-6C3p1-AP2-BN-FC10", "resnet": "4C3p1-AP4-BN-4MS3-6MS3s2-N-GAP-FC10"}
    data = dataset()
    made = deep_spike_backprop.classifier(deep_spike_backprop.Config(), small[network], data, rule, 0)
    assert any(isinstance(m, SpikeBackprop) for m in made.net.modules()) == (rule == "lee")
    run = made.run(data.train, np.arange(20))
    made.loss(run, torch.as_tensor(data.train.labels)).backward()
    silent = [name for name, p in made.net.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent and all(s.sum() > 0 for s in run.spikes.values())
    # the output is V(T)/T: eight steps of what the last layer adds
    assert made.scores(run).shape == (20, 10) and torch.equal(made.scores(run), run.output[-1] / 8)


def test_rules_start_from_the_same_weights():
    config, data = deep_spike_backprop.Config(), dataset()
    nets = [deep_spike_backprop.classifier(config, "4C5-AP2-FC10", data, rule, 1).net for rule in deep_spike_backprop.RULES]
    states = [net.state_dict() for net in nets]
    assert all(list(s) == list(states[0]) and all(torch.equal(s[k], states[0][k]) for k in s) for s in states)
    outputs = [net(torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0)), steps=8).output for net in nets]
    assert outputs[0].abs().max() > 0 and all(torch.equal(outputs[0], o) for o in outputs)


def test_tasks_are_those_whose_data_are_there(monkeypatch):
    from spiketwin.experiments.data import folders

    config = deep_spike_backprop.Config()
    monkeypatch.setattr(folders, "find", lambda files: None)
    assert list(deep_spike_backprop.tasks(config)) == ["lenet_mnist", "vgg_fashion", "resnet_fashion"]
    monkeypatch.setattr(folders, "find", lambda files: {"archive": "there"})
    everything = [f"{net}_{data}" for data in ("fashion", "cifar10", "svhn") for net in ("vgg", "resnet")]
    assert list(deep_spike_backprop.tasks(replace(config, lenet=""))) == everything


# -- smoke -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, data", [("lenet", "mnist"), ("fashion_conv", "fashion-mnist")])
def test_forty_batches_teach_something(name, data, data_dir):
    data_dir(data)
    result = experiment(name).smoke()
    assert result.mean("spikes_per_neuron") > 0.1
    # chance is 10 %; the least of five seeds was 62
    assert result.mean("validation_accuracy") > 40
    assert len(result.curves["history"]) == 2 and result.seeds == (0,)


def test_rules_are_compared(data_dir):
    data_dir("mnist")
    result = experiment("deep_spike_backprop").smoke()
    assert set(result.curves) == {f"lenet_mnist_{rule}" for rule in deep_spike_backprop.RULES}
    (axes,) = deep_spike_backprop.draw(result).axes
    assert axes.get_title("left") == "lenet, mnist" and [t.get_text() for t in axes.get_legend().get_texts()] == [
        "lee",
        "fast sigmoid",
        "arctan",
    ]
    first = axes.lines[0]
    assert first.get_ydata()[-1] == result.curves["lenet_mnist_lee"][-1]["validation_accuracy"]
    for rule in deep_spike_backprop.RULES:
        assert result.mean(f"spikes_per_neuron_lenet_mnist_{rule}") > 0
        assert result.mean(f"validation_accuracy_lenet_mnist_{rule}") > 30  # the least of five seeds was 65
        assert result.mean(f"learning_rate_lenet_mnist_{rule}") == 1e-2


def test_a_batch_goes_to_where_the_network_is():
    made = snn_vs_cnn.still(snn_vs_cnn.Config(), dataset(), 0)
    made.net.to("meta")
    assert made.run(made.data.train, np.arange(4)).output.device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@pytest.mark.parametrize("kind", ["still", "spiking"])
def test_a_classifier_learns_on_the_gpu(kind):
    config, data = snn_vs_cnn.Config(), dataset(count=40)
    made = snn_vs_cnn.still(config, data, 0) if kind == "still" else snn_vs_cnn.spiking(config, data, 5, 0)
    history = made.train("on the GPU", Schedule(2, 10, 1e-3), 0, quiet=True)
    assert next(made.net.parameters()).is_cuda
    assert np.isfinite([row["loss"] for row in history]).all()
    assert made.accuracy(data.test) == pytest.approx(replace(made, net=made.net.cpu()).accuracy(data.test))


def test_timed_steps_take_turns_and_leave_weights_as_they_are():
    config, data = snn_vs_cnn.Config(batch_size=8), dataset(count=20)
    made = {"cnn": snn_vs_cnn.still(config, data, 0), "snn_5": snn_vs_cnn.spiking(config, data, 5, 0)}
    before = [p.clone() for one in made.values() for p in one.net.parameters()]
    spent = snn_vs_cnn.seconds_per_step(made, config, 3)
    assert {name: s.shape for name, s in spent.items()} == {"cnn": (3,), "snn_5": (3,)} and (spent["cnn"] > 0).all()
    for p, q in zip(before, (p for one in made.values() for p in one.net.parameters()), strict=True):
        assert torch.equal(p, q) and q.grad is None


def test_the_committed_result_bears_out_what_snn_vs_cnn_says_of_the_report():
    result = load_result(COMMITTED / "snn_vs_cnn.json")
    steps, seeds = result.config["steps"], range(len(result.seeds))
    assert result.mean("epoch_ratio_snn_10") < 5 < result.mean("epoch_ratio_snn_25")
    for name in ("cnn", *(f"snn_{s}" for s in steps)):
        assert all(np.mean([result.curves[name][seed][epoch]["validation_accuracy"] for seed in seeds]) > 95 for epoch in (1, 2, 3, 4))
    assert all(result.mean("test_accuracy_cnn") > result.mean(f"test_accuracy_snn_{s}") for s in steps)
    verdicts = [claim.verdict for claim in snn_vs_cnn_claims.claims(result)]
    assert verdicts == ["holds in part", "does not hold", "does not hold", "does not hold"]


def against(cnn, snn, ratio=5.0, test=(95.0, 95.0)):
    """A result of two seeds, alike but for the tenth by which tests of the second are better, of a CNN of 6 s an epoch and an SNN of ten
    steps; cnn, snn: validation accuracies after each epoch."""
    curves = {
        name: [[{"validation_accuracy": a, "seconds": 30.0} for a in reached]] * 2 for name, reached in (("cnn", cnn), ("snn_10", snn))
    }
    values = {"seconds_per_epoch_cnn": 6.0, "seconds_per_epoch_snn_10": 6.0 * ratio, "epoch_ratio_snn_10": ratio}
    metrics = {name: summary([value] * 2) for name, value in values.items()}
    metrics |= {f"test_accuracy_{name}": summary([t, t + 0.1]) for name, t in zip(("cnn", "snn_10"), test)}
    return Result("snn_vs_cnn", "What?", {"steps": [10]}, (0, 1), metrics, curves)


def test_the_claims_of_the_report_hold_where_the_result_is_its_own():
    # 95 % after one epoch of five times the CNN's six seconds, and after five epochs of it
    found = snn_vs_cnn_claims.claims(alike := against(cnn=(80, 90, 92, 94, 95), snn=(95, 96, 96, 96, 96)))
    assert [claim.verdict for claim in found] == ["holds"] * 4
    assert snn_vs_cnn_claims.minutes_to(alike, "cnn").tolist() == snn_vs_cnn_claims.minutes_to(alike, "snn_10").tolist() == [0.5, 0.5]
    assert "5.0 (CNN), 1.0 (10 steps)" in found[1].evidence and "0.50 (CNN), 0.50 (10 steps)" in found[2].evidence


def test_the_claims_of_the_report_fall_where_the_result_contradicts():
    other = against(cnn=(96, 97), snn=(94, 95), ratio=3.0, test=(99.0, 98.0))
    found = snn_vs_cnn_claims.claims(other)
    assert [claim.verdict for claim in found] == ["does not hold"] * 4
    assert found[3].evidence.endswith("the CNN ends above each of them")
    never = snn_vs_cnn_claims.claims(against(cnn=(96, 97), snn=(90, 94)))
    assert [claim.verdict for claim in never[1:3]] == ["cannot be told"] * 2


def test_the_page_says_what_became_of_the_report_and_how_long_training_took(tmp_path, monkeypatch):
    for name, path in (("COMMITTED", "results"), ("BENCHMARKS", "benchmarks"), ("PAGE", "docs/results.md")):
        monkeypatch.setattr(results_page, name, tmp_path / path)
    result = against(cnn=(96, 97), snn=(94, 95), ratio=3.0)
    replace(result, provenance={"wall_s": 100.0}).write(tmp_path / "results" / "snn_vs_cnn.json")
    text = results_page.render()
    # two epochs of 18 s
    assert "| 10 steps | 95.05 ± 0.07 | 18.0 ± 0.0 | 2.0 ± 0.0 | 0.60 ± 0.00 |" in text
    assert "- An epoch of the SNN costs 5 of the CNN: **does not hold**; it costs 3.0 (10 steps)." in text
    # two networks, two seeds, two epochs of 30 s: more than the 100 s of the run
    assert "Training of all networks together: 4.00 min; the run timed here went on from earlier ones" in text
    assert text.index("What the published report says") < text.index("| quantity | result |")


# -- settings --------------------------------------------------------------------------------------------------


def test_a_network_does_not_go_on_from_a_checkpoint_of_other_settings(tmp_path):
    config = snn_vs_cnn.Config(channels=(2, 2), steps=(2,), epochs=1, batch_size=10)

    def train(config):
        how = Schedule(config.epochs, config.batch_size, config.learning_rate)
        image_classifier.train(snn_vs_cnn.spiking(config, dataset(), 2, 0), "study", "snn_2", how, 0, tmp_path, quiet=True)

    train(config)
    with pytest.raises(CheckpointError, match=r"snn_2_0.safetensors is from other settings \(slope was 25.0, is 5.0\)"):
        train(replace(config, slope=5.0))
    train(replace(config, steps=(2, 4), timed_steps=1))  # which networks there are, and how they are timed, changes none


@pytest.mark.parametrize("beta", [0.0, 1.0, 1.5, float("nan")])
@pytest.mark.parametrize(("study", "name"), [(snn_vs_cnn, "beta"), (conv_snn, "beta"), (conv_snn, "wide_beta")])
def test_a_share_that_no_step_can_leave_is_named(study, name, beta):
    with pytest.raises(ValueError, match=f"{name} = {beta} is the share of the membrane that a step leaves; give more than 0"):
        study.Config(**{name: beta})


def test_a_study_without_epochs_or_rates_is_refused_before_it_trains():
    for study in (conv_snn, deep_spike_backprop):
        with pytest.raises(ValueError, match="epochs = 0 must be positive"):
            study.Config(epochs=0)
    for rates in ((), (1e-3, 0.0)):
        with pytest.raises(ValueError, match="learning_rates = .* must be positive, at least one"):
            deep_spike_backprop.Config(learning_rates=rates)
