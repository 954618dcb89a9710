"""Data sets, by name: `load("digits")`. Each states its split and where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spiketwin.experiments.data import braille, folders, randman, sensors
from spiketwin.experiments.data.dataset import Dataset, Samples
from spiketwin.experiments.data.errors import DataError
from spiketwin.experiments.data.events import EventSamples
from spiketwin.experiments.data.folders import Files
from spiketwin.experiments.data.images import cifar10, digits, mnist, svhn
from spiketwin.experiments.data.images.idx import read_idx
from spiketwin.experiments.data.recordings import Recordings
from spiketwin.experiments.data.speech import fsdd, heidelberg, spoken
from spiketwin.models.spec import unknown


@dataclass(frozen=True)
class Entry:
    """A data set that can be loaded, and what can be said of it before it is.

    made: where it comes from when there are no files to fetch.
    """

    load: Callable[[], Dataset]
    size: str
    split: str
    files: Files | None = None
    made: str = ""

    def whereabouts(self) -> str:
        """Where it was found, or how to get it."""
        if self.files is None:
            return self.made
        found = folders.find(self.files)
        return f"found in {next(iter(found.values())).parent}" if found else f"not found; {folders.how_to_get(self.files)}"


DATASETS = {
    "digits": Entry(digits.load, digits.SIZE, digits.SPLIT, made="comes with scikit-learn"),
    "mnist": Entry(lambda: mnist.load(mnist.MNIST), mnist.SIZE, mnist.SPLIT, mnist.MNIST.files),
    "fashion-mnist": Entry(lambda: mnist.load(mnist.FASHION_MNIST), mnist.SIZE, mnist.SPLIT, mnist.FASHION_MNIST.files),
    "cifar-10": Entry(cifar10.load, cifar10.SIZE, cifar10.SPLIT, cifar10.FILES),
    "svhn": Entry(svhn.load, svhn.SIZE, svhn.SPLIT, svhn.FILES),
    "braille": Entry(braille.load, braille.SIZE, braille.SPLIT, braille.FILES),
    "fsdd": Entry(fsdd.load, fsdd.SIZE, fsdd.SPLIT, fsdd.FILES),
    "spoken": Entry(spoken.load, spoken.SIZE, spoken.SPLIT, fsdd.FILES),
    "randman": Entry(randman.load, randman.SIZE, randman.SPLIT, made="generated"),
    "shd": Entry(heidelberg.load_shd, heidelberg.SHD_SIZE, heidelberg.SHD_SPLIT, heidelberg.SHD),
    "ssc": Entry(heidelberg.load_ssc, heidelberg.SSC_SIZE, heidelberg.SSC_SPLIT, heidelberg.SSC),
    "n-mnist": Entry(sensors.load_n_mnist, sensors.N_MNIST_SIZE, sensors.N_MNIST_SPLIT, sensors.N_MNIST.files),
    "dvs-gesture": Entry(sensors.load_dvs_gesture, sensors.DVS_GESTURE_SIZE, sensors.DVS_GESTURE_SPLIT, sensors.DVS_GESTURE.files),
}

__all__ = ["DATASETS", "DataError", "Dataset", "EventSamples", "Recordings", "Samples", "load", "read_idx"]


def load(name: str) -> Dataset:
    """The data set called `name`. Raises DataError when it is not known, missing or damaged.

    Images are `Samples`, spikes are `EventSamples`, sound and touch are `Recordings`. Events stay in their files until a
    batch wants them. ImportError names the extra when a library is missing.
    """
    if name not in DATASETS:
        raise DataError(unknown(name, "data set", "spiketwin", DATASETS))
    return DATASETS[name].load()
