"""Samples that are spikes already: cochlea models, event cameras, generated trains. Read lazily, kept sparse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from spiketwin.experiments.data.errors import DataError
from spiketwin.models.spikes import Spikes, timestep


class EventSource(Protocol):
    """Where events lie: in memory, or in a file that is opened when they are wanted."""

    def read(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the samples with these numbers, one after the other: times in ms [events], units [events], events of each [B]."""
        ...


@dataclass(frozen=True, eq=False)
class HeldEvents:
    """Events in memory: those of sample b are offsets[b] … offsets[b + 1] of times_ms and units."""

    times_ms: np.ndarray
    units: np.ndarray
    offsets: np.ndarray

    def read(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        counts = self.offsets[numbers + 1] - self.offsets[numbers]
        where = span(self.offsets[numbers], counts)
        return self.times_ms[where], self.units[where], counts

    def __str__(self) -> str:
        return "events in memory"


@dataclass(frozen=True, eq=False)
class EventSamples:
    """Recordings of events, and their labels.

    source: gives the events when a batch wants them.  numbers: int [B], what the source calls each sample.
    labels: int [B].  size: N, the number of units.  speakers: int [B], who made each recording, where that is known.
    """

    source: EventSource
    numbers: np.ndarray
    labels: np.ndarray
    size: int
    speakers: np.ndarray | None = None

    def __post_init__(self) -> None:
        if len(self.numbers) != len(self.labels):
            raise ValueError(f"{len(self.numbers)} samples, but {len(self.labels)} labels; they must be equally many")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index) -> EventSamples:
        """Some samples; one of them for a number."""
        index = [index] if isinstance(index, (int, np.integer)) else index
        speakers = None if self.speakers is None else self.speakers[index]
        return EventSamples(self.source, self.numbers[index], self.labels[index], self.size, speakers)

    def events(self, b: int) -> tuple[np.ndarray, np.ndarray]:
        """Times in ms and units of sample b, as they were recorded."""
        times_ms, units, _ = self._read(self.numbers[[b]])
        return times_ms, units

    def batch(self, index=slice(None), *, dt_ms: float, duration_ms: float) -> Spikes:
        """The spikes of some samples on a grid, [duration/dt, B, N] and never dense.

        index: as for an array; the samples in that order.  Events from `duration_ms` on are left out, so that samples of
        different lengths fit one batch. Several events of a unit in one step are one spike.
        Raises DataError for events at impossible times or units, ValueError for a duration below one step.
        """
        numbers = self.numbers[index]
        steps = _steps(duration_ms, dt_ms)
        times_ms, units, counts = self._read(numbers)
        step, trial = timestep(times_ms, dt_ms), np.repeat(np.arange(len(numbers)), counts)
        keep = step < steps
        row, unit = _sorted(step[keep] * len(numbers) + trial[keep], units[keep], steps * len(numbers), self.size)
        return Spikes(*np.divmod(row, max(len(numbers), 1)), unit, (steps, len(numbers), self.size), dt_ms)

    def _read(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        times_ms, units, counts = self.source.read(numbers)
        times_ms, units = np.asarray(times_ms, dtype=np.float64), np.asarray(units, dtype=np.int64)
        good = np.isfinite(times_ms) & (times_ms >= 0) & (units >= 0) & (units < self.size)
        if not good.all():
            bad = int(np.argmin(good))
            sample = numbers[np.searchsorted(np.cumsum(counts), bad, side="right")]
            raise DataError(
                f"{self.source} is damaged: sample {sample} has an event of unit {units[bad]} at {times_ms[bad]:g} ms; "
                f"units must lie in 0 … {self.size - 1}, times must be finite and not negative"
            )
        return times_ms, units, counts


def span(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Indices start, start + 1, … of each of several stretches, one after the other."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())


def _sorted(row: np.ndarray, unit: np.ndarray, rows: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs in order, each once. A batch has millions: short keys sort twice as fast, and np.unique takes ten times as long."""
    key = (row * size + unit).astype(np.int32 if rows * size < 2**31 else np.int64)
    key.sort()
    fresh = np.ones(len(key), dtype=bool)
    fresh[1:] = key[1:] != key[:-1]
    row, unit = np.divmod(key[fresh], key.dtype.type(size))
    return row, unit


def _steps(duration_ms: float, dt_ms: float) -> int:
    if not (dt_ms > 0 and duration_ms >= dt_ms):
        raise ValueError(f"duration_ms = {duration_ms} must be at least one step of dt_ms = {dt_ms}, which must be positive")
    return int(timestep(duration_ms, dt_ms))
