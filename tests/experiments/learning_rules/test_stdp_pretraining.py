"""STDP first, gradient after: contrasts and starts by hand, steps to an accuracy, resuming, and bars learnt from few labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from spiketwin.experiments import experiment
from spiketwin.experiments.data import Dataset, Samples
from spiketwin.experiments.protocol import combine
from spiketwin.experiments.studies.semi_supervised import fine_tuning, pretraining
from spiketwin.experiments.studies.semi_supervised.contrast import difference_of_gaussians, on_and_off
from spiketwin.experiments.studies.semi_supervised.figures import draw_errors, draw_kernels, draw_labels, draw_speed, save_all
from spiketwin.experiments.studies.semi_supervised.fine_tuning import labelled, teach, tune
from spiketwin.experiments.studies.semi_supervised.pretraining import PretrainingError, pretrain
from spiketwin.experiments.studies.semi_supervised.speed import speedups, steps_to
from spiketwin.experiments.studies.semi_supervised.starts import centred, convolutions, network, of_mean_norm, of_norm, shuffled
from spiketwin.experiments.studies.semi_supervised.stdp_pretraining import (
    ALL,
    Config,
    SemiSupervisedError,
    answer,
    worth,
)

SIDE = 16


def bars(count: int, seed: int) -> Samples:
    """Horizontal, vertical and slanting bars at random places."""
    rng = np.random.default_rng(seed)
    labels, images = rng.integers(0, 3, count), np.zeros((count, SIDE, SIDE), np.uint8)
    for image, label, (y, x) in zip(images, labels, rng.integers(2, SIDE - 9, (count, 2))):
        k = np.arange(8)
        image[y + k * (label > 0), x + k * (label != 1)] = 255
    return Samples(images.reshape(count, -1), labels, 255)


@pytest.fixture(scope="module")
def data():
    return Dataset("bars", bars(150, 0), bars(60, 1), bars(60, 2), (SIDE, SIDE), tuple("abc"), "", "")


SMALL = Config(
    maps=(4, 6),
    kernel=3,
    pretraining_images=120,
    thresholds=(4.0, 3.0),
    winners=2,
    radius=(1, 1),
    a_plus=0.1,
    a_minus=0.075,
    steps=5,
    learning_rates=(1e-2,),
    batch_size=10,
    looks=3,
    steps_per_look=8,
    labels=(5,),
    label_looks=2,
    label_steps_per_look=5,
    targets=(50.0, 60.0),
    target=60.0,
)


# -- what the first layer sees -------------------------------------------------------------------------------------


def test_a_bright_spot_is_on_in_the_middle_and_off_around():
    assert abs(difference_of_gaussians().sum()) < 1e-6
    image = np.zeros((1, 15, 15), np.uint8)
    image[0, 7, 7] = 200
    on, off = on_and_off(Samples(image.reshape(1, -1), np.zeros(1, int), 255), [0])[0].numpy()
    # the filter itself, over its largest value, which stands in the middle; however bright the spot
    filter_ = difference_of_gaussians() / difference_of_gaussians().max()
    np.testing.assert_allclose((on - off)[4:11, 4:11], np.where(np.abs(filter_) < 0.06, 0, filter_), atol=1e-6)
    assert on[7, 7] == 1 and off[7, 9] > 0.06 and not (on * off).any()
    # a dark spot on bright ground, away from the border: the other way round
    dark = on_and_off(Samples((200 - image).reshape(1, -1), np.zeros(1, int), 255), [0])[0].numpy()
    assert dark[1, 7, 7] > dark[0, 7, 7] == 0
    # nothing to see
    assert not on_and_off(Samples(np.zeros((1, 225), np.uint8), np.zeros(1, int), 255), [0]).any()


# -- starts --------------------------------------------------------------------------------------------------------


def test_a_kernel_becomes_weights_of_sum_0():
    kernel = np.array([[[[1.0, 0.0], [0.0, 0.0]]]])
    (made,) = centred([kernel])
    np.testing.assert_allclose(made, [[[[0.75, -0.25], [-0.25, -0.25]]]])
    # norms 1 and 3, of mean 2, beside a mean of 5: all are 2.5 times as large
    one, other = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 3.0]]]]), torch.tensor([[[[3.0, 4.0]]], [[[0.0, 5.0]]]])
    torch.testing.assert_close(of_mean_norm(one, other), 2.5 * one)


def test_controls_have_the_norm_of_what_they_control():
    own, like = torch.tensor([[[[3.0, 4.0]]], [[[0.0, 1.0]]]]), torch.tensor([[[[1.0, 0.0]]], [[[6.0, 8.0]]]])
    # norms 5 and 1 become 1 and 10
    torch.testing.assert_close(of_norm(own, like), torch.tensor([[[[0.6, 0.8]]], [[[0.0, 10.0]]]]))
    k = torch.arange(36.0).view(2, 2, 3, 3)
    mixed = shuffled(k, 0)
    assert torch.equal(mixed.flatten(1).sort().values, k.flatten(1)) and not torch.equal(mixed, k)
    assert torch.equal(mixed, shuffled(k, 0)) and not torch.equal(mixed, shuffled(k, 1))


def test_starts_differ_in_their_convolutions_alone():
    kernels = [np.random.default_rng(i).random(s) for i, s in enumerate([(4, 2, 3, 3), (6, 4, 3, 3)])]
    learnt = centred(kernels)
    nets = {start: network(SMALL, start, learnt, 0, SIDE, 3) for start in SMALL.starts}
    readouts = [dict(net.named_parameters())["parts.fc3.module.fc3.weight"] for net in nets.values()]
    assert all(torch.equal(readouts[0], w) for w in readouts[1:])
    for made, k in zip(convolutions(nets["stdp"]), learnt, strict=True):
        # all by one factor
        factor = made.weight.flatten()[0] / k.flatten()[0]
        torch.testing.assert_close(made.weight, factor * k)
        assert not made.bias.any()
    norms = {start: [layer.weight.flatten(1).norm(dim=1) for layer in convolutions(net)] for start, net in nets.items()}
    for control in ("same_norm", "shuffled"):
        torch.testing.assert_close(norms[control], norms["stdp"])
    assert not torch.allclose(norms["random"][0], norms["stdp"][0])
    torch.testing.assert_close(norms["random"][0].mean(), norms["stdp"][0].mean())
    assert convolutions(nets["random"])[0].bias.any()


# -- steps to an accuracy ------------------------------------------------------------------------------------------


def test_steps_to_an_accuracy():
    seen = [50.0, 90.0, 80.0, 95.0]
    # from chance, 10, at step 0 to 50 at step 10: 30 is half-way; 70 half-way between the first two looks
    assert [steps_to(t, 10, seen) for t in (30, 50, 70, 90)] == [5, 10, 15, 20]
    # the first time counts; 95 is reached at the end, 96 never
    assert steps_to(85, 10, seen) == pytest.approx(18.75) and steps_to(95, 10, seen) == 40 and steps_to(96, 10, seen) == 40
    assert steps_to(5, 10, seen) == 0


def test_speedups_by_hand():
    config = Config(targets=(50.0, 90.0), target=90.0, steps_per_look=10, batch_size=50)
    found = speedups(config, {"random": [50, 70, 90, 91], "stdp": [90, 91, 91, 91], "shuffled": [50, 60, 60, 60]}, 1000, 2.0, 4.0)
    assert [found[f"steps_to_90_{s}"] for s in ("random", "stdp", "shuffled")] == [30, 10, 40]
    assert [found[f"reached_90_{s}"] for s in ("random", "stdp", "shuffled")] == [1, 1, 0]
    # 30 steps of 50 images are 1.5 passes through 1000
    assert found["epochs_to_90_random"] == 1.5 and found["speedup"] == found["speedup_to_90_over_random"] == 3
    assert found["speedup_to_90_over_shuffled"] == 4 and found["speedup_to_50_over_random"] == 2
    # a step takes 0.2 s: 6 s without, 2 s and 4 s of pre-training with
    assert found["speedup_in_time"] == pytest.approx(1.0)


def test_what_a_learning_rate_is_chosen_by():
    history = [{"validation_accuracy": a} for a in (10.0, 40.0, 40.0)]
    assert (worth(history, ALL), worth(history, 5)) == (30, 40)


def test_labels_are_as_many_of_each_class():
    labels = np.repeat([0, 1, 2], [10, 20, 30])
    chosen = labelled(labels, 7, 0)
    assert np.bincount(labels[chosen]).tolist() == [7, 7, 7] and len(set(chosen)) == 21
    assert not np.array_equal(chosen, labelled(labels, 7, 1))
    assert len(labelled(labels, ALL, 0)) == 60
    with pytest.raises(SemiSupervisedError, match="has only 10"):
        labelled(labels, 11, 0)


# -- the whole -----------------------------------------------------------------------------------------------------


def test_pretraining_settles_and_a_stopped_one_goes_on_bit_for_bit(data, tmp_path, monkeypatch):
    whole = pretrain(SMALL, data.train, 0, quiet=True)
    assert whole.unsettled[0] < 0.12 and all(wins.sum() > 30 for wins in whole.wins)
    # three directions: kernels of the first layer differ
    rounded = whole.kernels[0].round().reshape(4, -1)
    assert len(np.unique(rounded, axis=0)) >= 3
    path, shown = tmp_path / "run.npz", []
    hears = pretraining.hears
    monkeypatch.setattr(pretraining, "KEEP_EVERY", 20)

    def stop_in_the_second_layer(*arguments):
        if len(shown) == 210:
            raise KeyboardInterrupt
        shown.append(0)
        return hears(*arguments)

    monkeypatch.setattr(pretraining, "hears", stop_in_the_second_layer)
    with pytest.raises(KeyboardInterrupt):
        pretrain(SMALL, data.train, 0, path=path, quiet=True)
    monkeypatch.setattr(pretraining, "hears", lambda *arguments: shown.append(0) or hears(*arguments))
    resumed = pretrain(SMALL, data.train, 0, path=path, quiet=True)
    # 240 in all, of which those from 200 on were shown twice
    assert len(shown) == 210 + 40
    for a, b in zip(resumed.kernels + resumed.wins, whole.kernels + whole.wins, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(PretrainingError, match="other settings"):
        pretrain(replace(SMALL, a_plus=0.2), data.train, 0, path=path, quiet=True)


def test_a_stopped_training_goes_on_as_if_it_had_not_been(data, tmp_path, monkeypatch):
    learnt = centred(pretrain(SMALL, data.train, 0, quiet=True).kernels)
    short = replace(SMALL, looks=2, steps_per_look=4)
    whole, history = teach(short, data, "stdp", ALL, 1e-2, learnt, 0, quiet=True)
    calls, path = [], tmp_path / "c.safetensors"

    def stopping(spikes):
        calls.append(1)
        if len(calls) == 6:  # in the second of two looks of four steps
            raise KeyboardInterrupt
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(fine_tuning, "activity", stopping)
        with pytest.raises(KeyboardInterrupt):
            teach(short, data, "stdp", ALL, 1e-2, learnt, 0, checkpoint=path, quiet=True)
    resumed, again = teach(short, data, "stdp", ALL, 1e-2, learnt, 0, checkpoint=path, quiet=True)
    assert [row["validation_accuracy"] for row in again] == [row["validation_accuracy"] for row in history]
    for a, b in zip(whole.net.parameters(), resumed.net.parameters(), strict=True):
        assert torch.equal(a, b)
    # its convolutions have learnt, too
    start = network(SMALL, "stdp", learnt, 0, SIDE, 3)
    assert not torch.equal(convolutions(whole.net)[0].weight, convolutions(start)[0].weight)


def test_the_better_learning_rate_is_kept(data, monkeypatch):
    seen = {1e-3: [40.0, 50.0], 2e-3: [70.0, 20.0], 3e-3: [45.0, 60.0]}
    monkeypatch.setattr(fine_tuning, "teach", lambda c, d, s, n, rate, *_, **__: (rate, [{"validation_accuracy": a} for a in seen[rate]]))
    config = replace(SMALL, learning_rates=(3e-3, 1e-3, 2e-3))
    # with all labels the mean counts, 45, 45 and 52.5; with few the best
    assert tune(config, data, "random", ALL, [], 0)[1] == 3e-3
    assert tune(config, data, "random", 5, [], 0)[1] == 2e-3


def test_what_is_measured(data, tmp_path):
    two = replace(SMALL, starts=("random", "stdp"), looks=2)
    result = answer(two, data, 0, tmp_path, quiet=True)
    found, curves = {name: metric["mean"] for name, metric in result.metrics.items()}, result.curves
    assert set(curves["validation_accuracy"]) == {"random", "stdp"} and len(curves["validation_accuracy"]["stdp"]) == 2
    # chance is a third
    assert found["test_accuracy_stdp"] > 50 and found["test_accuracy_random"] > 40 and 0 < found["test_accuracy_stdp_5_labels"] <= 100
    assert found["speedup"] == found["steps_to_60_random"] / found["steps_to_60_stdp"]
    assert curves["learning_rate"]["5"] == {"random": 1e-2, "stdp": 1e-2}
    assert {f"{name}_seed_0.png" for name in ("kernels", "errors")} < {p.name for p in tmp_path.iterdir()}
    both = combine([result, replace(result, seeds=(1,))])
    speed, few = draw_errors(both).axes
    np.testing.assert_allclose(speed.lines[1].get_ydata(), 100 - np.array(curves["validation_accuracy"]["stdp"]))
    assert list(few.lines[0].get_ydata()) == pytest.approx([100 - found["test_accuracy_random_5_labels"]])
    assert len(draw_errors(replace(result, config={**result.config, "labels": ()})).axes) == 1
    pictures = save_all(both, tmp_path, "both")
    assert len(pictures) == 2 and all(p.stat().st_size > 500 for p in pictures)
    kept = {p.name for p in tmp_path.iterdir() if p.suffix != ".png"}
    assert "pretraining_seed_0.npz" in kept and "random_5_rate_0.01_seed_0.safetensors" in kept and len(kept) == 1 + 2 * 2


def test_pictures():
    rng = np.random.default_rng(0)
    assert len(draw_kernels(rng.random((5, 2, 3, 3))).axes) == 5
    speed, few = Figure().subplots(1, 2)
    draw_speed(speed, [10, 20], {"random": [50.0, 90.0], "stdp": [80.0, 95.0]}, 90.0, 4.0)
    assert list(speed.lines[1].get_ydata()) == [20, 5]
    draw_labels(few, [10, 100], {"random": [20.0, 5.0], "stdp": [15.0, 4.0]})
    assert len(few.lines) == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(starts=("random", "sdtp")), "unknown start 'sdtp'.*Did you mean 'stdp'"),
        (dict(starts=("stdp",)), "lack 'random'"),
        (dict(learning_rates=(0.0,)), "learning_rates = .* must be positive"),
        (dict(learning_rates=(0.1, float("nan"))), "learning_rates = .* must be positive"),
        (dict(test_images=-1), "test_images = -1 must be at least 1, or 0 for all"),
        (dict(tau_mem_ms=-20.0), "tau_mem_ms = -20.0 must be positive"),
        (dict(slope=float("nan")), "slope = nan must be positive"),
        (dict(thresholds=(15.0,)), "thresholds = .* must be two numbers, one for each convolution"),
        (dict(kernel=0), "kernels of side 0 must all be at least 1"),
        (dict(labels=(0,)), "at least 1 of each class"),
        (dict(looks=0), "looks = 0 must be at least 1"),
        (dict(target=50.0), "target = 50.0 must be one of targets"),
        (dict(a_plus=1.5), "a_plus = 1.5 must be at least 0 and below 1"),
    ],
)
def test_mistakes_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        Config(**changed)


@pytest.mark.slow
def test_smoke(data_dir):
    data_dir("mnist")
    result = experiment("stdp_pretraining").smoke()
    # forty gradient steps teach something from either start
    assert result.mean("test_accuracy_stdp") > 60 and result.mean("test_accuracy_random") > 50
    assert result.mean("speedup") > 0
