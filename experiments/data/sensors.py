"""N-MNIST and DVS128 Gesture: what an event camera saw, read with tonic (the extra `spiketwin[events]`).

The folder is tonic's own, so what tonic fetched is found: NMNIST/train.zip and NMNIST/Train, DVSGesture/… likewise.
Unit numbers count (polarity, row, column): unit = (p · height + y) · width + x.

Source: Orchard et al. 2015, Converting static image datasets to spiking neuromorphic datasets using saccades, Frontiers in
Neuroscience 9:437; Amir et al. 2017, A low power, fully event-based gesture recognition system, CVPR 7243-7252.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spiketwin.experiments.data import folders
from spiketwin.experiments.data.dataset import Dataset, stratified
from spiketwin.experiments.data.errors import DataError
from spiketwin.experiments.data.events import EventSamples
from spiketwin.experiments.data.folders import Files, Remote
from spiketwin.experiments.optional import library


@dataclass(frozen=True)
class Part:
    """One published archive: its name, address and md5, the folder in it, how many recordings of what kind of file."""

    archive: str
    url: str
    md5: str
    folder: str
    samples: int
    ending: str


@dataclass(frozen=True)
class Sensor:
    """A data set as tonic knows it. tonic: the name of its class there, and of the folder.

    relative: times count from a sample's first event, for samples that were cut out of longer recordings.
    """

    name: str
    tonic: str
    train: Part
    test: Part
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    relative: bool
    source: str
    page: str

    @property
    def files(self) -> Files:
        parts = {"train": self.train, "test": self.test}
        remote = {p.archive: Remote(p.url, f"md5:{p.md5}") for p in parts.values()}
        return Files(self.tonic, {key: (p.archive,) for key, p in parts.items()}, remote, self.page)


# Addresses and checksums are those that tonic publishes.
_MENDELEY = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files"
N_MNIST = Sensor(
    name="n-mnist",
    tonic="NMNIST",
    train=Part(
        "train.zip",
        f"{_MENDELEY}/39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded",
        "20959b8e626244a1b502305a9e6e2031",
        "Train",
        60_000,
        ".bin",
    ),
    test=Part(
        "test.zip",
        f"{_MENDELEY}/05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded",
        "69ca8762b2fe404d9b9bad1103e97832",
        "Test",
        10_000,
        ".bin",
    ),
    shape=(2, 34, 34),
    classes=tuple("0123456789"),
    relative=False,
    source="Orchard et al. 2015, N-MNIST",
    page="https://www.garrickorchard.com/datasets/n-mnist",
)
N_MNIST_VALIDATION = 5_000
N_MNIST_SEED = 0
N_MNIST_SIZE = "60,000 + 10,000 recordings of digits, events of 2 x 34 x 34 pixels, .3 s, 10 classes; needs spiketwin[events]"
N_MNIST_SPLIT = "55,000 train / 5,000 validation (drawn once from the published training part with every class in equal shares, seed 0) / 10,000 test (published)"

DVS_GESTURE = Sensor(
    name="dvs-gesture",
    tonic="DVSGesture",
    train=Part(
        "ibmGestureTrain.tar.gz",
        "https://figshare.com/ndownloader/files/38022171",
        "3a8f0d4120a166bac7591f77409cb105",
        "ibmGestureTrain",
        1_077,
        ".npy",
    ),
    test=Part(
        "ibmGestureTest.tar.gz",
        "https://figshare.com/ndownloader/files/38020584",
        "56070e45dadaa85fff82e0fbfbc06de5",
        "ibmGestureTest",
        264,
        ".npy",
    ),
    shape=(2, 128, 128),
    classes=tuple(
        "hand clapping, right hand wave, left hand wave, right arm clockwise, right arm counter-clockwise, left arm clockwise, "
        "left arm counter-clockwise, arm roll, air drums, air guitar, other gestures".split(", ")
    ),
    relative=True,
    source="Amir et al. 2017, DVS128 Gesture (cut into samples as tonic publishes it)",
    page="https://research.ibm.com/dvsgesture",
)
DVS_GESTURE_HELD_OUT = 4
DVS_GESTURE_SIZE = "1,077 + 264 recordings of gestures, events of 2 x 128 x 128 pixels, some 6 s, 11 classes; needs spiketwin[events]"
DVS_GESTURE_SPLIT = (
    f"train: the published training part without its {DVS_GESTURE_HELD_OUT} people of the highest number / "
    "validation: those people / test: the published test part, which has people of its own"
)


@dataclass(frozen=True, eq=False)
class TonicEvents:
    """Recordings that tonic reads, one file each."""

    dataset: Sequence
    paths: tuple[str, ...]
    order: np.ndarray
    shape: tuple[int, int, int]
    relative: bool

    def read(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        held = [self._one(int(n)) for n in numbers]
        counts = np.array([len(times) for times, _ in held], dtype=np.int64)
        times_ms, units = (np.concatenate([one[i] for one in held] or [np.empty(0)]) for i in (0, 1))
        return times_ms, units, counts

    def _one(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        path = self.paths[number]
        try:
            events, _ = self.dataset[int(self.order[number])]
        except (OSError, ValueError, EOFError, IndexError) as error:
            raise DataError(f"{path} is damaged: tonic cannot read it ({error}); unpack its archive again") from None
        if not len(events):
            raise DataError(f"{path} is damaged: it holds no events; unpack its archive again")
        _, height, width = self.shape
        x, y, p, t = (np.asarray(events[name], dtype=np.int64) for name in ("x", "y", "p", "t"))
        # a pixel outside the sensor would fall on another pixel's number
        unit = np.where((x >= 0) & (x < width) & (y >= 0) & (y < height), (p * height + y) * width + x, -1)
        return (t - (t.min() if self.relative else 0)) * 1e-3, unit

    def __str__(self) -> str:
        return str(Path(self.paths[0]).parent.parent)


def load_n_mnist(sensor: Sensor = N_MNIST, *, download: bool | None = None) -> Dataset[EventSamples]:
    """N-MNIST: MNIST's digits on a screen, seen by a camera that makes three small movements in .3 s.

    download: fetch missing archives; None asks the environment (SPIKETWIN_DOWNLOAD=1).
    Raises DataError when archives are missing or damaged, ImportError without tonic.
    """
    train, test = _parts(sensor, download)
    validation, rest = stratified(train.labels, (N_MNIST_VALIDATION, len(train) - N_MNIST_VALIDATION), N_MNIST_SEED)
    return _dataset(sensor, train[rest], train[validation], test, N_MNIST_SPLIT)


def load_dvs_gesture(sensor: Sensor = DVS_GESTURE, *, download: bool | None = None) -> Dataset[EventSamples]:
    """DVS128 Gesture: 11 movements of hands and arms; `speakers` are the people. Errors as for `load_n_mnist`."""
    train, test = _parts(sensor, download)
    people = np.asarray(train.speakers)
    held_out = np.isin(people, np.unique(people)[-DVS_GESTURE_HELD_OUT:])
    split = f"{(~held_out).sum():,} / {held_out.sum():,} / {len(test):,}; {DVS_GESTURE_SPLIT}"
    return _dataset(sensor, train[~held_out], train[held_out], test, split)


def _parts(sensor: Sensor, download: bool | None) -> tuple[EventSamples, EventSamples]:
    # tonic reaches for this part of numpy without importing it
    library("numpy.lib.recfunctions", "events")
    known = getattr(library("tonic.datasets", "events"), sensor.tonic)
    paths = folders.locate(sensor.files, download=download)
    found = []
    for key, part in (("train", sensor.train), ("test", sensor.test)):
        dataset = known(save_to=str(_unpacked(sensor, part, paths[key])), train=key == "train")
        # tonic lists files as the file system does
        order = np.array(sorted(range(len(dataset.data)), key=lambda i, d=dataset: d.data[i]))
        events = TonicEvents(dataset, tuple(dataset.data[i] for i in order), order, sensor.shape, sensor.relative)
        people = np.array(dataset.users)[order] if hasattr(dataset, "users") else None
        labels = np.array(dataset.targets, dtype=np.int64)[order]
        if not np.isin(labels, range(len(sensor.classes))).all():
            raise DataError(f"{paths[key]} has labels {labels.min()} … {labels.max()}, expected 0 … {len(sensor.classes) - 1}")
        found.append(EventSamples(events, np.arange(len(order)), labels, int(np.prod(sensor.shape)), people))
    return found[0], found[1]


def _unpacked(sensor: Sensor, part: Part, archive: Path) -> Path:
    """The folder to give to tonic: it holds the archive and all of its recordings, unpacked into the cache if need be."""
    cached = folders.cache() / sensor.tonic
    for home in (archive.parent, cached):
        if (home / part.archive).is_file() and _count(home, part) == part.samples:
            return home.parent
    folders.verify(archive, f"md5:{part.md5}")
    work = cached / f".{part.folder}.{os.getpid()}"
    try:
        _extract(archive, work)
        if (found := _count(work, part)) != part.samples:
            raise DataError(f"{archive} holds {found} recordings in {part.folder}, expected {part.samples}")
        # only a whole folder gets the name that is looked for
        shutil.rmtree(cached / part.folder, ignore_errors=True)
        (work / part.folder).rename(cached / part.folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if archive.parent != cached and not (cached / part.archive).exists():
        # tonic takes recordings only with their archive beside them
        (cached / part.archive).symlink_to(archive)
    return cached.parent


def _count(home: Path, part: Part) -> int:
    return sum(1 for _ in (home / part.folder).rglob(f"*{part.ending}"))


def _extract(archive: Path, to: Path) -> None:
    to.mkdir(parents=True)
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(to)
        else:
            with tarfile.open(archive) as packed:
                packed.extractall(to, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise DataError(f"{archive} is truncated or damaged ({error}); fetch it again") from None


def _dataset(sensor: Sensor, train: EventSamples, validation: EventSamples, test: EventSamples, split: str) -> Dataset[EventSamples]:
    return Dataset(sensor.name, train, validation, test, sensor.shape, sensor.classes, split=split, source=sensor.source)
