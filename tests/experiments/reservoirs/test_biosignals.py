"""The study of biosignals: the front end is read as a liquid is, nothing is chosen by the test part, scores by hand, a small run."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from spiketwin.experiments.data.biosignals import oscillations
from spiketwin.experiments.data.biosignals.windows import Windows
from spiketwin.experiments.protocol import combine
from spiketwin.experiments.reservoirs.senses import Delta
from spiketwin.experiments.studies.reservoirs.biosignals import biosignals, systems
from spiketwin.rules.readouts.features import FilteredSpikes, SpikeCounts

GRID = systems.Grid(taus_ms=(20.0,), reads=(1, 2), input_scales=(2.0,), connection_scales=(0.5,))


def bursts(samples, subject):
    """A burst early or late in 100 ms; label: when."""
    rng = np.random.default_rng(subject)
    labels, time = np.arange(samples) % 2, np.arange(100)
    signals = np.sin(0.5 * time) * (np.abs(time - np.where(labels, 75, 25)[:, None]) < 15) + 0.02 * rng.standard_normal((samples, 100))
    return Windows(signals[..., None], labels, np.full(samples, subject), 1000.0)


def task():
    return systems.Task(bursts(40, 0), bursts(20, 1), bursts(20, 2), 1.0, ((0.5,), (0.4, 0.8)), f1_score)


def test_the_front_end_is_read_at_the_same_times_by_the_same_filter():
    part = bursts(6, 0)
    features = systems.Together([FilteredSpikes(20.0, 1), SpikeCounts(2)])
    sense = Delta((0.5,)).fit(part.signals)
    last, counts = features.apart(systems._heard(sense, features, task(), part), sense.inputs_)
    spikes, _ = sense.spikes(part.signals, dt_ms=1.0, duration_ms=100.0)
    assert last.shape == (6, 2) and counts.shape == (6, 4) and features.width(2) == 6
    np.testing.assert_array_equal(counts[:, :2] + counts[:, 2:], spikes.counts())
    age = 100 - spikes.step
    np.testing.assert_allclose(last[0, 0], np.exp(-age[(spikes.batch == 0) & (spikes.neuron == 0)] / 20).sum())
    # early bursts are in the first half, late ones in the second
    assert (counts[0::2, :2] > 4 * counts[0::2, 2:]).all() and (counts[1::2, 2:] > 4 * counts[1::2, :2]).all()


def test_what_is_easy_is_found_by_all_and_the_test_labels_choose_nothing():
    done = []
    found, rate_hz = systems.compare(task(), GRID, 30, 0, done=done.append)
    assert done == [1, 2, 3] and systems.steps(GRID) == 3 and rate_hz > 1
    for system in systems.SYSTEMS:
        assert found[system].validation == 1 and f1_score(task().test.labels, found[system].predictions) == 1
    assert (
        set(found["front_end"].settings) == {"tau_ms", "reads", "alpha", "deltas"} and found["liquid"].settings["connection_scale"] == 0.5
    )
    assert found["layer"].settings["connection_scale"] == 0
    # other test labels, the same choices and predictions
    lied = task()._replace(test=replace(task().test, labels=1 - task().test.labels))
    again, _ = systems.compare(lied, GRID, 30, 0)
    for system in systems.SYSTEMS:
        assert again[system].settings == found[system].settings
        np.testing.assert_array_equal(again[system].predictions, found[system].predictions)


def test_patients_are_in_one_part_alone():
    whole = Windows(np.zeros((32, 2, 1)), np.zeros(32, int), np.repeat(np.arange(16), 2), 1.0)
    parts = biosignals.split(whole)
    assert [np.unique(part.subjects).tolist() for part in parts] == [[*range(6)], [6, 7], [*range(8, 16)]]
    with pytest.raises(ValueError, match="hfo_patients = 3"):
        biosignals.Config(hfo_patients=3)


def test_band_power_has_the_threshold_that_is_best_in_training():
    signals = np.zeros((8, 4, 3))
    signals[:, :, oscillations.RIPPLE] = np.array([1, 2, 3, 4, 5, 6, 7, 8])[:, None]
    known = Windows(signals, np.array([0, 0, 0, 0, 0, 1, 1, 1]), np.zeros(8, int), 2000.0)
    assert biosignals.by_band_power(known, known).tolist() == known.labels.tolist()
    assert biosignals.by_band_power(known, known[:3]).tolist() == [0, 0, 0]


def test_a_beat_that_is_never_found_costs_a_quarter_of_macro_f1():
    labels = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    # F taken for V: N and S are perfect, V has precision 1/2 and sensitivity 1, F1 2/3; F has 0
    assert biosignals._macro_f1(labels, np.minimum(labels, 2)) == pytest.approx((1 + 1 + 2 / 3 + 0) / 4)


@pytest.fixture(scope="module")
def smoke():
    pytest.importorskip("neurokit2", reason="needs spiketwin[reservoirs]")
    return biosignals.smoke()


def test_a_small_run_finds_more_than_chance(smoke):
    assert smoke.experiment == "biosignals"
    assert smoke.mean("ecg_rate_hz") > 1 and smoke.mean("hfo_rate_hz") > 1
    for system in systems.SYSTEMS:
        assert smoke.mean(f"ecg_macro_f1_{system}") > 25  # each beat called normal: 22 %
        assert smoke.mean(f"hfo_f1_{system}_15_db") > 60
    assert smoke.mean("hfo_f1_band_power_15_db") > smoke.mean("hfo_f1_band_power_0_db")


def test_the_figure_shows_every_class_system_and_ratio(smoke):
    for result in (smoke, combine([smoke]), combine([smoke, replace(smoke, seeds=(1,))])):
        figure = biosignals.draw(result)
        shapes, found, ripple, ratios = figure.axes
        assert len(shapes.lines) == 4 and len(found.patches) == 20 and len(ripple.lines) == 3 and len(ratios.containers) == 5
        heights = [bar.get_height() for bar in found.patches[:5]]
        assert heights[-1] == pytest.approx(smoke.mean("ecg_macro_f1_front_end"))
