"""Which settings of a recurrent spiking network matter for spoken digits: hidden neurons, steps, surrogate scale, spike penalty.

Three values each, 81 networks that hear one speaker's words never, as spoken does. The thesis that this project grew from states, of
training accuracy on the Spiking Heidelberg Digits, many hidden units, few steps, a scale of 100 and a penalty of 2e-6 as best, and
that more steps overfit.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from spiketwin.experiments.protocol import Result, measured, single
from spiketwin.experiments.studies.recurrent import spoken

QUESTION = "Which settings of a recurrent spiking network matter for spoken digits?"
OBJECTIVE = None  # it is a sweep itself
SEEDS_TO_PUBLISH = 1  # the sample is the 81 networks


@dataclass(frozen=True)
class Config:
    """The grid. All else is as in spoken."""

    hidden: tuple[int, ...] = (100, 200, 300)
    """Hidden neurons."""
    steps: tuple[int, ...] = (80, 100, 120)
    """Steps of a word of a second."""
    surrogate_scale: tuple[float, ...] = (5.0, 20.0, 100.0)
    """Steepness of the surrogate gradient."""
    regulariser: tuple[float, ...] = (2e-6, 1e-4, 1e-2)
    """Price of a hidden spike, averaged over a batch."""
    epochs: int = 20
    """Passes through the training words."""
    learning_rate: float = 1e-3
    """Adam's at the start."""
    workers: int = 2
    """Networks trained at the same time."""


AXES = ("hidden", "steps", "surrogate_scale", "regulariser")


def base(config: Config) -> spoken.Config:
    return replace(spoken.Config(), listeners=(spoken.RSNN,), epochs=config.epochs, learning_rate=config.learning_rate)


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    return run_as(sys.modules[__name__], spoken, base(config), config, seed, folder=folder)


def run_as(module, listening, start: spoken.Config, config: Config, seed: int, *, folder: Path | None, **options) -> Result:
    """The grid about `start`, a Config of the study `listening`, as a Result of the parameter study `module`. options: those of study."""
    from spiketwin.experiments.studies.parameters.parameter_study import study

    varied = {name: getattr(config, name) for name in AXES}
    split = spoken.load(start, seed).split  # which also hears the words, once for all workers
    with measured(split=split) as provenance:
        found, curves = study(listening, start, varied, seed, folder=folder, workers=config.workers, **options)
    return single(module, config, seed, found, curves=curves, provenance=provenance)


def smoke() -> Result:
    """A grid of two by two, an epoch each, few channels."""
    config = replace(Config(), hidden=(16, 32), steps=(25,), surrogate_scale=(10.0,), regulariser=(0.0, 10.0), epochs=1, workers=1)
    small = replace(base(config), channels=16, learning_rate=1e-2)
    return run_as(sys.modules[__name__], spoken, small, config, 0, folder=None, quiet=True)
