"""The convolutional network of snnTorch's tutorial 6 on MNIST, its wider variant, and what its loss looks at.

12C5-MP2-64C5-MP2-1024FC10 with a leaky neuron after each pooling and at the end (beta = 0.5 per step of 1 ms is tau_mem = 1.44 ms),
50 steps of a constant image, fast sigmoid of slope 25, cross-entropy of spike counts, Adam. The wider variant keeps its membranes
longer (beta = 0.9, tau_mem = 9.49 ms) and has a hidden layer of 256.

Source: Eshraghian et al. 2023, Training spiking neural networks using lessons from deep learning, and snnTorch's tutorials 5 and 6.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from spiketwin.experiments.data import Dataset, load
from spiketwin.experiments.progress import progress
from spiketwin.experiments.protocol import Result, measured, single

QUESTION = "How fast does a small convolutional spiking network learn MNIST, and does it matter what its loss looks at?"
NAME = "conv_snn"
EARLY = 150  # iterations after which the tutorial states an accuracy


@dataclass(frozen=True)
class Config:
    """The network of the tutorial and its wider variant."""

    layers: str = "12C5-MP2-64C5-MP2-1024FC10"
    """The network, as in spiketwin.models.stack."""
    beta: float = 0.5
    """Share of the membrane that a step leaves."""
    wide_layers: str = "32C5-MP2-64C5-MP2-1024FC256-FC10"
    """The wider variant; empty to leave it out."""
    wide_beta: float = 0.9
    """Its share of the membrane that a step leaves."""
    steps: int = 50
    """Steps of an image."""
    dt_ms: float = 1.0
    """Step in ms."""
    slope: float = 25.0
    """Steepness of the surrogate gradient 1/(slope |v - 1| + 1)^2."""
    batch_size: int = 128
    """Images of a training step."""
    learning_rate: float = 1e-2
    """Adam's, constant, as in the tutorial."""
    wide_learning_rate: float = 2e-3
    """Adam's for the wider variant, constant."""
    epochs: int = 1
    """Passes through the training images."""


def build(config: Config, seed: int, *, wide: bool = False):
    """The network, initialised by torch's rules from `seed`."""
    from spiketwin.models import stack
    from spiketwin.models.stacks.cells import leaky, tau_from_beta
    from spiketwin.rules.surrogate import fast_sigmoid

    return stack(
        config.wide_layers if wide else config.layers,
        neuron=leaky(tau_from_beta(config.wide_beta if wide else config.beta, config.dt_ms)),
        dt_ms=config.dt_ms,
        input_shape=(1, 28, 28),
        surrogate=fast_sigmoid(config.slope),
        steps=config.steps,
        seed=seed,
    )


def image(samples, index):
    """Images as a tensor [B, 1, 28, 28] in 0 … 1."""
    import torch

    return torch.tensor(samples.images[index].reshape(-1, 1, 28, 28), dtype=torch.float32) / samples.maximum


def accuracy(net, samples, steps: int, *, batch_size: int = 500) -> float:
    """Percent of images whose own class spikes most; of equal counts the first."""
    import torch

    net.eval()
    with torch.no_grad():
        parts = [slice(k, k + batch_size) for k in range(0, len(samples), batch_size)]
        votes = np.concatenate([net(image(samples, p), steps=steps).output.sum(0).argmax(1).numpy() for p in parts])
    return 100 * float(np.mean(votes == samples.labels))


def train(
    config: Config,
    data: Dataset,
    seed: int,
    *,
    wide: bool = False,
    loss: Literal["count", "membrane"] = "count",
    iterations: int | None = None,
    checkpoint: Path | None = None,
    quiet: bool = False,
):
    """(network, history) after config.epochs, or after some iterations of one. loss: cross-entropy of counts, or of each step's membranes."""
    import torch

    from spiketwin.experiments.training import Schedule, activity, fit
    from spiketwin.experiments.training.schedule import Constant
    from spiketwin.rules.losses import count_cross_entropy, step_cross_entropy

    net = build(config, seed, wide=wide)
    last = list(net.neuron_layers())[-1]
    labels = torch.as_tensor(data.train.labels)
    chosen = np.arange(len(data.train))
    if iterations:
        chosen = np.random.default_rng(seed).permutation(chosen)[: iterations * config.batch_size]

    def batch_loss(index: np.ndarray, rng: np.random.Generator):
        index = chosen[index]
        record = {last: ("v",)} if loss == "membrane" else None
        run = net(image(data.train, index), steps=config.steps, record=record)
        value = (
            count_cross_entropy(run.output, labels[index]) if record is None else step_cross_entropy(run.states[last]["v"], labels[index])
        )
        right = run.output.detach().sum(0).argmax(1) == labels[index]
        hidden = torch.cat([s.detach().flatten(2) for name, s in run.spikes.items() if name != last], dim=2)
        return value, {"training_accuracy": 100 * right.double().mean().item(), **activity(hidden)}

    epochs = 1 if iterations else config.epochs
    title = f"training {NAME}{', wide' * wide}, {loss} loss, seed {seed}" + (f", {iterations} iterations" if iterations else "")
    rate = config.wide_learning_rate if wide else config.learning_rate
    with progress(title, epochs, quiet=quiet) as show:
        history = fit(
            net,
            batch_loss,
            lambda: accuracy(net, data.validation, config.steps),
            samples=len(chosen),
            schedule=Schedule(epochs, config.batch_size, rate, Constant()),
            seed=seed,
            checkpoint=checkpoint,
            show=show,
        )
    return net, history


def measure(config: Config, data: Dataset, seed: int, folder: Path | None = None, *, early: int = EARLY, quiet: bool = False):
    """(metrics, curves) of one seed."""

    def kept(name: str) -> Path | None:
        return folder / f"{name}_{seed}.safetensors" if folder else None

    def test(net) -> float:
        return accuracy(net, data.test, config.steps)

    def trained(name: str, **options) -> tuple[Callable, list]:
        return train(config, data, seed, checkpoint=kept(name), quiet=quiet, **options)

    start = time.perf_counter()
    at_150, _ = trained("early", iterations=early)
    net, history = trained("count")
    minutes = sum(row["seconds"] for row in history) / 60
    by_membrane, membrane_history = trained("membrane", loss="membrane")
    found = {
        f"accuracy_at_{early}": test(at_150),
        "test_accuracy_epoch1": test(net),
        "test_accuracy_membrane_loss": test(by_membrane),
        "training_minutes": minutes,
    }
    for name, rows in (("", history), ("_membrane_loss", membrane_history)):
        found |= {f"{what}{name}": rows[-1][what] for what in ("validation_accuracy", "spikes_per_neuron", "silent_share")}
    if config.wide_layers:
        wide, wide_history = trained("wide", wide=True)
        found |= {"test_accuracy_wide": test(wide), "validation_accuracy_wide": wide_history[-1]["validation_accuracy"]}
    return found, {"history": history, "membrane_history": membrane_history, "seconds": round(time.perf_counter() - start, 1)}


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    data = load("mnist")
    with measured(split=data.split) as provenance:
        found, curves = measure(config, data, seed, folder)
    return single(sys.modules[__name__], config, seed, found, curves=curves, provenance=provenance)


def smoke() -> Result:
    """Twenty iterations of a smaller network, with longer membranes, on some hundred images."""
    whole = load("mnist")
    small = replace(whole, train=whole.train[:640], validation=whole.validation[:200], test=whole.test[:200])
    layers = "6C5-MP2-12C5-MP2-192FC10"
    config = replace(Config(), layers=layers, beta=0.9, slope=10, wide_layers="", steps=15, batch_size=32)
    with measured(split=f"smoke test: 640 / 200 / 200 of {whole.split}") as provenance:
        found, curves = measure(config, small, 0, early=4, quiet=True)
    assert np.isfinite(list(found.values())).all()
    return single(sys.modules[__name__], config, 0, found, curves=curves, provenance=provenance)
