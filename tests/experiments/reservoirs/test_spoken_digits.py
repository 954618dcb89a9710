"""The study of spoken digits: what everybody hears, who is left out, and the read-out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spiketwin.experiments.data import EventSamples
from spiketwin.experiments.data.events import HeldEvents
from spiketwin.experiments.data.recordings import Recordings
from spiketwin.experiments.data.speech import fsdd
from spiketwin.experiments.reservoirs.senses.on_off import on_off
from spiketwin.experiments.studies.reservoirs.spoken import listeners, spoken_digits
from spiketwin.experiments.studies.reservoirs.spoken.words import Words, as_events, level, parts
from spiketwin.experiments.studies.reservoirs.validated_ridge import Split, accuracies, judge

RATE_HZ = 8000


def test_parts_share_a_step_that_lies_in_two_of_them() -> None:
    series = np.array([[0.0], [3.0], [6.0]])
    np.testing.assert_allclose(parts(series, 3), series)
    np.testing.assert_allclose(parts(series, 2), [[1.0], [5.0]])  # (0 + 3/2)/1.5 and (3/2 + 6)/1.5
    np.testing.assert_allclose(parts(series, 6)[:, 0], [0, 0, 3, 3, 6, 6])


def sounds() -> Recordings:
    """A tone that rises from 500 to 1500 Hz, with a little noise; the same at a tenth of the loudness."""
    time = np.arange(RATE_HZ // 2) / RATE_HZ
    sound = np.sin(2 * np.pi * (500 * time + 1000 * time**2)) + 0.01 * np.random.default_rng(0).normal(size=len(time))
    return Recordings.of([sound[:, None], 0.1 * sound[:, None]], np.array([3, 4]), RATE_HZ, np.array([0, 1]))


def test_levels_follow_the_pitch_and_not_the_loudness() -> None:
    loud, soft = (level(sounds(), b, bands=24, frames=10) for b in range(2))
    assert loud.shape == (10, 24)
    np.testing.assert_allclose(soft, loud, atol=1e-6)
    np.testing.assert_allclose(loud.mean(axis=0), 0, atol=1e-12)
    assert loud.std() == pytest.approx(1)
    loudest = loud.argmax(axis=1)
    assert (np.diff(loudest[1:-1]) >= 0).all() and loudest[-2] > loudest[1] + 3


def test_events_are_the_spikes_of_the_levels() -> None:
    levels = np.zeros((2, 4, 3))
    levels[1, :, 2] = 1.0
    words = as_events(on_off(levels, rate_hz=100, dt_ms=1.0, duration_ms=400), sounds().labels, sounds().speakers)
    assert len(words) == 2 and words.size == 6 and list(words.labels) == [3, 4]
    assert len(words.events(0)[0]) == 0
    times_ms, units = words.events(1)
    assert len(times_ms) == 40 and set(units) == {2}
    config = spoken_digits.Config(reads=8)
    heard = listeners.counts(Words(levels, words, np.zeros(2)), config).reshape(2, 8, 6)
    assert heard[0].sum() == 0 and heard[1].sum() == 40
    np.testing.assert_array_equal(heard[1, :, 2], 5)


def everybody() -> Words:
    """All labels, speakers and indices of the data set, in silence."""
    index, speaker, digit = (a.ravel() for a in np.meshgrid(range(50), range(6), range(10), indexing="ij"))
    events = EventSamples(HeldEvents(np.zeros(0), np.zeros(0, int), np.zeros(3001, int)), np.arange(3000), digit, 2, speaker)
    return Words(np.zeros((3000, 1, 1)), events, index)


def test_no_word_is_for_two_things_and_no_voice_is_in_training_and_test() -> None:
    words = everybody()
    ways = spoken_digits.splits(words)
    assert list(ways) == ["official", *fsdd.SPEAKERS]
    for way, (train, validation, test) in ways.items():
        assert (train.astype(int) + validation + test == 1).all()
        if way == "official":
            assert (train.sum(), validation.sum(), test.sum()) == (2400, 300, 300)
        else:
            voices = [set(words.events.speakers[part]) for part in (train, validation, test)]
            assert [len(v) for v in voices] == [4, 1, 1] and voices[2] == {fsdd.SPEAKERS.index(way)}
            assert not voices[0] & voices[2] and not voices[1] & voices[2]


def problem(width: int = 300) -> tuple[np.ndarray, np.ndarray, Split]:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 120)
    features = rng.normal(size=(120, width)) * rng.uniform(0.1, 5, width) + 0.6 * (20 / width) ** 0.5 * rng.normal(size=(4, width))[labels]
    features[:, 0] = 7.0  # a feature that never changes
    part = np.arange(120) // 40
    return features, labels, Split(part == 0, part == 1, part == 2)


@pytest.mark.parametrize("width", [20, 300])
def test_the_readout_is_ridge_regression_on_standardised_features(width: int) -> None:
    features, labels, split = problem(width)
    for alpha in (10.0, 1000.0):
        ours = accuracies(features, labels, split.train, split.test, (alpha,))
        ridge = make_pipeline(StandardScaler(), RidgeClassifier(alpha=alpha)).fit(features[split.train], labels[split.train])
        assert ours == [pytest.approx(100 * ridge.score(features[split.test], labels[split.test]))]
        assert 30 < ours[0] < 100


def test_the_penalty_does_not_see_the_test() -> None:
    features, labels, split = problem()
    found = judge(features, labels, split)
    shuffled = labels.copy()
    shuffled[split.test] = (labels[split.test] + 1) % 4
    other = judge(features, shuffled, split)
    assert (other.alpha, other.validation) == (found.alpha, found.validation)
    assert found.test > 40 > other.test


def test_an_echo_state_is_not_read_more_often_than_it_steps() -> None:
    with pytest.raises(ValueError, match="reads = 50 must lie within 1 … 40"):
        spoken_digits.Config(reads=50)


def test_smoke(data_dir) -> None:
    data_dir("fsdd")
    pytest.importorskip("reservoirpy", reason="needs spiketwin[reservoirs]")
    result = spoken_digits.smoke()
    names = ("front_end", "front_end_spikes", "50", "unconnected_50", "echo_state_50")
    for name in names:
        assert result.mean(f"official_{name}") > 60 and result.mean(f"speaker_out_{name}") > 30, name
        assert list(result.curves[name]) == ["george"]
    # two epochs of a small network; chance is 10 %
    assert result.mean("validation_official_rsnn") > 15
    panels = spoken_digits.draw(result).axes
    assert len(panels) == 2 and len(panels[0].lines) == 3 * 2 + 3
