"""A LeNet of spiking neurons on MNIST.

20C5-AP2-BN-50C5-AP2-BN-FC200-FC10 with leaky neurons behind each norm and hidden layer, and ten membranes to read out. Mean poolings
and the norm, which in evaluation is a factor and a shift of each channel, keep every layer a sum of weighted spikes: the trained network
exports to every engine, whose order of events it keeps.

Source: LeCun, Bottou, Bengio & Haffner 1998, Proc. IEEE 86, for LeNet-5; Lee et al. 2020, Front. Neurosci. 14:119, for these sizes;
Zheng et al. 2021, AAAI, for the norm.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from spiketwin.experiments.data import Dataset, load
from spiketwin.experiments.protocol import Result
from spiketwin.experiments.studies.gradients.image_classifier import Found, Recipe, answer, few, one_for_crosscheck, one_network

QUESTION = "How well does a LeNet of spiking neurons read handwritten digits?"
NAME = "lenet"


@dataclass(frozen=True)
class Config(Recipe):
    """The network and its training."""

    layers: str = "20C5-AP2-BN-50C5-AP2-BN-FC200-FC10"
    """The network, as in spiketwin.models.stack; a membrane that does not spike is read out."""


def measure(config: Config, data: Dataset, seed: int, folder: Path | None = None, *, quiet: bool = False) -> Found:
    """(metrics, curves) of one seed."""
    return one_network(NAME, config, data, seed, folder, quiet=quiet)


def networks(config: Config, seed: int, *, folder: Path | None = None, quiet: bool = False):
    """The trained network, for the cross-check."""
    return one_for_crosscheck(NAME, config, load("mnist"), seed, folder, quiet=quiet)


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    return answer(sys.modules[__name__], config, seed, load("mnist"), folder=folder)


def smoke() -> Result:
    """Two epochs of a smaller network on some hundred images."""
    config = replace(Config(), layers="6C5-AP2-BN-12C5-AP2-BN-FC32-FC10", epochs=2, batch_size=32, shift_pixels=1, learning_rate=1e-2)
    return answer(sys.modules[__name__], config, 0, few(load("mnist"), 640, 200, 200), quiet=True)
