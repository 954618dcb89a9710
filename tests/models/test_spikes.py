"""Spikes as events: conversions lose nothing, grids follow Brian2's rule, bad events are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spiketwin.models.spikes import Spikes, timestep

dense = arrays(np.uint8, st.tuples(*[st.integers(1, 6)] * 3), elements=st.integers(0, 1))


@given(dense)
def test_dense_and_back(array):
    spikes = Spikes.from_dense(array, 0.5)
    np.testing.assert_array_equal(spikes.dense(), array)
    np.testing.assert_array_equal(spikes.counts(), array.sum(axis=0))
    np.testing.assert_allclose(spikes.rates_hz(), array.sum(axis=0) / (array.shape[0] * 0.5e-3))
    assert spikes.equals(Spikes.from_dense(spikes.dense(), 0.5))


@given(dense, st.integers(1, 5))
def test_a_finer_grid_keeps_the_arrival_time(array, factor):
    spikes = Spikes.from_dense(array, 1.0)
    fine = spikes.refined(factor)
    assert fine.shape[0] == factor * spikes.shape[0]
    # a label n takes effect at (n + 1) dt
    np.testing.assert_allclose((fine.step + 1) * fine.dt_ms, (spikes.step + 1) * 1.0)


def test_events_are_ordered_and_trials_renumbered():
    spikes = Spikes([3, 0, 3], [1, 1, 0], [0, 1, 1], (4, 2, 2), 0.1)
    assert list(spikes.step) == [0, 3, 3] and list(spikes.batch) == [1, 0, 1]
    second = spikes.trial(1)
    assert second.shape == (4, 1, 2) and list(second.step) == [0, 3] and list(second.neuron) == [1, 0]
    np.testing.assert_array_equal(spikes.first_ms(), [[np.inf, 3 * 0.1], [3 * 0.1, 0.0]])


def test_times_go_to_the_step_they_are_in():
    # 0.3/0.1 is 2.9999999999999996: Brian2's tolerance of dt/1000 makes it step 3
    assert list(timestep([0.0, 0.099, 0.1, 0.3, 0.35], 0.1)) == [0, 0, 1, 3, 3]
    spikes = Spikes.from_times([0.3, 1.25], [0, 1], size=2, duration_ms=2, dt_ms=0.1)
    assert list(spikes.step) == [3, 12] and spikes.shape == (20, 1, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Spikes([4], [0], [0], (4, 1, 1), 1.0), r"step 4 lies outside 0 … 3"),
        (lambda: Spikes([0], [0], [-1], (4, 1, 1), 1.0), r"neuron -1 lies outside"),
        (lambda: Spikes([0, 1], [0], [0], (4, 1, 1), 1.0), r"equally many"),
        (lambda: Spikes([0], [0], [0], (4, 1, 1), 0.0), r"dt_ms = 0.0 must be positive"),
        (lambda: Spikes([0], [0], [0], (4, 1, 1), np.inf), r"dt_ms = inf must be positive and finite"),
        (lambda: Spikes([0], [0], [0], (3, 1), 1.0), r"shape \(T, B, N\), got \(3, 1\)"),
        (lambda: Spikes.from_dense(np.full((2, 1, 1), 0.5), 1.0), r"only 0 and 1"),
        (lambda: Spikes.from_dense(np.zeros(3), 1.0), r"\[T, B, N\] or \[T, N\]"),
        (lambda: Spikes.from_times([np.nan], [0], size=1, duration_ms=1, dt_ms=1.0), r"finite"),
        (lambda: Spikes.from_times([9.0], [0], size=1, duration_ms=1, dt_ms=1.0), r"step 9 lies outside"),
    ],
)
def test_bad_events(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_events_that_are_in_order_are_taken_as_they_are():
    step, neuron = np.array([0, 0, 3]), np.array([1, 4, 0], np.uint32)
    taken = Spikes.in_order(step, np.zeros_like(step), neuron, (5, 1, 6), 0.5)
    assert taken.equals(Spikes(step, np.zeros_like(step), neuron, (5, 1, 6), 0.5)) and taken.neuron.dtype == np.int64
    np.testing.assert_array_equal(taken.times_ms(), [0, 0, 1.5])
