"""Codes of times: closed forms, numbers by hand, and what a change of the input does to the times."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spiketwin.models.decoders import count, first_spike_ms
from spiketwin.models.encoders import (
    delta,
    delta_rate_hz,
    delta_value,
    log_temporal,
    log_temporal_ms,
    population,
    population_ms,
    population_value,
    rank_order,
    rank_order_ms,
    rank_order_value,
    temporal_switch,
    temporal_switch_ms,
    temporal_switch_value,
    time_to_first_spike,
    time_to_first_spike_ms,
)
from spiketwin.models.spikes import Spikes

rows = arrays(float, st.tuples(st.integers(1, 3), st.integers(1, 8)), elements=st.floats(0, 1))


def first(x, **settings):
    return time_to_first_spike(np.atleast_2d(x), **settings)


# -- time to first spike ----------------------------------------------------------------------------------


def test_first_spike_times_are_those_of_the_closed_form():
    # 20 ln(1/.8) = 4.46, 20 ln(.3/.1) = 21.97, 20 ln(.201/.001) = 106.1 ms
    spikes = first([1.0, 0.3, 0.201, 0.2, 0.0])
    assert spikes.neuron.tolist() == [0, 1]  # .201 comes after tmax, .2 and 0 never
    assert spikes.times_ms() == pytest.approx([4.4629, 21.9722], abs=1e-4)
    assert spikes.step.tolist() == [4, 21]
    assert spikes.shape == (100, 1, 5)
    assert time_to_first_spike_ms([[1.0, 0.3, 0.201, 0.2]])[0] == pytest.approx([4.4629, 21.9722, np.inf, np.inf], abs=1e-4)


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


@given(rows)
@settings(max_examples=50)
@pytest.mark.parametrize(
    ("encode", "expected"), [(time_to_first_spike, time_to_first_spike_ms), (log_temporal, log_temporal_ms), (rank_order, rank_order_ms)]
)
def test_times_are_those_of_the_closed_form(encode, expected, x):
    np.testing.assert_allclose(first_spike_ms(encode(x)), expected(x), rtol=1e-9, atol=1e-12)


# -- log-temporal -----------------------------------------------------------------------------------------


def test_log_temporal_by_hand():
    # log2(10) = 3.3219; 2^-11 would fire at 110 ms
    spikes = log_temporal([[1.0, 0.5, 0.1, 2.0**-11, 0.0]])
    assert first_spike_ms(spikes)[0] == pytest.approx([0, 10, 33.219, np.inf, np.inf], abs=1e-3)
    # with halving = dt labels are exponents: .3 lies in 2^-2 … 2^-1
    assert log_temporal([[1.0, 0.5, 0.49, 0.3]], halving_ms=1).step.tolist() == [0, 1, 1, 1]


@given(st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.2, 1))
def test_contrast_moves_all_spikes_by_the_same_time(a, b, contrast):
    times = [log_temporal([[a * c, b * c]], tmax_ms=200).first_ms()[0] for c in (1.0, contrast)]
    assert times[1] - times[0] == pytest.approx(-10 * np.log2(contrast), abs=1e-9)


# -- rank order -------------------------------------------------------------------------------------------


def test_rank_order_by_hand():
    spikes = rank_order([[0.2, 0.9, 0.5, 0.0, 0.9]])
    assert first_spike_ms(spikes)[0].tolist() == [2, 0, 1, np.inf, 0]
    assert rank_order_value(spikes, modulation=0.5)[0].tolist() == [0.25, 1, 0.5, 0, 1]
    cut = rank_order([[0.2, 0.9, 0.5]], interval_ms=0.75, tmax_ms=1.5, dt_ms=0.5)
    assert first_spike_ms(cut)[0].tolist() == [np.inf, 0, 0.75]  # the third would come at 1.5
    assert cut.step.tolist() == [0, 1]
    with pytest.raises(ValueError, match="modulation"):
        rank_order_value(spikes, modulation=1.0)


@given(rows, st.randoms())
@settings(max_examples=50)
def test_only_the_order_matters(x, random):
    times = rank_order(x).first_ms()
    # a slow reference: how many different stronger values there are
    for b, row in enumerate(x):
        for n, value in enumerate(row):
            assert times[b, n] == (len({v for v in row if v > value}) if value > 0 else np.inf)
    shuffled = random.sample(range(x.shape[1]), x.shape[1])
    assert np.array_equal(rank_order(x[:, shuffled]).first_ms(), times[:, shuffled])


# -- temporal switch --------------------------------------------------------------------------------------


def test_the_time_between_two_spikes_is_the_value():
    spikes = temporal_switch([[0.25, 0.0, 1.0]], tmax_ms=40)
    assert spikes.shape == (41, 1, 6)
    assert first_spike_ms(spikes)[0].tolist() == [0, np.inf, 0, 10, np.inf, 40]
    assert temporal_switch_ms([[0.25, 0.0, 1.0]], tmax_ms=40)[0].tolist() == [10, 0, 40]
    assert temporal_switch_value(spikes, tmax_ms=40)[0].tolist() == [0.25, 0, 1]
    # after 20 ms the third is still on
    early = Spikes(spikes.step[:-1], spikes.batch[:-1], spikes.neuron[:-1], (20, 1, 6), 1.0)
    assert temporal_switch_value(early, tmax_ms=40)[0].tolist() == [0.25, 0, 0.5]
    with pytest.raises(ValueError, match="odd number"):
        temporal_switch_value(Spikes([], [], [], (5, 1, 3), 1.0))


def test_a_current_switched_on_and_off_brings_the_weighted_sum():
    x, weight = np.random.default_rng(0).random((2, 5)), np.random.default_rng(1).normal(size=(3, 5))
    spikes = temporal_switch(x, tmax_ms=50, dt_ms=0.125)
    switched = np.cumsum(spikes.dense(float) @ np.concatenate((weight, -weight), axis=1).T, axis=0)  # the current, per step
    assert switched[-1] == pytest.approx(0, abs=1e-12)
    # labels are early by at most dt, for each of the 5 inputs
    assert switched.sum(axis=0) * 0.125 == pytest.approx(x @ weight.T * 50, abs=0.125 * np.abs(weight).sum(axis=1).max())


# -- population -------------------------------------------------------------------------------------------


def test_receptive_fields_by_hand():
    # 4 fields: centres -.25, .25, .75, 1.25, width 1/(1.5 · 2) = 1/3. x = .25: 1, and exp(-(.5 · 3)²/2) = .3247 on both sides
    spikes = population([[0.25]], fields=4)
    assert first_spike_ms(spikes)[0] == pytest.approx([6.7535, 0, 6.7535, np.inf], abs=1e-4)  # exp(-4.5) = .011 is silent
    assert spikes.step.tolist() == [0, 6, 6]
    assert population_value(spikes, fields=4).item() == pytest.approx(0.25)


@given(rows, st.integers(3, 12))
@settings(max_examples=50)
def test_the_nearest_field_fires_first_and_the_value_comes_back(x, fields):
    spikes = population(x, fields=fields)
    np.testing.assert_allclose(first_spike_ms(spikes), population_ms(x, fields=fields), rtol=1e-9, atol=1e-12)
    centres = (np.arange(fields) - 0.5) / (fields - 2)
    nearest = first_spike_ms(spikes).reshape(len(x), -1, fields).argmin(axis=2)
    assert (np.abs(x - centres[nearest]) <= np.abs(x[..., None] - centres).min(axis=2) + 1e-6).all()
    assert (count(spikes).reshape(len(x), -1, fields).sum(axis=2) >= 2).all()
    assert population_value(spikes, fields=fields) == pytest.approx(x, abs=1e-6)


def test_a_value_that_one_field_saw_stays_open():
    one = Spikes([0], [0], [3], (10, 1, 8), 1.0)
    assert np.isnan(population_value(one)).all()
    with pytest.raises(ValueError, match="not groups of fields = 5"):
        population_value(one, fields=5)


# -- send-on-delta ----------------------------------------------------------------------------------------


def test_send_on_delta_by_hand():
    signal = np.array([0, 0.4, 0.9, 1.0, 1.1, 2.3, 2.3, 1.3, 1.2])[:, None, None]
    spikes = delta(signal, delta=0.5, dt_ms=2)
    # reference 0 -> .5 at .9 -> 1 at 1.0 -> 1.5 at 2.3 -> 2 one step late -> 1.5 at 1.3
    assert spikes.step.tolist() == [2, 3, 5, 6, 7]
    assert spikes.neuron.tolist() == [0, 0, 0, 0, 1]
    assert delta_value(spikes, delta=0.5)[:, 0, 0].tolist() == [0, 0, 0.5, 1, 1, 1.5, 2, 1.5, 1.5]


@pytest.mark.parametrize("slope_per_s", [3.0, -7.5, 100.0, 1000.0])
def test_a_ramp_has_the_rate_of_its_slope(slope_per_s):
    steps, dt_ms = 4000, 0.5
    spikes = delta(slope_per_s * 1e-3 * dt_ms * np.arange(steps)[:, None, None], delta=0.05, dt_ms=dt_ms)
    rate = np.zeros(2)
    rate[int(slope_per_s < 0)] = delta_rate_hz(slope_per_s, delta=0.05, dt_ms=dt_ms)
    assert rate.max() == min(abs(slope_per_s) / 0.05, 2000)  # 100/.05 = 2000 is a spike in every step
    # 2 s; the first sample is the reference and fires nothing
    assert count(spikes)[0] == pytest.approx(2 * rate, abs=1 + 1e-9)


walks = arrays(float, st.tuples(st.integers(1, 30), st.integers(1, 2), st.integers(1, 3)), elements=st.floats(-1, 1))


@given(walks, st.floats(0.01, 10), st.floats(-100, 100))
@settings(max_examples=100)
def test_the_reference_stays_within_delta(moves, step, start):
    # a signal that moves by at most delta in a step
    signal = start + step * np.cumsum(moves, axis=0)
    spikes = delta(signal, delta=step, dt_ms=1.0)
    found = delta_value(spikes, delta=step, start=signal[0])
    assert np.abs(found - signal).max() <= step * (1 + 1e-6) + 1e-9
    assert not (count(spikes)[:, : signal.shape[2]] > len(signal)).any()


def test_a_constant_costs_nothing_and_a_falling_signal_mirrors_a_rising_one():
    assert len(delta(np.full((50, 2, 3), 7.0), delta=0.1, dt_ms=1)) == 0
    signal = np.random.default_rng(0).normal(size=(200, 2, 3)).cumsum(axis=0)
    up, down = delta(signal, delta=0.5, dt_ms=1), delta(-signal, delta=0.5, dt_ms=1)
    assert len(up) > 100
    assert np.array_equal(up.dense()[:, :, :3], down.dense()[:, :, 3:]) and np.array_equal(up.dense()[:, :, 3:], down.dense()[:, :, :3])


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        (np.zeros(5), r"x\[:, None, None\]"),
        (np.zeros((5, 3)), r"x\[:, None\]"),
        (np.zeros((0, 1, 2)), "at least one step"),
        (np.array([0, 1, np.nan, np.inf])[:, None, None], "2 NaN or infinite values, the first at step 2 of trial 0"),
    ],
)
def test_bad_signals_are_named(signal, message):
    with pytest.raises(ValueError, match=message):
        delta(signal, delta=0.5, dt_ms=1.0)


@pytest.mark.parametrize(("name", "value"), [("delta", 0.0), ("delta", np.nan), ("dt_ms", -1.0)])
def test_bad_settings_of_delta_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        delta(np.zeros((3, 1, 1)), **{"delta": 0.5, "dt_ms": 1.0} | {name: value})


def test_values_need_both_neurons_of_a_signal():
    with pytest.raises(ValueError, match="odd number"):
        delta_value(Spikes([], [], [], (5, 1, 3), 1.0), delta=1.0)
