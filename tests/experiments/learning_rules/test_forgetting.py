"""Forgetting: phases and measures by hand, spots that come one class after the other, and a stopped run that goes on bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blobs import blob_data
from spiketwin.experiments import experiment
from spiketwin.experiments.protocol import combine
from spiketwin.experiments.studies.learning_rules import unsupervised
from spiketwin.experiments.studies.lifelong import forgetting as study
from spiketwin.experiments.studies.lifelong.figures import draw_summary, draw_tables, save_all
from spiketwin.experiments.studies.lifelong.forgetting import VARIANTS, Config, ForgettingError, accuracies, answer
from spiketwin.experiments.studies.lifelong.phases import at_the_end, class_accuracies, forgetting, shown, when_new
from spiketwin.models.spec import SpecError

NAN = np.nan


@pytest.fixture(scope="module")
def data():
    return blob_data()


# -- phases and measures -------------------------------------------------------------------------------------------


def test_classes_come_in_phases():
    assert Config().phases(10) == ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
    assert Config(classes_per_phase=2).phases(3) == ((0, 1), (2,))
    with pytest.raises(ForgettingError, match="classes_per_phase = 3 of 3 leaves one phase"):
        Config(classes_per_phase=3).phases(3)


def test_what_is_shown_when():
    labels = np.tile([0, 1, 2, 3], 20)
    order = shown(labels, ((0, 1), (2, 3)), 30, seed=0)
    assert set(labels[order[:30]]) == {0, 1} and set(labels[order[30:]]) == {2, 3} and len(set(order)) == 60
    mixed = shown(labels, ((0, 1), (2, 3)), 30, seed=0, interleaved=True)
    # the same images, in an order that does not know of phases: of thirty, fifteen are of the first two on average, five more or less at most
    assert sorted(mixed) == sorted(order) and 5 < np.sum(labels[mixed[:30]] < 2) < 25
    assert not np.array_equal(order, shown(labels, ((0, 1), (2, 3)), 30, seed=1))
    with pytest.raises(ValueError, match=r"classes \(0, 1\) have 40 images"):
        shown(labels, ((0, 1), (2, 3)), 41, seed=0)


def test_accuracy_by_class():
    # class 0: one of two; class 1: both; class 2 has no image
    np.testing.assert_array_equal(class_accuracies(np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1]), 3), [50, 100, NAN])


def test_measures_by_hand():
    table = np.array([[90.0, 80, NAN, NAN], [95.0, 50, 70, NAN], [60.0, 55, 30, 99]])
    # 95 - 60, 80 - 55 and 70 - 30; the class of the last phase cannot have been forgotten
    assert forgetting(table) == pytest.approx((35 + 25 + 40) / 3)
    assert when_new(table) == (90 + 80 + 70 + 99) / 4
    assert at_the_end(table) == (60 + 55 + 30 + 99) / 4
    # what got better counts against what got worse
    assert forgetting(np.array([[50.0, NAN], [70.0, 10.0]])) == -20


# -- the study -----------------------------------------------------------------------------------------------------

SMALL = Config(
    neurons=12,
    classes_per_phase=1,
    images_per_phase=10,
    variants=("stdp", "cascade"),
    p_switch=0.1,
    keep_every=6,
    test_images=30,
)


@pytest.fixture(autouse=True)
def strong_synapses(monkeypatch):
    """Of 64 inputs each must count for more than of 784."""
    real, bits = study._real, study._bits
    monkeypatch.setattr(study, "_real", lambda *given: replace(real(*given), column_sum=300.0))
    monkeypatch.setattr(study, "_bits", lambda *given: replace(bits(*given), synapse_ns=3.0))


def test_variants_differ_in_what_their_names_say():
    config = Config(p_switch=0.02, depths=5)
    made = {name: make(config) for name, make in VARIANTS.items()}
    assert [made[v].theta_plus_mv for v in ("stdp", "slow_threshold", "fixed_threshold")] == [0.05, pytest.approx(0.01), 0]
    assert replace(made["slow_threshold"], theta_plus_mv=0.05) == made["stdp"]
    rules = {name: setting.network(4, 64, 0).projections[0].rule for name, setting in made.items()}
    assert [rules[v].name for v in VARIANTS] == ["diehl_cook"] * 3 + ["stochastic_window", "cascade"] * 2
    for name in ("p_plus", "p_minus", "window"):
        assert rules["cascade"].values[name] == rules["stochastic"].values[name]
        assert rules["cascade_fast"].values[name] == rules["stochastic_fast"].values[name]
    assert rules["stochastic_fast"].values["p_minus"] == pytest.approx(0.06)
    assert rules["cascade"].values["depths"] == 5 and rules["stochastic"].values["p_plus"] == 0.02
    # both start from the same synapses, and count them alike
    one, other = (made[v].network(4, 64, 0) for v in ("stochastic", "cascade"))
    np.testing.assert_array_equal(one.projections[0].weights, other.projections[0].weights)


def test_accuracies_by_phase_and_class(data):
    table = accuracies(SMALL, "stdp", "sequential", data, 0, quiet=True)
    np.testing.assert_array_equal(np.isnan(table), [[False, True, True], [False, False, True], [False] * 3])
    # after the first phase there is one answer alone
    assert table[0, 0] == 100 and table[-1].mean() > 50
    together = accuracies(SMALL, "stdp", "interleaved", data, 0, quiet=True)
    assert together.shape == (1, 3) and together.mean() > 60


def test_a_stopped_run_goes_on_bit_for_bit(data, tmp_path, monkeypatch):
    variant = "cascade"  # which keeps more than weights: the depths of synapses
    whole = accuracies(SMALL, variant, "sequential", data, 0, tmp_path / "whole", quiet=True)
    see, seen = unsupervised.Learner.see, []

    def stop_in_the_second_phase(self, image, protocol):
        if len(seen) == 15:
            raise KeyboardInterrupt
        seen.append(image)
        see(self, image, protocol)

    with monkeypatch.context() as patch:
        patch.setattr(unsupervised.Learner, "see", stop_in_the_second_phase)
        with pytest.raises(KeyboardInterrupt):
            accuracies(SMALL, variant, "sequential", data, 0, tmp_path / "parts", quiet=True)
    counted = []
    ask = study.ask
    monkeypatch.setattr(study, "ask", lambda *given: counted.append(0) or ask(*given))
    np.testing.assert_array_equal(accuracies(SMALL, variant, "sequential", data, 0, tmp_path / "parts", quiet=True), whole)
    assert len(counted) == 2  # what was known of the first phase is not asked again
    one, other = (np.load(tmp_path / folder / f"{variant}_sequential_seed_0.npz") for folder in ("whole", "parts"))
    for name in one.files:
        if name.startswith(("weight", "states", "memory")):
            np.testing.assert_array_equal(one[name], other[name])
    with pytest.raises(unsupervised.UnsupervisedError, match="images_per_phase was 10, is 9"):
        accuracies(replace(SMALL, images_per_phase=9), variant, "sequential", data, 0, tmp_path / "parts", quiet=True)


def test_what_is_measured(data, tmp_path):
    config = replace(SMALL, variants=("stochastic", "cascade"))
    result = answer(config, data, 0, tmp_path, quiet=True)
    found, curves = {name: metric["mean"] for name, metric in result.metrics.items()}, result.curves
    assert found["forgetting_kept_off_by_cascade"] == found["forgetting_stochastic"] - found["forgetting_cascade"]
    for v in config.variants:
        assert found[f"lost_by_order_{v}"] == found[f"interleaved_accuracy_{v}"] - found[f"final_accuracy_{v}"]
        assert found[f"final_accuracy_{v}"] == pytest.approx(np.mean(curves["accuracy"][v][-1]), abs=0.01)
        assert curves["accuracy"][v][0][1:] == [None, None]
    both = combine([result, replace(result, seeds=(1,))])
    left, right = study.draw(both).axes
    assert [bar.get_width() for bar in right.patches] == [found[f"forgetting_{v}"] for v in config.variants]
    pictures = save_all(both, tmp_path, "both")
    assert len(pictures) == 2 and all(p.stat().st_size > 2000 for p in pictures)
    figure = draw_tables(curves["accuracy"], curves["interleaved"])
    # 1 + 2 + 3 accuracies by phase, and three of the interleaved one
    assert [len(ax.texts) for ax in figure.axes] == [9, 9]


def test_summary_picture():
    left, right = draw_summary({"stdp": 60.0, "cascade": 65.0}, {"stdp": 75.0, "cascade": 72.0}, {"stdp": 20.0, "cascade": 10.0}).axes
    assert [bar.get_width() for bar in right.patches] == [20, 10]
    drawn = np.concatenate([np.asarray(line.get_xdata(), float) for line in left.lines])
    assert np.sort(drawn)[-2:].tolist() == [75, 75]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(neurons=0), "neurons = 0 must be at least 1"),
        (dict(variants=("cascad",)), "unknown variant 'cascad'.*Did you mean 'cascade'"),
        (dict(images_per_phase=0), "images_per_phase = 0 must be at least 1"),
        (dict(label_images=-1), "label_images = -1 must be at least 1, or 0 for all"),
        (dict(test_images=-5), "test_images = -5 must be at least 1, or 0 for all"),
        (dict(variants=()), "no variants to compare; give some of stdp"),
        (dict(theta_plus_mv=float("nan")), "theta_plus_mv = nan must not be negative"),
        (dict(p_switch=0.0), "p_switch = 0.0 must be positive"),
        (dict(dt_ms=-1.0), "dt_ms = -1.0 must be positive"),
    ],
)
def test_mistakes_are_named(changed, message):
    with pytest.raises(ForgettingError, match=message):
        Config(**changed)


def test_a_bad_probability_is_named(data):
    with pytest.raises((ForgettingError, unsupervised.UnsupervisedError, SpecError), match="p_plus = 2"):
        accuracies(replace(SMALL, p_switch=2.0), "cascade", "sequential", data, 0, quiet=True)


@pytest.mark.slow
def test_smoke(data_dir):
    data_dir("mnist")
    result = experiment("forgetting").smoke()
    # chance is a fifth after the first phase and a tenth after the second
    assert result.mean("accuracy_when_new_stdp") > 25 and result.mean("accuracy_when_new_cascade") > 25
    assert set(result.curves["accuracy"]) == {"stdp", "cascade"}
