"""CIFAR-10 from an archive in the published format, whole and damaged."""

import hashlib
import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from spiketwin.experiments.data import DataError, load
from spiketwin.experiments.data.folders import Remote
from spiketwin.experiments.data.images import cifar10

RECORDS = 20


def batch(number, records=RECORDS):
    """Labels 0, 1, …; red values are the label, green ones the number of the file, blue ones 0 … 255 and again."""
    label = (np.arange(records) % 10)[:, None].astype(np.uint8)
    blue = np.tile(np.arange(1024) % 256, (records, 1)).astype(np.uint8)
    return np.hstack([label, np.repeat(label, 1024, 1), np.full((records, 1024), number, np.uint8), blue]).tobytes()


CONTENT = {name: batch(i) for i, name in enumerate((*cifar10.TRAIN, *cifar10.TEST))}


@pytest.fixture
def archive(machine, monkeypatch):
    """archive({file: bytes}) writes the archive and returns Files with its checksum."""
    monkeypatch.setattr(cifar10, "RECORDS", RECORDS)
    monkeypatch.setattr(cifar10, "VALIDATION", 15)

    def write(content):
        path = machine / "cifar-10" / cifar10.ARCHIVE
        path.parent.mkdir()
        with tarfile.open(path, "w:gz") as packed:
            for name, raw in (content | {"batches.meta.txt": b"airplane\n"}).items():
                member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
                member.size = len(raw)
                packed.addfile(member, io.BytesIO(raw))
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        return replace(cifar10.FILES, remote={cifar10.ARCHIVE: Remote("http://x/" + cifar10.ARCHIVE, f"md5:{md5}")})

    return write


def test_images_are_rows_colour_by_colour_and_the_last_are_for_validation(archive):
    found = cifar10.load(archive(CONTENT))
    assert [len(p) for p in (found.train, found.validation, found.test)] == [85, 15, 20]
    assert found.shape == (3, 32, 32) and found.inputs == 3072 == found.train.images.shape[1]
    red, green, blue = found.validation.images.reshape(15, 3, 1024).swapaxes(0, 1)
    assert np.array_equal(red[:, 0], found.validation.labels) and found.validation.labels.tolist() == [5, 6, 7, 8, 9, *range(10)]
    assert (green == 4).all() and (found.test.images[:, 1024:2048] == 5).all()
    assert blue[0].tolist() == list(range(256)) * 4
    assert found.train.intensities.max() == 1 and found.classes[3] == "cat"


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        (
            "data_batch_2.bin",
            batch(1)[:-1],
            r"data_batch_2\.bin in .* is damaged: expected 20 records of 3073 bytes, 61460 in all; found 61459",
        ),
        ("test_batch.bin", b"\x0a" + batch(5)[1:], r"test_batch\.bin in .* is damaged: it has a label 10"),
    ],
)
def test_a_damaged_member_is_named(archive, name, raw, message):
    files = archive(CONTENT | {name: raw})
    with pytest.raises(DataError, match=message):
        cifar10.load(files)


def test_a_missing_member_is_named(archive):
    files = archive({name: raw for name, raw in CONTENT.items() if name != "data_batch_3.bin"})
    with pytest.raises(DataError, match=r"data_batch_3\.bin in .* is missing"):
        cifar10.load(files)


def test_an_archive_that_is_not_the_published_one_is_refused(archive):
    archive(CONTENT)
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz is not the published file, or only a part of it: md5"):
        load("cifar-10")
