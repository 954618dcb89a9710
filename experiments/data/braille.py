"""Tactile Braille letters: a robot's fingertip slides over 27 signs, 50 times each; 12 taxels at 40 Hz.

The published file is a gzipped pickle of a list of dicts: 'letter', 'repetition', 'taxel_data' [76 or 77 frames, 12],
values 0 … 255 that fall under pressure; only taxels 1, 2, 6 and 10 ever leave 255. It is read without running it (see
unpickle.py).

Source: Müller-Cleve et al. 2022, Braille letter reading: A benchmark for spatio-temporal pattern recognition on
neuromorphic hardware, Frontiers in Neuroscience 16:951164; CC BY 4.0
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from spiketwin.experiments.data.dataset import Dataset, stratified
from spiketwin.experiments.data.errors import DataError
from spiketwin.experiments.data.folders import Files, locate
from spiketwin.experiments.data.recordings import Recordings
from spiketwin.experiments.data.unpack import unpacked
from spiketwin.experiments.data.unpickle import unpickle

FILES = Files(
    folder="braille",
    wanted={"letters": ("tutorial5_braille_spiking_data.pkl.gz", "tutorial5_braille_spiking_data.pkl")},
    page="https://github.com/event-driven-robotics/tactile_braille_reading",
)
LETTERS = ("Space", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
REPETITIONS = 50
TAXELS = 12
RATE_HZ = 40.0
SPLIT_SEED = 0
SIZES = {"train": 945, "validation": 135, "test": 270}
SIZE = "1,350 recordings of 12 taxels, 1.9 s at 40 Hz, 27 classes"
SPLIT = "945 train / 135 validation / 270 test: 35, 5 and 10 of each letter, drawn once (seed 0), the same for all seeds of an experiment"


def load(*, download: bool | None = None) -> Dataset[Recordings]:
    """1,350 recordings, cut to the shortest (76 frames, 1.9 s); `batch(dt_ms=…)` samples them up in time.

    Raises DataError when the file is missing, damaged, or wants to run anything.
    """
    path = locate(FILES, download=download)["letters"]
    signals, labels = _checked(unpickle(unpacked(path), path), path)
    recordings = Recordings.of(signals, labels, RATE_HZ).cut()
    test, validation, train = stratified(labels, (SIZES["test"], SIZES["validation"], SIZES["train"]), SPLIT_SEED)
    return Dataset(
        name="braille",
        train=recordings[train],
        validation=recordings[validation],
        test=recordings[test],
        shape=(TAXELS,),
        classes=LETTERS,
        split=SPLIT,
        source="Müller-Cleve et al. 2022, Tactile Braille letters, CC BY 4.0",
    )


def _checked(held, path) -> tuple[list[np.ndarray], np.ndarray]:
    """Signals [T, 12] and labels, in the order of letters and repetitions."""
    if not (isinstance(held, list) and all(isinstance(s, dict) and {"letter", "repetition", "taxel_data"} <= s.keys() for s in held)):
        raise DataError(f"{path} is not the published list of samples, each with 'letter', 'repetition' and 'taxel_data'")
    samples = {(s["letter"], s["repetition"]): s["taxel_data"] for s in held}
    missing = [f"{letter} {r}" for letter in LETTERS for r in range(REPETITIONS) if (letter, r) not in samples]
    if missing or len(held) != len(LETTERS) * REPETITIONS:
        many = Counter(s["letter"] for s in held)
        raise DataError(
            f"{path} is not whole: expected {REPETITIONS} repetitions of {len(LETTERS)} letters, found {len(held)} samples of {len(many)} letters"
            + (f"; the first that is missing is {missing[0]}" if missing else "")
        )
    for (letter, repetition), signal in samples.items():
        if not (isinstance(signal, np.ndarray) and signal.ndim == 2 and signal.shape[1] == TAXELS and signal.dtype.kind in "uif"):
            found = f"{getattr(signal, 'dtype', type(signal).__name__)} {list(getattr(signal, 'shape', []))}"
            raise DataError(f"{path}: {letter} {repetition} must be numbers [frames, {TAXELS}], found {found}")
        if not (len(signal) and np.isfinite(signal).all()):
            raise DataError(f"{path}: {letter} {repetition} is empty or holds values that are not numbers")
    order = [(letter, r) for letter in LETTERS for r in range(REPETITIONS)]
    return [samples[key].astype(np.float32) for key in order], np.repeat(np.arange(len(LETTERS)), REPETITIONS)
