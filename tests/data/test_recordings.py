"""Signals: read from WAV files, up-sampled by hand, cut, standardised by training data alone."""

import wave

import numpy as np
import pytest

from spiketwin.experiments.data import Recordings
from spiketwin.experiments.data.errors import DataError
from spiketwin.experiments.data.recordings import sound

# two recordings of two channels at 100 Hz, of 3 and 2 frames
FIRST = np.array([[0.0, 10.0], [4.0, 10.0], [8.0, 30.0]])
SECOND = np.array([[1.0, 0.0], [3.0, 0.0]])


@pytest.fixture
def recordings():
    return Recordings.of([FIRST, SECOND], np.array([5, 6]), 100.0, np.array([0, 1]))


def test_at_the_rate_of_the_frames_a_batch_is_the_frames(recordings):
    batch = recordings.batch(dt_ms=10.0)
    assert batch.shape == (3, 2, 2) and batch.dtype == np.float32
    assert np.array_equal(batch[:, 0], FIRST)
    assert np.array_equal(batch[:2, 1], SECOND)
    # the shorter one is filled up with zeros
    assert not batch[2, 1].any()


def test_between_frames_the_signal_is_a_straight_line(recordings):
    batch = recordings.batch([0], dt_ms=2.5)
    # 30 ms in steps of 2.5: a quarter of the way from frame to frame, then the last frame for as long as a frame lasts
    assert batch[:, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8]
    assert batch[:, 0, 1].tolist() == [10, 10, 10, 10, 10, 15, 20, 25, 30, 30, 30, 30]


def test_a_duration_cuts_or_fills_up(recordings):
    assert np.array_equal(recordings.batch(dt_ms=5.0, duration_ms=10.0), recordings.batch(dt_ms=5.0)[:2])
    longer = recordings.batch(dt_ms=5.0, duration_ms=50.0)
    assert longer.shape[0] == 10 and not longer[6:].any() and longer[5, 0].all()


def test_a_step_longer_than_a_frame_would_skip_frames(recordings):
    with pytest.raises(ValueError, match=r"dt_ms = 20.0 must be positive and at most the 10 ms between frames"):
        recordings.batch(dt_ms=20.0)
    with pytest.raises(ValueError, match="must be positive"):
        recordings.batch(dt_ms=0.0)


def test_parts_keep_order_labels_and_speakers(recordings):
    part = recordings[np.array([1, 0])]
    assert part.frames.tolist() == [2, 3] and part.labels.tolist() == [6, 5] and part.speakers.tolist() == [1, 0]
    assert np.array_equal(part.signal(1), FIRST)
    assert np.array_equal(recordings[recordings.labels == 6].signal(0), SECOND)
    assert len(recordings[:0]) == 0 and recordings[:0].batch(dt_ms=10.0).shape == (0, 0, 2)


def test_all_are_cut_to_the_shortest(recordings):
    cut = recordings.cut()
    assert cut.frames.tolist() == [2, 2]
    assert np.array_equal(cut.signal(0), FIRST[:2]) and np.array_equal(cut.signal(1), SECOND)
    assert recordings.cut(1).frames.tolist() == [1, 1]
    with pytest.raises(ValueError, match="cannot be cut to 3 frames: the shortest has 2"):
        recordings.cut(3)


def test_standardising_takes_mean_and_spread_from_other_recordings_only(recordings):
    train, test = recordings[[1]], recordings[[0]]
    # channel 0 of train is 1 and 3: mean 2, standard deviation 1; channel 1 is constant 0 and only shifted
    found = test.standardised(by=train)
    assert found.values.tolist() == [[-2, 10], [2, 10], [6, 30]]
    assert found.labels.tolist() == [5] and found.rate_hz == 100.0
    own = recordings.standardised(by=recordings).values
    assert own.mean(axis=0) == pytest.approx([0, 0], abs=1e-6) and own.std(axis=0) == pytest.approx([1, 1], abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.zeros(5)}, r"values are \[frames, N\], got shape \(5,\); give values\[:, None\]"),
        ({"labels": np.arange(3)}, "2 recordings, but 3 labels"),
        ({"rate_hz": 0.0}, "rate_hz = 0.0 must be positive"),
    ],
)
def test_parts_that_do_not_fit_are_named(change, message):
    good = {"values": np.zeros((5, 2)), "offsets": np.array([0, 3, 5]), "labels": np.arange(2), "rate_hz": 100.0}
    with pytest.raises(ValueError, match=message):
        Recordings(**(good | change))


def written(path, frames, rate_hz=8000, channels=1):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.asarray(frames, "<i2").tobytes())
    return path


def test_a_wav_file_is_read_or_named(tmp_path):
    assert sound(written(tmp_path / "a.wav", [0, 16384, -32768]), rate_hz=8000).tolist() == [0, 0.5, -1]
    (tmp_path / "no.wav").write_bytes(b"RIFF")
    for path, message in (
        (written(tmp_path / "empty.wav", []), "is empty"),
        (written(tmp_path / "fast.wav", [1, 2], rate_hz=16000), "at 16000 Hz, expected 1 of 16 bit at 8000 Hz"),
        (written(tmp_path / "two.wav", [1, 2], channels=2), "2 channels"),
        (tmp_path / "no.wav", "no WAV file"),
    ):
        with pytest.raises(DataError, match=message):
            sound(path, rate_hz=8000)
