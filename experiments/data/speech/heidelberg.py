"""Spiking Heidelberg Digits and Spiking Speech Commands: spoken words as spikes of 700 cochlea channels, in HDF5.

    spikes/times [B] of [events], in s     labels [B]            extra/keys     names of the classes
    spikes/units [B] of [events], 0 … 699  extra/speaker [B]

A word lasts up to 1.4 s in the Digits and 1 s in the Commands. Events stay in the file until a batch wants them.

Source: Cramer, Stradmann, Schemmel & Zenke 2022, The Heidelberg Spiking Data Sets for the Systematic Evaluation of
Spiking Neural Networks, IEEE TNNLS 33, 2744-2757; CC BY 4.0; https://zenkelab.org/resources/spiking-heidelberg-datasets-shd/
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spiketwin.experiments.data.dataset import Dataset
from spiketwin.experiments.data.errors import DataError
from spiketwin.experiments.data.events import EventSamples
from spiketwin.experiments.data.folders import Files, Remote, locate, opened
from spiketwin.experiments.optional import library

CHANNELS = 700
HELD_OUT = 2
URL = "https://zenkelab.org/datasets/"
PAGE = "https://zenkelab.org/resources/spiking-heidelberg-datasets-shd/"
SOURCE = "Cramer, Stradmann, Schemmel & Zenke 2022, IEEE TNNLS 33, 2744-2757, CC BY 4.0"


def _files(name: str, parts: tuple[str, ...], md5: dict[str, str]) -> Files:
    """Archives are taken only where their checksum is published; unpacked files as they are."""
    names = {part: tuple(f"{name}_{part}.h5{end}" for end in ("", ".zip", ".gz")) for part in parts}
    wanted = {part: tuple(n for n in names[part] if n in md5 or n.endswith(".h5")) for part in parts}
    return Files(name, wanted, {n: Remote(URL + n, f"md5:{sum_}") for n, sum_ in md5.items()}, PAGE)


SHD = _files(
    "shd",
    ("train", "test"),
    {
        "shd_train.h5.zip": "f3252aeb598ac776c1b526422d90eecb",
        "shd_test.h5.zip": "1503a5064faa34311c398fb0a1ed0a6f",
        "shd_train.h5.gz": "d47c9825dee33347913e8ce0f2be08b0",
        "shd_test.h5.gz": "3062a80ec0c5719404d5b02e166543b1",
    },
)
SHD_SIZE = (
    "8,156 + 2,264 spoken digits as events of 700 channels, up to 1.4 s, 20 classes (0 … 9 in English and German); needs spiketwin[events]"
)
SHD_SPLIT = (
    f"train: the published training file without its {HELD_OUT} speakers of the highest number / "
    "validation: those speakers / test: the published test file, with two speakers of its own"
)
SSC = _files(
    "ssc",
    ("train", "valid", "test"),
    {
        "ssc_train.h5.zip": "d102be95e7144fcc0553d1f45ba94170",
        "ssc_valid.h5.zip": "b4eee3516a4a90dd0c71a6ac23a8ae43",
        "ssc_test.h5.zip": "a35ff1e9cffdd02a20eb850c17c37748",
    },
)
SSC_SIZE = "75,466 + 9,981 + 20,382 spoken words as events of 700 channels, up to 1 s, 35 classes; needs spiketwin[events]"
SSC_SPLIT = "train / validation / test: the three published files"


@dataclass(frozen=True)
class HDF5Events:
    """The events of a file. It is opened for each batch, so the object can be copied and sent to other processes."""

    path: Path

    def read(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        with _file(self.path) as file:
            times, units = file["spikes/times"], file["spikes/units"]
            held = [(times[int(n)], units[int(n)]) for n in numbers]
        for number, (t, u) in zip(numbers, held):
            if len(t) != len(u):
                raise DataError(f"{self.path} is damaged: sample {number} has {len(t)} times, but {len(u)} units")
        seconds = np.concatenate([np.asarray(t, dtype=np.float64) for t, _ in held] or [np.empty(0)])
        units = np.concatenate([u for _, u in held] or [np.empty(0)])
        return 1e3 * seconds, units, np.array([len(t) for t, _ in held], dtype=np.int64)

    def __str__(self) -> str:
        return str(self.path)


def load_shd(*, download: bool | None = None) -> Dataset[EventSamples]:
    """Spiking Heidelberg Digits; validation is on speakers that the training part lacks.

    download: fetch missing files; None asks the environment (SPIKETWIN_DOWNLOAD=1).
    Raises DataError when files are missing or damaged, ImportError without h5py.
    """
    paths = _located(SHD, download)
    return shd(paths["train"], paths["test"])


def shd(train_file: Path, test_file: Path) -> Dataset[EventSamples]:
    """The same of two files that lie anywhere. Raises DataError naming the file and what is wrong with it."""
    published, classes = samples(train_file)
    if published.speakers is None or len(np.unique(published.speakers)) <= HELD_OUT:
        raise DataError(f"{train_file} must name more than {HELD_OUT} speakers in extra/speaker, so that some can be held out")
    held_out = np.isin(published.speakers, np.unique(published.speakers)[-HELD_OUT:])
    train, validation, test = published[~held_out], published[held_out], samples(test_file)[0]
    return Dataset(
        name="shd",
        train=train,
        validation=validation,
        test=test,
        shape=(CHANNELS,),
        classes=classes,
        split=f"{len(train):,} / {len(validation):,} / {len(test):,}; {SHD_SPLIT}",
        source=f"Spiking Heidelberg Digits: {SOURCE}",
    )


def load_ssc(*, download: bool | None = None) -> Dataset[EventSamples]:
    """Spiking Speech Commands, which have a validation file of their own. Errors as for `load_shd`."""
    paths = _located(SSC, download)
    train, classes = samples(paths["train"])
    return Dataset(
        name="ssc",
        train=train,
        validation=samples(paths["valid"])[0],
        test=samples(paths["test"])[0],
        shape=(CHANNELS,),
        classes=classes,
        split=SSC_SPLIT,
        source=f"Spiking Speech Commands: {SOURCE}, after Warden 2018",
    )


def samples(path: Path | str) -> tuple[EventSamples, tuple[str, ...]]:
    """The samples of an HDF5 file in this format, and the names of its classes; no events are read yet.

    Raises DataError naming the file and what is wrong with it.
    """
    path = Path(path)
    with _file(path) as file:
        for name in ("spikes/times", "spikes/units", "labels"):
            if name not in file:
                raise DataError(f"{path} is not in the format of the Heidelberg data sets: it has no '{name}'")
        counts = {name: len(file[name]) for name in ("labels", "spikes/times", "spikes/units")}
        labels = np.asarray(file["labels"], dtype=np.int64)
        speakers = np.asarray(file["extra/speaker"], dtype=np.int64) if "extra/speaker" in file else None
        keys = (
            [k.decode("utf-8", "replace") if isinstance(k, bytes) else str(k) for k in file["extra/keys"][()]]
            if "extra/keys" in file
            else []
        )
    if speakers is not None:
        counts["extra/speaker"] = len(speakers)
    if len(set(counts.values())) > 1 or not len(labels):
        raise DataError(f"{path} is damaged: its parts differ in length or are empty ({', '.join(f'{n} {c}' for n, c in counts.items())})")
    classes = tuple(keys) or tuple(str(c) for c in range(labels.max() + 1))
    if labels.min() < 0 or labels.max() >= len(classes):
        raise DataError(f"{path} is damaged: it has labels {labels.min()} … {labels.max()}, but names {len(classes)} classes")
    return EventSamples(HDF5Events(path), np.arange(len(labels)), labels, CHANNELS, speakers), classes


def write(
    path: Path, events: Sequence[tuple[np.ndarray, np.ndarray]], labels: np.ndarray, classes: Sequence[str], speakers: np.ndarray
) -> Path:
    """A file in this format, with times in half precision as in the published ones.

    events: times in s and units of each sample.  labels, speakers: int [B].  classes: the name of each label.
    Raises DataError, before a file is made, for samples, labels and speakers of different number, for a sample with more times than
    units or a unit outside 0 … 699, and for a label without a name.
    """
    if not len(events) == len(labels) == len(speakers):
        raise DataError(f"{path} needs a label and a speaker for each sample, got {len(labels)} and {len(speakers)} for {len(events)}")
    for b, (t, u) in enumerate(events):
        if len(t) != len(u):
            raise DataError(f"sample {b} for {path} has {len(t)} times, but {len(u)} units; give one unit for each time")
        if len(u) and not (0 <= np.min(u) and np.max(u) < CHANNELS):
            raise DataError(f"sample {b} for {path} has units {np.min(u)} … {np.max(u)}; give 0 … {CHANNELS - 1}")
    if len(labels) and not (0 <= np.min(labels) and np.max(labels) < len(classes)):
        raise DataError(f"labels for {path} lie in {np.min(labels)} … {np.max(labels)}, but {len(classes)} classes have names")
    h5py = library("h5py", "events")
    with h5py.File(path, "w") as file:
        times = file.create_dataset("spikes/times", (len(events),), dtype=h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", (len(events),), dtype=h5py.vlen_dtype(np.uint16))
        for b, (t, u) in enumerate(events):
            times[b], units[b] = np.asarray(t, dtype=np.float16), np.asarray(u, dtype=np.uint16)
        file["labels"], file["extra/speaker"] = np.asarray(labels, dtype=np.uint16), np.asarray(speakers, dtype=np.uint16)
        file["extra/keys"] = [name.encode() for name in classes]
    return path


def _located(files: Files, download: bool | None) -> dict[str, Path]:
    library("h5py", "events")
    return {part: opened(path, files) for part, path in locate(files, download=download).items()}


@contextmanager
def _file(path: Path):
    """The HDF5 file, open; what goes wrong in reading it is a DataError that names it."""
    try:
        with library("h5py", "events").File(path, "r") as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except (OSError, KeyError, RuntimeError, TypeError) as error:
        raise DataError(f"{path} is truncated, damaged or no HDF5 file ({error}); fetch it again") from None
