"""Digits without labels: votes by hand, resuming bit for bit, learning off, and Brian2 beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blobs import SIDE, blob_data
from spiketwin.experiments.protocol import Result
from spiketwin.experiments.studies.learning_rules import unsupervised, unsupervised_digits
from spiketwin.experiments.studies.learning_rules.diehl_cook import EXCITATORY, Protocol, all_but_own, build, growing
from spiketwin.experiments.studies.learning_rules.frozen import freeze, respond, trains
from spiketwin.experiments.studies.learning_rules.unsupervised import Config, UnsupervisedError, measure, order, parts, train
from spiketwin.experiments.studies.learning_rules.unsupervised_check import check_against_brian2
from spiketwin.experiments.studies.learning_rules.unsupervised_figures import (
    draw_confusion,
    draw_curves,
    draw_fields,
    draw_result,
    mosaic,
    save_figure,
)
from spiketwin.rules.votes import class_responses, confident, decide, likelihood, plain


@pytest.fixture(scope="module")
def data():
    return blob_data()


# of 64 inputs a weaker sum than this drives too few spikes
SMALL = Config(neurons=(12,), passes=1, label_images=40, keep_every=20, nu_post=0.05, column_sum=300.0)


# -- votes ---------------------------------------------------------------------------------------------------------

# neuron 0 answers to class 0, neuron 1 a little more to class 1 than to 0, neuron 2 never fires
COUNTS = np.array([[4, 2, 0], [2, 1, 0], [0, 2, 0]])
LABELS = np.array([0, 0, 1])


def test_responses_are_means_per_class():
    # class 0: (4 + 2)/2 and (2 + 1)/2; class 1: 0 and 2; class 2 has no image
    np.testing.assert_array_equal(class_responses(COUNTS, LABELS, 3), [[3, 1.5, 0], [0, 2, 0], [0, 0, 0]])


def test_votes_by_hand():
    responses = np.array([[3, 1.5, 0], [0, 2, 0]])
    np.testing.assert_array_equal(plain(responses), [[1, 0], [0, 1], [0, 0]])
    np.testing.assert_allclose(confident(responses), [[1, 0], [1.5 / 3.5, 2 / 3.5], [0, 0]])
    # of class 0 two thirds of the spikes come from neuron 0, of class 1 all from neuron 1
    e = 1e-3 / 3
    np.testing.assert_allclose(likelihood(responses), np.log([[2 / 3 + e, e], [1 / 3 + e, 1 + e], [e, e]]))
    # one spike of each: the published vote is undecided and takes the first, confidence says 0 (10/7 against 4/7)
    assert [int(decide([[1, 1, 0]], vote(responses))[0]) for vote in (plain, confident, likelihood)] == [0, 0, 0]
    # and one spike of neuron 0 with three of neuron 1: 1 + 9/7 > 12/7
    assert [int(decide([[1, 3, 0]], vote(responses))[0]) for vote in (plain, confident, likelihood)] == [1, 0, 0]


def test_a_class_counts_the_mean_of_its_neurons():
    """Two neurons for class 0, one for class 1: three spikes of the one outweigh four of the two."""
    responses = np.array([[5, 5, 0], [0, 0, 5]])
    assert decide([[2, 2, 3], [3, 4, 3]], plain(responses)).tolist() == [1, 0]


# -- learning off --------------------------------------------------------------------------------------------------


def test_a_frozen_network_answers_each_image_for_itself(data):
    network = freeze(build(12, inputs=SIDE**2), np.random.default_rng(0).random((12, SIDE**2)), {"theta": np.full(12, 0.02)})
    images = data.test.intensities[:6]
    together = respond(network, images, seed=3)
    assert together.shape == (6, 12) and (together.sum(axis=1) >= 5).all()
    np.testing.assert_array_equal(together[:3], respond(network, images[:3], seed=3, threads=1))
    assert not np.array_equal(together, respond(network, images, seed=4))
    # high thresholds: nothing fires, however strong; so thresholds are heeded, and a trial ends
    silent = respond(
        freeze(network_of(network), network.projections[0].weights, {"theta": np.full(12, 1.0)}), images[:1], Protocol(most_presentations=2)
    )
    assert silent.sum() == 0


def test_a_neuron_whose_threshold_has_recovered_waits_for_the_image():
    """At theta = 5 mV the threshold lies 2 mV below rest. A trial begins 40 mV below rest and gets there in 100 ms ln(40/2) = 300 ms."""
    network = build(12, inputs=SIDE**2)
    frozen = freeze(network, network.projections[0].weights, {"theta": np.full(12, 0.005)})
    once = Protocol(image_ms=290, most_presentations=1)
    assert respond(frozen, np.zeros((1, SIDE**2)), once).sum() == 0
    assert respond(frozen, np.ones((1, SIDE**2)), once).sum() > 0
    assert frozen.population(EXCITATORY).initial["v"] == network.population(EXCITATORY).initial["v"]


def network_of(frozen):
    return build(frozen.population(EXCITATORY).size, inputs=SIDE**2)


def test_trains_have_their_rates_and_their_numbers():
    rates = np.array([[0.0, 100.0], [50.0, 0.0]])
    spikes = trains(np.repeat(rates, 200, axis=0), np.arange(400), Protocol(), seed=1)
    assert spikes.shape == (700, 400, 2)
    seen = spikes.rates_hz().reshape(2, 200, 2).mean(axis=1)
    # 200 trials of 350 ms: 7000 and 3500 spikes, so 3 standard deviations are 4 and 5 percent; 1 - exp(-r dt) < r dt by 2.5 %
    np.testing.assert_allclose(seen, rates, rtol=0.08)
    again = trains(rates[1:], np.array([300]), Protocol(), seed=1)
    assert again.equals(spikes.trial(300))


def test_inhibition_grows_with_distance():
    # 16 neurons, 4 x 4: full strength from distance 1 on; 64 neurons, 8 x 8: from 2 on, sqrt(1/2) of it at 1
    np.testing.assert_allclose(growing(16, 8.0), all_but_own(16, 8.0))
    row = growing(64, 8.0)[0]
    np.testing.assert_allclose(row[[0, 1, 8, 9, 2, 63]], [0, 8 * 0.5**0.5, 8 * 0.5**0.5, 8 * 0.5**0.25, 8, 8])
    np.testing.assert_array_equal(growing(30), growing(30).T)


def test_more_neurons_learn_more_from_each_spike():
    """Four times as many fire a quarter as often: thresholds rise four times as far, weights move twice as far."""
    config = Config(scaled_from=10, theta_plus_mv=0.05, nu_pre=1e-4, nu_post=1e-2)
    found = []
    for size in (5, 10, 40):
        network = config.network(size, 16, 0)
        values = network.projections[0].rule.values
        found.append((network.population(EXCITATORY).parameters["theta_plus"], values["nu_pre"], values["nu_post"]))
    np.testing.assert_allclose(found, [[0.05, 1e-4, 1e-2], [0.05, 1e-4, 1e-2], [0.2, 2e-4, 2e-2]])


# -- the study -----------------------------------------------------------------------------------------------------


def test_each_pass_shows_all_images_in_an_order_of_its_own():
    shown = order(50, 2, seed=1)
    assert all(sorted(half) == list(range(50)) for half in (shown[:50], shown[50:]))
    assert not np.array_equal(shown[:50], shown[50:]) and not np.array_equal(shown, order(50, 2, seed=2))
    np.testing.assert_array_equal(shown[:50], order(50, 1, seed=1))


def test_images_are_split_as_asked(data):
    learn, tested, part = parts(SMALL, data)
    assert (len(learn), len(tested), part) == (60, 40, "test")
    learn, tested, part = parts(replace(SMALL, held_out=15, images=30, test_images=5), data)
    assert (len(learn), len(tested), part) == (30, 5, "validation")
    np.testing.assert_array_equal(tested.images, np.concatenate([data.train.images, data.validation.images])[45:50])


def test_it_learns_and_a_stopped_run_goes_on_bit_for_bit(data, tmp_path, monkeypatch):
    images = parts(SMALL, data)[0]
    whole = train(SMALL, 12, images, 0, quiet=True)
    path = tmp_path / "run.npz"
    see, shown = unsupervised.Learner.see, []

    def stop_at_50(self, image, protocol):
        if len(shown) == 50:
            raise KeyboardInterrupt
        shown.append(image)
        see(self, image, protocol)

    monkeypatch.setattr(unsupervised.Learner, "see", stop_at_50)
    with pytest.raises(KeyboardInterrupt):
        train(SMALL, 12, images, 0, path=path, quiet=True)
    monkeypatch.setattr(unsupervised.Learner, "see", see)
    assert {p.name for p in tmp_path.iterdir()} == {"run.npz", "run.png"}
    resumed = train(SMALL, 12, images, 0, path=path, quiet=True)
    assert resumed.seen == whole.seen == 60
    np.testing.assert_array_equal(resumed.weights, whole.weights)
    np.testing.assert_array_equal(resumed.learnt["theta"], whole.learnt["theta"])
    np.testing.assert_array_equal(resumed.counts, whole.counts)
    assert (resumed.presentations, resumed.spikes) == (whole.presentations, whole.spikes)
    assert not np.allclose(whole.weights, train(replace(SMALL, images=20), 12, images[:20], 0, quiet=True).weights)
    with pytest.raises(UnsupervisedError, match="nu_post was 0.05, is 0.02"):
        train(replace(SMALL, nu_post=0.02), 12, images, 0, path=path, quiet=True)


def test_what_is_measured(data, monkeypatch):
    monkeypatch.setattr(unsupervised, "BLOCK", 20)
    found, curves = measure(SMALL, "blobs", data, 0, quiet=True)
    # three places are easily told apart; chance is a third
    assert found["test_accuracy_12"] == found["test_accuracy_12_likelihood"] > 70
    assert 0 < found["test_accuracy_12_plain"] <= 100 and found["spikes_per_image_12"] >= 5 and found["presentations_per_image_12"] >= 1
    assert found["minutes_per_pass_12"] > 0
    assert np.sum(curves["confusion_12"]) == 40
    assert np.trace(curves["confusion_12"]) / 40 * 100 == found["test_accuracy_12"]
    assert curves["accuracy_12"]["images"] == [40, 60]


def test_brian2_gives_equal_spikes_and_weights(data):
    """Two images with their rests and repetitions."""
    found = check_against_brian2(replace(SMALL, rest_ms=50.0), 8, parts(SMALL, data)[0], 2, 0, quiet=True)
    assert found["brian2_images"] == 2 < found["brian2_presentations"]
    assert found["brian2_spikes"] > 8 and found["brian2_equal_spikes"] == 100
    assert found["brian2_weight_difference"] < 1e-9


def test_pictures(tmp_path):
    np.testing.assert_array_equal(mosaic(np.arange(12).reshape(3, 4)), [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 0, 0], [10, 11, 0, 0]])
    with pytest.raises(ValueError, match="weights from 5 pixels are of no square image"):
        mosaic(np.zeros((2, 5)))
    for name, figure in {
        "fields": draw_fields(np.random.default_rng(0).random((5, 16))),
        "confusion": draw_confusion([[3, 1], [0, 4]], ("a", "b")),
        "curves": draw_curves({"accuracy_12": {"images": [1, 2], "percent": [50, 60]}, "confusion_12": []}),
    }.items():
        assert save_figure(figure, tmp_path / f"{name}.png").stat().st_size > 2000


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_picture_of_a_result_is_of_all_seeds_and_the_largest_network(seeds):
    def curve(*percent):
        return {"images": [1, 2], "percent": list(percent)}

    small, large = [curve(20, 40), curve(40, 80)], [curve(10, 30), curve(30, 50)]
    each = {"accuracy_9": small, "accuracy_12": large, "confusion_9": [[[9, 0], [0, 9]]] * 2, "confusion_12": [[[3, 1], [0, 4]]] * 2}
    curves = {name: values if seeds > 1 else values[0] for name, values in each.items()}
    learning, confusion = draw_result(Result("digits", "", {}, tuple(range(seeds)), {}, curves), ("a", "b")).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in learning.lines}
    assert lines == {"9 neurons": [30, 60] if seeds > 1 else [20, 40], "12 neurons": [20, 40] if seeds > 1 else [10, 30]}
    assert [text.get_text() for text in confusion.texts] == [str(seeds * n) for n in (3, 1, 4)]
    assert confusion.get_title() == "12 neurons"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda data: Config(vote="plane"), "unknown vote 'plane'.*plain"),
        (lambda data: Config(lateral="grown"), "unknown lateral inhibition 'grown'.*growing"),
        (lambda data: Config(passes=0), "passes = 0 must be at least 1"),
        (lambda data: Config(neurons=()), "must name sizes"),
        (lambda data: parts(Config(held_out=60), data), "leaves none of 60 training images"),
        (lambda data: class_responses(np.zeros((2, 3)), [0], 2), "2 responses, but 1 labels"),
        (lambda data: class_responses(np.zeros((1, 3)), [2], 2), "of 2 classes they are 0 … 1"),
    ],
)
def test_mistakes_are_named(make, message, data):
    with pytest.raises(ValueError, match=message):
        make(data)


@pytest.mark.slow
def test_smoke(data_dir):
    data_dir("mnist")
    assert unsupervised_digits.smoke().mean("test_accuracy_20") > 20
