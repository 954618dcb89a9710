"""Spike-based backpropagation of Lee et al. against surrogate gradients: the same deep networks, the same budget.

A LeNet on MNIST, a VGG and a ResNet on Fashion-MNIST, and on CIFAR-10 and SVHN where their files exist, each trained by three rules

    lee             errors of spike counts, sent back once (rules/spike_backprop.py)
    fast_sigmoid    through time, with SuperSpike's surrogate
    arctan          through time, with a surrogate that falls off as slowly as 1/x²

from the same weights, on the same images, for equally many epochs. A rule's learning rate is the one that is best on validation after
one epoch; all rules choose from the same. What is read out neither leaks nor spikes: output = V(T)/T, and E = Σ (output - target)²/2.

The paper trains for 150 epochs and more, from Poisson trains of 50 to 100 steps, with dropout, and reaches 99.59 % on MNIST. Here the
image itself is the current of eight steps, and an epoch is 10,000 images, so that three seeds take about an hour on two cores: it is
a comparison of rules, not a record. Norms take the place of the paper's scaled initial weights: within eight steps most neurons would
else never fire, and those that do not pass no error back.

Source: Lee, Sarwar, Panda, Srinivasan & Roy 2020, Front. Neurosci. 14:119; Zenke & Ganguli 2018 (fast sigmoid); Hu et al. 2024
(residual blocks that add currents, as in Lee et al.).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from spiketwin.experiments.data import DATASETS, Dataset, folders, load
from spiketwin.experiments.protocol import Result, measured, single, training_settings
from spiketwin.experiments.studies.gradients.image_classifier import Found, augmented, few, leaky_stack, learn
from spiketwin.models.stacks import AT_ONCE

QUESTION = "Do deep networks learn as well from errors of spike counts as from surrogate gradients through time?"
NAME = "deep_spike_backprop"
OBJECTIVE = "validation_accuracy_lenet_mnist_lee"
RULES = ("lee", "fast_sigmoid", "arctan")


@dataclass(frozen=True)
class Config:
    """Networks and budget."""

    BESIDE_TRAINING: ClassVar = ("lenet", "vgg", "resnet", "learning_rates")  # a training has its own layers and its rate

    lenet: str = "20C5-AP2-BN-50C5-AP2-BN-FC200-FC10"
    """On MNIST; empty to leave it out."""
    vgg: str = "16C3p1-AP2-BN-32C3p1-BN-32C3p1-AP2-BN-64C3p1-BN-64C3p1-AP2-BN-FC10"
    """On Fashion-MNIST, CIFAR-10 and SVHN; empty to leave it out."""
    resnet: str = "16C3p1-AP2-BN-16MS3-32MS3s2-N-GAP-FC10"
    """On Fashion-MNIST, CIFAR-10 and SVHN; empty to leave it out."""
    steps: int = 8
    """Steps of an image."""
    dt_ms: float = 1.0
    """Step in ms."""
    tau_mem_ms: float = 100.0
    """Of the leaky neurons, as in the paper; their threshold is 1, and a spike takes away as much."""
    slope: float = 5.0
    """Steepness of the fast sigmoid 1/(slope |v - 1| + 1)^2."""
    arctan_scale: float = 2.0
    """Steepness of the arctan surrogate, (scale/2)/(1 + (π scale (v - 1)/2)^2)."""
    images: int = 10_000
    """Training images, the first ones."""
    validation_images: int = 2_000
    """Validation images, the first ones."""
    epochs: int = 4
    """Passes through the training images."""
    batch_size: int = 128
    """Images of a training step."""
    learning_rates: tuple[float, ...] = (5e-4, 2e-3, 8e-3)
    """Adam's at the start, of which each rule takes the one that is best on validation after one epoch; they fall along half a cosine."""

    def __post_init__(self) -> None:
        if not (self.learning_rates and all(rate > 0 for rate in self.learning_rates)):
            raise ValueError(f"learning_rates = {self.learning_rates} must be positive, at least one")
        if self.epochs < 1:
            raise ValueError(f"epochs = {self.epochs} must be positive")


def tasks(config: Config) -> dict[str, tuple[str, str]]:
    """Name of a network with its data -> (layers, data set), for the data sets that are there."""
    found = {"lenet_mnist": (config.lenet, "mnist")}
    for name, data in (("fashion", "fashion-mnist"), ("cifar10", "cifar-10"), ("svhn", "svhn")):
        files = DATASETS[data].files
        if data == "fashion-mnist" or (files and folders.find(files)):
            found |= {f"vgg_{name}": (config.vgg, data), f"resnet_{name}": (config.resnet, data)}
    return {name: task for name, task in found.items() if task[0]}


def classifier(config: Config, layers: str, data: Dataset, rule: str, seed: int):
    """A network that learns by one of RULES; its initial weights depend on the seed alone."""
    from spiketwin.experiments.studies.gradients.classifier import Classifier
    from spiketwin.models.engines.torch.stacks import NormOverTime
    from spiketwin.models.stacks import leaky_integrator
    from spiketwin.rules.spike_backprop import half_square_error, with_spike_backprop
    from spiketwin.rules.surrogate import arctan, fast_sigmoid

    surrogates = {"lee": None, "fast_sigmoid": fast_sigmoid(config.slope), "arctan": arctan(config.arctan_scale)}
    still = leaky_integrator(1e9)  # whose leak of 1e-9 in a step single precision does not see
    options = {"dt_ms": config.dt_ms, "steps": config.steps, "readout": still, "norm": NormOverTime, "order": AT_ONCE}
    net = leaky_stack(layers, data, seed, tau_mem_ms=config.tau_mem_ms, surrogate=surrogates[rule], **options)
    if rule == "lee":
        with_spike_backprop(net)

    def output(run):
        return run.output[-1] / len(run.output)

    def loss(run, labels):
        return half_square_error(output(run), labels)

    settings = training_settings(config) | {"layers": layers, "rule": rule}
    return Classifier(net, data, augmented(0, 0, data.shape), output, loss, config.steps, settings=settings)


def trained(
    config: Config, images: Dataset, task: str, layers: str, rule: str, seed: int, folder: Path | None = None, *, quiet: bool = False
):
    """(network, what is measured of it, history) of one network and rule, at the learning rate that is best on validation."""
    from spiketwin.experiments.training import Schedule

    name, tried = f"{task}_{rule}", {}
    for rate in config.learning_rates:
        made, short = classifier(config, layers, images, rule, seed), Schedule(1, config.batch_size, rate)
        seen, _ = learn(made, NAME, f"{name}_{rate:g}", short, seed, folder, quiet=quiet)
        tried[rate] = seen["validation_accuracy"]
    best = max(tried, key=tried.__getitem__)
    made, schedule = classifier(config, layers, images, rule, seed), Schedule(config.epochs, config.batch_size, best)
    seen, history = learn(made, NAME, name, schedule, seed, folder, quiet=quiet)
    return made, seen | {"learning_rate": best}, history


def networks(config: Config, seed: int, *, folder: Path | None = None, quiet: bool = False):
    """All of them, for the cross-check."""
    data = _data(config)
    return {
        f"{task}_{rule}": trained(config, data[name], task, layers, rule, seed, folder, quiet=quiet)[0]
        for task, (layers, name) in tasks(config).items()
        for rule in RULES
    }


def measure(config: Config, data: Mapping[str, Dataset], seed: int, folder: Path | None = None, *, quiet: bool = False) -> Found:
    """(metrics, curves) of one seed. data: data set -> its images, no more than are to be used."""
    found: dict[str, float] = {}
    curves: dict[str, list] = {}
    for task, (layers, images) in tasks(config).items():
        for rule in RULES:
            name = f"{task}_{rule}"
            _, seen, curves[name] = trained(config, data[images], task, layers, rule, seed, folder, quiet=quiet)
            found |= {f"{key}_{name}": value for key, value in seen.items() if key != "training_accuracy"}
    return found, curves


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    return _answer(config, seed, folder=folder)


def smoke() -> Result:
    """Two epochs of a smaller LeNet on some hundred images, by each rule."""
    config = replace(Config(), lenet="6C5-AP2-BN-12C5-AP2-BN-FC10", vgg="", resnet="", steps=5, epochs=2, batch_size=32)
    config = replace(config, images=480, validation_images=200, learning_rates=(1e-2,))
    return _answer(config, 0, test=200, quiet=True)


def _data(config: Config, test: int = 10_000) -> dict[str, Dataset]:
    names = dict.fromkeys(name for _, name in tasks(config).values())
    return {name: few(load(name), config.images, config.validation_images, test) for name in names}


def _answer(config: Config, seed: int, *, test: int = 10_000, **options) -> Result:
    data = _data(config, test)
    with measured(split="; ".join(f"{name}: {of.split}" for name, of in data.items())) as provenance:
        found, curves = measure(config, data, seed, **options)
    assert np.isfinite(list(found.values())).all()
    return single(sys.modules[__name__], config, seed, found, curves=curves, provenance=provenance)


def draw(result: Result):
    """Validation accuracy against epochs, mean of the seeds, and the test accuracy of each seed at the right, a panel for each network."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from spiketwin.experiments.crosscheck.figures import COLOURS, STYLE

    tasks_drawn = [name.removesuffix(f"_{RULES[0]}") for name in result.curves if name.endswith(f"_{RULES[0]}")]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.4 * len(tasks_drawn), 2.8), layout="constrained")
        for axes, task in zip(figure.subplots(1, len(tasks_drawn), squeeze=False)[0], tasks_drawn, strict=True):
            for k, (rule, colour) in enumerate(zip(RULES, COLOURS)):
                held = result.curves[f"{task}_{rule}"]
                histories = held if len(result.seeds) > 1 else [held]
                reached = np.mean([[row["validation_accuracy"] for row in history] for history in histories], axis=0)
                axes.plot(range(1, len(reached) + 1), reached, "o-", markersize=3, color=colour, label=rule.replace("_", " "))
                tested = result.metrics[f"test_accuracy_{task}_{rule}"]["values"]
                axes.plot([len(reached) + 0.6 + 0.2 * k] * len(tested), tested, "_", markersize=8, color=colour)
            axes.set(xlabel="epoch (bars: test, each seed)", ylabel="accuracy (%)", title=task.replace("_", ", "))
            axes.set_xticks(range(1, len(reached) + 1))
        axes.legend(fontsize=7, frameon=False)
    return figure
