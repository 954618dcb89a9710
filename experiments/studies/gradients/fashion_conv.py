"""A convolutional spiking network on Fashion-MNIST in four steps.

Three convolutions with pooling and norm, a hidden layer, ten membranes to read out. A neuron gets the largest of four currents: with their mean,
a convolution and its pooling are one linear map, and the network fits its training images less well. An input is heard in its own step, so that four
steps are four for the last layer as well. The image is the same at every step: the first convolution, its pooling and its norm run once.

Source: Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747, for the images; Zheng et al. 2021, AAAI, for the norm; a network of two
convolutions of 128 channels and four steps reaches 93 % in the documentation of SpikingJelly.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from spiketwin.experiments.data import Dataset, load
from spiketwin.experiments.protocol import Result
from spiketwin.experiments.studies.gradients.image_classifier import Found, Recipe, answer, few, one_for_crosscheck, one_network
from spiketwin.models.stacks import AT_ONCE

QUESTION = "How well does a convolutional spiking network sort pieces of clothing within a few steps?"
NAME = "fashion_conv"


@dataclass(frozen=True)
class Config(Recipe):
    """The network and its training."""

    layers: str = "64C3p1-MP2-BN-128C3p1-MP2-BN-128C3p1-MP2-BN-FC256-FC10"
    """The network, as in spiketwin.models.stack; a membrane that does not spike is read out."""
    steps: int = 4
    """Steps of an image."""
    epochs: int = 16
    """Passes through the training images."""
    shift_pixels: int = 1
    """Training images are moved by up to so many pixels, to each side and up and down."""
    flip_probability: float = 0.5
    """Of a training image to be shown mirrored, left for right."""


def measure(config: Config, data: Dataset, seed: int, folder: Path | None = None, *, quiet: bool = False) -> Found:
    """(metrics, curves) of one seed."""
    return one_network(NAME, config, data, seed, folder, quiet=quiet, order=AT_ONCE)


def networks(config: Config, seed: int, *, folder: Path | None = None, quiet: bool = False):
    """The trained network, for the cross-check."""
    return one_for_crosscheck(NAME, config, load("fashion-mnist"), seed, folder, quiet=quiet, order=AT_ONCE)


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    return answer(sys.modules[__name__], config, seed, load("fashion-mnist"), folder=folder)


def smoke() -> Result:
    """Two epochs of a smaller network on some hundred images."""
    config = replace(Config(), layers="8C3p1-MP2-BN-16C3p1-MP2-BN-FC32-FC10", epochs=2, batch_size=32, shift_pixels=1, learning_rate=1e-2)
    return answer(sys.modules[__name__], config, 0, few(load("fashion-mnist"), 640, 200, 200), quiet=True)
