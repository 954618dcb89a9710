"""Pieces of clothing without labels: the network of Diehl & Cook (2015) on all 60,000 training images.

The settings are those of the digits: nothing was chosen on these images.
How it learns, is labelled and tested: unsupervised.py. A stopped run goes on where it was saved, bit for bit.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from spiketwin.experiments.data import load
from spiketwin.experiments.data.images import mnist
from spiketwin.experiments.protocol import Result
from spiketwin.experiments.studies.learning_rules import unsupervised

QUESTION = "How well does a network that learns by spike timing alone, without labels, tell pieces of clothing?"
DATA = "fashion-mnist"
OBJECTIVE = None  # by default nothing is held out; --held-out 5000 --objective validation_accuracy_400 would


@dataclass(frozen=True)
class Config(unsupervised.Config):
    """Settings of the digits."""


def run(config: Config, seed: int, *, folder: Path | None = None) -> Result:
    return unsupervised.answer(sys.modules[__name__], config, seed, load(DATA), folder)


def draw(result: Result):
    """Accuracy against images seen, and what the largest network takes for what."""
    from spiketwin.experiments.studies.learning_rules.unsupervised_figures import draw_result

    return draw_result(result, mnist.FASHION_MNIST.classes)


def smoke() -> Result:
    """Three hundred images, twenty neurons."""
    return unsupervised.smoke(sys.modules[__name__], Config(), load(DATA))
