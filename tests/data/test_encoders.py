"""Encoders: the closed form of the first-spike code, the rate of Poisson trains, bad input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiketwin.models.encoders import poisson, time_to_first_spike


def first(x, **settings):
    return time_to_first_spike(np.atleast_2d(x), **settings)


def test_first_spike_times_are_those_of_the_closed_form():
    # 20 ln(1/.8) = 4.46, 20 ln(.3/.1) = 21.97, 20 ln(.201/.001) = 106.1 ms
    spikes = first([1.0, 0.3, 0.201, 0.2, 0.0])
    assert spikes.neuron.tolist() == [0, 1]  # .201 comes after tmax, .2 and 0 never
    assert spikes.times_ms() == pytest.approx([4.4629, 21.9722], abs=1e-4)
    assert spikes.step.tolist() == [4, 21]
    assert spikes.shape == (100, 1, 5)


def test_a_longer_trial_holds_the_late_spike():
    spikes = first(0.201, tmax_ms=110)
    assert spikes.times_ms() == pytest.approx([20 * np.log(201)], rel=1e-12)
    assert spikes.step.tolist() == [106]


def test_the_label_is_the_step_that_holds_the_time():
    spikes = first([1.0, 0.3], dt_ms=0.5)
    assert spikes.step.tolist() == [8, 43]  # 4.46/.5 = 8.9, 21.97/.5 = 43.9
    assert spikes.shape[0] == 200


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.sampled_from([0.1, 0.5, 1.0, 2.0]))
def test_stronger_inputs_never_fire_later_and_none_twice(x, dt_ms):
    spikes = first(x, dt_ms=dt_ms)
    assert spikes.counts().max() <= 1
    time = spikes.first_ms()[0]
    order = np.argsort(x, kind="stable")
    late = time[order]
    assert all(a >= b for a, b in zip(late[:-1], late[1:]))
    # inverse of the code: x = thr / (1 - exp(-T/tau)); the exponential loses digits when T is large
    fired = np.isfinite(time)
    assert 0.2 / -np.expm1(-time[fired] / 20) == pytest.approx(np.asarray(x)[fired], rel=1e-9)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[0.5, np.nan]], "NaN"),
        ([[0.0, 255.0]], "divide by 255"),
        ([[0.0, 16.0]], "divide by 16"),
        ([[-0.1, 0.5]], "0 … 1"),
        ([0.5, 0.5], r"\[B, N\]"),
    ],
)
def test_bad_intensities_are_named(x, message):
    with pytest.raises(ValueError, match=message):
        time_to_first_spike(np.array(x))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"tau_ms": 0}, "tau_ms"), ({"threshold": 0.0}, "threshold"), ({"tmax_ms": 100.5}, "whole number"), ({"dt_ms": -1}, "dt_ms")],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        first(0.5, **settings)


def test_poisson_trains_have_the_rate_and_belong_to_their_seed():
    x = np.array([[0.0, 0.5, 1.0]])
    spikes = poisson(x, rate_hz=100, duration_ms=20_000, dt_ms=1, seed=3)
    # 2000 spikes expected in the last: 5 sigma = 5 sqrt(2000) = 224; the grid merges 5 % of them
    assert spikes.counts()[0] == pytest.approx(20_000 * -np.expm1([0, -0.05, -0.1]), abs=224)
    assert spikes.equals(poisson(x, rate_hz=100, duration_ms=20_000, dt_ms=1, seed=3))
    assert not spikes.equals(poisson(x, rate_hz=100, duration_ms=20_000, dt_ms=1, seed=4))
    with pytest.raises(ValueError, match="rate_hz"):
        poisson(x, rate_hz=-1, duration_ms=10)
