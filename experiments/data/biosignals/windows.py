"""Windows of signals, their labels, and whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Windows:
    """signals: [samples, frames, channels].  labels: int [samples].  subjects: int [samples].  rate_hz: frames per second.
    snr_db: [samples], of what is to be found, where that is known.

    Raises ValueError for parts that do not fit each other, and for signals that are not finite.
    """

    signals: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray
    rate_hz: float
    snr_db: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.signals.ndim != 3 or not len(self.signals) == len(self.labels) == len(self.subjects):
            raise ValueError(
                f"signals of shape {self.signals.shape}, {len(self.labels)} labels and {len(self.subjects)} subjects do not fit; "
                "give [samples, frames, channels] and one of each for every sample"
            )
        if not np.isfinite(self.signals).all():
            raise ValueError("signals hold NaN or infinite values; fill or leave out these windows")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index) -> Windows:
        snr_db = None if self.snr_db is None else self.snr_db[index]
        return Windows(self.signals[index], self.labels[index], self.subjects[index], self.rate_hz, snr_db)

    def of(self, subjects) -> Windows:
        """The windows of some subjects."""
        return self[np.isin(self.subjects, subjects)]

    @property
    def duration_ms(self) -> float:
        return 1e3 * self.signals.shape[1] / self.rate_hz


def joined(parts: Sequence[Windows]) -> Windows:
    """All windows of several parts of one rate."""
    if len({part.rate_hz for part in parts}) != 1:
        raise ValueError(
            f"parts of {sorted({part.rate_hz for part in parts})} frames per second do not make one set; give those of one rate"
        )
    signals, labels, subjects = (np.concatenate([getattr(part, name) for part in parts]) for name in ("signals", "labels", "subjects"))
    known = [part.snr_db for part in parts if part.snr_db is not None]
    return Windows(signals, labels, subjects, parts[0].rate_hz, np.concatenate(known) if len(known) == len(parts) else None)
