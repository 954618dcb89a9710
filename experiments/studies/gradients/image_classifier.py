"""What studies of convolutional networks on images share: the small question, the recipe of training, what is measured.

A study is a file with its Config, its networks as `Classifier`s, and `measure(config, data, seed, …)` -> (metrics, curves).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spiketwin.experiments.data import Dataset, Samples
from spiketwin.experiments.protocol import Result, measured, single, training_settings

Found = tuple[dict[str, float], dict[str, Any]]
NETWORK = "network"


@dataclass(frozen=True)
class Recipe:
    """A network as a line of text, and how it is trained: what studies set as they need."""

    layers: str
    """The network, as in spiketwin.models.stack; a membrane that does not spike is read out."""
    norm: Literal["over_time", "through_time"] = "over_time"
    """What BN stands for: one statistic for all steps, or one for each."""
    steps: int = 8
    """Steps of an image."""
    dt_ms: float = 1.0
    """Step in ms."""
    tau_mem_ms: float = 4.0
    """Of the leaky neurons, whose threshold is 1."""
    tau_readout_ms: float = 20.0
    """Of the membranes that are read out; the largest mean over the steps is the answer."""
    slope: float = 5.0
    """Steepness of the surrogate gradient 1/(slope |v - 1| + 1)^2."""
    epochs: int = 15
    """Passes through the training images."""
    batch_size: int = 128
    """Images of a training step."""
    learning_rate: float = 2e-3
    """Adam's at the start; it rises in the first twentieth of the training and falls along half a cosine."""
    weight_decay: float = 0.0
    """Price of half the sum of all squared weights; norms, biases and neurons have none."""
    smoothing: float = 0.0
    """Share of a label that goes to all classes alike."""
    shift_pixels: int = 2
    """Training images are moved by up to so many pixels, to each side and up and down."""
    flip_probability: float = 0.0
    """Of a training image to be shown mirrored, left for right."""


def leaky_stack(layers: str, data: Dataset, seed: int, *, tau_mem_ms: float, weight_gain: float = 1.0, **options):
    """A stack of leaky neurons for these images. options: those of stack.

    weight_gain: factor on torch's initial weights from `seed`, with which many neurons of a stack without norms stay silent at first.
    """
    import torch

    from spiketwin.models import stack
    from spiketwin.models.stacks import leaky

    shape = data.shape if len(data.shape) == 3 else (1, *data.shape)
    net = stack(layers, neuron=leaky(tau_mem_ms), input_shape=shape, seed=seed, **options)
    if weight_gain != 1:
        with torch.no_grad():
            for name, values in net.named_parameters():
                if name.endswith("weight"):
                    values *= weight_gain
    return net


def spiking(recipe: Recipe, data: Dataset, seed: int, **options):
    """The network of a recipe as a Classifier of cross-entropy. options: more of stack's, such as order=models.stacks.AT_ONCE."""
    from torch.nn import functional

    from spiketwin.experiments.studies.gradients.classifier import Classifier
    from spiketwin.models.engines.torch.stacks import NormOverTime, NormThroughTime
    from spiketwin.models.stacks import leaky_integrator
    from spiketwin.rules.surrogate import fast_sigmoid

    options |= {"dt_ms": recipe.dt_ms, "surrogate": fast_sigmoid(recipe.slope), "readout": leaky_integrator(recipe.tau_readout_ms)}
    options |= {"steps": recipe.steps, "norm": {"over_time": NormOverTime, "through_time": NormThroughTime}[recipe.norm]}
    net = leaky_stack(recipe.layers, data, seed, tau_mem_ms=recipe.tau_mem_ms, **options)
    weights = [p for name, p in net.named_parameters() if name.endswith("weight") and p.ndim > 1 and "norm" not in name]

    def loss(run, labels):
        value = functional.cross_entropy(mean_output(run), labels, label_smoothing=recipe.smoothing)
        if not recipe.weight_decay:
            return value
        return value + 0.5 * recipe.weight_decay * sum(w.square().sum() for w in weights)

    feed = augmented(recipe.shift_pixels, recipe.flip_probability, data.shape)
    return Classifier(net, data, feed, mean_output, loss, recipe.steps, settings=training_settings(recipe))


def mean_output(run):
    """Mean over time of what is read out, [B, K]."""
    return run.output.mean(0)


def augmented(shift_pixels: int, flip_probability: float, shape: tuple[int, ...]) -> Callable:
    """A feed of images [B, channels, height, width] in 0 … 1; in training each is moved and maybe mirrored, anew each time.

    shift_pixels: most that an image is moved, up, down and sideways; what comes in at the border is 0.
    shape: of the images, (height, width) or (channels, height, width).
    """
    import torch
    from torch.nn import functional

    def feed(samples: Samples, index, rng: np.random.Generator | None = None):
        *_, height, width = shape
        x = torch.tensor(samples.images[index].reshape(len(index), -1, height, width), dtype=torch.float32) / samples.maximum
        if rng is None:
            return x
        if shift_pixels:
            padded = functional.pad(x, (shift_pixels,) * 4)
            down, right = torch.from_numpy(rng.integers(0, 2 * shift_pixels + 1, (2, len(x))))
            rows, columns = torch.arange(height) + down[:, None], torch.arange(width) + right[:, None]
            each = torch.arange(len(x))[:, None, None]
            x = padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
        if flip_probability:
            x = torch.where(torch.from_numpy(rng.random(len(x)) < flip_probability)[:, None, None, None], x.flip(3), x)
        return x

    return feed


def train(made, study: str, name: str, schedule, seed: int, folder: Path | None = None, *, chosen=None, quiet: bool = False):
    """Train a Classifier. Returns the history. name: of the network, and with the seed of its checkpoint in `folder`."""
    checkpoint = folder / f"{name}_{seed}.safetensors" if folder else None
    return made.train(f"{study}, {name}, seed {seed}", schedule, seed, chosen=chosen, checkpoint=checkpoint, quiet=quiet)


def learn(made, *how, **options):
    """Train a Classifier, as `train` does. Returns (what is measured of it, history)."""
    from spiketwin.experiments.training import best_epoch

    history = train(made, *how, **options)
    best = best_epoch(history)
    found = {"test_accuracy": made.accuracy(made.data.test)}
    found |= {key: best[key] for key in ("validation_accuracy", "training_accuracy", "spikes_per_neuron") if key in best}
    if "silent_share" in best:
        found["silent_share"] = 100 * best["silent_share"]
    return found | {"training_minutes": sum(row["seconds"] for row in history) / 60}, history


def schedule_of(recipe: Recipe):
    from spiketwin.experiments.training import Schedule, WarmUp

    return Schedule(recipe.epochs, recipe.batch_size, recipe.learning_rate, WarmUp(), clip_norm=1.0)


def one_network(
    study: str, recipe: Recipe, data: Dataset, seed: int, folder: Path | None = None, *, quiet: bool = False, **options
) -> Found:
    """(metrics, curves) of the one network of a recipe. options: those of spiking."""
    found, history = learn(spiking(recipe, data, seed, **options), study, NETWORK, schedule_of(recipe), seed, folder, quiet=quiet)
    return found, {"history": history}


def one_for_crosscheck(study: str, recipe: Recipe, data: Dataset, seed: int, folder: Path | None, *, quiet: bool, **options):
    """That network, trained, as a study offers it to the cross-check."""
    made = spiking(recipe, data, seed, **options)
    train(made, study, NETWORK, schedule_of(recipe), seed, folder, quiet=quiet)
    return {study: made}


def check_betas(config, *names: str) -> None:
    """Raises ValueError that names a share of the membrane which no step can leave."""
    for name in names:
        if not 0 < (beta := getattr(config, name)) < 1:
            raise ValueError(f"{name} = {beta} is the share of the membrane that a step leaves; give more than 0 and less than 1")


def answer(study, config, seed: int, data: Dataset, **options) -> Result:
    """The Result of a study's `measure` on these data, with its wall time and split. options: those of `measure`."""
    with measured(split=data.split) as provenance:
        found, curves = study.measure(config, data, seed, **options)
    assert np.isfinite(list(found.values())).all()
    return single(study, config, seed, found, curves=curves, provenance=provenance)


def few(data: Dataset, train: int, validation: int, test: int) -> Dataset:
    """The first images of each part."""
    parts = {"train": data.train[:train], "validation": data.validation[:validation], "test": data.test[:test]}
    return replace(data, split=f"the first {train:,} / {validation:,} / {test:,} of {data.split}", **parts)
