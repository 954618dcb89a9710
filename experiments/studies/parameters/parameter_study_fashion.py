"""Which settings of the first-spike classifier matter on Fashion-MNIST: hidden neurons, steps, surrogate scale, spike penalty.

Three values each, 81 networks, on all of Fashion-MNIST; initial weights of standard deviation .2/√n as in the thesis. Its claims:
more hidden units help, more steps cost time, the scale hardly matters, a penalty of 1e-4 stops learning.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from spiketwin.experiments.protocol import Result, measured, single
from spiketwin.experiments.studies.gradients import fashion_ttfs

QUESTION = "Which settings of a first-spike classifier matter on Fashion-MNIST?"
OBJECTIVE = None  # it is a sweep itself
PUBLISHED = "a training accuracy of 89.53 % at 150 or more hidden units, 100 steps, a scale of at most 80 and a regulariser of at most 1e-6"
SEEDS_TO_PUBLISH = 1  # the sample is the 81 networks


@dataclass(frozen=True)
class Config:
    """The grid. Initial weights and the threshold of the time code are those of the thesis; all else is as in fashion_ttfs."""

    hidden: tuple[int, ...] = (50, 100, 200)
    """Hidden neurons."""
    tmax_ms: tuple[float, ...] = (50.0, 75.0, 100.0)
    """Length of a trial in ms, in steps of 1 ms."""
    surrogate_scale: tuple[float, ...] = (10.0, 30.0, 100.0)
    """Steepness of the surrogate gradient."""
    regulariser: tuple[float, ...] = (1e-6, 1e-5, 1e-4)
    """Price of a hidden spike."""
    epochs: int = 8
    """Passes through the training images; few, so that 81 networks take an hour or two and not a day."""
    learning_rate: float = 2e-3
    """Adam's at the start, per nA; chosen on validation, in 2 epochs on 20,000 training images."""
    workers: int = 2
    """Networks trained at the same time."""
    dt_ms: float = 1.0
    """Step in ms."""


def base(config: Config) -> fashion_ttfs.Config:
    return fashion_ttfs.Config(
        weight_scale=0.2,
        code_threshold=0.2,
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        dt_ms=config.dt_ms,
        larger=0,
        replayed=0,
    )


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    from spiketwin.experiments.studies.parameters.parameter_study import study

    varied = {name: getattr(config, name) for name in ("hidden", "tmax_ms", "surrogate_scale", "regulariser")}
    with measured(split="55,000 train / 5,000 validation / 10,000 test, as fashion_ttfs") as provenance:
        found, curves = study(fashion_ttfs, base(config), varied, seed, folder=folder, workers=config.workers, published=PUBLISHED)
    return single(sys.modules[__name__], config, seed, found, curves=curves, provenance=provenance)


def smoke() -> Result:
    """The form of the study on the smallest grid, with the digits of scikit-learn in the place of Fashion-MNIST."""
    from spiketwin.experiments.studies.gradients import digits_ttfs
    from spiketwin.experiments.studies.parameters.parameter_study import study

    config = replace(Config(), hidden=(8, 16), tmax_ms=(30.0,), surrogate_scale=(10.0,), regulariser=(1e-6, 1e-1), epochs=2, workers=1)
    varied = {name: getattr(config, name) for name in ("hidden", "tmax_ms", "surrogate_scale", "regulariser")}
    with measured(split="smoke test on digits_ttfs") as provenance:
        found, curves = study(digits_ttfs, digits_ttfs.Config(epochs=2), varied, 0, folder=None, workers=1, quiet=True)
    return single(sys.modules[__name__], config, 0, found, curves=curves, provenance=provenance)
