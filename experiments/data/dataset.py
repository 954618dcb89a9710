"""What a data set is to an experiment: images and labels in three parts, and a sentence that states the split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
class Dataset:
    """Training, validation and test samples. Choices are made on validation; test is looked at once.

    split: how the parts were made, for provenance.  source: who made the data, licence.
    """

    name: str
    train: Samples
    validation: Samples
    test: Samples
    shape: tuple[int, int]
    classes: tuple[str, ...]
    split: str
    source: str

    @property
    def inputs(self) -> int:
        return self.shape[0] * self.shape[1]


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
