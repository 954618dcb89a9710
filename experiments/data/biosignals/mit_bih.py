"""MIT-BIH Arrhythmia Database: 48 half-hour records of 47 people, two leads at 360 Hz, every beat annotated by two cardiologists.

Source: Moody & Mark 2001, IEEE Eng. Med. Biol. 20:45, https://physionet.org/content/mitdb/1.0.0/, ODC-By 1.0. Split: de Chazal, O'Dwyer &
Reilly 2004, IEEE Trans. Biomed. Eng. 51:1196, table III; records with paced beats (102, 104, 107, 217) are in neither part.
One man is in both: 201 (DS1) and 202 (DS2) are his. The published split has it so, and numbers are compared on it.
"""

from __future__ import annotations

from spiketwin.experiments.data.biosignals import wfdb
from spiketwin.experiments.data.biosignals.beats import cut
from spiketwin.experiments.data.biosignals.windows import Windows
from spiketwin.experiments.data.folders import Files, find, locate

DS1 = (101, 106, 108, 109, 112, 114, 115, 116, 118, 119, 122, 124, 201, 203, 205, 207, 208, 209, 215, 220, 223, 230)
DS2 = (100, 103, 105, 111, 113, 117, 121, 123, 200, 202, 210, 212, 213, 214, 219, 221, 222, 228, 231, 232, 233, 234)
# a quarter of DS1, with beats of all four classes; 208, which has most of the fusion beats, is for training
VALIDATION = (106, 114, 118, 203, 205, 223)
FILES = Files(
    folder="mit-bih",
    wanted={f"{name}.{ending}": (f"{name}.{ending}",) for name in sorted(DS1 + DS2) for ending in ("hea", "dat", "atr")},
    page="https://physionet.org/content/mitdb/1.0.0/",
)
SPLIT = "MIT-BIH by patient, de Chazal et al. 2004: DS2 for test, six records of DS1 for validation, the other sixteen for training"


def is_there() -> bool:
    """Whether all records of the split are on this machine."""
    return find(FILES) is not None


def load() -> tuple[Windows, Windows, Windows]:
    """Beats for training, validation and test; no patient is in two of them, but the man of 201 and 202. Raises DataError where files are missing or damaged."""
    folder = locate(FILES, download=False)[f"{DS1[0]}.hea"].parent
    train = tuple(name for name in DS1 if name not in VALIDATION)
    first, second, third = (cut([wfdb.read(folder, str(name)) for name in names], names) for names in (train, VALIDATION, DS2))
    return first, second, third
