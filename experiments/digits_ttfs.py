"""A recurrent spiking network learns scikit-learn's digits from first-spike times, in under a minute."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from spiketwin.experiments import ttfs
from spiketwin.experiments.data import load
from spiketwin.experiments.protocol import Result, measured, single

QUESTION = "How well does a small recurrent spiking network read digits from one spike per pixel?"


@dataclass(frozen=True)
class Config(ttfs.TTFSConfig):
    """64 pixels, recurrent hidden neurons, 10 read-outs. The dimmest pixel that spikes does so after 32 ms."""

    hidden: int = 64
    """Hidden neurons."""
    recurrent: bool = True
    """Whether hidden neurons also feed each other."""
    tmax_ms: float = 50.0
    """Length of a trial in ms; later first spikes are dropped."""
    batch_size: int = 96
    """Trials per weight update."""
    epochs: int = 20
    """Passes through the training data."""
    learning_rate: float = 5e-3
    """Adam's learning rate at the start, per nA."""


def train(config: Config, seed: int, *, checkpoint: Path | None = None, quiet: bool = False) -> ttfs.Trained:
    """The network trained with these settings, with the test digits as spikes."""
    from spiketwin.experiments.ttfs_training import train

    return train("digits_ttfs", config, load("digits"), seed, checkpoint=checkpoint, quiet=quiet)


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    with measured() as provenance:
        trained = train(config, seed, checkpoint=ttfs.checkpoint(folder, seed))
        provenance["split"] = trained.split
    if folder:
        ttfs.save_weights(ttfs.weights(folder, seed), trained)
    return single(sys.modules[__name__], config, seed, ttfs.metrics(trained), curves=ttfs.curves(trained), provenance=provenance)


def smoke() -> Result:
    """Two epochs of a small network."""
    return run(replace(Config(), hidden=24, epochs=2, tmax_ms=40.0), seed=0)
