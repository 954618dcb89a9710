"""Mackey-Glass as NeuroBench asks for it: learn to foretell the next value, then go on alone.

A Lyapunov time (197 for tau 17) has 75 points. From 10 of them, the first .6 only heard, a read-out learns the next point; then the
reservoir hears its own output for 10 more, scored by sMAPE. The series starts anew, half a Lyapunov time later, for each repeat.
Settings and penalty are chosen on two series of their own, from another start: learnt from 10, alone for 5 Lyapunov times, which also
shows who falls silent or runs away.

Source: Yik et al. 2025, Nature Communications 16:1545, and its code, neurobench.datasets.MackeyGlass. The series is integrated
here (signals.py), so that after the first ten Lyapunov times it is another one than theirs: the equation is chaotic.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from spiketwin.experiments.reservoirs.signals import mackey_glass, smape
from spiketwin.experiments.studies.reservoirs.time_series.tasks import PENALTIES, Choice, Ridge

TAU, LYAPUNOV_TIME, START = 17.0, 197.0, 0.7206597
POINTS = 75  # of a Lyapunov time
HEARD, LEARNT = round(0.6 * POINTS), 10 * POINTS
OTHER_START = 1.2  # of the series by which settings are chosen
TRIED = PENALTIES[2:11:2]
BEYOND = 0.5  # how far outputs may leave the range of what was heard, in that range, before they are fed back


class Series(NamedTuple):
    """x [learnt + foretold], and the scale on which it is heard and learnt: that of its first part."""

    x: np.ndarray
    mean: float
    spread: float

    @property
    def heard(self) -> np.ndarray:
        return ((self.x - self.mean) / self.spread)[:, None]


def series(repeats: range, lyapunov_times: int = 10, start: float = START) -> list[Series]:
    """One for each repeat, with what is to be foretold after LEARNT points; each starts half a Lyapunov time after the one before."""
    starts, points = [round(k * POINTS / 2) for k in repeats], LEARNT + lyapunov_times * POINTS
    x = mackey_glass(starts[-1] + points, every=LYAPUNOV_TIME / POINTS, tau=TAU, start=start)
    parts = [x[at : at + points] for at in starts]
    return [Series(part, float(part[:LEARNT].mean()), float(part[:LEARNT].std())) for part in parts]


def alone(
    reservoir: Any, last: np.ndarray, weights: tuple[np.ndarray, np.ndarray], columns: slice, points: int, bound: float
) -> np.ndarray:
    """What a reservoir foretells [points, 1] that hears its own output from now on. last: the row after the last given value."""
    found = np.empty((points, 1))
    for k in range(points):
        found[k] = last[columns] @ weights[0] + weights[1]
        if k + 1 < points:
            last = reservoir.hear(np.clip(found[k], -bound, bound))
    return found


def bound_of(heard: np.ndarray) -> float:
    return float(np.abs(heard).max()) + BEYOND * float(np.ptp(heard))


def to_choose_by(many: int = 2, lyapunov_times: int = 5) -> list[Series]:
    """Some that have no point in common."""
    return series(range(0, 40 * many, 40), lyapunov_times, OTHER_START)


def validated(reservoir: Any, columns: dict[str, slice], given: list[Series]) -> dict[str, Choice]:
    """Of each set of columns: the penalty with the least mean sMAPE of what is foretold after the learning stretches."""
    errors = {name: np.zeros(len(TRIED)) for name in columns}
    for one in given:
        heard = one.heard
        reservoir.restart()
        x = reservoir.follow(heard[:LEARNT])
        mark = reservoir.mark()
        for name, which in columns.items():
            readouts = Ridge(x[HEARD : LEARNT - 1, which]).learn(heard[HEARD + 1 : LEARNT])
            for k, penalty in enumerate(TRIED):
                reservoir.back(mark)
                found = alone(reservoir, x[-1], readouts.weights(penalty), which, len(heard) - LEARNT, bound_of(heard[:LEARNT]))
                errors[name][k] += smape(found[:, 0] * one.spread + one.mean, one.x[LEARNT:]) / len(given)
    return {name: min(Choice(float(e), float(p)) for e, p in zip(found, TRIED)) for name, found in errors.items()}


def foretold(reservoir: Any, which: slice, given: Series, penalty: float) -> np.ndarray:
    """What follows the learning stretch, as foretold [points], in the units of the equation."""
    heard = given.heard
    reservoir.restart()
    x = reservoir.follow(heard[:LEARNT])
    # the read-out after the last value that is heard foretells the first of the test
    weights = Ridge(x[HEARD : LEARNT - 1, which]).learn(heard[HEARD + 1 : LEARNT]).weights(penalty)
    points = len(heard) - LEARNT
    return alone(reservoir, x[-1], weights, which, points, bound_of(heard[:LEARNT]))[:, 0] * given.spread + given.mean
