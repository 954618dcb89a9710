"""Data sets: the digits that are always there, IDX files good and bad, folders that are empty."""

import gzip
import hashlib
import struct
from dataclasses import replace

import numpy as np
import pytest

from spiketwin.experiments import data
from spiketwin.experiments.data import DataError, folders, read_idx
from spiketwin.experiments.data.dataset import stratified
from spiketwin.experiments.data.images import mnist


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


IMAGES = np.arange(2 * 3 * 4).reshape(2, 3, 4)


@pytest.mark.parametrize("name", ["a-idx3-ubyte", "a-idx3-ubyte.gz"])
def test_an_idx_file_is_read_packed_or_not(tmp_path, name):
    raw = idx(IMAGES)
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    assert np.array_equal(read_idx(tmp_path / name, 3), IMAGES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(IMAGES)[:-5], r"truncated: its header announces 2 x 3 x 4, 40 bytes in all; found 35"),
        (idx(IMAGES) + b"x", r"too long: .* 40 bytes in all; found 41"),
        (idx(IMAGES)[:10], r"truncated: expected a header of 16 bytes, found 10"),
        (b"\0", r"holds 1 bytes"),
        (b"PK\3\4" + bytes(40), r"expected it to begin with 00 00 08, found 50 4b 03"),
        (idx(np.arange(5)), r"has 1 dimensions \(labels\), expected 3 \(images\)"),
    ],
)
def test_a_bad_idx_file_is_named_with_what_was_expected_and_found(tmp_path, content, message):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)


def test_a_truncated_archive_is_named(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.random.default_rng(0).integers(0, 255, (9, 28, 28))))[:-100])
    with pytest.raises(DataError, match="truncated or damaged"):
        read_idx(path)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine that has an empty data folder and nothing else."""
    monkeypatch.setenv("SPIKETWIN_DATA", str(tmp_path))
    monkeypatch.delenv("SPIKETWIN_DOWNLOAD", raising=False)
    monkeypatch.setattr(folders, "cache", lambda: tmp_path / "cache")
    (tmp_path / "mnist").mkdir()
    return tmp_path


def test_an_empty_folder_is_named_with_the_files_wanted_and_the_way_to_get_them(nowhere):
    with pytest.raises(DataError) as caught:
        data.load("mnist")
    for part in (str(nowhere / "mnist"), "is empty", "train-images-idx3-ubyte.gz", "SPIKETWIN_DATA", "SPIKETWIN_DOWNLOAD=1"):
        assert part in str(caught.value)


def test_an_unknown_data_set_is_an_error_that_suggests_one():
    with pytest.raises(DataError, match="fashion-mnist"):
        data.load("fashion_mnist")


@pytest.fixture
def small(nowhere, monkeypatch):
    """A data set in the published format, of 12 + 4 images of 2 x 2."""
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (12, 2, 2)), np.arange(12) % 10, rng.integers(0, 256, (4, 2, 2)), np.arange(4)]
    for name, array in zip(mnist.FILES, arrays):
        (nowhere / "mnist" / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
    monkeypatch.setattr(mnist, "VALIDATION", 5)
    sums = {name: hashlib.md5(idx(array)).hexdigest() for name, array in zip(mnist.FILES, arrays)}
    return replace(mnist.MNIST, md5=sums), arrays


def test_the_last_training_images_are_for_validation(small):
    published, (images, labels, _, test_labels) = small
    found = mnist.load(published)
    assert np.array_equal(found.train.images, images[:7].reshape(7, 4))
    assert np.array_equal(found.validation.labels, labels[7:])
    assert np.array_equal(found.test.labels, test_labels)
    assert found.train.intensities.max() <= 1


def test_a_file_that_is_not_the_published_one_is_refused(small):
    published, _ = small
    with pytest.raises(DataError, match="not the published file: its contents have md5"):
        mnist.load(replace(published, md5=mnist.MNIST.md5))


def test_a_download_that_fails_says_so(nowhere, monkeypatch):
    published = replace(mnist.MNIST, url="http://127.0.0.1:9/")  # nobody listens there
    with pytest.raises(DataError, match="could not be fetched"):
        mnist.load(published, download=True)
    assert not list((nowhere / "cache").rglob("*.gz"))


def test_the_digits_are_split_once_without_overlap():
    found = data.load("digits")
    parts = (found.train, found.validation, found.test)
    assert [len(p) for p in parts] == [1197, 240, 360]
    for part in parts:
        # every class in equal shares: 10 % each, but for rounding and the set's own 9.7 … 10.2 %
        assert np.bincount(part.labels) / len(part) == pytest.approx(0.1, abs=0.006)
    again = data.load("digits")
    assert all(np.array_equal(a.images, b.images) for a, b in zip(parts, (again.train, again.validation, again.test)))
    assert found.train.images.max() == found.train.maximum == 16


def test_stratified_parts_are_disjoint_and_complete():
    labels = np.arange(100) % 4
    parts = stratified(labels, (20, 30, 50), seed=1)
    assert sorted(np.concatenate(parts)) == list(range(100))
    assert np.bincount(labels[parts[0]]).tolist() == [5, 5, 5, 5]


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_published_files_have_their_published_shapes(data_dir, name):
    data_dir(name)
    found = data.load(name)
    assert [len(p) for p in (found.train, found.validation, found.test)] == [55_000, 5_000, 10_000]
    assert found.inputs == 784 and len(found.classes) == 10
    assert np.bincount(found.test.labels).min() > 800
