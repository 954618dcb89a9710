"""N-MNIST and DVS128 Gesture through tonic, from small archives in the published formats."""

import hashlib
import io
import sys
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import tonic
from tonic.dataset import Dataset

from spiketwin.experiments.data import DataError, folders, load, sensors


@pytest.fixture(autouse=True)
def few_files_are_enough(monkeypatch):
    """tonic fetches a set anew that has fewer than some thousand files; and it must never fetch."""
    several = Dataset._folder_contains_at_least_n_files_of_type
    monkeypatch.setattr(Dataset, "_folder_contains_at_least_n_files_of_type", lambda self, n, ending: several(self, 1, ending))
    monkeypatch.setattr(Dataset, "download", lambda self: pytest.fail("tonic wanted to download"))


def atis(*events):
    """Events (x, y, p, t in µs) in the 40 bits that N-MNIST has for each: x, y, polarity and 23 bits of time."""
    return b"".join(bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]) for x, y, p, t in events)


FIRST = atis((3, 2, 1, 1500), (33, 33, 0, 300_000))


def n_mnist(machine, train, test):
    """Writes both archives, {name: bytes}; the sensor whose checksums and counts fit them."""
    (machine / "NMNIST").mkdir(exist_ok=True)
    parts = {}
    for key, part, content in (("train", sensors.N_MNIST.train, train), ("test", sensors.N_MNIST.test, test)):
        path = machine / "NMNIST" / part.archive
        with zipfile.ZipFile(path, "w") as packed:
            for name, raw in content.items():
                packed.writestr(f"{part.folder}/{name}", raw)
        parts[key] = replace(part, md5=hashlib.md5(path.read_bytes()).hexdigest(), samples=len(content))
    return replace(sensors.N_MNIST, **parts)


TRAIN = {f"{digit}/{i:05}.bin": atis((digit, i, 0, 1000 * i)) for digit in range(10) for i in range(4)} | {"7/00000.bin": FIRST}
TEST = {f"{digit}/{i:05}.bin": atis((digit, i, 1, 2000)) for digit in range(2) for i in range(3)}


@pytest.fixture
def digits(machine, monkeypatch):
    monkeypatch.setattr(sensors, "N_MNIST_VALIDATION", 10)
    return n_mnist(machine, TRAIN, TEST)


def test_digits_are_unpacked_into_the_cache_and_split_in_equal_shares(digits, machine):
    found = sensors.load_n_mnist(digits)
    assert [len(p) for p in (found.train, found.validation, found.test)] == [30, 10, 6]
    assert np.bincount(found.train.labels).tolist() == [3] * 10 and np.bincount(found.validation.labels).tolist() == [1] * 10
    assert found.inputs == 2 * 34 * 34 and found.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert len(list((folders.cache() / "NMNIST" / "Train").rglob("*.bin"))) == 40
    assert sorted(p.name for p in (machine / "NMNIST").iterdir()) == ["test.zip", "train.zip"]
    again = sensors.load_n_mnist(digits)
    assert np.array_equal(again.train.numbers, found.train.numbers)


def test_a_digit_s_events_are_numbered_by_polarity_row_and_column(digits):
    found = sensors.load_n_mnist(digits)
    everything = replace(found.train, numbers=np.arange(40), labels=np.repeat(np.arange(10), 4))
    times_ms, units = everything.events(28)  # the first 7
    assert times_ms.tolist() == [1.5, 300.0]
    assert units.tolist() == [(1 * 34 + 2) * 34 + 3, (0 * 34 + 33) * 34 + 33]
    # the four zeros: row i, column 0, polarity 0, at i ms
    spikes = everything.batch([3, 1], dt_ms=1.0, duration_ms=300.0)
    assert list(zip(spikes.step, spikes.batch, spikes.neuron)) == [(1, 1, 34), (3, 0, 3 * 34)]
    assert spikes.shape == (300, 2, 2312)


def test_what_tonic_unpacked_is_used_where_it_lies(digits, machine):
    for name in ("train", "test"):
        zipfile.ZipFile(machine / "NMNIST" / f"{name}.zip").extractall(machine / "NMNIST")
    assert len(sensors.load_n_mnist(digits).train) == 30
    assert not folders.cache().exists()
    # half a folder is not used: the archive is unpacked again, elsewhere
    (machine / "NMNIST" / "Train" / "3" / "00001.bin").unlink()
    found = sensors.load_n_mnist(digits)
    assert len(found.train) == 30 and str(folders.cache()) in found.train.source.paths[0]


@pytest.mark.parametrize(
    ("raw", "message"), [(b"", r"00000\.bin is damaged"), (atis((34, 0, 0, 5)), "is damaged: sample 28 has an event of unit -1")]
)
def test_a_damaged_recording_is_named(machine, monkeypatch, raw, message):
    monkeypatch.setattr(sensors, "N_MNIST_VALIDATION", 10)
    found = sensors.load_n_mnist(n_mnist(machine, TRAIN | {"7/00000.bin": raw}, TEST))
    with pytest.raises(DataError, match=message):
        replace(found.train, numbers=np.arange(40), labels=np.zeros(40, int)).batch(dt_ms=1.0, duration_ms=10.0)


def test_archives_that_are_not_whole_are_refused(digits, machine):
    path = machine / "NMNIST" / "train.zip"
    with pytest.raises(DataError, match=r"train\.zip holds 40 recordings in Train, expected 41"):
        sensors.load_n_mnist(replace(digits, train=replace(digits.train, samples=41)))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"train\.zip is not the published file, or only a part of it"):
        sensors.load_n_mnist(digits)
    with pytest.raises(DataError, match=r"train\.zip is truncated or damaged"):
        sensors.load_n_mnist(replace(digits, train=replace(digits.train, md5=hashlib.md5(path.read_bytes()).hexdigest())))
    assert not [p for p in folders.cache().rglob("*") if p.is_file()]
    path.unlink()
    with pytest.raises(DataError, match=r"NMNIST was not found"):
        sensors.load_n_mnist(digits)


def gestures(machine, train, test):
    """Archives of {(person, label): rows x, y, p, t in ms}."""
    (machine / "DVSGesture").mkdir()
    parts = {}
    for key, part, content in (("train", sensors.DVS_GESTURE.train, train), ("test", sensors.DVS_GESTURE.test, test)):
        path = machine / "DVSGesture" / part.archive
        with tarfile.open(path, "w:gz") as packed:
            for (person, label), rows in content.items():
                out = io.BytesIO()
                np.save(out, np.array(rows, dtype=np.float64))
                member = tarfile.TarInfo(f"{part.folder}/user{person:02}_fluorescent/{label}.npy")
                member.size = len(out.getvalue())
                packed.addfile(member, io.BytesIO(out.getvalue()))
        parts[key] = replace(part, md5=hashlib.md5(path.read_bytes()).hexdigest(), samples=len(content))
    return replace(sensors.DVS_GESTURE, **parts)


def test_gestures_hold_out_people_and_count_time_from_their_first_event(machine):
    train = {(person, label): [[person, label, 1, 5000], [0, 0, 0, 5000 + label]] for person in range(1, 8) for label in range(11)}
    test = {(24, label): [[127, 127, 1, 70]] for label in range(11)}
    found = sensors.load_dvs_gesture(gestures(machine, train, test))
    assert sorted(set(found.validation.speakers)) == [4, 5, 6, 7] and sorted(set(found.train.speakers)) == [1, 2, 3]
    assert [len(p) for p in (found.train, found.validation, found.test)] == [33, 44, 11]
    assert found.inputs == 2 * 128 * 128 and len(found.classes) == 11
    for b in (0, 5, 20):
        person, label = found.train.speakers[b], found.train.labels[b]
        times_ms, units = found.train.events(b)
        assert times_ms.tolist() == [0, label]
        assert units.tolist() == [(128 + label) * 128 + person, 0]
    assert found.test.events(0)[1].tolist() == [2 * 128 * 128 - 1]


def test_a_label_beyond_the_classes_is_named(machine):
    sensor = gestures(machine, {(person, 11): [[0, 0, 0, 0]] for person in range(6)}, {(24, 0): [[0, 0, 0, 0]]})
    with pytest.raises(DataError, match=r"ibmGestureTrain\.tar\.gz has labels 11 … 11, expected 0 … 10"):
        sensors.load_dvs_gesture(sensor)


@pytest.mark.parametrize("name", ["n-mnist", "dvs-gesture"])
def test_without_tonic_the_extra_is_named(machine, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "tonic.datasets", None)
    with pytest.raises(ImportError, match=r"this needs tonic.*pip install 'spiketwin\[events\]'"):
        load(name)


@pytest.mark.parametrize("sensor", [sensors.N_MNIST, sensors.DVS_GESTURE])
def test_addresses_and_checksums_are_those_of_tonic(sensor):
    known = getattr(tonic.datasets, sensor.tonic)
    for part, name in ((sensor.train, "train"), (sensor.test, "test")):
        assert (part.archive, part.url, part.md5) == tuple(getattr(known, f"{name}_{what}") for what in ("filename", "url", "md5"))
    width, height, polarities = known.sensor_size
    assert sensor.shape == (polarities, height, width) and len(sensor.classes) == len(known.classes)


def test_checksums_of_the_heidelberg_archives_are_those_of_tonic():
    from spiketwin.experiments.data.speech import heidelberg

    for known, files, parts in (
        (tonic.datasets.SHD, heidelberg.SHD, ("train", "test")),
        (tonic.datasets.SSC, heidelberg.SSC, ("train", "valid", "test")),
    ):
        for part in parts:
            name = getattr(known, f"{part}_zip")
            assert files.remote[name].checksum == "md5:" + getattr(known, f"{part}_md5")
            assert files.remote[name].url == known.base_url + name
