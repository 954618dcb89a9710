"""Spoken digits as a cochlea hears them: the Free Spoken Digit Dataset (fsdd.py) through a cochlea (cochlea.py), as events.

Words keep the times they have in their recordings, which begin and end with the voice. What was heard is kept in the cache.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

from spiketwin.experiments.data import folders
from spiketwin.experiments.data.dataset import Dataset
from spiketwin.experiments.data.events import EventSamples, HeldEvents
from spiketwin.experiments.data.speech import fsdd
from spiketwin.experiments.data.speech.cochlea import Cochlea
from spiketwin.experiments.progress import working
from spiketwin.experiments.protocol import write_bytes
from spiketwin.models.spec import unknown

SPEAKER = "yweweler"
SIZE = f"3,000 spoken digits as events of {Cochlea.channels} cochlea channels (or as many as you like), .14 … 2.3 s, 6 speakers, 10 classes"
SPLIT = f"by speaker: 2,000 train (four) / 500 validation (the one after the test speaker) / 500 test ({SPEAKER}, or another)"
SOURCE = f"{fsdd.SOURCE}; as spikes by experiments/data/speech/cochlea.py"


def load(speaker: str = SPEAKER, *, cochlea: Cochlea | None = None, download: bool | None = None) -> Dataset[EventSamples]:
    """New voices: all words of `speaker` for test, of the next one for validation, as fsdd.leave_speaker_out.

    Raises ValueError for an unknown speaker, DataError as fsdd.load.
    """
    if speaker not in fsdd.SPEAKERS:
        raise ValueError(unknown(speaker, "speaker", "spoken", fsdd.SPEAKERS))
    words, _ = heard(cochlea or Cochlea(), download=download)
    test, validation = (words.speakers == fsdd.SPEAKERS.index(s) for s in (speaker, after(speaker)))
    split = f"by speaker: {test.sum()} test ({speaker}) / {validation.sum()} validation ({after(speaker)}) / the others train"
    return _dataset(words, validation, test, split)


def known_voices(*, cochlea: Cochlea | None = None, download: bool | None = None) -> Dataset[EventSamples]:
    """The published split: new utterances of all six speakers. Raises DataError as fsdd.load."""
    words, index = heard(cochlea or Cochlea(), download=download)
    return _dataset(words, np.isin(index, fsdd.VALIDATION), np.isin(index, fsdd.TEST), fsdd.SPLIT)


def after(speaker: str) -> str:
    """The next speaker in alphabetical order, whose words are for validation."""
    return fsdd.SPEAKERS[(fsdd.SPEAKERS.index(speaker) + 1) % len(fsdd.SPEAKERS)]


def heard(cochlea: Cochlea, *, download: bool | None = None) -> tuple[EventSamples, np.ndarray]:
    """All 3,000 words, ordered by digit, speaker and index, and the index of each.

    The first time takes a fraction of a minute; then they come from the cache, as long as recordings and cochlea are the same.
    """
    archive = folders.locate(fsdd.FILES, download=download)["recordings"]
    with archive.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    name = hashlib.sha256(f"{content} {cochlea}".encode()).hexdigest()[:16]
    path = folders.cache() / "spoken" / f"{name}.npz"
    found = _kept(path)
    if found is None:
        found = _hear(cochlea, download)
        packed = io.BytesIO()
        np.savez(packed, **found)
        write_bytes(path, packed.getvalue())
    events = HeldEvents(found["times_ms"], found["units"], found["offsets"])
    numbers = np.arange(len(found["labels"]))
    return EventSamples(events, numbers, found["labels"], cochlea.channels, found["speakers"]), found["index"]


def _hear(cochlea: Cochlea, download: bool | None) -> dict[str, np.ndarray]:
    words, index = fsdd.recordings(download=download)
    with working(f"hearing {len(words):,} words with {cochlea.channels} channels"):
        spikes = [cochlea.hear(words.signal(b)[:, 0], words.rate_hz) for b in range(len(words))]
    assert words.speakers is not None
    return {
        # eighths of a ms, which single precision holds exactly
        "times_ms": np.concatenate([t for t, _ in spikes]).astype(np.float32),
        "units": np.concatenate([u for _, u in spikes]).astype(np.uint16),
        "offsets": np.cumsum([0] + [len(t) for t, _ in spikes]),
        "labels": words.labels,
        "speakers": words.speakers,
        "index": index,
    }


def _kept(path: Path) -> dict[str, np.ndarray] | None:
    """What the cache holds; None where that is nothing, or damaged and to be made anew."""
    try:
        with np.load(path) as file:
            return {name: file[name] for name in ("times_ms", "units", "offsets", "labels", "speakers", "index")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _dataset(words: EventSamples, validation: np.ndarray, test: np.ndarray, split: str) -> Dataset[EventSamples]:
    train = words[~(test | validation)]
    return Dataset("spoken", train, words[validation], words[test], (words.size,), fsdd.DIGITS, split, SOURCE)
