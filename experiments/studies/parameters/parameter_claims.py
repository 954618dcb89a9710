"""What the thesis says of its four settings, held against the networks of a parameter study.

Two values of a setting are compared in pairs of networks that are alike in all else, and a difference counts when its mean is
more than two standard errors from zero. Networks that a large regulariser silenced tell nothing of the other settings: apart
from the claim about it, pairs in which one has not learned are left out.

Source: the thesis that this project grew from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spiketwin.experiments.studies.claims import FAILS, HOLDS, OPEN, PARTLY, Claim
from spiketwin.experiments.sweeps.report import best, finished

if TYPE_CHECKING:
    from spiketwin.experiments.sweeps import Trial, Values

LEARNED = 0.25  # of the best validation accuracy; less is called collapsed
MATTERS = 1.0  # percentage points
LITTLE = 0.5  # share of the growth of a layer by which its run time may grow


@dataclass(frozen=True)
class Difference:
    """Mean of the differences of n pairs, and its standard error."""

    mean: float
    error: float
    n: int

    @property
    def is_up(self) -> bool:
        return self.n > 1 and self.mean > 2 * self.error

    @property
    def is_down(self) -> bool:
        return self.n > 1 and self.mean < -2 * self.error

    @property
    def is_small(self) -> bool:
        """Whether two standard errors about the mean stay within what matters."""
        return self.n > 1 and abs(self.mean) + 2 * self.error < MATTERS

    def __str__(self) -> str:
        return f"{self.mean:+.2f} ± {self.error:.2f}"


def claims(trials: Sequence[Trial], axes: Mapping[str, Values]) -> list[Claim]:
    """A Claim for every setting of the thesis that was varied, in its order. [] while no trial has ended well."""
    if all(t.error for t in trials):
        return []
    varied = {name: axis.options for name, axis in axes.items() if len(axis.options) > 1}
    found: list[Claim] = []
    for name, values in varied.items():
        about = ABOUT.get(name)
        found += about(trials, name, values) if about else ()
    return found + list(_tuning(trials))


def learned(trials: Sequence[Trial]) -> list[Trial]:
    """Those that reached a quarter of the best validation accuracy."""
    least = LEARNED * best(trials).value
    return [t for t in finished(trials) if t.value >= least]


def pairs(trials: Sequence[Trial], name: str, low, high) -> list[tuple[Trial, Trial]]:
    """Networks with the one and the other value of a setting, alike in all others, that both learned."""

    def others(trial: Trial) -> tuple:
        return tuple(value for field, value in trial.settings.items() if field != name)

    good = learned(trials)
    ones = {others(t): t for t in good if t.settings[name] == low}
    return [(ones[others(t)], t) for t in good if t.settings[name] == high and others(t) in ones]


def difference(two: Sequence[tuple[Trial, Trial]], *metrics: str) -> Difference:
    """Of the second to the first of each pair: of one metric, or of the first metric less the second."""

    def value(trial: Trial) -> float:
        first, *rest = (trial.metrics[m]["mean"] for m in metrics)
        return first - sum(rest)

    values = np.array([value(b) - value(a) for a, b in two])
    if not len(values):
        return Difference(0.0, 0.0, 0)
    return Difference(float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0, len(values))


def time_ratio(two: Sequence[tuple[Trial, Trial]]) -> float:
    """Median of how many times as much processor time the second takes."""
    known = [b.cpu_s / a.cpu_s for a, b in two if a.cpu_s]
    return float(np.median(known)) if known else 1.0


def _hidden(trials: Sequence[Trial], name: str, values: Sequence[int]) -> Iterator[Claim]:
    low, high = min(values), max(values)
    two = pairs(trials, name, low, high)
    gain, ratio = difference(two, "test_accuracy"), time_ratio(two)
    yield Claim(
        "More hidden units help",
        HOLDS if gain.is_up else FAILS if gain.is_down or gain.is_small else OPEN,
        f"from {low} to {high} units test accuracy changes by {gain} points ({gain.n} pairs)",
    )
    yield Claim(
        "More hidden units cost little time",
        HOLDS if ratio - 1 <= LITTLE * (high / low - 1) else FAILS,
        f"{high / low:.3g} times the units take {ratio:.2f} times the time",
    )


def _steps(trials: Sequence[Trial], name: str, values: Sequence[float]) -> Iterator[Claim]:
    few, many = sorted((min(values), max(values)), reverse=name in FINER)
    two = pairs(trials, name, few, many)
    ratio, factor = time_ratio(two), max(few / many, many / few)
    test, gap = difference(two, "test_accuracy"), difference(two, "training_accuracy", "test_accuracy")
    yield Claim(
        "More steps cost time",
        HOLDS if ratio > 1.1 else FAILS,
        f"{factor:.3g} times the steps ({name.replace('_', ' ')} {few:g} to {many:g}) take {ratio:.2f} times the time",
    )
    yield Claim(
        "More steps overfit",
        HOLDS if gap.is_up and test.is_down else PARTLY if gap.is_up or test.is_down else FAILS,
        f"the gap from training to test accuracy changes by {gap} points, test accuracy by {test} ({test.n} pairs)",
    )


def _scale(trials: Sequence[Trial], name: str, values: Sequence[float]) -> Iterator[Claim]:
    found = {(a, b): difference(pairs(trials, name, a, b), "test_accuracy") for k, a in enumerate(values) for b in values[k + 1 :]}
    (a, b), largest = max(found.items(), key=lambda item: abs(item[1].mean))
    yield Claim(
        "The scale of the surrogate hardly matters",
        HOLDS if abs(largest.mean) < MATTERS else FAILS if largest.is_up or largest.is_down else OPEN,
        f"the largest difference of test accuracy, from {a:g} to {b:g}, is {largest} points ({largest.n} pairs)",
    )


def _regulariser(trials: Sequence[Trial], name: str, values: Sequence[float]) -> Iterator[Claim]:
    def count(some: Sequence[Trial], value: float) -> int:
        return sum(t.settings[name] == value for t in some)

    well = learned(trials)
    shares = {value: (count(finished(trials), value) - count(well, value), count(finished(trials), value)) for value in values}
    collapsed, all_of_it = shares[max(shares)]
    reached = [t.value for t in finished(trials) if t.settings[name] == max(shares)]
    yield Claim(
        "A large regulariser stops learning",
        HOLDS if collapsed == all_of_it > 0 else PARTLY if collapsed else FAILS,
        "collapsed are "
        + ", ".join(f"{bad} of {n} at {value:g}" for value, (bad, n) in shares.items())
        + f"; at the largest, validation accuracy is {min(reached):.1f} to {max(reached):.1f} %",
    )


def _tuning(trials: Sequence[Trial]) -> Iterator[Claim]:
    good = learned(trials)
    middle = float(np.median([t.metrics["test_accuracy"]["mean"] for t in good]))
    chosen = best(trials).metrics["test_accuracy"]["mean"]
    yield Claim(
        "Tuning gains two to four points",
        HOLDS if chosen - middle >= 2 else FAILS,
        f"the network chosen on validation reaches {chosen:.2f} % on test, the median of the {len(good)} that learned {middle:.2f} %",
    )


# the length of a trial and the length of a step both say how many steps there are
FINER = ("dt_ms",)
ABOUT = {
    "hidden": _hidden,
    "tmax_ms": _steps,
    "duration_ms": _steps,
    "steps": _steps,
    "dt_ms": _steps,
    "surrogate_scale": _scale,
    "regulariser": _regulariser,
}
