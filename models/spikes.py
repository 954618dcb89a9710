"""Spikes as events: the format shared by encoders, data sets, engines and recordings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spiketwin.models.units import positive


@dataclass(frozen=True, eq=False)
class Spikes:
    """Spikes of B trials of N neurons over T steps, one row per event, ordered by (step, batch, neuron).

    step, batch, neuron: int arrays [events].  shape: (T, B, N).  dt_ms: step in ms.
    time_ms: exact times [events] where the source is grid-free, else None (a spike of step n is
    labelled n·dt, the start of the step, as in Brian2).
    Raises ValueError for another shape, events outside it, arrays of different lengths, and a step that is not positive and finite.
    """

    step: np.ndarray
    batch: np.ndarray
    neuron: np.ndarray
    shape: tuple[int, int, int]
    dt_ms: float
    time_ms: np.ndarray | None = None

    def __post_init__(self) -> None:
        if len(self.shape) != 3:
            raise ValueError(f"spikes have the shape (T, B, N), got {self.shape}; one trial is B = 1")
        for name, limit in zip(("step", "batch", "neuron"), self.shape, strict=True):
            values = np.asarray(getattr(self, name), dtype=np.int64)
            object.__setattr__(self, name, values)
            if values.size and (values.min() < 0 or values.max() >= limit):
                bad = values[(values < 0) | (values >= limit)][0]
                raise ValueError(f"spike with {name} {bad} lies outside 0 … {limit - 1} of shape [T, B, N] = {self.shape}")
        if not len(self.step) == len(self.batch) == len(self.neuron):
            raise ValueError(
                f"spikes need equally many steps, trials and neurons, got {len(self.step)}, {len(self.batch)}, {len(self.neuron)}"
            )
        positive(dt_ms=self.dt_ms)
        _, B, N = self.shape
        key = (self.step * B + self.batch) * N + self.neuron
        # batches for training are made in order, and sorting would cost more than making them
        if (key[1:] < key[:-1]).any():
            order = np.argsort(key, kind="stable")
            for name in ("step", "batch", "neuron", "time_ms"):
                if getattr(self, name) is not None:
                    object.__setattr__(self, name, np.asarray(getattr(self, name))[order])

    def __len__(self) -> int:
        return len(self.step)

    def __repr__(self) -> str:
        T, B, N = self.shape
        return f"Spikes({len(self)} events, T={T}, B={B}, N={N}, dt={self.dt_ms:g} ms)"

    @classmethod
    def in_order(cls, step: np.ndarray, batch: np.ndarray, neuron: np.ndarray, shape: tuple[int, int, int], dt_ms: float) -> Spikes:
        """From events that are known to lie within the shape and in order, such as an engine's: nothing is checked."""
        made = cls.__new__(cls)
        for name, value in (("step", step), ("batch", batch), ("neuron", neuron.astype(np.int64)), ("shape", shape), ("dt_ms", dt_ms)):
            object.__setattr__(made, name, value)
        object.__setattr__(made, "time_ms", None)
        return made

    @classmethod
    def from_dense(cls, array, dt_ms: float) -> Spikes:
        """From an array [T, B, N] (or [T, N]) of 0 and 1. Raises ValueError for other values or shapes."""
        array = np.asarray(array)
        if array.ndim == 2:
            array = array[:, None]
        if array.ndim != 3:
            raise ValueError(f"dense spikes are [T, B, N] or [T, N], got shape {array.shape}")
        if not np.isin(array, (0, 1)).all():
            raise ValueError("dense spikes hold only 0 and 1; give weights to the projection, and currents as an analogue input")
        return cls(*np.nonzero(array), shape=array.shape, dt_ms=dt_ms)

    @classmethod
    def from_times(cls, time_ms, neuron, *, size: int, duration_ms: float, dt_ms: float, batch=None, trials: int = 1) -> Spikes:
        """From times in ms, put on the grid by rounding down (with Brian2's tolerance of dt/1000).

        Raises ValueError for NaN or negative times; times beyond `duration_ms` are an error too.
        """
        time_ms = np.asarray(time_ms, dtype=float)
        if not np.isfinite(time_ms).all() or (time_ms < 0).any():
            raise ValueError("spike times must be finite and not negative")
        steps = timestep(time_ms, dt_ms)
        batch = np.zeros(len(steps), dtype=int) if batch is None else batch
        return cls(steps, batch, neuron, (timestep(duration_ms, dt_ms), trials, size), dt_ms)

    def dense(self, dtype=np.uint8) -> np.ndarray:
        """[T, B, N] of 0 and 1 (two events in one step count once)."""
        out = np.zeros(self.shape, dtype=dtype)
        out[self.step, self.batch, self.neuron] = 1
        return out

    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The events step by step and trial by trial: neurons uint32 [events], and for each row t·B + b where its
        events begin int64 [T·B] and how many there are int32 [T·B]. Two events of a neuron in one step count once.
        """
        T, B, _ = self.shape
        row, neuron = self.step * B + self.batch, self.neuron
        fresh = np.ones(len(row), dtype=bool)
        fresh[1:] = (row[1:] != row[:-1]) | (neuron[1:] != neuron[:-1])
        if not fresh.all():
            row, neuron = row[fresh], neuron[fresh]
        many = np.bincount(row, minlength=T * B)
        return neuron.astype(np.uint32), np.cumsum(many) - many, many.astype(np.int32)

    def times_ms(self) -> np.ndarray:
        """Time of each event in ms."""
        return self.time_ms if self.time_ms is not None else self.step * self.dt_ms

    def trial(self, b: int) -> Spikes:
        """The events of one trial, as a batch of one."""
        return self.trials(slice(b, b + 1))

    def trials(self, which: slice | np.ndarray) -> Spikes:
        """The events of some trials, renumbered from 0 in the order given."""
        index = np.arange(self.shape[1])[which]
        new = np.full(self.shape[1], -1)
        new[index] = np.arange(len(index))
        keep = new[self.batch] >= 0
        time = None if self.time_ms is None else self.time_ms[keep]
        T, _, N = self.shape
        return Spikes(self.step[keep], new[self.batch[keep]], self.neuron[keep], (T, len(index), N), self.dt_ms, time)

    def during(self, start: int, stop: int) -> Spikes:
        """The events of steps start … stop - 1, renumbered from 0; times stay what they were."""
        T, B, N = self.shape
        if not 0 <= start <= stop <= T:
            raise ValueError(f"steps {start} … {stop} do not lie within 0 … {T}")
        part = slice(*np.searchsorted(self.step, [start, stop]))
        time = None if self.time_ms is None else self.time_ms[part]
        return Spikes(self.step[part] - start, self.batch[part], self.neuron[part], (stop - start, B, N), self.dt_ms, time)

    def counts(self) -> np.ndarray:
        """Spikes per trial and neuron [B, N]."""
        _, B, N = self.shape
        return np.bincount(self.batch * N + self.neuron, minlength=B * N).reshape(B, N)

    def rates_hz(self) -> np.ndarray:
        """Rate per trial and neuron [B, N] in Hz."""
        return self.counts() / (self.shape[0] * self.dt_ms * 1e-3)

    def first_ms(self) -> np.ndarray:
        """Time of the first spike [B, N] in ms; inf where there is none."""
        _, B, N = self.shape
        first = np.full((B, N), np.inf)
        np.minimum.at(first, (self.batch, self.neuron), self.times_ms())
        return first

    def refined(self, factor: int) -> Spikes:
        """The same arrivals on a grid `factor` times finer.

        A spike labelled n takes effect after the step, at (n+1)·dt; its label on the finer grid is
        the one that takes effect at the same time, factor·(n+1) - 1.
        """
        T, B, N = self.shape
        return Spikes((self.step + 1) * factor - 1, self.batch, self.neuron, (T * factor, B, N), self.dt_ms / factor)

    def equals(self, other: Spikes) -> bool:
        """Same events on the same grid."""
        return (
            self.shape == other.shape
            and len(self) == len(other)
            and all(np.array_equal(getattr(self, n), getattr(other, n)) for n in ("step", "batch", "neuron"))
        )


def timestep(time, dt):
    """Brian2's rule for the step that a time belongs to: floor, with a tolerance of dt/1000."""
    time = np.asarray(time, dtype=float)
    return np.floor((time + 1e-3 * dt) / dt).astype(np.int64)[()]
