"""What a read-out sees of a network: a row of numbers for each trial.

    FilteredSpikes   x_n(t) = Σ_k exp(-(t - t_k)/tau)    over the spikes t_k <= t of neuron n, at `reads` times
    SpikeCounts      spikes of each neuron in `bins` stretches of time
    Membranes        a state of each neuron at `reads` times

Times are spread evenly over each trial, the last at its end: at end · r/reads for r = 1 … reads. A trial may end before the run does,
as a short word among long ones. Each is an estimator's parameter: features__tau_ms is what a grid search calls the time constant.

Source: Maass, Natschläger & Markram 2002, Neural Computation 14:2531, section 3 (spikes through an exponential filter of 30 ms).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from sklearn.base import BaseEstimator

from spiketwin.models.encoders.shared import positive, whole
from spiketwin.models.recording import Recording
from spiketwin.models.spikes import Spikes


class Features(Protocol):
    """What an estimator needs of features."""

    @property
    def record(self) -> tuple[str, ...]:
        """States that the run must record of the populations that are read."""
        ...

    def width(self, neurons: int) -> int:
        """Numbers in a row."""
        ...

    def read(self, recording: Recording, populations: Sequence[str], ends: np.ndarray) -> np.ndarray:
        """Rows [B, width].  ends: int [B], steps of each trial that count."""
        ...


class FilteredSpikes(BaseEstimator):
    """Spikes through an exponential filter, in the order: all neurons at the first time, at the second, …

    tau_ms: time constant of the filter.  reads: times at which it is read.
    """

    def __init__(self, tau_ms: float = 30.0, reads: int = 1) -> None:
        self.tau_ms, self.reads = tau_ms, reads

    record: tuple[str, ...] = ()

    def width(self, neurons: int) -> int:
        whole(1, reads=self.reads)
        return neurons * self.reads

    def read(self, recording: Recording, populations: Sequence[str], ends: np.ndarray) -> np.ndarray:
        positive(tau_ms=self.tau_ms)
        whole(1, reads=self.reads)
        at = read_steps(ends, self.reads)
        return np.concatenate([filtered(recording.spikes[p], at, self.tau_ms) for p in populations], axis=2).reshape(len(ends), -1)


class SpikeCounts(BaseEstimator):
    """Spikes of each neuron in stretches of equal length, in the order: all neurons in the first, in the second, …"""

    def __init__(self, bins: int = 1) -> None:
        self.bins = bins

    record: tuple[str, ...] = ()

    def width(self, neurons: int) -> int:
        whole(1, bins=self.bins)
        return neurons * self.bins

    def read(self, recording: Recording, populations: Sequence[str], ends: np.ndarray) -> np.ndarray:
        whole(1, bins=self.bins)
        edges = read_steps(ends, self.bins)
        return np.concatenate([counted(recording.spikes[p], edges) for p in populations], axis=2).reshape(len(ends), -1)


class Membranes(BaseEstimator):
    """A state of each neuron as it is at the start of a step, in the order: all neurons at the first time, at the second, …

    state: its name.  The run keeps it for every step, which takes T·B·N numbers of memory: read few trials at once.
    """

    def __init__(self, state: str = "v", reads: int = 1) -> None:
        self.state, self.reads = state, reads

    @property
    def record(self) -> tuple[str, ...]:
        return (self.state,)

    def width(self, neurons: int) -> int:
        whole(1, reads=self.reads)
        return neurons * self.reads

    def read(self, recording: Recording, populations: Sequence[str], ends: np.ndarray) -> np.ndarray:
        whole(1, reads=self.reads)
        at, trial = read_steps(ends, self.reads) - 1, np.arange(len(ends))[:, None]
        return np.concatenate([recording.states[p][self.state][at, trial] for p in populations], axis=2).reshape(len(ends), -1)


def read_steps(ends: np.ndarray, reads: int) -> np.ndarray:
    """After how many steps each trial is read [B, reads]; the last time at its end, none before the first step."""
    ends = np.asarray(ends, int)
    if (ends < 1).any():
        raise ValueError(f"trial {int(np.argmin(ends))} ends after {ends.min()} steps; each must last a step at least")
    return np.maximum(ends[:, None] * np.arange(1, reads + 1) // reads, 1)


def filtered(spikes: Spikes, at: np.ndarray, tau_ms: float) -> np.ndarray:
    """Σ_k exp(-(t - t_k)/tau) [B, reads, N] over the spikes before step `at` [B, reads], which rises; t is the start of that step.

    A spike of step n is labelled with its start, n dt, so it has age 1 when the next step begins.
    """
    stretch, heard = _stretches(spikes, at)
    age = at[spikes.batch[heard], stretch] - spikes.step[heard]
    rows = _summed(spikes, stretch, heard, at.shape[1], np.exp(-age * (spikes.dt_ms / tau_ms)))
    for r in range(1, at.shape[1]):  # what the reads before have heard
        rows[:, r] += rows[:, r - 1] * np.exp(-(at[:, r] - at[:, r - 1]) * (spikes.dt_ms / tau_ms))[:, None]
    return rows


def counted(spikes: Spikes, at: np.ndarray) -> np.ndarray:
    """Spikes [B, bins, N] in the stretches that end before step `at` [B, bins], which rises; the first begins at step 0."""
    stretch, heard = _stretches(spikes, at)
    return _summed(spikes, stretch, heard, at.shape[1], np.ones(len(stretch)))


def _stretches(spikes: Spikes, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each spike that comes before the last read: the first read after it, and which these spikes are."""
    trials, reads = at.shape
    beyond = spikes.shape[0] + 1
    ends = (np.arange(trials)[:, None] * beyond + at).ravel()
    stretch = np.searchsorted(ends, spikes.batch * beyond + spikes.step, side="right") - spikes.batch * reads
    heard = np.flatnonzero(stretch < reads)
    return stretch[heard], heard


def _summed(spikes: Spikes, stretch: np.ndarray, heard: np.ndarray, reads: int, value: np.ndarray) -> np.ndarray:
    """Values of spikes added up for each trial, stretch and neuron [B, reads, N]."""
    _, trials, neurons = spikes.shape
    where = (spikes.batch[heard] * reads + stretch) * neurons + spikes.neuron[heard]
    # of no spike at all, numpy counts in whole numbers
    return np.bincount(where, value, minlength=trials * reads * neurons).astype(float, copy=False).reshape(trials, reads, neurons)
