"""The convolutional network of snnTorch's tutorial 6 on MNIST, its wider variant, and what its loss looks at.

12C5-MP2-64C5-MP2-1024FC10 with a leaky neuron after each pooling and at the end (beta = 0.5 per step of 1 ms is tau_mem = 1.44 ms),
50 steps of a constant image, fast sigmoid of slope 25, cross-entropy of spike counts, Adam. The wider variant keeps its membranes
longer (beta = 0.9, tau_mem = 9.49 ms) and has a hidden layer of 256.

A softmax of counts as large as 50 is sure of itself from the start, and its errors silence three of four neurons; so five spikes, not one,
make a class e times as likely. (The tutorial's ce_rate_loss is the cross-entropy of the spikes of each step, averaged over steps.) And with
torch's initial weights three of five hidden neurons never fire; three times as large, they learn faster and reach more in one epoch.

Source: Eshraghian et al. 2023, Training spiking neural networks using lessons from deep learning, and snnTorch's tutorials 5 and 6.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spiketwin.experiments.data import Dataset, load
from spiketwin.experiments.protocol import Result, training_settings
from spiketwin.experiments.studies.gradients.image_classifier import Found, answer, check_betas, few, leaky_stack, learn

QUESTION = "How fast does a small convolutional spiking network learn MNIST, and does it matter what its loss looks at?"
NAME = "conv_snn"
OBJECTIVE = "validation_accuracy_count"
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
    spikes_per_logit: float = 5.0
    """Spikes that make a class e times as likely."""
    weight_gain: float = 3.0
    """Factor on torch's initial weights. Chosen on validation after an epoch, with the two around it, where 1, 1e-2 and 10 did less well."""
    learning_rate: float = 5e-3
    """Adam's (the tutorial's: 1e-2): it rises in the first twentieth of all epochs and falls along half a cosine; in a training that ends
    early it stays."""
    membrane_learning_rate: float = 1e-2
    """Adam's at the start where the loss looks at membranes; initial weights are torch's then, which did better."""
    wide_spikes_per_logit: float = 10.0
    """As above, for the wider variant, whose initial weights are torch's, too."""
    wide_learning_rate: float = 2e-3
    """Adam's at the start for the wider variant."""
    epochs: int = 1
    """Passes through the training images."""

    def __post_init__(self) -> None:
        check_betas(self, "beta", "wide_beta")
        if self.epochs < 1:
            raise ValueError(f"epochs = {self.epochs} must be positive")


def classifier(config: Config, data: Dataset, seed: int, *, wide: bool = False, of_membranes: bool = False):
    """The network, initialised by torch's rules from `seed`. of_membranes: the loss looks at each step's membranes, not at counts."""
    from spiketwin.experiments.studies.gradients.classifier import Classifier, counts, images
    from spiketwin.models.stacks.cells import tau_from_beta
    from spiketwin.rules.losses import count_cross_entropy, step_cross_entropy
    from spiketwin.rules.surrogate import fast_sigmoid

    layers, beta, per_logit = config.layers, config.beta, config.spikes_per_logit
    if wide:
        layers, beta, per_logit = config.wide_layers, config.wide_beta, config.wide_spikes_per_logit
    gain = 1.0 if wide or of_membranes else config.weight_gain
    neurons = dict(tau_mem_ms=tau_from_beta(beta, config.dt_ms), dt_ms=config.dt_ms, surrogate=fast_sigmoid(config.slope))
    net = leaky_stack(layers, data, seed, weight_gain=gain, steps=config.steps, **neurons)
    # the other networks may do without the wider variant
    settings = {name: value for name, value in training_settings(config).items() if wide or not name.startswith("wide_")}
    if of_membranes:
        last = list(net.neuron_layers())[-1]
        record, loss = {last: ("v",)}, lambda run, y: step_cross_entropy(run.states[last]["v"], y)
    else:
        record, loss = None, lambda run, y: count_cross_entropy(run.output / per_logit, y)
    return Classifier(net, data, images, counts, loss, config.steps, record, settings=settings)


def trained(
    config: Config, data: Dataset, seed: int, name: str, folder: Path | None = None, *, iterations: int = 0, quiet: bool = False, **options
):
    """(network, what is measured of it, history) of one of the networks. iterations: of a training that ends early; 0: all epochs.
    options: those of classifier."""
    made = classifier(config, data, seed, **options)
    chosen = np.random.default_rng(seed).permutation(len(data.train))[: iterations * config.batch_size] if iterations else None
    how = schedule(config, ends_early=iterations > 0, **options)
    return made, *learn(made, NAME, name, how, seed, folder, chosen=chosen, quiet=quiet)


def schedule(config: Config, *, ends_early: bool = False, wide: bool = False, of_membranes: bool = False):
    """How a network is trained. Where first weights are larger, the learning rate begins small: else the first steps silence neurons."""
    from spiketwin.experiments.training import Constant, Cosine, Schedule, WarmUp

    if ends_early:
        return Schedule(1, config.batch_size, config.learning_rate, Constant())
    rate, shape = config.learning_rate, WarmUp()
    if wide or of_membranes:
        rate, shape = config.wide_learning_rate if wide else config.membrane_learning_rate, Cosine()
    return Schedule(config.epochs, config.batch_size, rate, shape)


def networks(config: Config, seed: int, *, folder: Path | None = None, quiet: bool = False):
    """The networks that learned from counts, for the cross-check."""
    which = {"count": {}, "wide": {"wide": True}} if config.wide_layers else {"count": {}}
    return {name: trained(config, load("mnist"), seed, name, folder, quiet=quiet, **how)[0] for name, how in which.items()}


def measure(config: Config, data: Dataset, seed: int, folder: Path | None = None, *, early: int = EARLY, quiet: bool = False) -> Found:
    """(metrics, curves) of one seed."""
    found: dict[str, float] = {}
    curves: dict[str, list] = {}

    def add(name: str, metric: str, **options) -> None:
        _, seen, curves[name] = trained(config, data, seed, name, folder, quiet=quiet, **options)
        found[metric] = seen.pop("test_accuracy")
        found.update({f"{key}_{name}": value for key, value in seen.items()})

    add("early", f"accuracy_at_{early}", iterations=early)
    add("count", "test_accuracy_epoch1")
    add("membrane", "test_accuracy_membrane_loss", of_membranes=True)
    if config.wide_layers:
        add("wide", "test_accuracy_wide", wide=True)
    return found, curves


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    return answer(sys.modules[__name__], config, seed, load("mnist"), folder=folder)


def smoke() -> Result:
    """Eighty iterations of a smaller network, with longer membranes, on some hundred images."""
    layers = "6C5-MP2-12C5-MP2-192FC10"
    config = replace(
        Config(), layers=layers, beta=0.9, slope=10, wide_layers="", steps=15, batch_size=32, spikes_per_logit=3.0, weight_gain=1.0
    )
    return answer(sys.modules[__name__], config, 0, few(load("mnist"), 2560, 200, 200), early=4, quiet=True)
