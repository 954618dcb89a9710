"""Mackey-Glass as NeuroBench asks for it: learn to foretell the next value, then go on alone.

A Lyapunov time (197 for tau 17) has 75 points. From 10 of them, the first .6 only heard, a read-out learns the next point; then the
reservoir hears its own output for 10 more, scored by sMAPE. The series starts anew, half a Lyapunov time later, for each repeat.
Settings and penalty are chosen within the first series' 10: learnt from 6, going on alone for 2 after 6, 7 and 8.

Source: Yik et al. 2025, Nature Communications 16:1545, and its code, neurobench.datasets.MackeyGlass. The series is integrated
here (signals.py), so that after the first ten Lyapunov times it is another one than theirs: the equation is chaotic.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from spiketwin.experiments.reservoirs.signals import mackey_glass, smape
from spiketwin.experiments.studies.reservoirs.time_series_tasks import PENALTIES, Choice, Ridge

TAU, LYAPUNOV_TIME, START = 17.0, 197.0, 0.7206597
POINTS = 75  # of a Lyapunov time
HEARD, LEARNT = round(0.6 * POINTS), 10 * POINTS
VALIDATED = (6 * POINTS, 7 * POINTS, 8 * POINTS)  # from where, for two Lyapunov times
BEYOND = 0.5  # how far outputs may leave the range of what was heard, in that range, before they are fed back


class Series(NamedTuple):
    """x [learnt + foretold], and the scale on which it is heard and learnt: that of its first part."""

    x: np.ndarray
    mean: float
    spread: float

    @property
    def heard(self) -> np.ndarray:
        return ((self.x - self.mean) / self.spread)[:, None]


def series(repeats: range, lyapunov_times: int = 10) -> list[Series]:
    """One for each repeat, with what is to be foretold after LEARNT points; each starts half a Lyapunov time after the one before."""
    starts, points = [round(k * POINTS / 2) for k in repeats], LEARNT + lyapunov_times * POINTS
    x = mackey_glass(starts[-1] + points, every=LYAPUNOV_TIME / POINTS, tau=TAU, start=START)
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


def validated(reservoir: Any, columns: dict[str, slice], given: Series, lyapunov_times: int = 2) -> dict[str, Choice]:
    """Of each set of columns: the penalty with the least sMAPE over forecasts within the learning stretch."""
    heard, starts, points = given.heard, VALIDATED, lyapunov_times * POINTS
    reservoir.restart()
    rows, marks = [], []
    for start, before in zip(starts, (0, *starts)):
        rows.append(reservoir.follow(heard[before:start]))
        marks.append(reservoir.mark())
    x, choices = np.concatenate(rows), {}
    for name, which in columns.items():
        readouts = Ridge(x[HEARD : starts[0] - 1, which]).learn(heard[HEARD + 1 : starts[0]])
        errors = []
        for penalty in PENALTIES[::2]:
            found, weights = [], readouts.weights(penalty)
            for start, mark in zip(starts, marks):
                reservoir.back(mark)
                foretold = alone(reservoir, x[start - 1], weights, which, points, bound_of(heard[: starts[0]]))
                found.append(smape(foretold[:, 0] * given.spread + given.mean, given.x[start : start + points]))
            errors.append(Choice(float(np.mean(found)), float(penalty)))
        choices[name] = min(errors)
    return choices


def foretold(reservoir: Any, which: slice, given: Series, penalty: float) -> np.ndarray:
    """What follows the learning stretch, as foretold [points], in the units of the equation."""
    heard = given.heard
    reservoir.restart()
    x = reservoir.follow(heard[:LEARNT])
    # the read-out after the last value that is heard foretells the first of the test
    weights = Ridge(x[HEARD : LEARNT - 1, which]).learn(heard[HEARD + 1 : LEARNT]).weights(penalty)
    points = len(heard) - LEARNT
    return alone(reservoir, x[-1], weights, which, points, bound_of(heard[:LEARNT]))[:, 0] * given.spread + given.mean
