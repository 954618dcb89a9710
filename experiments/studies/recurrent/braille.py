"""A recurrent spiking network reads Braille letters from a robot's fingertip.

Twelve taxels, each standardised with the mean and deviation of the training recordings and sampled up in time, drive recurrent
leaky neurons; the letter is the read-out whose membrane is highest on average. Epoch and settings were chosen on validation, this
decision among them: with each read-out's maximum, which teaches it at one step only, networks learn slowly and some badly.

Source: Müller-Cleve et al. 2022, Frontiers in Neuroscience 16:951164.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spiketwin.experiments.data import Dataset, load
from spiketwin.experiments.protocol import Result, measured, single, training_settings

QUESTION = "How well does a recurrent spiking network tell 27 Braille letters apart by touch?"
NAME = "braille"


@dataclass(frozen=True)
class Config:
    """Recurrent leaky neurons between taxels and read-outs."""

    hidden: int = 256
    """Hidden neurons."""
    tau_mem_ms: float = 60.0
    """Membrane time constant of the hidden neurons."""
    tau_out_ms: float = 200.0
    """Membrane time constant of the read-outs."""
    dt_ms: float = 12.5
    """Step in ms; a frame of the sensor lasts 25 ms."""
    surrogate_scale: float = 10.0
    """Steepness of the surrogate gradient 1/(scale |v - 1| + 1)^2."""
    epochs: int = 40
    """Passes through the training recordings."""
    batch_size: int = 63
    """Recordings of a training step."""
    learning_rate: float = 2e-3
    """Adam's at the start; it falls along half a cosine."""
    clip_norm: float = 1.0
    """Gradients longer than this are shortened to it."""
    regulariser: float = 0.0
    """Price of a hidden spike, averaged over a batch."""
    noise: float = 0.1
    """Deviation of the noise added to the taxels in training, in their own deviations."""


def classifier(config: Config, data: Dataset, seed: int):
    """The network, initialised from `seed`."""
    import torch

    from spiketwin.experiments.studies.gradients.classifier import Classifier
    from spiketwin.models import stack
    from spiketwin.models.decoders import membrane_mean
    from spiketwin.models.stacks.cells import leaky, leaky_integrator
    from spiketwin.rules.losses import mean_cross_entropy
    from spiketwin.rules.regularisers import spike_penalty
    from spiketwin.rules.surrogate import fast_sigmoid

    net = stack(
        f"{config.hidden}FCR-FC{len(data.classes)}",
        neuron=leaky(config.tau_mem_ms),
        readout=leaky_integrator(config.tau_out_ms),
        dt_ms=config.dt_ms,
        input_shape=data.shape,
        surrogate=fast_sigmoid(config.surrogate_scale),
        seed=seed,
    )

    def feed(samples, index, rng: np.random.Generator | None):
        x = samples.batch(index, dt_ms=config.dt_ms)
        if rng is not None and config.noise:
            x = x + config.noise * rng.standard_normal(x.shape, dtype=np.float32)
        return torch.from_numpy(x)

    def loss(run, labels):
        value, hidden = mean_cross_entropy(run.output, labels), next(iter(run.spikes.values()))
        return value + spike_penalty(hidden, config.regulariser / len(labels)) if config.regulariser else value

    return Classifier(net, data, feed, lambda run: membrane_mean(run.output), loss, settings=training_settings(config))


def standardised(data: Dataset) -> Dataset:
    """Each taxel with mean 0 and deviation 1 over the training recordings."""
    return replace(data, **{part: getattr(data, part).standardised(by=data.train) for part in ("train", "validation", "test")})


def train(config: Config, data: Dataset, seed: int, folder: Path | None = None, *, quiet: bool = False):
    """(network, history), trained on `data`, standardised."""
    from spiketwin.experiments.training import Schedule

    made = classifier(config, data, seed)
    history = made.train(
        f"{NAME}, seed {seed}",
        Schedule(config.epochs, config.batch_size, config.learning_rate, clip_norm=config.clip_norm),
        seed,
        checkpoint=folder / f"checkpoint_{seed}.safetensors" if folder else None,
        quiet=quiet,
    )
    return made, history


def networks(config: Config, seed: int, *, folder: Path | None = None, quiet: bool = False):
    """The trained network, for the cross-check."""
    return {NAME: train(config, standardised(load("braille")), seed, folder, quiet=quiet)[0]}


def measure(config: Config, data: Dataset, seed: int, folder: Path | None = None, *, quiet: bool = False):
    """(metrics, curves) of one seed."""
    from spiketwin.experiments.training import best_epoch

    data = standardised(data)
    made, history = train(config, data, seed, folder, quiet=quiet)
    best = best_epoch(history)
    found = {
        "test_accuracy": made.accuracy(data.test),
        "validation_accuracy": best["validation_accuracy"],
        "training_accuracy": best["training_accuracy"],
        "spikes_per_neuron": best["spikes_per_neuron"],
        "silent_share": 100 * best["silent_share"],
        "best_epoch": best["epoch"],
        "training_minutes": sum(row["seconds"] for row in history) / 60,
    }
    names = ("loss", "training_accuracy", "validation_accuracy", "spikes_per_neuron")
    return found, {name: [row[name] for row in history] for name in names}


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    data = load("braille")
    with measured(split=data.split) as provenance:
        found, curves = measure(config, data, seed, folder)
    return single(sys.modules[__name__], config, seed, found, curves=curves, provenance=provenance)


def smoke() -> Result:
    """Eight epochs of a small network."""
    data = load("braille")
    config = replace(Config(), hidden=48, dt_ms=25.0, epochs=8, learning_rate=1e-2)
    with measured(split=f"smoke test: {data.split}") as provenance:
        found, curves = measure(config, data, 0, quiet=True)
    assert np.isfinite(list(found.values())).all()
    return single(sys.modules[__name__], config, 0, found, curves=curves, provenance=provenance)
