"""Events on a grid: hand-worked batches, what is left out, and events that cannot be."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiketwin.experiments.data import DataError, EventSamples
from spiketwin.experiments.data.events import HeldEvents, span

# sample 0: unit 2 at 0.5 and 0.7 ms, unit 0 at 3 ms; sample 1: none; sample 2: unit 1 at 2.0 and 9.0 ms
EVENTS = HeldEvents(np.array([0.5, 0.7, 3.0, 2.0, 9.0]), np.array([2, 2, 0, 1, 1]), np.array([0, 3, 3, 5]))


@pytest.fixture
def samples():
    return EventSamples(EVENTS, np.arange(3), np.array([7, 8, 9]), size=4, speakers=np.array([0, 1, 1]))


def rows(spikes):
    return list(zip(spikes.step.tolist(), spikes.batch.tolist(), spikes.neuron.tolist()))


def test_a_batch_has_each_event_in_its_step_once(samples):
    spikes = samples.batch(dt_ms=1.0, duration_ms=5.0)
    assert spikes.shape == (5, 3, 4) and spikes.dt_ms == 1.0
    # .5 and .7 ms both fall into step 0; 9.0 ms lies beyond the 5 ms
    assert rows(spikes) == [(0, 0, 2), (2, 2, 1), (3, 0, 0)]
    assert rows(samples.batch(dt_ms=0.1, duration_ms=5.0)) == [(5, 0, 2), (7, 0, 2), (20, 2, 1), (30, 0, 0)]


def test_the_end_is_left_out_and_the_begin_is_not():
    held = HeldEvents(np.array([0.0, 4.999, 5.0]), np.zeros(3, int), np.array([0, 3]))
    found = EventSamples(held, np.arange(1), np.zeros(1, int), size=1).batch(dt_ms=1.0, duration_ms=5.0)
    # 4.999 ms lies within Brian2's tolerance of dt/1000 of step 5, which is out
    assert rows(found) == [(0, 0, 0)]


def test_samples_come_in_the_order_that_is_asked_for(samples):
    assert rows(samples.batch([2, 0], dt_ms=1.0, duration_ms=10.0)) == [(0, 1, 2), (2, 0, 1), (3, 1, 0), (9, 0, 1)]
    part = samples[np.array([2, 0])]
    assert len(part) == 2 and part.labels.tolist() == [9, 7] and part.speakers.tolist() == [1, 0]
    assert part.batch(dt_ms=1.0, duration_ms=10.0).equals(samples.batch([2, 0], dt_ms=1.0, duration_ms=10.0))
    assert samples[samples.labels > 7].numbers.tolist() == [1, 2]


def test_events_are_given_as_they_were_recorded(samples):
    times_ms, units = samples.events(2)
    assert times_ms.tolist() == [2.0, 9.0] and units.tolist() == [1, 1]
    assert samples[1:].events(0)[0].tolist() == []


def test_an_empty_batch_and_samples_without_events_are_no_error(samples):
    assert len(samples.batch(slice(0, 0), dt_ms=1.0, duration_ms=5.0)) == 0
    assert samples.batch([1], dt_ms=1.0, duration_ms=5.0).shape == (5, 1, 4)


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 39), st.integers(0, 5)), max_size=20), min_size=1, max_size=6), st.sampled_from([1, 2, 4])
)
def test_a_batch_is_the_histogram_of_the_events(trials, factor):
    """Against a loop: an event at k/4 ms of a unit sets [k // factor, trial, unit] at dt = factor/4 ms."""
    times = np.array([k / 4 for t in trials for k, _ in t])
    units = np.array([u for t in trials for _, u in t], dtype=int)
    offsets = np.concatenate([[0], np.cumsum([len(t) for t in trials])])
    samples = EventSamples(HeldEvents(times, units, offsets), np.arange(len(trials)), np.zeros(len(trials), int), size=6)
    expected = np.zeros((40 // factor, len(trials), 6), dtype=np.uint8)
    for b, trial in enumerate(trials):
        for k, unit in trial:
            expected[k // factor, b, unit] = 1
    spikes = samples.batch(dt_ms=factor / 4, duration_ms=10.0)
    assert np.array_equal(spikes.dense(), expected)
    assert len(spikes) == expected.sum()


@pytest.mark.parametrize(
    ("times", "units", "message"),
    [
        ([1.0, 2.0], [0, 4], r"sample 5 has an event of unit 4 at 2 ms; units must lie in 0 … 3"),
        ([1.0, np.nan], [0, 1], r"sample 5 has an event of unit 1 at nan ms"),
        ([-1.0, 2.0], [0, 1], r"sample 4 has an event of unit 0 at -1 ms"),
    ],
)
def test_impossible_events_are_named_with_their_sample(times, units, message):
    held = HeldEvents(np.array([0.0] * 4 + times), np.array([0] * 4 + units), np.arange(7))
    with pytest.raises(DataError, match=message):
        EventSamples(held, np.arange(6), np.zeros(6, int), size=4).batch(dt_ms=1.0, duration_ms=5.0)


@pytest.mark.parametrize(("dt_ms", "duration_ms"), [(0.0, 5.0), (1.0, 0.5), (-1.0, 5.0), (1.0, np.nan)])
def test_a_grid_without_steps_is_an_error(samples, dt_ms, duration_ms):
    with pytest.raises(ValueError, match="must be at least one step"):
        samples.batch(dt_ms=dt_ms, duration_ms=duration_ms)


def test_labels_and_samples_are_equally_many():
    with pytest.raises(ValueError, match="3 samples, but 2 labels"):
        EventSamples(EVENTS, np.arange(3), np.arange(2), size=4)


def test_samples_can_be_sent_to_another_process(samples):
    again = pickle.loads(pickle.dumps(samples))
    assert again.batch(dt_ms=1.0, duration_ms=5.0).equals(samples.batch(dt_ms=1.0, duration_ms=5.0))


def test_long_keys_are_sorted_too():
    """T · B · N above 2³¹ needs 64 bits: 3e6 steps of 1000 units."""
    held = HeldEvents(np.array([2999.9995, 0.0]), np.array([999, 1]), np.array([0, 2]))
    spikes = EventSamples(held, np.arange(1), np.zeros(1, int), size=1000).batch(dt_ms=0.001, duration_ms=3000.0)
    assert rows(spikes) == [(0, 0, 1), (2_999_999, 0, 999)]


def test_span_counts_up_in_each_stretch():
    assert span(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]
