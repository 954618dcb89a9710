"""Trained at one time step or at several, where hidden neurons burst: several_dt.py on a part of Fashion-MNIST.

A neuron that fires once in a step of 1 ms may fire several times in as many finer ones. A network that has seen these steps can count on it.
Pixels, dropout, batches and learning rate are those of fashion_ttfs; on fewer images and with twice that rate a class may be lost for good.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from spiketwin.experiments.protocol import Result
from spiketwin.experiments.studies.gradients import several_dt
from spiketwin.experiments.studies.gradients.several_dt import draw

__all__ = ["OBJECTIVE", "QUESTION", "Config", "draw", "networks", "run", "smoke"]

QUESTION = "Does training at several time steps at once help where neurons of one step burst at a finer one?"
NAME = "several_dt_fashion"
OBJECTIVE = several_dt.OBJECTIVE


@dataclass(frozen=True)
class Config(several_dt.Config):
    """784 pixels, 100 hidden neurons, 10 read-outs."""

    data: str = "fashion-mnist"
    """Data set of images (spiketwin data)."""
    training_samples: int = 20_000
    """How many of the training images to use, the first ones; 0 for all."""
    code_threshold: float = 0.1
    """Pixels must be brighter than this (0 to 1) to spike."""
    input_dropout: float = 0.1
    """Share of the input spikes that are left out in training, drawn anew for each sample and epoch."""
    tmax_ms: float = 100.0
    """Length of a trial in ms; later first spikes are dropped."""
    epochs: int = 20
    """Passes through the training data."""
    batch_size: int = 256
    """Trials per weight update."""
    learning_rate: float = 1e-3
    """Adam's learning rate at the start, per nA."""


def networks(config: Config, seed: int, *, folder: Path | None = None, quiet: bool = False):
    """The network trained at one step and that trained at several, for the cross-check."""
    return several_dt.networks(config, seed, folder=folder, quiet=quiet, study=NAME)


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    return several_dt.answer(sys.modules[__name__], config, seed, folder)


def smoke() -> Result:
    """Two epochs of a small network on a thousand images at two steps."""
    few = replace(Config(), training_samples=1000, test_samples=200, batch_size=50, learning_rate=2e-3)
    return several_dt.try_out(sys.modules[__name__], few)
