"""STDP first, gradient after: does a spiking network learn faster, or from fewer labels, when its convolutions start from what spike
timing alone has found?

    pre-training   kernels of two convolutions by STDP from images without labels (pretraining.py)
    starts         the same network from these kernels, from random ones, from random ones of the same norm, and from the pre-trained ones
                   with their weights in another order (starts.py)
    fine-tuning    all weights by surrogate gradients and Adam, with labels: of all training images, and of a few of each class

Each start and number of labels has the learning rate that was best on validation images: with all labels that of the highest mean
accuracy over the training, with few that of the best epoch. A start reaches an accuracy at the gradient step at which that of the validation
images does, between two looks by a straight line; one that never does counts all its steps, so that a speed-up against it is a bound from below.
`speedup` counts steps of gradient descent alone, as the published claim does; `speedup_in_time` counts the pre-training, too. Few labels
means training labels: validation images, which say when to stop and which rate is best, are as many for every start.

Source: Lee, Panda, Srinivasan & Roy 2018, Front. Neurosci. 12:435, who claim that it is about 2.5 times faster; Kheradpisheh et al. 2018.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from spiketwin.experiments.data import Dataset, load
from spiketwin.experiments.protocol import Result, measured, single
from spiketwin.experiments.studies.semi_supervised.speed import speedups
from spiketwin.models.spec import unknown
from spiketwin.rules.plasticity.convolutional import ConvolutionalSTDP

if TYPE_CHECKING:
    from spiketwin.experiments.training import Row

QUESTION = "Does learning by spike timing first make learning by gradients faster, and how many labels does it save?"
NAME = "stdp_pretraining"
OBJECTIVE = "validation_accuracy_stdp"
DATA = "mnist"
ALL = 0  # labels of a class: those of all training images


class SemiSupervisedError(ValueError):
    """The study cannot run as asked. The message names the setting and the fix."""


@dataclass(frozen=True)
class Config:
    """Two convolutions and a read-out, first by spike timing, then by gradients."""

    # a training has its looks, their steps and its rate in its schedule, and its start and labels in its name
    BESIDE_TRAINING: ClassVar = (
        "starts",
        "learning_rates",
        "looks",
        "steps_per_look",
        "labels",
        "label_looks",
        "label_steps_per_look",
        "test_images",
        "targets",
        "target",
    )

    maps: tuple[int, int] = (16, 32)
    """Maps of the two convolutions."""
    kernel: int = 5
    """Side of their kernels."""
    pretraining_images: int = 4000
    """Images that each layer sees without labels."""
    latency_steps: int = 15
    """Steps over which the spikes of an image are spread, in pre-training."""
    thresholds: tuple[float, float] = (15.0, 10.0)
    """Thresholds of the two layers in pre-training, in spikes through synapses of strength 1."""
    winners: int = 8
    """Maps that may learn from one image."""
    radius: tuple[int, int] = (2, 1)
    """Places around a winner at which other maps cannot win, of each layer."""
    a_plus: float = 0.02
    """Learning rate of potentiation."""
    a_minus: float = 0.015
    """Learning rate of depression."""
    steps: int = 5
    """Steps of an image in the network that learns by gradients; the image is a constant current."""
    dt_ms: float = 1.0
    """Step in ms."""
    tau_mem_ms: float = 20.0
    """Membrane time constant of its neurons."""
    tau_readout_ms: float = 20.0
    """Of the membranes that are read out; the largest mean over the steps is the answer."""
    slope: float = 5.0
    """Steepness of the surrogate gradient 1/(slope |v - 1| + 1)^2."""
    starts: tuple[str, ...] = ("random", "same_norm", "shuffled", "stdp")
    """What the convolutions start from; random and stdp must be among them."""
    learning_rates: tuple[float, ...] = (3e-3, 1e-2, 3e-2)
    """Adam's, from which each start gets its best."""
    batch_size: int = 50
    """Images of a gradient step, drawn anew for each."""
    looks: int = 100
    """Times that the training with all labels looks at the validation images."""
    steps_per_look: int = 5
    """Gradient steps between."""
    labels: tuple[int, ...] = (10, 100, 1000)
    """Labelled images of each class, where they are few."""
    label_looks: int = 16
    """Times that the training with few labels looks at the validation images."""
    label_steps_per_look: int = 25
    """Gradient steps between."""
    validation_images: int = 1000
    """Validation images, the first ones; 0 for all."""
    test_images: int = 0
    """Test images, the first ones; 0 for all."""
    targets: tuple[float, ...] = (80.0, 90.0, 95.0, 97.0)
    """Accuracies in percent for which gradient steps are counted."""
    target: float = 95.0
    """That of `speedup`."""

    def __post_init__(self) -> None:
        from spiketwin.experiments.studies.semi_supervised.starts import STARTS

        for start in self.starts:
            if start not in STARTS:
                raise SemiSupervisedError(unknown(start, "start", NAME, STARTS))
        if missing := {"random", "stdp"} - {*self.starts}:
            raise SemiSupervisedError(f"starts = {self.starts} lack '{sorted(missing)[0]}', without which nothing is compared; add it")
        for name in (
            "pretraining_images",
            "latency_steps",
            "steps",
            "batch_size",
            "looks",
            "steps_per_look",
            "label_looks",
            "label_steps_per_look",
        ):
            if getattr(self, name) < 1:
                raise SemiSupervisedError(f"{name} = {getattr(self, name)} must be at least 1")
        for name in ("validation_images", "test_images"):
            if getattr(self, name) < 0:
                raise SemiSupervisedError(f"{name} = {getattr(self, name)} must be at least 1, or 0 for all")
        for name in ("dt_ms", "tau_mem_ms", "tau_readout_ms", "slope"):
            if not getattr(self, name) > 0:
                raise SemiSupervisedError(f"{name} = {getattr(self, name)} must be positive")
        for name in ("maps", "thresholds", "radius"):
            if len(getattr(self, name)) != 2:
                raise SemiSupervisedError(f"{name} = {getattr(self, name)} must be two numbers, one for each convolution")
        if min(*self.maps, self.kernel) < 1:
            raise SemiSupervisedError(f"maps = {self.maps} of kernels of side {self.kernel} must all be at least 1")
        if not self.learning_rates or not all(rate > 0 for rate in self.learning_rates):
            raise SemiSupervisedError(f"learning_rates = {self.learning_rates} must be positive, at least one")
        if not all(n >= 1 for n in self.labels):
            raise SemiSupervisedError(f"labels = {self.labels} must be at least 1 of each class")
        if self.target not in self.targets or not all(0 < t < 100 for t in self.targets):
            raise SemiSupervisedError(f"target = {self.target} must be one of targets = {self.targets}, all between 0 and 100")
        _ = self.rules  # says what is wrong with the rest

    @property
    def rules(self) -> tuple[ConvolutionalSTDP, ConvolutionalSTDP]:
        """The rule of each layer."""
        first, second = (
            ConvolutionalSTDP(threshold, self.winners, radius, self.a_plus, self.a_minus)
            for threshold, radius in zip(self.thresholds, self.radius, strict=True)
        )
        return first, second

    def pretraining(self) -> dict[str, Any]:
        """The settings that pre-training depends on."""
        names = ("maps", "kernel", "latency_steps", "thresholds", "winners", "radius", "a_plus", "a_minus")
        return {name: value for name, value in asdict(self).items() if name in names}

    def course(self, labels: int) -> tuple[int, int]:
        """(looks, gradient steps between) of a training with so many labels of each class."""
        return (self.looks, self.steps_per_look) if labels == ALL else (self.label_looks, self.label_steps_per_look)


# -- what is measured ----------------------------------------------------------------------------------------------


def worth(history: Sequence[Row], labels: int) -> float:
    """What the learning rate is chosen by: with all labels the mean validation accuracy over the training, with few the highest."""
    accuracies = [row["validation_accuracy"] for row in history]
    return float(np.mean(accuracies) if labels == ALL else np.max(accuracies))


def dataset(config: Config) -> Dataset:
    whole = load(DATA)
    validation, test = whole.validation[: config.validation_images or None], whole.test[: config.test_images or None]
    split = f"{len(validation)} validation and {len(test)} test images of: {whole.split}"
    return replace(whole, validation=validation, test=test, split=split)


def networks(config: Config, seed: int, *, folder: Path | None = None, quiet: bool = False):
    """The networks that learnt from all labels, from random kernels and from those of spike timing, for the cross-check."""
    from spiketwin.experiments.studies.semi_supervised.fine_tuning import tune

    data = dataset(config)
    _, learnt = begin(config, data, seed, folder, quiet=quiet)
    return {start: tune(config, data, start, ALL, learnt, seed, folder, quiet=quiet)[0] for start in ("random", "stdp")}


def begin(config: Config, data: Dataset, seed: int, folder: Path | None = None, *, quiet: bool = False):
    """(pre-training, its kernels as network() takes them). folder: keeps it."""
    from spiketwin.experiments.studies.semi_supervised.pretraining import pretrain
    from spiketwin.experiments.studies.semi_supervised.starts import centred

    done = pretrain(config, data.train, seed, path=folder / f"pretraining_seed_{seed}.npz" if folder else None, quiet=quiet)
    return done, centred(done.kernels)


def measure(config: Config, data: Dataset, seed: int, folder: Path | None = None, *, quiet: bool = False):
    """(metrics, curves) of one seed. folder: keeps the pre-training, every training, and pictures."""
    from spiketwin.experiments.studies.semi_supervised.fine_tuning import tune

    done, learnt = begin(config, data, seed, folder, quiet=quiet)
    found: dict[str, float] = {
        "pretraining_minutes": done.cpu_s / 60,
        **{f"unsettled_{i + 1}": u for i, u in enumerate(done.unsettled)},
        **{f"silent_maps_{i + 1}": float(np.sum(wins == 0)) for i, wins in enumerate(done.wins)},
    }
    rates: dict[str, dict[str, float]] = {}
    accuracy: dict[str, list[float]] = {}
    look_s = 0.0
    for labels in (ALL, *config.labels):
        name = "all" if labels == ALL else str(labels)
        for start in config.starts:
            best, rate, history = tune(config, data, start, labels, learnt, seed, folder, quiet=quiet)
            rates.setdefault(name, {})[start] = rate
            suffix = start if labels == ALL else f"{start}_{labels}_labels"
            found[f"validation_accuracy_{suffix}"] = max(row["validation_accuracy"] for row in history)
            found[f"test_accuracy_{suffix}"] = best.accuracy(data.test)
            if labels == ALL:
                accuracy[start] = [row["validation_accuracy"] for row in history]
                look_s = float(np.median([row["seconds"] for row in history]))
    found |= speedups(config, accuracy, len(data.train), look_s, done.cpu_s)
    curves = {
        "steps": [config.steps_per_look * (k + 1) for k in range(config.looks)],
        "validation_accuracy": accuracy,
        "learning_rate": rates,
        "kernels": [np.round(k, 3).tolist() for k in done.kernels[:1]],
    }
    return found, curves


def answer(config: Config, data: Dataset, seed: int, folder: Path | None = None, *, quiet: bool = False, note: str = "") -> Result:
    with measured(split=f"{note}{config.pretraining_images} training images without labels for each layer; {data.split}") as provenance:
        found, curves = measure(config, data, seed, folder, quiet=quiet)
    result = single(sys.modules[__name__], config, seed, found, curves=curves, provenance=provenance)
    if folder:
        from spiketwin.experiments.studies.semi_supervised.figures import save_all

        save_all(result, folder, f"seed_{seed}")
    return result


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    return answer(config, dataset(config), seed, folder)


def draw(result: Result):
    """Errors against gradient steps with all labels, and in the end with few, mean of the seeds."""
    from spiketwin.experiments.studies.semi_supervised.figures import draw_errors

    return draw_errors(result)


def smoke() -> Result:
    """Two hundred images without labels, few maps, two starts, ten labels of each class."""
    config = replace(
        Config(),
        maps=(6, 8),
        pretraining_images=200,
        a_plus=0.1,
        a_minus=0.075,
        steps=5,
        starts=("random", "stdp"),
        learning_rates=(1e-2,),
        looks=4,
        labels=(10,),
        label_looks=2,
        label_steps_per_look=10,
        validation_images=200,
        test_images=200,
        targets=(30.0, 50.0),
        target=50.0,
    )
    return answer(config, dataset(config), 0, quiet=True, note="smoke test: ")
