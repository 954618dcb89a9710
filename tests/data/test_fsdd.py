"""Spoken digits: WAV files in an archive, the published split, and new voices."""

import io
import wave
import zipfile

import numpy as np
import pytest

from spiketwin.experiments.data import DataError, load
from spiketwin.experiments.data.speech import fsdd


def sound(frames, rate=8000, channels=1, width=2):
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.asarray(frames, dtype=f"<i{width}").tobytes())
    return out.getvalue()


def content():
    """Each sound is 3 frames or more: its digit, speaker and index."""
    return {
        f"{d}_{speaker}_{i}.wav": sound([d, s, i, *[0] * (i % 3)])
        for d in range(10)
        for s, speaker in enumerate(fsdd.SPEAKERS)
        for i in range(50)
    }


@pytest.fixture
def archive(machine):
    """archive({file: bytes}, folder) writes the archive and gives its path."""

    def write(files, folder="recordings/"):
        path = machine / "fsdd" / "free-spoken-digit-dataset.zip"
        path.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(path, "w") as packed:
            for name, raw in files.items():
                packed.writestr(folder + name, raw)
        return path

    return write


def names(part):
    """(digit, speaker, index) of each recording, as its sound tells."""
    return [tuple(np.round(part.signal(b)[:3, 0] * 2**15).astype(int)) for b in range(len(part))]


@pytest.mark.parametrize("folder", ["recordings/", "free-spoken-digit-dataset-1.0.10/recordings/"])
def test_the_published_split_is_by_index(archive, folder):
    archive(content(), folder)
    found = load("fsdd")
    parts = (found.train, found.validation, found.test)
    assert [len(p) for p in parts] == [2400, 300, 300]
    for part, indices in zip(parts, (range(5, 45), range(45, 50), range(5))):
        heard = names(part)
        assert {i for _, _, i in heard} == set(indices)
        assert [d for d, _, _ in heard] == part.labels.tolist() and [s for _, s, _ in heard] == part.speakers.tolist()
    assert len({n for p in parts for n in names(p)}) == 3000
    assert found.train.rate_hz == 8000 and np.abs(found.train.values).max() <= 1


def test_a_speaker_is_left_out_and_another_is_for_validation(archive):
    archive(content())
    found = fsdd.leave_speaker_out("yweweler")
    assert [len(p) for p in (found.train, found.validation, found.test)] == [2000, 500, 500]
    # the sixth of six; after the last comes the first, george
    assert set(found.test.speakers) == {5} and set(found.validation.speakers) == {0} and set(found.train.speakers) == {1, 2, 3, 4}
    assert "yweweler" in found.split and "george" in found.split
    with pytest.raises(ValueError, match="unknown speaker 'georg'.*Did you mean 'george'"):
        fsdd.leave_speaker_out("georg")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, r"is not whole: 1 of its 3000 recordings are missing, the first is 3_theo_7\.wav"),
        (b"RIFF", r"3_theo_7\.wav in .* is damaged or no WAV file"),
        (sound([1, 2, 3])[:-2], r"3_theo_7\.wav in .* is truncated: its header announces 3 frames, found 2"),
        (sound([]), r"3_theo_7\.wav in .* is truncated"),
        (sound([1], rate=16000), r"has 1 channels of 16 bit at 16000 Hz, expected 1 of 16 bit at 8000 Hz"),
        (sound([1, 1], channels=2), r"has 2 channels"),
    ],
)
def test_a_bad_recording_is_named(archive, raw, message):
    files = content()
    if raw is None:
        del files["3_theo_7.wav"]
    else:
        files["3_theo_7.wav"] = raw
    path = archive(files)
    with pytest.raises(DataError, match=message) as caught:
        load("fsdd")
    assert str(path) in str(caught.value)


def test_a_damaged_archive_is_named(archive):
    path = archive(content())
    raw = bytearray(path.read_bytes())
    at = raw.index(b"5_lucas_9.wav") + len("5_lucas_9.wav") + 44
    raw[at] ^= 1  # one bit of one sound: the archive's checksum finds it
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"zip is truncated or damaged .*5_lucas_9\.wav"):
        load("fsdd")
    path.write_bytes(raw[:-100])
    with pytest.raises(DataError, match="zip is truncated or damaged"):
        load("fsdd")


def test_the_published_archive_is_read(data_dir):
    data_dir("fsdd")
    found = load("fsdd")
    assert [len(p) for p in (found.train, found.validation, found.test)] == [2400, 300, 300]
    assert np.bincount(found.test.labels).tolist() == [30] * 10 and np.bincount(found.test.speakers).tolist() == [50] * 6
    # words last from .14 to 2.3 s, and are louder than noise
    assert found.train.frames.min() / 8000 > 0.1 and found.train.frames.max() / 8000 < 2.5
    assert 0.5 < np.abs(found.train.values).max() <= 1
    assert found.test.batch(slice(0, 4), dt_ms=0.125, duration_ms=100.0).shape == (800, 4, 1)
