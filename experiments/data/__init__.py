"""Data sets, by name: `load("digits")`. Each states its split and where it comes from."""

from __future__ import annotations

from spiketwin.experiments.data import digits, mnist
from spiketwin.experiments.data.dataset import Dataset, Samples
from spiketwin.experiments.data.errors import DataError
from spiketwin.experiments.data.idx import read_idx
from spiketwin.models.spec import unknown

DATASETS = {
    "digits": digits.load,
    "mnist": lambda: mnist.load(mnist.MNIST),
    "fashion-mnist": lambda: mnist.load(mnist.FASHION_MNIST),
}

__all__ = ["DATASETS", "DataError", "Dataset", "Samples", "load", "read_idx"]


def load(name: str) -> Dataset:
    """The data set called `name`. Raises DataError when it is not known, missing or damaged."""
    if name not in DATASETS:
        raise DataError(unknown(name, "data set", "spiketwin", DATASETS))
    return DATASETS[name]()
