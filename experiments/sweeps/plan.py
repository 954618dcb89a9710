"""What to try next: every point of a grid, or what a sampler proposes.

A plan looks at what was tried. `taken`: settings of the trials that are finished or under way; `lost`: of those that
were killed. So nothing needs to be remembered between two runs of a sweep but its trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from spiketwin.experiments.sweeps.space import Axis, SweepError, Values

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Grid:
    """Every combination of the values, the last field changing fastest.

    shuffled: seed of a random order in its stead. What else the machine does changes with the hours; in order that would
    look like an effect of the first field on run time.
    """

    axes: Mapping[str, Axis]
    shuffled: int | None = None

    def __post_init__(self) -> None:
        for name, axis in self.axes.items():
            if not isinstance(axis, Values):
                raise SweepError(f"a grid needs values of '{name}', not a range; list them, or sample (--trials 30)")

    def __len__(self) -> int:
        return prod(len(axis.options) for axis in self.axes.values() if isinstance(axis, Values))

    def next(self, taken: Sequence[Settings], lost: Sequence[Settings]) -> Settings | None:
        """The first point that is not taken; None at the end."""
        points = list(product(*(axis.options for axis in self.axes.values() if isinstance(axis, Values))))
        order = range(len(points)) if self.shuffled is None else np.random.default_rng(self.shuffled).permutation(len(points))
        for point in (points[k] for k in order):
            if (settings := dict(zip(self.axes, point))) not in taken:
                return settings
        return None

    def sampler(self, taken: int) -> BaseSampler:
        from optuna.samplers import RandomSampler

        # nothing is left to it: a point of the grid is complete
        return RandomSampler(seed=taken)


@dataclass(frozen=True)
class Sampler:
    """`trials` settings, each proposed in view of the results before it: tree-structured Parzen estimator.

    With one worker the same seed gives the same trials, also when the sweep was stopped and resumed.
    Source: Bergstra et al. 2011, section 4.
    """

    axes: Mapping[str, Axis]
    trials: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise SweepError(f"trials = {self.trials} must be at least 1")

    def __len__(self) -> int:
        return self.trials

    def next(self, taken: Sequence[Settings], lost: Sequence[Settings]) -> Settings | None:
        """Those of a killed trial, else {} for new ones; None at the end."""
        if again := [settings for settings in lost if settings not in taken]:
            return again[0]
        return {} if len(taken) < self.trials else None

    def sampler(self, taken: int) -> BaseSampler:
        from optuna.samplers import TPESampler

        # a sampler's random numbers are not kept: one of its own for each trial proposes the same after a resume
        return TPESampler(seed=int(np.random.SeedSequence([self.seed, taken]).generate_state(1)[0]))


Plan = Grid | Sampler
