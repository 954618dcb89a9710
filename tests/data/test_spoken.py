"""Spoken digits as spikes: split by speaker, heard once and kept, made anew when what was kept is damaged."""

import io
import wave
import zipfile

import numpy as np
import pytest

from spiketwin.experiments.data import folders, load
from spiketwin.experiments.data.speech import fsdd, spoken
from spiketwin.experiments.data.speech.cochlea import Cochlea

SMALL = Cochlea(channels=2, lowest_hz=600, highest_hz=900, threshold_hz=18)


def sound(frames):
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(frames.astype("<i2").tobytes())
    return out.getvalue()


@pytest.fixture
def archive(machine):
    """3,000 words of 20 ms: tones whose pitch tells the digit."""
    path = machine / "fsdd" / "free-spoken-digit-dataset.zip"
    path.parent.mkdir()
    tones = [sound(2e4 * np.sin(2 * np.pi * (300 + 130 * d) * np.arange(160) / 8000)) for d in range(10)]
    with zipfile.ZipFile(path, "w") as packed:
        for d in range(10):
            for speaker in fsdd.SPEAKERS:
                for i in range(50):
                    packed.writestr(f"recordings/{d}_{speaker}_{i}.wav", tones[d])
    return path


def test_training_hears_neither_the_speaker_of_validation_nor_of_test(archive):
    found = spoken.load("lucas", cochlea=SMALL)
    assert [set(p.speakers) for p in (found.train, found.validation, found.test)] == [{0, 1, 4, 5}, {3}, {2}]
    assert [len(p) for p in (found.train, found.validation, found.test)] == [2000, 500, 500]
    assert "500 test (lucas) / 500 validation (nicolas)" in found.split and found.inputs == 2
    with pytest.raises(ValueError, match="unknown speaker 'lukas'.*Did you mean 'lucas'"):
        spoken.load("lukas", cochlea=SMALL)


def test_known_voices_are_the_published_split(archive):
    found = spoken.known_voices(cochlea=SMALL)
    published = load("fsdd")
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(found, part).labels, getattr(published, part).labels)
        np.testing.assert_array_equal(getattr(found, part).speakers, getattr(published, part).speakers)


def test_words_are_what_the_cochlea_hears_and_are_heard_once(archive, monkeypatch):
    words, index = spoken.heard(SMALL)
    # digit 3, speaker 2, index 7 is word 3 · 300 + 2 · 50 + 7
    recorded = fsdd.recordings()[0].signal(1007)[:, 0]
    times_ms, units = SMALL.hear(recorded, 8000)
    kept = words.events(1007)
    np.testing.assert_array_equal(kept[0], times_ms)
    np.testing.assert_array_equal(kept[1], units)
    assert len(units) and (words.labels[1007], words.speakers[1007], index[1007]) == (3, 2, 7)

    def refuse(*_):
        raise AssertionError("heard again")

    (path,) = (folders.cache() / "spoken").iterdir()
    monkeypatch.setattr(Cochlea, "hear", refuse)
    again, _ = spoken.heard(SMALL)
    np.testing.assert_array_equal(again.events(1007)[0], times_ms)
    with pytest.raises(AssertionError, match="heard again"):
        spoken.heard(Cochlea(channels=3))
    monkeypatch.undo()
    monkeypatch.setenv("SPIKETWIN_DATA", str(archive.parents[1]))
    monkeypatch.setattr(folders, "cache", lambda: path.parents[1])
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])
    np.testing.assert_array_equal(spoken.heard(SMALL)[0].events(1007)[0], times_ms)
    assert path.read_bytes() == whole
