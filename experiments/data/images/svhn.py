"""SVHN: house numbers in street views, 32 x 32 colour images cut to the digit in their middle ("format 2").

Each file is a MATLAB 5 container of X, uint8 [row, column, colour, image], and y, labels 1 … 10 where 10 stands for the digit 0.

Source: Netzer et al. 2011, Reading Digits in Natural Images with Unsupervised Feature Learning, NIPS workshop on deep learning;
http://ufldl.stanford.edu/housenumbers, for non-commercial use
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spiketwin.experiments.data.dataset import Dataset, Samples
from spiketwin.experiments.data.errors import DataError
from spiketwin.experiments.data.folders import Files, Remote, locate, verify

PAGE = "http://ufldl.stanford.edu/housenumbers"
TRAIN, TEST = "train_32x32.mat", "test_32x32.mat"
FILES = Files(
    folder="svhn",
    wanted={"train": (TRAIN,), "test": (TEST,)},
    remote={
        TRAIN: Remote(f"{PAGE}/{TRAIN}", "md5:e26dedcc434d2e4c54c9b2d4a06d8373"),
        TEST: Remote(f"{PAGE}/{TEST}", "md5:eb5a983be6a315427106f1b164d9cef3"),
    },
    page=PAGE,
)
SHAPE = (3, 32, 32)
VALIDATION = 7_257
CLASSES = tuple("0123456789")
SIZE = "73,257 + 26,032 colour images of 3 x 32 x 32, 10 classes"
SPLIT = "66,000 train / 7,257 validation (the last of the published training file) / 26,032 test (published)"


def load(files: Files = FILES, *, download: bool | None = None) -> Dataset[Samples]:
    """The data set in its published order; images are rows of 3 · 32 · 32 values, colour by colour.

    download: fetch missing files; None asks the environment (SPIKETWIN_DOWNLOAD=1).
    Raises DataError when a file is missing or is not the published one.
    """
    found = locate(files, download=download)
    train, test = (_samples(found[part], files.remote[found[part].name].checksum) for part in ("train", "test"))
    return Dataset(
        name="svhn",
        train=train[:-VALIDATION],
        validation=train[-VALIDATION:],
        test=test,
        shape=SHAPE,
        classes=CLASSES,
        split=SPLIT,
        source="Netzer et al. 2011, Street View House Numbers, cropped digits",
    )


def _samples(path: Path, checksum: str) -> Samples:
    from scipy.io import loadmat

    verify(path, checksum)
    held = loadmat(path, variable_names=("X", "y"))
    if missing := {"X", "y"} - held.keys():
        raise DataError(f"{path} does not hold {' and '.join(sorted(missing))}; fetch it again")
    images, labels = held["X"], held["y"].ravel()
    if images.dtype != np.uint8 or images.shape[:3] != (32, 32, 3) or images.shape[3:] != labels.shape:
        found = f"X {images.dtype} {list(images.shape)} and {len(labels)} labels"
        raise DataError(f"{path} must hold X, uint8 [32, 32, 3, images], and as many labels y; found {found}")
    if labels.min() < 1 or labels.max() > 10:
        raise DataError(f"{path} has labels {labels.min()} … {labels.max()}; those of SVHN are 1 … 10")
    rows = images.transpose(3, 2, 0, 1).reshape(len(labels), -1)
    return Samples(rows, labels.astype(np.int64) % 10, maximum=255)
