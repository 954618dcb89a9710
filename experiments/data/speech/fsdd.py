"""Free Spoken Digit Dataset: 10 digits, 6 speakers, 50 times each; sound at 8 kHz, one WAV file per word.

Files are called {digit}_{speaker}_{index}.wav and are read from the archive as it is published.

Source: Jackson et al. 2018, https://github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import PurePosixPath

import numpy as np

from spiketwin.experiments.data.dataset import Dataset
from spiketwin.experiments.data.errors import DataError
from spiketwin.experiments.data.folders import Files, locate
from spiketwin.experiments.data.recordings import Recordings, sound
from spiketwin.models.spec import unknown

FILES = Files(
    folder="fsdd",
    wanted={"recordings": ("free-spoken-digit-dataset.zip",)},
    page="https://github.com/Jakobovski/free-spoken-digit-dataset",
)
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
DIGITS = tuple("0123456789")
INDICES = 50
TEST = range(5)
VALIDATION = range(45, 50)
RATE_HZ = 8000
SIZE = "3,000 spoken digits at 8 kHz, .14 … 2.3 s, 6 speakers, 10 classes"
SPLIT = "2,400 train / 300 validation (index 45 … 49 of each digit and speaker) / 300 test (published: index 0 … 4)"
SOURCE = "Jackson et al. 2018, Free Spoken Digit Dataset, CC BY-SA 4.0"


def load(*, download: bool | None = None) -> Dataset[Recordings]:
    """3,000 recordings in their published split: known speakers, new utterances.

    Signals are in −1 … 1; `speakers` counts through SPEAKERS.  Raises DataError when the archive is missing or damaged.
    """
    words, index = recordings(download=download)
    test, validation = np.isin(index, TEST), np.isin(index, VALIDATION)
    return _dataset(words[~(test | validation)], words[validation], words[test], SPLIT)


def leave_speaker_out(speaker: str, *, download: bool | None = None) -> Dataset[Recordings]:
    """All 500 words of one speaker for the test, of the next one (in alphabetical order) for validation: new voices.

    Raises ValueError for an unknown speaker, DataError as `load`.
    """
    if speaker not in SPEAKERS:
        raise ValueError(unknown(speaker, "speaker", "fsdd", SPEAKERS))
    words, _ = recordings(download=download)
    out = SPEAKERS.index(speaker)
    second = (out + 1) % len(SPEAKERS)
    test, validation = words.speakers == out, words.speakers == second
    split = f"all words of a speaker together: 500 test ({speaker}) / 500 validation ({SPEAKERS[second]}) / 2,000 train (the other four)"
    return _dataset(words[~(test | validation)], words[validation], words[test], split)


def recordings(*, download: bool | None = None) -> tuple[Recordings, np.ndarray]:
    """All 3,000, ordered by digit, speaker and index, and the index of each. Raises DataError as `load`."""
    path = locate(FILES, download=download)["recordings"]
    wanted = [(d, s, i) for d in range(len(DIGITS)) for s in range(len(SPEAKERS)) for i in range(INDICES)]
    try:
        with zipfile.ZipFile(path) as archive:
            held = {PurePosixPath(name).name: name for name in archive.namelist() if name.endswith(".wav")}
            names = [f"{DIGITS[d]}_{SPEAKERS[s]}_{i}.wav" for d, s, i in wanted]
            if missing := [n for n in names if n not in held]:
                raise DataError(
                    f"{path} is not whole: {len(missing)} of its {len(names)} recordings are missing, the first is {missing[0]}"
                )
            # reading a member compares its checksum
            signals = [sound(io.BytesIO(archive.read(held[n])), rate_hz=RATE_HZ, name=f"{n} in {path}")[:, None] for n in names]
    except (zipfile.BadZipFile, EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path} is truncated or damaged ({error}); fetch it again") from None
    digit, speaker, index = np.array(wanted).T
    return Recordings.of(signals, digit, RATE_HZ, speaker), index


def _dataset(train: Recordings, validation: Recordings, test: Recordings, split: str) -> Dataset[Recordings]:
    return Dataset("fsdd", train, validation, test, shape=(1,), classes=DIGITS, split=split, source=SOURCE)
