"""SVHN from files in the published format, whole and strange."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from scipy.io import savemat

from spiketwin.experiments.data import DataError
from spiketwin.experiments.data.folders import Remote
from spiketwin.experiments.data.images import svhn


def content(images):
    """Red is the row, green the column, blue the number of the image; labels 1 … 10 and again."""
    X = np.zeros((32, 32, 3, images), np.uint8)
    X[:, :, 0], X[:, :, 1], X[:, :, 2] = np.arange(32)[:, None, None], np.arange(32)[None, :, None], np.arange(images)
    return {"X": X, "y": (np.arange(images)[:, None] % 10 + 1).astype(np.uint8)}


@pytest.fixture
def files(machine, monkeypatch):
    """files(train, test) writes both and returns Files with their checksums."""
    monkeypatch.setattr(svhn, "VALIDATION", 5)

    def write(train, test):
        remote, folder = {}, machine / "svhn"
        folder.mkdir()
        for name, held in ((svhn.TRAIN, train), (svhn.TEST, test)):
            savemat(folder / name, held)
            remote[name] = Remote(f"http://x/{name}", f"md5:{hashlib.md5((folder / name).read_bytes()).hexdigest()}")
        return replace(svhn.FILES, remote=remote)

    return write


def test_rows_go_colour_by_colour_and_ten_means_zero(files):
    found = svhn.load(files(content(20), content(12)))
    assert [len(p) for p in (found.train, found.validation, found.test)] == [15, 5, 12]
    assert found.validation.labels.tolist() == [6, 7, 8, 9, 0]
    red, green, blue = found.validation.images[0].reshape(found.shape)
    assert red[:, 0].tolist() == list(range(32)) == green[0].tolist() and (blue == 15).all()
    assert found.train.maximum == 255 and found.inputs == 3072


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.arange(20)[:, None]}, r"train_32x32\.mat has labels 0 … 19; those of SVHN are 1 … 10"),
        ({"y": np.ones((19, 1))}, r"found X uint8 \[32, 32, 3, 20\] and 19 labels"),
        ({"X": np.zeros((32, 32, 3, 20))}, r"found X float64 \[32, 32, 3, 20\]"),
    ],
)
def test_what_is_not_svhn_is_told(files, change, message):
    with pytest.raises(DataError, match=message):
        svhn.load(files(content(20) | change, content(12)))


def test_a_file_without_labels_is_told(files):
    only = {"X": content(20)["X"]}
    with pytest.raises(DataError, match="does not hold y; fetch it again"):
        svhn.load(files(only, content(12)))


def test_another_file_of_that_name_is_refused(files):
    wanted = files(content(20), content(12))
    other = replace(wanted, remote=wanted.remote | {svhn.TEST: Remote("http://x", "md5:" + "0" * 32)})
    with pytest.raises(DataError, match=svhn.TEST):
        svhn.load(other)
