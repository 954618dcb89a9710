"""Spike-train distances: closed forms, slow readable algorithms, and elephant."""

import math
from functools import lru_cache

import numpy as np
import pytest

from spiketwin.models.distances import (
    coincidence_factor,
    first_spike_shift,
    isi_cv,
    spike_cosine,
    van_rossum_distance,
    victor_purpura_distance,
)
from spiketwin.models.spikes import Spikes

DURATION_MS = 200.0


def train(*times_ms, duration_ms=DURATION_MS, dt_ms=0.1):
    """One trial of one neuron."""
    return Spikes.from_times(times_ms, np.zeros(len(times_ms), int), size=1, duration_ms=duration_ms, dt_ms=dt_ms)


def poisson(rng, *, rate_hz=60.0, trials=3, size=4, dt_ms=0.1):
    steps = round(DURATION_MS / dt_ms)
    return Spikes.from_dense(rng.random((steps, trials, size)) < rate_hz * 1e-3 * dt_ms, dt_ms)


@pytest.fixture
def pair():
    """Two sets with busy, sparse and silent trains, on grids of .1 and .25 ms."""
    rng = np.random.default_rng(0)
    a, b = poisson(rng), poisson(rng, rate_hz=40.0, dt_ms=0.25)
    silent = Spikes(*(x[a.neuron > 0] for x in (a.step, a.batch, a.neuron)), shape=a.shape, dt_ms=a.dt_ms)
    assert len(silent) > 50 and len(b) > 50
    return silent, b


def each(a, b):
    """Times of both trains, for every trial and neuron."""
    trials, size = a.shape[1:]
    for i in range(trials):
        for n in range(size):
            yield i, n, *(np.sort(s.times_ms()[(s.batch == i) & (s.neuron == n)]) for s in (a, b))


# -- van Rossum ------------------------------------------------------------------------------------


def test_van_rossum_of_equal_trains_is_zero(pair):
    a, _ = pair
    assert (van_rossum_distance(a, a, tau_ms=10) == 0).all()
    # the same times on a grid twice as fine
    finer = Spikes(a.step * 2, a.batch, a.neuron, (a.shape[0] * 2, *a.shape[1:]), a.dt_ms / 2)
    assert (van_rossum_distance(a, finer, tau_ms=10) == 0).all()


def test_one_extra_spike_costs_one_over_root_two():
    # the other spike is 15 tau away: exp(-15) = 3e-7
    assert van_rossum_distance(train(10), train(10, 160), tau_ms=10) == pytest.approx(1 / math.sqrt(2), abs=1e-12)
    assert van_rossum_distance(train(), train(50), tau_ms=10) == pytest.approx(1 / math.sqrt(2), abs=1e-12)


@pytest.mark.parametrize("shift_ms", [0.1, 2.0, 30.0])
def test_a_shifted_spike_costs_root_of_one_minus_exp(shift_ms):
    # D^2 = (1 + 1 - 2 exp(-shift/tau))/2
    assert van_rossum_distance(train(50), train(50 + shift_ms), tau_ms=10) == pytest.approx(
        math.sqrt(1 - math.exp(-shift_ms / 10)), rel=1e-9
    )


def test_van_rossum_is_the_integral_of_the_squared_difference(pair):
    a, b = pair
    tau, fine = 5.0, 0.005
    t = np.arange(0, DURATION_MS + 20 * tau, fine) + fine / 2
    slow = np.zeros(a.shape[1])
    for i, _, x, y in each(a, b):
        f, g = (np.where(t[:, None] > s, np.exp(-(t[:, None] - s) / tau), 0).sum(axis=1) for s in (x, y))
        slow[i] += math.sqrt(np.sum((f - g) ** 2) * fine / tau) / a.shape[2]
    # midpoint rule, jumps on the grid's edges: error (fine/tau)^2/24 = 4e-8
    assert van_rossum_distance(a, b, tau_ms=tau) == pytest.approx(slow, rel=1e-6)


def test_van_rossum_against_elephant(pair):
    quantities, neo, elephant = (
        pytest.importorskip(n, reason="needs spiketwin[neo]") for n in ("quantities", "neo", "elephant.spike_train_dissimilarity")
    )
    a, b = pair
    expected = np.zeros(a.shape[1])
    for i, _, x, y in each(a, b):
        trains = [neo.SpikeTrain(s, units="ms", t_stop=DURATION_MS) for s in (x, y)]
        # elephant leaves out the kernel's norm 1/2
        expected[i] += elephant.van_rossum_distance(trains, time_constant=5 * quantities.ms)[0, 1] / math.sqrt(2) / a.shape[2]
    assert van_rossum_distance(a, b, tau_ms=5) == pytest.approx(expected, rel=1e-9)


# -- Victor-Purpura --------------------------------------------------------------------------------


def test_victor_purpura_by_hand():
    # q = 0.1/ms: 10 -> 14 moves for 0.4, 50 is deleted (1), 120 -> 150 would cost 3 and is exchanged for 2
    assert victor_purpura_distance(train(10, 50, 120), train(14, 150), cost_per_ms=0.1) == pytest.approx(0.4 + 1 + 2)


def test_victor_purpura_without_cost_counts_spikes(pair):
    a, b = pair
    expected = np.abs(a.counts() - b.counts()).mean(axis=1)
    assert victor_purpura_distance(a, b, cost_per_ms=0) == pytest.approx(expected)


def test_victor_purpura_against_the_recursion(pair, monkeypatch):
    a, b = pair
    expected = np.zeros(a.shape[1])
    for i, _, x, y in each(a, b):

        @lru_cache(None)
        def cost(n, m, x=x, y=y):
            if n == 0 or m == 0:
                return n + m
            return min(cost(n - 1, m) + 1, cost(n, m - 1) + 1, cost(n - 1, m - 1) + 0.2 * abs(x[n - 1] - y[m - 1]))

        expected[i] += cost(len(x), len(y)) / a.shape[2]
    assert victor_purpura_distance(a, b, cost_per_ms=0.2) == pytest.approx(expected)
    monkeypatch.setattr("spiketwin.models.distances.CHUNK", 30)
    assert victor_purpura_distance(a, b, cost_per_ms=0.2) == pytest.approx(expected)


def test_victor_purpura_against_elephant(pair):
    quantities, neo, elephant = (
        pytest.importorskip(n, reason="needs spiketwin[neo]") for n in ("quantities", "neo", "elephant.spike_train_dissimilarity")
    )
    a, b = pair
    expected = np.zeros(a.shape[1])
    for i, _, x, y in each(a, b):
        trains = [neo.SpikeTrain(s, units="ms", t_stop=DURATION_MS) for s in (x, y)]
        expected[i] += elephant.victor_purpura_distance(trains, cost_factor=0.5 / quantities.ms)[0, 1] / a.shape[2]
    assert victor_purpura_distance(a, b, cost_per_ms=0.5) == pytest.approx(expected, rel=1e-9)


# -- coincidence -----------------------------------------------------------------------------------


def test_equal_trains_coincide_fully(pair):
    a, _ = pair
    gamma = coincidence_factor(a, a, delta_ms=2)
    assert np.isnan(gamma[:, 0]).all()  # neuron 0 is silent
    assert gamma[:, 1:] == pytest.approx(1.0)


def test_coincidence_by_hand():
    # 200 ms, 2 ms: one of three pairs coincides. Expected by chance: 2 · (2/200) · 2 · 3 = .12.
    a, reference = train(20, 100), train(21.9, 103, 150)
    expected = (1 - 0.12) / 2.5 / (1 - 2 * 2 / 200 * 2)
    assert coincidence_factor(a, reference, delta_ms=2)[0, 0] == pytest.approx(expected)


def test_the_window_is_closed_and_no_spike_pairs_twice():
    # .9 - .7 is .20000000000000007 in floats, and lies within a window of .2
    assert coincidence_factor(train(0.7), train(0.9), delta_ms=0.2)[0, 0] == pytest.approx(1.0)
    # 50 pairs with 49 or with 51, once
    gamma = coincidence_factor(train(50), train(49, 51), delta_ms=2)[0, 0]
    assert gamma == pytest.approx((1 - 2 * 2 * 1 / 200 * 2) / 1.5 / (1 - 2 * 2 / 200))
    # taking the nearest partner first would leave 12 and 9 alone
    both = coincidence_factor(train(10, 12), train(9, 10.9), delta_ms=1.5)[0, 0]
    assert both == pytest.approx(1.0)


def test_coincidences_are_counted_as_the_slow_way_does(pair):
    a, b = pair
    gamma = coincidence_factor(a, b, delta_ms=1.5)
    for i, n, x, y in each(a, b):
        free, found = list(y), 0
        for t in x:
            partner = next((s for s in free if abs(s - t) <= 1.5 + 1e-9), None)
            if partner is not None:
                free.remove(partner)
                found += 1
        if len(x) + len(y):
            chance = 2 * 1.5 * len(x) / DURATION_MS
            assert gamma[i, n] == pytest.approx((found - chance * len(y)) / (0.5 * (len(x) + len(y))) / (1 - chance))


def test_independent_poisson_trains_coincide_by_chance():
    rng = np.random.default_rng(1)
    gamma = coincidence_factor(poisson(rng, trials=100, size=20), poisson(rng, trials=100, size=20), delta_ms=1)
    # 2000 trains of about 12 spikes: one has a spread of about sqrt(2·1·.06·12)/12/.88 = .11, their mean .0026;
    # pairing each spike only once costs a few percent of the .12 expected coincidences per spike
    assert abs(gamma.mean()) < 4 * 0.0026 + 0.05 * 0.12


def test_a_window_as_long_as_the_interval_has_no_coincidence_factor():
    clock = train(*np.arange(0, 200, 4.0))
    assert np.isnan(coincidence_factor(clock, clock, delta_ms=2)).all()
    assert coincidence_factor(clock, clock, delta_ms=1)[0, 0] == pytest.approx(1.0)


# -- the others ------------------------------------------------------------------------------------


def test_first_spikes():
    a = Spikes.from_times([5, 30, 7], [0, 0, 1], size=4, duration_ms=50, dt_ms=0.5)
    b = Spikes.from_times([3, 9], [0, 2], size=4, duration_ms=50, dt_ms=0.1)
    assert first_spike_shift(a, b) == pytest.approx(np.array([[2.0, -np.inf, np.inf, np.nan]]), nan_ok=True)


def test_cosine_of_counts(pair):
    # bins of 10 ms: (2, 1, 0) and (1, 0, 1) -> 2/(sqrt(5) sqrt(2))
    a, b = train(1, 2, 12, duration_ms=30), train(3, 25, duration_ms=30)
    assert spike_cosine(a, b, bin_ms=10) == pytest.approx(2 / math.sqrt(10))
    assert spike_cosine(a, a, bin_ms=10) == pytest.approx(1.0)
    assert np.isnan(spike_cosine(a, train(duration_ms=30), bin_ms=10))
    a, b = pair
    counts = [np.stack([np.histogram(s, np.arange(0, 201, 5.0))[0] for *_, x, y in each(a, b) for s in [(x, y)[k]]]) for k in (0, 1)]
    x, y = (c.reshape(a.shape[1], -1).astype(float) for c in counts)
    expected = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    assert spike_cosine(a, b, bin_ms=5) == pytest.approx(expected)


def test_cv_of_intervals():
    assert isi_cv(train(*np.arange(0, 200, 12.5)))[0, 0] == pytest.approx(0.0, abs=1e-12)
    # intervals 10 and 30: mean 20, deviation 10
    assert isi_cv(train(10, 20, 50))[0, 0] == pytest.approx(0.5)
    assert np.isnan(isi_cv(train(10, 20))).all()
    rng = np.random.default_rng(2)
    long = Spikes.from_dense(rng.random((200_000, 1, 5)) < 0.01, 0.1)
    # a geometric interval with p = .01 has CV sqrt(.99); 2000 intervals spread by 1/sqrt(2000) = .022
    assert isi_cv(long) == pytest.approx(np.sqrt(0.99), abs=5 * 0.022)


@pytest.mark.filterwarnings("ignore:The 'copy' argument")
def test_cv_against_elephant(pair):
    neo, elephant = (pytest.importorskip(n, reason="needs spiketwin[neo]") for n in ("neo", "elephant.statistics"))
    a, b = pair
    cv = isi_cv(a)
    for i, n, x, _ in each(a, b):
        if len(x) > 2:
            assert cv[i, n] == pytest.approx(elephant.cv(elephant.isi(neo.SpikeTrain(x, units="ms", t_stop=DURATION_MS)).magnitude))


def test_dense_arrays_give_the_same(pair):
    rng = np.random.default_rng(3)
    a, b = (rng.random((2, 300, 2, 5)) < 0.05).astype(np.float32)
    events = [Spikes.from_dense(x, 0.5) for x in (a, b)]
    for distance, settings in (
        (van_rossum_distance, {"tau_ms": 10}),
        (victor_purpura_distance, {"cost_per_ms": 0.1}),
        (coincidence_factor, {"delta_ms": 1}),
        (first_spike_shift, {}),
        (spike_cosine, {"bin_ms": 2}),
    ):
        np.testing.assert_array_equal(distance(a, b, dt_ms=0.5, **settings), distance(*events, **settings))
    np.testing.assert_array_equal(isi_cv(a, dt_ms=0.5), isi_cv(events[0]))


def test_silence_is_no_distance():
    a = train()
    assert van_rossum_distance(a, a, tau_ms=1) == victor_purpura_distance(a, a, cost_per_ms=1) == 0
    for undefined in (coincidence_factor(a, a, delta_ms=1), first_spike_shift(a, a), spike_cosine(a, a, bin_ms=1), isi_cv(a)):
        assert np.isnan(undefined).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a, b: van_rossum_distance(a, b, tau_ms=0), "tau_ms = 0 must be positive"),
        (lambda a, b: van_rossum_distance(a, b, tau_ms=math.nan), "tau_ms = nan must be positive"),
        (lambda a, b: victor_purpura_distance(a, b, cost_per_ms=-1), "cost_per_ms = -1 must not be negative"),
        (lambda a, b: coincidence_factor(a, b, delta_ms=-2), "delta_ms = -2 must be positive"),
        (lambda a, b: spike_cosine(a, b, bin_ms=0), "bin_ms = 0 must be positive"),
        (lambda a, b: first_spike_shift(a, poisson(np.random.default_rng(0))), r"do not pair up: .*\(1, 1\) and \(3, 4\)"),
        (lambda a, b: first_spike_shift(a, train(1, duration_ms=100)), "last 200 and 100 ms"),
        (lambda a, b: first_spike_shift(a.dense(), b.dense()), "add dt_ms"),
        (lambda a, b: first_spike_shift(a, b, dt_ms=0.5), "leave it out"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(train(10), train(20))


def test_a_trained_network_takes_seconds_at_most():
    import time

    rng = np.random.default_rng(4)
    # 200 trials of 100 neurons over 100 ms at 100 Hz: 200,000 events
    a, b = (Spikes.from_dense(rng.random((200, 200, 100), dtype=np.float32) < 0.05, 0.5) for _ in range(2))
    start = time.perf_counter()
    van_rossum_distance(a, b, tau_ms=10)
    coincidence_factor(a, b, delta_ms=2)
    assert len(a) > 180_000
    # takes .5 s on one busy core; a loop over trains would take minutes
    assert time.perf_counter() - start < 20
