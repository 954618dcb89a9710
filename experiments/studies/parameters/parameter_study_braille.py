"""Which settings of a recurrent spiking network matter for Braille letters: hidden neurons, steps, surrogate scale, spike penalty.

Three values each, 81 networks. The thesis that this project grew from states, of training accuracy, more hidden units, few steps, a
scale of 20 and a large penalty as best.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from spiketwin.experiments.protocol import Result, measured, single
from spiketwin.experiments.studies.recurrent import braille

QUESTION = "Which settings of a recurrent spiking network matter for Braille letters?"
OBJECTIVE = None  # it is a sweep itself
PUBLISHED = "a training accuracy of 99.80 % at 300 or more hidden units, at most 76 steps, a scale of 20 and a regulariser of .01 or more"
SEEDS_TO_PUBLISH = 1  # the sample is the 81 networks


@dataclass(frozen=True)
class Config:
    """The grid. All else is as in braille."""

    hidden: tuple[int, ...] = (100, 200, 300)
    """Hidden neurons."""
    dt_ms: tuple[float, ...] = (25.0, 12.5, 6.25)
    """Step in ms: 76, 152 and 304 steps."""
    surrogate_scale: tuple[float, ...] = (5.0, 20.0, 100.0)
    """Steepness of the surrogate gradient."""
    regulariser: tuple[float, ...] = (1e-6, 1e-4, 1e-2)
    """Price of a hidden spike, averaged over a batch."""
    epochs: int = 15
    """Passes through the training recordings; few, so that 81 networks take half an hour."""
    learning_rate: float = 2e-3
    """Adam's at the start."""
    workers: int = 2
    """Networks trained at the same time."""


AXES = ("hidden", "dt_ms", "surrogate_scale", "regulariser")


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    from spiketwin.experiments.data.braille import SPLIT
    from spiketwin.experiments.studies.parameters.parameter_study import study

    base = braille.Config(epochs=config.epochs, learning_rate=config.learning_rate)
    varied = {name: getattr(config, name) for name in AXES}
    with measured(split=SPLIT) as provenance:
        found, curves = study(braille, base, varied, seed, folder=folder, workers=config.workers, published=PUBLISHED)
    return single(sys.modules[__name__], config, seed, found, curves=curves, provenance=provenance)


def smoke() -> Result:
    """A grid of two by two, four epochs each."""
    from spiketwin.experiments.studies.parameters.parameter_study import study

    config = replace(Config(), hidden=(24, 48), dt_ms=(25.0,), surrogate_scale=(10.0,), regulariser=(0.0, 1.0), epochs=4, workers=1)
    varied = {name: getattr(config, name) for name in AXES}
    with measured(split="smoke test") as provenance:
        found, curves = study(braille, braille.Config(epochs=4, learning_rate=1e-2), varied, 0, folder=None, workers=1, quiet=True)
    return single(sys.modules[__name__], config, 0, found, curves=curves, provenance=provenance)
