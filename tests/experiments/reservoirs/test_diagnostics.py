"""The cores of the diagnostics, against cases whose answers are known in closed form."""

import numpy as np
import pytest
import scipy.sparse

from spiketwin.experiments.reservoirs.diagnostics import (
    activity,
    avalanche_sizes,
    avalanches,
    branching_ratio,
    class_separation,
    degrees_of,
    fano_factor,
    fit_power_law,
    growth_exponent,
    input_distance,
    memory,
    population_activity,
    renormalised_exponent,
    state_distance,
    state_rank,
    synchrony,
)
from spiketwin.experiments.reservoirs.diagnostics.memory import coded, polynomials
from spiketwin.experiments.reservoirs.diagnostics.probe import filtered_every, jittered, mixed, toggled
from spiketwin.models.spikes import Spikes


def train(*steps, length=200, neuron=0, size=1):
    return Spikes(steps, [0] * len(steps), [neuron] * len(steps), (length, 1, size), 1.0)


def poisson_spikes(steps, neurons, per_step, seed=0, trials=1):
    return Spikes.from_dense(np.random.default_rng(seed).random((steps, trials, neurons)) < per_step, 1.0)


# -- separation ------------------------------------------------------------------------------------


def test_input_distance_is_that_of_gaussians():
    tau, shift = 5.0, 4
    assert input_distance(train(50), train(50 + shift))[0] == pytest.approx(np.sqrt(1 - np.exp(-(shift**2) / (2 * tau**2))), abs=1e-6)
    assert input_distance(train(50, 90), train(50, 90))[0] == 0
    assert input_distance(train(5), train(195))[0] == pytest.approx(1)  # the ends of a run are not next to each other
    # one of two spikes in common, far apart: |difference|² is 1 of 3 spikes
    assert input_distance(train(50, 150), train(50))[0] == pytest.approx(np.sqrt(1 / 3))
    with pytest.raises(ValueError, match="do not pair up"):
        input_distance(train(1), train(1, length=100))


def test_state_distance_by_hand():
    assert state_distance(np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([1.0, 0.0])).tolist() == pytest.approx(
        [2 / np.sqrt(2), 1 / np.sqrt(2)]
    )


def test_class_separation_by_hand():
    states = np.array([[0.0], [2.0], [10.0], [14.0]])
    # centres 1 and 12, apart by 11, counted twice over 2² pairs; spread within (1 + 2)/2
    assert class_separation(states, [0, 0, 1, 1]) == pytest.approx((2 * 11 / 4) / (1.5 + 1))
    with pytest.raises(ValueError, match="one class"):
        class_separation(states, [3, 3, 3, 3])
    with pytest.raises(ValueError, match=r"shape \(4,\)"):
        class_separation(states[:, 0], [0, 0, 1, 1])


# -- ranks -----------------------------------------------------------------------------------------


def test_rank_counts_directions_above_the_threshold():
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((30, 5)))[0] for _ in range(2))
    states = left @ np.diag([1.0, 0.5, 0.1, 0.02, 0.005]) @ right.T
    assert state_rank(states).rank == 4 and state_rank(states, threshold=0.2).rank == 2 and state_rank(states).most == 30
    assert state_rank(np.zeros((4, 3))).rank == 0
    with pytest.raises(ValueError, match="smaller dt_ms"):
        state_rank(np.array([[np.nan, 1.0]]))


# -- memory ----------------------------------------------------------------------------------------


def delayed(u, lags):
    return np.column_stack([np.r_[np.zeros(k), u[: len(u) - k]] for k in lags])


def test_delay_line_remembers_its_length():
    u = np.random.default_rng(1).uniform(-1, 1, 4000)
    m = memory(delayed(u, [1, 2, 3, 4, 5]), u, lags=12, degrees=2)
    assert m.rank == 5 and m.linear == pytest.approx(5, abs=1e-9)
    np.testing.assert_allclose(m.by_lag, [0, 1, 1, 1, 1, 1] + [0] * 6, atol=1e-9)
    assert m.nonlinear == 0  # chance alone would give 21 · 5/4000


def test_trials_follow_each_other_without_leaking():
    u = np.random.default_rng(2).uniform(-1, 1, (600, 5))
    x = np.stack([delayed(u[:, b], [0, 3]) for b in range(5)], axis=1)
    assert memory(x, u, lags=6, degrees=1).by_lag == pytest.approx([1, 0, 0, 1, 0, 0], abs=1e-9)


def test_linear_reservoir_remembers_as_much_as_it_has_neurons():
    """Jaeger 2001, proposition 2: a random orthogonal reservoir of N neurons has a capacity of N."""
    rng, n = np.random.default_rng(3), 10
    w, v = 0.9 * np.linalg.qr(rng.standard_normal((n, n)))[0], rng.standard_normal(n)
    u, x = rng.uniform(-1, 1, 20000), np.zeros((20000, n))
    x[0] = v * u[0]
    for t in range(1, len(u)):
        x[t] = w @ x[t - 1] + v * u[t]
    m = memory(x, u, lags=150, degrees=1)
    assert m.linear == pytest.approx(n, rel=0.01) and m.by_lag.max() <= 1


def test_degrees_of_known_functions():
    u = np.random.default_rng(4).uniform(-1, 1, 60000)
    past = delayed(u, [1, 2])
    # u³ = 3/5 P1 + 2/5 P3, <u⁶> = 1/7: (3/5)² (1/3)/(1/7) = .84 of it is linear, .16 of third degree
    m = memory(u[:, None] ** 3, u, lags=4, degrees=3, nonlinear_lags=3)
    assert m.by_degree == pytest.approx([0.84, 0, 0.16], abs=0.01)
    product, square = past[:, 0] * past[:, 1], past[:, 0] ** 2
    m = memory(np.column_stack([product, square]), u, lags=4, degrees=3, nonlinear_lags=4)
    assert m.by_degree == pytest.approx([0, 2, 0], abs=0.01)
    np.testing.assert_allclose(np.mean(polynomials(u, 3) ** 2, axis=1), 1, atol=0.02)


def test_noise_has_no_memory_and_constants_are_no_states():
    rng = np.random.default_rng(5)
    u = rng.uniform(-1, 1, 3000)
    m = memory(np.column_stack([rng.standard_normal((3000, 40)), np.ones(3000)]), u, degrees=3, nonlinear_lags=4)
    assert m.rank == 40 and m.by_degree.tolist() == [0, 0, 0]
    assert memory(np.zeros((3000, 4)), u).linear == 0
    with pytest.raises(ValueError, match="give at least 160"):
        memory(np.zeros((100, 40)), u[:100])
    with pytest.raises(ValueError, match="scale it"):
        memory(np.zeros((3000, 2)), 2 * u)
    with pytest.raises(ValueError, match="smaller dt_ms"):
        memory(np.full((3000, 2), np.nan), u)
    with pytest.raises(ValueError, match=r"states have shape \(3000,\)"):
        memory(u, u)
    with pytest.raises(ValueError, match="chance = 2"):
        memory(np.zeros((3000, 2)), u, chance=2)


def test_code_tells_the_signal_and_does_not_remember():
    u = np.random.default_rng(6).uniform(-1, 1, (50, 3))
    u[30] = u[10]
    dense = coded(u, 200, every=40, rate_hz=25, dt_ms=1.0).dense().reshape(50, 40, 3, 200)
    np.testing.assert_array_equal(dense[30], dense[10])
    on, off = dense[..., ::2].sum(axis=(1, 3)), dense[..., 1::2].sum(axis=(1, 3))
    np.testing.assert_allclose(on / 100, 1 + u, atol=0.02)  # 25 Hz · 40 ms = 1 spike of each channel at u = 0
    np.testing.assert_allclose(off / 100, 1 - u, atol=0.02)


# -- perturbations ---------------------------------------------------------------------------------


def test_exponent_of_an_exponential():
    t = np.arange(200.0)
    assert growth_exponent(t, 3e-4 * np.exp(-t / 20), window_ms=(5, 100)) == pytest.approx(-50)
    assert np.isnan(growth_exponent(t, np.zeros(200), window_ms=(5, 100)))


def test_logistic_map_has_exponent_ln_2():
    x = np.array([0.3123])

    def advance(difference):
        other = x + difference
        for state in (x, other):
            state[:] = 4 * state * (1 - state)
        return other - x

    found = renormalised_exponent(advance, np.array([1e-8]), intervals=20000, interval_ms=1.0, discard=10)
    assert found * 1e-3 == pytest.approx(np.log(2), rel=0.01)


def test_linear_map_has_the_exponent_of_its_largest_eigenvalue():
    matrix = np.array([[0.5, 1.0], [0.0, 0.8]])
    found = renormalised_exponent(lambda d: matrix @ d, np.array([1.0, 0.0]) + 1e-3, intervals=200, interval_ms=10.0, discard=100)
    assert found == pytest.approx(np.log(0.8) / 0.01, rel=1e-6)
    assert renormalised_exponent(lambda d: 0 * d, np.ones(2), intervals=3, interval_ms=1.0) == -np.inf
    with pytest.raises(ValueError, match="nothing can be seen to grow"):
        renormalised_exponent(lambda d: d, np.zeros(2), intervals=3, interval_ms=1.0)
    with pytest.raises(ValueError, match="discard = -1"):
        renormalised_exponent(lambda d: d, np.ones(2), intervals=3, interval_ms=1.0, discard=-1)


# -- branching and avalanches ----------------------------------------------------------------------


def branching_process(m, h, steps, seed):
    rng, a = np.random.default_rng(seed), np.empty(steps, int)
    a[0] = h / (1 - m)
    for t in range(1, steps):
        a[t] = rng.poisson(m * a[t - 1] + h)
    return a


def test_branching_process_also_where_few_are_seen():
    m, h, share = 0.9, 10, 0.1
    a = branching_process(m, h, 60000, 1)
    whole = branching_ratio(a)
    assert whole.m == pytest.approx(m, abs=0.015) and whole.naive == pytest.approx(m, abs=0.01)
    assert whole.tau_ms == pytest.approx(-4 / np.log(whole.m))
    seen = branching_ratio(np.random.default_rng(2).binomial(a, share))
    # Poisson offspring: Var A = mean/(1 - m²); seen: b = share² Var A / (share² Var A + share (1 - share) mean)
    b = share / (share + (1 - share) * (1 - m**2))
    assert seen.naive == pytest.approx(m * b, abs=0.03) and seen.naive < 0.4
    assert seen.m == pytest.approx(m, abs=0.03)


def test_activity_without_memory_does_not_branch():
    found = branching_ratio(np.random.default_rng(3).poisson(20, (20000, 2)))
    assert abs(found.naive) < 0.02
    assert np.isnan(branching_ratio(np.full(100, 3.0)).m)
    with pytest.raises(ValueError, match="at least 43 bins"):
        branching_ratio(np.ones(20))
    # slopes of a few spikes by chance: the fit of b m^k does not come to an end
    few = branching_ratio(np.random.default_rng(8).poisson(0.05, 60), lags=20)
    assert few.naive > 0 and np.isnan(few.m)
    with pytest.raises(ValueError, match=r"shape \(100, 2, 2\)"):
        branching_ratio(np.ones((100, 2, 2)))


def test_population_activity_by_hand():
    spikes = Spikes([0, 1, 1, 4, 5, 6], [0, 0, 0, 1, 0, 0], [0, 0, 1, 2, 0, 0], (7, 2, 3), 1.0)
    assert population_activity(spikes, bin_ms=2.0).tolist() == [[3, 0], [0, 0], [1, 1]]  # the seventh step fills no bin


def test_avalanches_by_hand():
    sizes, durations = avalanche_sizes(np.array([2, 0, 1, 3, 0, 0, 5, 0, 4]))  # those cut off at both ends do not count
    assert sizes.tolist() == [4, 5] and durations.tolist() == [2, 1]
    for counts, threshold in (([0, np.nan, 0], 0.0), ([0, 1, 0], np.nan)):
        with pytest.raises(ValueError, match="holds NaN"):
            avalanche_sizes(np.array(counts), threshold=threshold)
    two = np.array([[0, 0], [1, 0], [0, 7], [0, 0], [9, 0]])
    assert avalanche_sizes(two)[0].tolist() == [1, 7]
    assert avalanche_sizes(np.array([1, 3, 4, 1, 2, 1]), threshold=1)[0].tolist() == [7, 2]
    # 7 spikes in 200 steps: bins of 29, which hold 2 1 3 0 1 0; the first run is cut off by the beginning
    found = avalanches(train(10, 11, 40, 80, 81, 82, 120))
    assert found.bin_ms == 29 and found.threshold == 0
    assert found.sizes.tolist() == [1] and found.durations.tolist() == [1]


def test_a_power_law_is_found_and_an_exponential_is_not_taken_for_one():
    rng = np.random.default_rng(5)
    fit = fit_power_law(rng.zipf(2.5, 20000), minimum=1)
    assert fit.exponent == pytest.approx(2.5, abs=3 * fit.error) and 0 < fit.error < 0.02 and fit.ks < 0.01 and fit.against_exponential > 5
    # below 5 something else: x_min is found
    x = np.concatenate([rng.integers(1, 5, 5000), (y := rng.zipf(2.0, 60000))[y >= 5]])
    found = fit_power_law(x)
    assert 4 <= found.minimum <= 8 and found.exponent == pytest.approx(2.0, abs=0.1)
    assert fit_power_law(rng.geometric(0.1, 5000), minimum=1).against_exponential < -5
    with pytest.raises(ValueError, match="minimum = 0 must be a whole number and at least 1"):
        fit_power_law(rng.zipf(2.5, 100), minimum=0)
    with pytest.raises(ValueError, match="but x holds nan"):
        fit_power_law(np.append(rng.zipf(2.5, 100), np.nan))
    for wrong, said in ((np.ones(100), "vary"), (np.arange(1, 9), "too few"), (np.arange(100), "from 1 on")):
        with pytest.raises(ValueError, match=said):
            fit_power_law(wrong)


# -- activity and degrees --------------------------------------------------------------------------


def test_poisson_trains_are_irregular_and_independent():
    n, found = 50, activity(poisson_spikes(20000, 50, 0.02), bin_ms=5.0)
    assert found.rate_hz.mean() == pytest.approx(20, rel=0.03) and found.silent == 0
    assert found.cv.mean() == pytest.approx(np.sqrt(1 - 0.02), abs=0.02)  # geometric intervals
    assert found.fano == pytest.approx(1 - 0.02, abs=0.05)
    assert found.chi == pytest.approx(1 / np.sqrt(n), rel=0.05)
    with pytest.raises(ValueError, match=r"v has shape \(7, 1, 50\)"):
        activity(poisson_spikes(100, 50, 0.02), np.zeros((7, 1, 50)))


def test_clocks_in_step_are_synchronous():
    dense = np.zeros((1000, 2, 30))
    dense[::25] = 1
    found = activity(Spikes.from_dense(dense, 1.0), bin_ms=1.0)
    assert found.chi == pytest.approx(1) and found.cv.max() == 0
    assert found.fano == pytest.approx(30 * (1 - 1 / 25))  # all or none: N (1 - p)
    v = np.random.default_rng(0).standard_normal((500, 1))
    assert synchrony(np.repeat(v, 8, axis=1)) == pytest.approx(1)
    assert np.isnan(synchrony(np.ones((50, 4)))) and np.isnan(fano_factor(np.zeros(9)))


def test_degrees_by_hand():
    w = np.array([[0, 1.0, -1, 1], [3, 0, 0, 4], [0, 0, 0, 0], [0, 0, 2, 0]])
    found = degrees_of(scipy.sparse.csr_array(w))
    assert found.fan_in.tolist() == [3, 2, 0, 1] and found.fan_out.tolist() == [1, 1, 2, 2]
    assert found.effective_in.tolist() == pytest.approx([3, 49 / 25, 0, 1])
    assert found.effective_out.tolist() == pytest.approx([1, 1, 9 / 5, 25 / 17])
    for wrong in (np.full((2, 2), np.nan), np.ones(3)):
        with pytest.raises(ValueError, match="must be a matrix"):
            degrees_of(wrong)


# -- probes ----------------------------------------------------------------------------------------


def test_states_are_filtered_spikes():
    spikes = train(3, 7, 12, length=20)
    x = filtered_every(spikes, 10, 5.0)[:, 0, 0]
    assert x.tolist() == pytest.approx([sum(np.exp(-(t - k) / 5) for k in (3, 7, 12) if k < t) for t in (10, 20)])
    with pytest.raises(ValueError, match=r"1 … 20"):
        filtered_every(spikes, 30, 5.0)


def test_inputs_differ_as_told():
    rng, base = np.random.default_rng(0), poisson_spikes(5000, 20, 0.02)
    kept = mixed(base, train(length=5000, size=20), 0.3, rng)
    assert len(kept) == pytest.approx(0.7 * len(base), rel=0.05)
    assert np.isin(kept.step * 20 + kept.neuron, base.step * 20 + base.neuron).all()
    moved = jittered(train(100, length=200), 4.0, rng)
    assert len(moved) == 1 and 0 < abs(int(moved.step[0]) - 100) < 20
    once = toggled(base, 17, np.array([3]))
    assert abs(len(once) - len(base)) == 1 and toggled(once, 17, np.array([3])).equals(base)
