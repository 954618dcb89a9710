"""Samples that are signals: sound, touch. Of equal or different lengths, at a fixed rate."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from spiketwin.experiments.data.errors import DataError
from spiketwin.experiments.data.events import span
from spiketwin.models.spikes import timestep


@dataclass(frozen=True, eq=False)
class Recordings:
    """Signals of N channels and their labels.

    values: [frames, N], the recordings one after the other; recording b is rows offsets[b] … offsets[b + 1].
    offsets: int [B + 1].  labels: int [B].  rate_hz: frames per second.
    speakers: int [B], who made each recording, where that is known.
    """

    values: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    rate_hz: float
    speakers: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 2:
            raise ValueError(
                f"values are [frames, N], got shape {self.values.shape}" + ("; give values[:, None]" * (self.values.ndim == 1))
            )
        if len(self.offsets) != len(self.labels) + 1:
            raise ValueError(f"{len(self.offsets) - 1} recordings, but {len(self.labels)} labels; they must be equally many")
        if not self.rate_hz > 0:
            raise ValueError(f"rate_hz = {self.rate_hz} must be positive")

    @classmethod
    def of(cls, signals: Sequence[np.ndarray], labels: np.ndarray, rate_hz: float, speakers: np.ndarray | None = None) -> Recordings:
        """From one array [T, N] per recording, of which there must be one at least."""
        if not len(signals):
            raise ValueError("signals is empty; give one recording or more")
        offsets = np.concatenate([[0], np.cumsum([len(s) for s in signals], dtype=np.int64)])
        return cls(np.concatenate(signals), offsets, labels, rate_hz, speakers)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index) -> Recordings:
        starts, frames = self.offsets[:-1][index], self.frames[index]
        offsets = np.concatenate([[0], np.cumsum(frames)])
        speakers = None if self.speakers is None else self.speakers[index]
        return Recordings(self.values[span(starts, frames)], offsets, self.labels[index], self.rate_hz, speakers)

    @property
    def frames(self) -> np.ndarray:
        """Length of each recording, int [B]."""
        return np.diff(self.offsets)

    def signal(self, b: int) -> np.ndarray:
        """Recording b as it was made, [T, N]."""
        return self.values[self.offsets[b] : self.offsets[b + 1]]

    def cut(self, frames: int | None = None) -> Recordings:
        """All recordings cut to the same length: the shortest, or `frames`. Raises ValueError when one is shorter."""
        shortest = int(self.frames.min())
        frames = shortest if frames is None else frames
        if not 0 < frames <= shortest:
            raise ValueError(f"recordings cannot be cut to {frames} frames: the shortest has {shortest}")
        values = self.values[span(self.offsets[:-1], np.full(len(self), frames))]
        return replace(self, values=values, offsets=np.arange(len(self) + 1) * frames)

    def standardised(self, by: Recordings) -> Recordings:
        """Each channel less its mean in `by`, in units of its standard deviation there: `test.standardised(by=train)`.

        A channel that is constant in `by` is only shifted.
        """
        spread = by.values.std(axis=0, dtype=np.float64)
        values = (self.values - by.values.mean(axis=0, dtype=np.float64)) / np.where(spread > 0, spread, 1)
        return replace(self, values=values.astype(np.float32))

    def batch(self, index=slice(None), *, dt_ms: float, duration_ms: float | None = None) -> np.ndarray:
        """Some recordings, up-sampled to the grid of a simulation: float32 [T, B, N], step n at n·dt.

        Between two frames the signal is a straight line; the last frame lasts one frame more, then follow zeros.
        duration_ms: where to cut or fill up; None for the longest of the batch.
        Raises ValueError when dt is longer than a frame: whole frames would be skipped, and what is left would alias.
        """
        per_step = dt_ms * 1e-3 * self.rate_hz
        if not 0 < per_step <= 1 + 1e-9:
            raise ValueError(
                f"dt_ms = {dt_ms} must be positive and at most the {1e3 / self.rate_hz:g} ms between frames; "
                "encode faster signals (or filter and thin them out) first"
            )
        some = self[index]
        lasts_ms = some.frames / self.rate_hz * 1e3
        steps = timestep(lasts_ms.max(initial=0) if duration_ms is None else duration_ms, dt_ms)
        out = np.zeros((steps, len(some), self.values.shape[1]), dtype=np.float32)
        for b, own in enumerate(np.minimum(timestep(lasts_ms, dt_ms), steps)):
            signal = some.signal(b)
            at = np.arange(own) * per_step
            left = np.minimum(at.astype(np.int64), len(signal) - 1)
            right = np.minimum(left + 1, len(signal) - 1)
            part = (at - left)[:, None]
            out[:own, b] = signal[left] * (1 - part) + signal[right] * part
        return out


def sound(file: Path | str | BinaryIO, *, rate_hz: float, name: str = "") -> np.ndarray:
    """A WAV file of one channel and 16 bit, float32 [frames] in −1 … 1.

    name: what messages call it, the path by default.
    Raises DataError for another format or rate, and for a file that is empty or damaged.
    """
    name = name or str(file)
    try:
        with wave.open(str(file) if isinstance(file, Path) else file) as opened:
            found = (opened.getnchannels(), 8 * opened.getsampwidth(), opened.getframerate())
            announced, data = opened.getnframes(), opened.readframes(opened.getnframes())
    except (wave.Error, EOFError) as error:
        raise DataError(f"{name} is damaged or no WAV file ({error}); fetch it again") from None
    if found != (1, 16, rate_hz):
        raise DataError(f"{name} has {found[0]} channels of {found[1]} bit at {found[2]} Hz, expected 1 of 16 bit at {rate_hz:g} Hz")
    if not announced or len(data) != 2 * announced:
        what = "is truncated" if announced else "is empty, or is truncated"
        raise DataError(f"{name} {what}: its header announces {announced} frames, found {len(data) // 2}; fetch it again")
    return np.frombuffer(data, dtype="<i2").astype(np.float32) / 2**15
