"""MNIST and Fashion-MNIST: the same four IDX files, 60,000 + 10,000 images of 28 x 28."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spiketwin.experiments.data.dataset import Dataset, Samples
from spiketwin.experiments.data.errors import DataError
from spiketwin.experiments.data.folders import Files, Remote, locate
from spiketwin.experiments.data.images.idx import parse
from spiketwin.experiments.data.unpack import unpacked

VALIDATION = 5_000
SIZE = "60,000 + 10,000 images of 28 x 28, 10 classes"
SPLIT = "55,000 train / 5,000 validation (the last of the published training files) / 10,000 test (published)"


@dataclass(frozen=True)
class Published:
    """Where a data set comes from. md5: of each file's unpacked contents. gz: md5 of the published archive."""

    name: str
    url: str
    classes: tuple[str, ...]
    source: str
    md5: dict[str, str]
    gz: dict[str, str]

    @property
    def files(self) -> Files:
        remote = {f"{f}.gz": Remote(f"{self.url}{f}.gz", f"md5:{self.gz[f]}") for f in FILES}
        return Files(self.name, {f: (f"{f}.gz", f) for f in FILES}, remote)


FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def _sums(*values: str) -> dict[str, str]:
    return dict(zip(FILES, values, strict=True))


MNIST = Published(
    name="mnist",
    url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    classes=tuple("0123456789"),
    source="LeCun, Cortes & Burges, The MNIST database of handwritten digits",
    md5=_sums(
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
    gz=_sums(
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
)
FASHION_MNIST = Published(
    name="fashion-mnist",
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    classes=("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    source="Xiao, Rasul & Vollgraf 2017, Fashion-MNIST, MIT licence (Debian: package dataset-fashion-mnist)",
    md5=_sums(
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
    gz=_sums(
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
)


def load(published: Published, *, download: bool | None = None) -> Dataset:
    """The data set in its published order; the last 5,000 training images are the validation part.

    download: fetch missing files; None asks the environment (SPIKETWIN_DOWNLOAD=1).
    Raises DataError when files are missing or are not the published ones.
    """
    folder = locate(published.files, download=download)
    arrays = [_read(folder[f], published.md5[f], 3 if "images" in f else 1) for f in FILES]
    images, labels, test_images, test_labels = (a.reshape(len(a), -1) if a.ndim == 3 else a.astype(np.int64) for a in arrays)
    train = Samples(images, labels, maximum=255)
    return Dataset(
        name=published.name,
        train=train[:-VALIDATION],
        validation=train[-VALIDATION:],
        test=Samples(test_images, test_labels, maximum=255),
        shape=(28, 28),
        classes=published.classes,
        split=SPLIT,
        source=published.source,
    )


def _read(path: Path, md5: str, dimensions: int) -> np.ndarray:
    raw = unpacked(path)
    array = parse(raw, path, dimensions)
    found = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(f"{path} is not the published file: its contents have md5 {found}, expected {md5}; fetch it again")
    return array
