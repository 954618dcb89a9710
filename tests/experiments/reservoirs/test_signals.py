"""Generators against their laws by hand and against an integration that shares no code; scores by hand."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from spiketwin.experiments.reservoirs.signals import (
    delayed,
    delayed_xor,
    determination,
    mackey_glass,
    narma10,
    nrmse,
    smape,
)


def test_narma_step_by_step():
    u = np.full(12, 0.4)
    y = narma10(u)
    y1 = 0.1  # u(-9) is 0
    y2 = 0.3 * y1 + 0.05 * y1 * y1 + 0.1
    y3 = 0.3 * y2 + 0.05 * y2 * (y2 + y1) + 0.1
    np.testing.assert_allclose(y[:3], [0.1, 0.1305, 0.3 * 0.1305 + 0.05 * 0.1305 * 0.2305 + 0.1])
    np.testing.assert_allclose(y[2], y3)
    # the tenth input is the first that meets one of nine steps before: 1.5 · .4 · .4 = .24
    without = 0.3 * y[8] + 0.05 * y[8] * y[:9].sum() + 0.1
    np.testing.assert_allclose(y[9], without + 0.24)
    # from the eleventh on only the last ten outputs count
    np.testing.assert_allclose(y[11], 0.3 * y[10] + 0.05 * y[10] * y[1:11].sum() + 0.34)


def test_narma_refuses_what_it_is_not_defined_for():
    with pytest.raises(ValueError, match=r"within 0 … 0\.5"):
        narma10(np.array([0.6]))
    with pytest.raises(ValueError, match="u is empty"):
        narma10(np.zeros(0))
    with pytest.raises(ValueError, match="grows without bound"):
        narma10(np.full(300, 0.5))


def test_mackey_glass_agrees_with_an_adaptive_method_of_steps():
    tau, start, pieces = 17.0, 0.7206597, []

    def past(t):
        return start if t <= 0 else pieces[min(int(t // tau), len(pieces) - 1)](t)[0]

    def rate(t, x):
        delayed = past(t - tau)
        return 0.2 * delayed / (1 + delayed**10) - 0.1 * x

    x = [start]
    for k in range(12):  # the equation is an ordinary one over each stretch of tau
        found = solve_ivp(rate, (k * tau, (k + 1) * tau), x, method="DOP853", rtol=1e-10, atol=1e-12, dense_output=True)
        pieces.append(found.sol)
        x = found.y[:, -1]
    every = 197 / 75
    ours = mackey_glass(75, every=every)
    theirs = [past(k * every) for k in range(75)]
    assert np.ptp(ours) > 0.5
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_mackey_glass_at_rest_and_on_its_first_stretch():
    # 1 is the fixed point: .2/2 = .1
    np.testing.assert_allclose(mackey_glass(50, every=1.0, start=1.0), 1.0, rtol=1e-12)
    # until tau the delayed x is constant: x relaxes to .2 s/(1 + s^10)/.1 with a time constant of 10
    start, t = 0.5, np.arange(17)
    end = 2 * start / (1 + start**10)
    np.testing.assert_allclose(mackey_glass(17, every=1.0, start=start), end + (start - end) * np.exp(-t / 10), rtol=1e-9)


def test_delayed_xor():
    bits = np.array([1, 1, 0, 1, 0, 0])
    np.testing.assert_array_equal(delayed_xor(bits, 2).astype(int).T, [[1, 0, 1, 1, 1, 0], [0, 1, 0, 1, 1, 1]])


def test_scores():
    # 2 · 2/(1 + 3) = 1,  2 · 2/(2 + 0) = 2,  0 and 0 agree
    assert smape([1, 2, 0], [3, 0, 0]) == pytest.approx(100 * (1 + 2 + 0) / 3)
    assert smape([1.5], [1.0]) == pytest.approx(40.0)  # 2 · .5/2.5
    wanted = np.array([1.0, 3.0])
    assert nrmse([2.0, 2.0], wanted) == 1 and nrmse(wanted, wanted) == 0
    assert nrmse([1.0, 2.0], wanted) == pytest.approx(np.sqrt(0.5))  # sqrt((0 + 1)/2 / 1)
    z = np.array([[1.0, 1.0], [2.0, -1.0], [3.0, 1.0], [4.0, -1.0]])
    np.testing.assert_allclose(determination(z * [3, 0] + 1, z), [1, 0])


@pytest.mark.parametrize("score", [nrmse, smape, determination])
def test_scores_compare_what_belongs_together(score):
    column = np.arange(5.0)[:, None]
    with pytest.raises(ValueError, match=r"found has shape \(5, 1\), wanted \(5,\); give equal shapes"):
        score(column, column[:, 0])  # would be compared each with each
    with pytest.raises(ValueError, match="of one number or more"):
        score(np.zeros((0, 1)), np.zeros((0, 1)))


def test_a_forecast_that_is_nan_is_not_a_perfect_one():
    assert np.isnan(smape([np.nan, 1.0], [1.0, 1.0])) and np.isnan(nrmse([np.nan, 1.0], [1.0, 2.0]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mackey_glass(2.5, every=1.0), "points = 2.5 must be a whole number"),
        (lambda: mackey_glass(3, every=np.nan), "every = nan"),
        (lambda: delayed_xor(np.array([1, 0]), 0), "delays = 0"),
        (lambda: delayed_xor(np.array([1, -1]), 1), "bits are 0 or 1, but these hold -1"),
        (lambda: delayed(np.arange(4.0), -1), "by = -1"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
