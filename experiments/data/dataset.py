"""What a data set is to an experiment: three parts with their labels, and a sentence that states the split.

A part is one of three forms: `Samples` (intensities), `EventSamples` (spikes) or `Recordings` (signals). Each has
`labels`, a length, and `part[index]`, the same form for some of its samples. The last two have a time axis, and put
themselves on the grid of a simulation: `part.batch(index, dt_ms=…, duration_ms=…)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

P = TypeVar("P")


@dataclass(frozen=True, eq=False)
class Samples:
    """Images and their labels.

    images: uint8 [B, N], each image row by row.  labels: int [B].  maximum: the value that means intensity 1.
    """

    images: np.ndarray
    labels: np.ndarray
    maximum: int

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise ValueError(f"{len(self.images)} images, but {len(self.labels)} labels; they must be equally many")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index) -> Samples:
        return Samples(self.images[index], self.labels[index], self.maximum)

    @property
    def intensities(self) -> np.ndarray:
        """Images as float64 [B, N] in 0 … 1."""
        return self.images / self.maximum


@dataclass(frozen=True, eq=False)
class Dataset(Generic[P]):
    """Training, validation and test samples. Choices are made on validation; test is looked at once.

    shape: of one sample without time, e.g. (28, 28), (3, 32, 32) for colours, (700,) for channels.
    split: how the parts were made, for provenance.  source: who made the data, licence.
    """

    name: str
    train: P
    validation: P
    test: P
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    split: str
    source: str

    @property
    def inputs(self) -> int:
        """Neurons that one sample drives."""
        return math.prod(self.shape)


def stratified(labels: np.ndarray, sizes: tuple[int, ...], seed: int) -> list[np.ndarray]:
    """Indices of disjoint parts of `labels` with the given sizes, every class in equal shares, drawn from `seed`."""
    from sklearn.model_selection import train_test_split

    rest, parts = np.arange(len(labels)), []
    for size in sizes:
        if size == len(rest):
            part, rest = rest, rest[:0]
        else:
            rest, part = train_test_split(rest, test_size=size, stratify=labels[rest], random_state=seed)
        parts.append(np.sort(part))
    return parts
