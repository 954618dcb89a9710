"""CIFAR-10: 60,000 colour images of 32 x 32, in the binary version, which needs no pickle.

Each file holds 10,000 records of 3,073 bytes: the label, then 1,024 red, green and blue values, row by row.

Source: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images; https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path

import numpy as np

from spiketwin.experiments.data.dataset import Dataset, Samples
from spiketwin.experiments.data.errors import DataError
from spiketwin.experiments.data.folders import Files, Remote, locate, verify

ARCHIVE = "cifar-10-binary.tar.gz"
FILES = Files(
    folder="cifar-10",
    wanted={"archive": (ARCHIVE,)},
    remote={ARCHIVE: Remote(f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}", "md5:c32a1d4ab5d03f1284b67883e8d87530")},
    page="https://www.cs.toronto.edu/~kriz/cifar.html",
)
TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST = ("test_batch.bin",)
RECORDS = 10_000
SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
VALIDATION = 5_000
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIZE = "50,000 + 10,000 colour images of 3 x 32 x 32, 10 classes"
SPLIT = "45,000 train / 5,000 validation (the last of the published training files) / 10,000 test (published)"


def load(files: Files = FILES, *, download: bool | None = None) -> Dataset[Samples]:
    """The data set in its published order; images are rows of 3 · 32 · 32 values, colour by colour.

    download: fetch the missing archive; None asks the environment (SPIKETWIN_DOWNLOAD=1).
    Raises DataError when it is missing or is not the published one.
    """
    path = locate(files, download=download)["archive"]
    verify(path, files.remote[path.name].checksum)
    held = _members(path)
    train, test = (_samples([held[name] for name in names]) for names in (TRAIN, TEST))
    return Dataset(
        name="cifar-10",
        train=train[:-VALIDATION],
        validation=train[-VALIDATION:],
        test=test,
        shape=SHAPE,
        classes=CLASSES,
        split=SPLIT,
        source="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images (binary version)",
    )


def _members(path: Path) -> dict[str, np.ndarray]:
    """The records of each file in the archive, uint8 [RECORDS, 1 + 3072]. Nothing is written to disk."""
    held = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = Path(member.name).name
                if member.isfile() and name in TRAIN + TEST:
                    held[name] = archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path} is truncated or damaged ({error}); fetch it again") from None
    return {name: _records(held.get(name), f"{name} in {path}") for name in TRAIN + TEST}


def _records(raw: bytes | None, what: str) -> np.ndarray:
    if raw is None:
        raise DataError(f"{what} is missing; fetch the archive again")
    if len(raw) != RECORDS * RECORD:
        raise DataError(f"{what} is damaged: expected {RECORDS} records of {RECORD} bytes, {RECORDS * RECORD} in all; found {len(raw)}")
    records = np.frombuffer(raw, dtype=np.uint8).reshape(RECORDS, RECORD)
    if records[:, 0].max() >= len(CLASSES):
        raise DataError(f"{what} is damaged: it has a label {records[:, 0].max()}, labels are 0 … {len(CLASSES) - 1}")
    return records


def _samples(parts: list[np.ndarray]) -> Samples:
    records = np.concatenate(parts)
    return Samples(records[:, 1:], records[:, 0].astype(np.int64), maximum=255)
