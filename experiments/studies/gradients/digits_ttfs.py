"""A recurrent spiking network learns scikit-learn's digits from first-spike times, in under a minute."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from spiketwin.experiments.data import load
from spiketwin.experiments.protocol import Result, measured, single
from spiketwin.experiments.studies.gradients import ttfs

QUESTION = "How well does a small recurrent spiking network read digits from one spike per pixel?"


@dataclass(frozen=True)
class Config(ttfs.TTFSConfig):
    """64 pixels, recurrent hidden neurons, 10 read-outs. The dimmest pixel that spikes does so after 32 ms."""

    hidden: int = 100
    """Hidden neurons."""
    recurrent: bool = True
    """Whether hidden neurons also feed each other."""
    tmax_ms: float = 42.0
    """Length of a trial in ms; later first spikes are dropped."""
    tau_mem_ms: float = 20.0
    """Membrane time constant in ms."""
    weight_scale: float = 0.2
    """Initial weights are normal with this standard deviation over the square root of the inputs of a neuron."""
    surrogate_scale: float = 10.0
    """Steepness of the surrogate gradient 1/(scale |v - threshold| + 1)^2."""
    regulariser: float = 1e-6
    """Price of one hidden spike in the loss."""
    input_dropout: float = 0.05
    """Share of input spikes left out at random while training."""
    epochs: int = 16
    """Passes through the training data."""
    batch_size: int = 64
    """Trials per weight update."""
    learning_rate: float = 2e-3
    """Adam's learning rate at the start, per nA."""


def train(config: Config, seed: int, *, checkpoint: Path | None = None, quiet: bool = False) -> ttfs.Trained:
    """The network trained with these settings, with the test digits as spikes."""
    from spiketwin.experiments.studies.gradients.ttfs_training import train

    return train("digits_ttfs", config, load("digits"), seed, checkpoint=checkpoint, quiet=quiet)


def networks(config: Config, seed: int, *, folder: Path | None = None, quiet: bool = False) -> dict[str, ttfs.Trained]:
    """The trained network, for the cross-check: of the committed weights where `folder` holds no checkpoint."""
    from spiketwin.experiments.studies.gradients.ttfs_training import offered

    return {"digits_ttfs": offered("digits_ttfs", config, load("digits"), seed, folder, quiet=quiet)}


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
