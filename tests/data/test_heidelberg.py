"""Spiking Heidelberg Digits and Speech Commands, from small HDF5 files in the published format."""

import gzip
import hashlib
import pickle
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest

from spiketwin.experiments.data import DataError, folders, load
from spiketwin.experiments.data.folders import Remote
from spiketwin.experiments.data.speech import heidelberg
from spiketwin.experiments.studies.recurrent import shd as study

CLASSES = ["zero", "one", "null", "fünf"]


def write(path, samples, *, speakers=None, keys=CLASSES, labels=None):
    """samples: (times in s, units) each; times are half-precision as in the published files."""
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        times = file.create_dataset("spikes/times", (len(samples),), dtype=h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", (len(samples),), dtype=h5py.vlen_dtype(np.uint16))
        for i, (t, u) in enumerate(samples):
            times[i], units[i] = np.array(t, np.float16), np.array(u, np.uint16)
        file["labels"] = np.arange(len(samples), dtype=np.uint8) % len(keys) if labels is None else np.array(labels)
        file["extra/keys"] = [k.encode() for k in keys]
        if speakers is not None:
            file["extra/speaker"] = np.array(speakers, dtype=np.uint8)
    return path


# half-precision numbers, so that the times in ms are exact: 1/8 s, 1/4 s, 1 s
SAMPLES = [([0.125, 0.25, 0.25], [699, 0, 3]), ([], []), ([1.0], [5]), ([0.125], [1])] * 3
SPEAKERS = [0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 10, 0]


@pytest.fixture
def shd(machine):
    write(machine / "shd" / "shd_train.h5", SAMPLES, speakers=SPEAKERS)
    write(machine / "shd" / "shd_test.h5", SAMPLES[:4], speakers=[4, 5, 4, 0])
    return load("shd")


def test_validation_is_on_speakers_that_the_training_part_lacks(shd):
    assert sorted(set(shd.validation.speakers)) == [10, 11] and len(shd.validation) == 3
    assert sorted(set(shd.train.speakers)) == [0, 1, 2, 3, 6, 7, 8, 9] and len(shd.train) == 9
    assert len(shd.test) == 4 and shd.classes == tuple(CLASSES) and shd.inputs == 700
    # samples 8, 9 and 10 of the file, whose labels count 0 … 3 and again
    assert shd.validation.numbers.tolist() == [8, 9, 10] and shd.validation.labels.tolist() == [0, 1, 2]
    assert shd.split.startswith("9 / 3 / 4; train: ") and "speakers" in shd.split


def test_events_are_in_ms_and_on_the_grid(shd):
    times_ms, units = shd.train.events(0)
    assert times_ms.tolist() == [125, 250, 250] and units.tolist() == [699, 0, 3]
    spikes = shd.test.batch([0, 2], dt_ms=2.0, duration_ms=1400.0)
    assert spikes.shape == (700, 2, 700)
    assert list(zip(spikes.step, spikes.batch, spikes.neuron)) == [(62, 0, 699), (125, 0, 0), (125, 0, 3), (500, 1, 5)]
    assert len(shd.test.batch(dt_ms=2.0, duration_ms=200.0)) == 2


def test_the_file_is_read_only_when_a_batch_wants_it_also_in_another_process(shd, machine):
    again = pickle.loads(pickle.dumps(shd.test))
    assert again.batch(dt_ms=1.0, duration_ms=1400.0).equals(shd.test.batch(dt_ms=1.0, duration_ms=1400.0))
    path = machine / "shd" / "shd_test.h5"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"shd_test\.h5 is truncated, damaged or no HDF5 file"):
        again.batch(dt_ms=1.0, duration_ms=1400.0)


def test_the_speech_commands_have_a_validation_file(machine):
    for part, count in (("train", 8), ("valid", 5), ("test", 4)):
        write(machine / "ssc" / f"ssc_{part}.h5", SAMPLES[:count])
    found = load("ssc")
    assert [len(p) for p in (found.train, found.validation, found.test)] == [8, 5, 4]
    assert found.train.speakers is None and found.name == "ssc"
    assert len(found.validation.batch(dt_ms=1.0, duration_ms=1400.0)) == 8


def test_a_published_archive_is_checked_and_unpacked_into_the_cache(machine, monkeypatch):
    names = {}
    for part in ("train", "test"):
        path = write(machine / "shd" / f"shd_{part}.h5", SAMPLES, speakers=SPEAKERS)
        packed = path.with_name(f"{path.name}.gz")
        packed.write_bytes(gzip.compress(path.read_bytes()))
        names[packed.name] = Remote(f"http://x/{packed.name}", "md5:" + hashlib.md5(packed.read_bytes()).hexdigest())
        path.unlink()
    with pytest.raises(DataError, match=r"shd_train\.h5\.gz is not the published file"):
        load("shd")
    monkeypatch.setattr(heidelberg, "SHD", replace(heidelberg.SHD, remote=names))
    assert len(load("shd").train) == 9
    assert sorted(p.name for p in (folders.cache() / "shd").iterdir()) == ["shd_test.h5", "shd_train.h5"]


def without(name):
    def damage(path):
        with h5py.File(path, "a") as file:
            del file[name]

    return damage


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def no_hdf5(path):
    path.write_bytes(b"<html>not found</html>")


def fewer_speakers(path):
    without("extra/speaker")(path)
    with h5py.File(path, "a") as file:
        file["extra/speaker"] = np.zeros(11, np.uint8)


def other_label(path):
    with h5py.File(path, "a") as file:
        file["labels"][3] = 4


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "is truncated, damaged or no HDF5 file"),
        (no_hdf5, "is truncated, damaged or no HDF5 file"),
        (without("spikes/units"), "is not in the format .* it has no 'spikes/units'"),
        (without("extra/speaker"), r"must name more than 2 speakers in extra/speaker"),
        (fewer_speakers, r"its parts differ in length .*labels 12, .*extra/speaker 11"),
        (other_label, r"it has labels 0 … 4, but names 4 classes"),
    ],
)
def test_a_damaged_file_is_named(machine, damage, message):
    path = write(machine / "shd" / "shd_train.h5", SAMPLES, speakers=SPEAKERS)
    write(machine / "shd" / "shd_test.h5", SAMPLES, speakers=SPEAKERS)
    damage(path)
    with pytest.raises(DataError, match=message) as caught:
        load("shd")
    assert str(path) in str(caught.value)


def test_a_sample_with_more_times_than_units_is_named(machine):
    path = write(machine / "shd" / "shd_train.h5", [([0.125], [1]), ([0.125, 0.25], [1])], keys=["a", "b"])
    found, _ = heidelberg.samples(path)
    with pytest.raises(DataError, match="sample 1 has 2 times, but 1 units"):
        found.batch(dt_ms=1.0, duration_ms=100.0)


def test_a_unit_beyond_the_channels_is_named_with_the_file(machine):
    found, _ = heidelberg.samples(write(machine / "shd" / "shd_train.h5", [([0.125], [700])], keys=["a"]))
    with pytest.raises(DataError, match=r"shd_train\.h5 is damaged: sample 0 has an event of unit 700"):
        found.batch(dt_ms=1.0, duration_ms=200.0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(events=[([0.1, 0.2], [1])]), r"sample 0 for .*has 2 times, but 1 units"),
        (dict(events=[([0.1], [700])]), "has units 700 … 700; give 0 … 699"),
        (dict(events=[([0.1], [-1])]), "has units -1 … -1; give 0 … 699"),
        (dict(labels=[1]), "labels .* lie in 1 … 1, but 1 classes have names"),
        (dict(speakers=[0, 1]), "a speaker for each sample, got 1 and 2 for 1"),
    ],
)
def test_what_cannot_be_read_again_is_not_written(tmp_path, changed, message):
    path = tmp_path / "shd_train.h5"
    given = dict(events=[([0.125, 0.25], [699, 0])], labels=[0], classes=["a"], speakers=[4])
    with pytest.raises(DataError, match=message):
        heidelberg.write(path, **given | changed)
    assert not path.exists()
    found, classes = heidelberg.samples(heidelberg.write(path, **given))
    assert found.events(0)[1].tolist() == [699, 0] and classes == ("a",)


def test_without_h5py_the_extra_is_named(machine, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"this needs h5py.*pip install 'spiketwin\[events\]'"):
        load("shd")


# -- the study of these data -----------------------------------------------------------------------------------


def test_made_up_words_are_found_and_split_by_speaker(machine):
    (machine / "shd").mkdir()
    made = study.made_up(machine / "shd", classes=2, words=1, speakers=6, seed=3)
    found = load("shd")
    assert [sorted(set(p.speakers)) for p in (found.train, found.validation, found.test)] == [[2, 3], [4, 5], [0, 1]]
    for part in ("train", "validation", "test"):
        a, b = (getattr(d, part).batch(dt_ms=2.0, duration_ms=1400.0) for d in (made, found))
        assert a.equals(b) and len(a) > 4 * 450
    assert found.classes == ("word 0", "word 1") and study.Config().dt_ms == 10


def test_without_files_the_study_says_how_to_get_them(machine):
    with pytest.raises(DataError, match=r"(?s)shd was not found.*put shd_train\.h5\.zip, shd_test\.h5\.zip into a folder 'shd'"):
        study.run(study.Config(), 0)
