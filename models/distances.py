"""How far apart two sets of spike trains are.

Two sets have the same trials and neurons and last equally long; their grids may differ, as when a network runs
again at a finer step. A set is a `Spikes` or a dense array [T, B, N] of 0 and 1 together with `dt_ms`.

Measures that are defined for every pair of trains are averaged over neurons and come out as [B]; those that need
spikes come out as [B, N], NaN where there are too few, so that the caller decides what silence means.
All of them work on events, so a fine grid costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from spiketwin.models.spikes import Spikes, timestep

# Times that are multiples of two different steps differ in their last bits; windows are closed despite that.
ROUNDING_MS = 1e-9
# Table entries that `victor_purpura_distance` works on at once: 32 MB of float64.
CHUNK = 2**22


def van_rossum_distance(a, b, *, tau_ms: float, dt_ms: float | None = None) -> np.ndarray:
    """Van Rossum (2001) distance between two sets of spike trains, averaged over neurons.

    a, b: Spikes, or spikes [T, B, N], 0 or 1, on the grid dt_ms.  tau_ms: kernel time constant, > 0.
    Returns distance [B]; 0 for equal trains, 1/sqrt(2) for one extra spike far from others (eq. 3), about
    sqrt(s/tau) for one spike shifted by s << tau.  Resolves distances down to about 1e-8.
    Raises ValueError when the shapes differ or tau_ms <= 0.
    """
    a, b = _pair(a, b, dt_ms)
    _positive(tau_ms=tau_ms)
    # With exponential kernels the integral of the squared difference is a sum over pairs of events,
    # D^2 = 1/2 sum_ij s_i s_j exp(-|t_i - t_j|/tau), s = +1 for a and -1 for b (Houghton & Kreuz 2012, eq. 9).
    # `trace` carries the inner sum over the events before i.
    train = np.concatenate((_train(a), _train(b)))
    time = np.concatenate((a.times_ms(), b.times_ms()))
    sign = np.repeat((1.0, -1.0), (len(a), len(b)))
    order = np.lexsort((time, train))
    train, time, sign = train[order], time[order], sign[order]
    size = a.shape[1] * a.shape[2]
    squared, trace, last = np.zeros(size), np.zeros(size), np.full(size, -np.inf)
    for now in _nth_events(train):
        who = train[now]
        before = trace[who] * np.exp((last[who] - time[now]) / tau_ms)
        squared[who] += 0.5 + sign[now] * before
        trace[who], last[who] = before + sign[now], time[now]
    return np.sqrt(np.maximum(squared, 0.0)).reshape(a.shape[1:]).mean(axis=1)


def victor_purpura_distance(a, b, *, cost_per_ms: float, dt_ms: float | None = None) -> np.ndarray:
    """Victor & Purpura (1996) distance: the cheapest way to turn one train into the other, averaged over neurons.

    Adding or deleting a spike costs 1, moving it by t costs cost_per_ms · t; so trains are compared at a precision
    of about 2/cost_per_ms, and by spike count alone at cost 0.
    a, b: Spikes, or spikes [T, B, N], 0 or 1, on the grid dt_ms.  Returns distance [B]; 0 for equal trains.
    Raises ValueError when the shapes differ or cost_per_ms < 0.
    """
    a, b = _pair(a, b, dt_ms)
    if not cost_per_ms >= 0:
        raise ValueError(f"cost_per_ms = {cost_per_ms} must not be negative")
    sorted_a, sorted_b = _sorted(a), _sorted(b)
    out = np.zeros(a.shape[1] * a.shape[2])
    # the longest trains first, so that those still at work in round i are the first rows of a chunk
    trains = np.argsort(-sorted_a.count, kind="stable")
    width = int(sorted_b.count.max(initial=0)) + 1
    for rows in np.array_split(trains, max(1, math.ceil(trains.size * width / CHUNK))):
        out[rows] = _edit_distance(sorted_a, sorted_b, rows, cost_per_ms)
    return out.reshape(a.shape[1:]).mean(axis=1)


def coincidence_factor(a, reference, *, delta_ms: float, dt_ms: float | None = None) -> np.ndarray:
    """Coincidence factor Gamma of Kistler, Gerstner & van Hemmen (1997), per trial and neuron.

    (coincidences - expected) / (mean of the spike counts) / (1 - 2 rate delta), with `expected` = 2 rate delta n_reference
    for a Poisson train of the rate of `a`.  A coincidence is a pair of spikes, one of each train, at most delta_ms apart;
    no spike is in two pairs.
    a, reference: Spikes, or spikes [T, B, N], 0 or 1, on the grid dt_ms.  delta_ms: precision, > 0.
    Returns [B, N]: 1 for equal trains, about 0 for chance, negative for less; NaN where both are silent, and where
    2 rate delta >= 1, because a window as long as the interval makes every spike a coincidence.
    Raises ValueError when the shapes differ or delta_ms <= 0.
    """
    a, reference = _pair(a, reference, dt_ms)
    _positive(delta_ms=delta_ms)
    n_a, n_reference = a.counts(), reference.counts()
    found = _matches(_sorted(a), _sorted(reference), delta_ms + ROUNDING_MS).reshape(n_a.shape)
    chance = 2 * delta_ms * n_a / _duration_ms(a)
    with np.errstate(invalid="ignore", divide="ignore"):
        gamma = (found - chance * n_reference) / (0.5 * (n_a + n_reference)) / (1 - chance)
    return np.where(chance < 1, gamma, np.nan)


def first_spike_shift(a, b, *, dt_ms: float | None = None) -> np.ndarray:
    """How much later each neuron's first spike comes in a than in b, in ms [B, N].

    inf where only b spikes, -inf where only a does, NaN where neither does.  Raises ValueError when the shapes differ.
    """
    a, b = _pair(a, b, dt_ms)
    with np.errstate(invalid="ignore"):
        return a.first_ms() - b.first_ms()


def spike_cosine(a, b, *, bin_ms: float, dt_ms: float | None = None) -> np.ndarray:
    """Cosine between the spike counts of all bins and neurons, per trial [B].

    1 for equal counts in every bin, 0 when no bin has spikes in both, NaN where either is silent.
    Rates are not enough: trains that agree in rate to a percent may have a cosine of .3.
    Raises ValueError when the shapes differ or bin_ms <= 0.
    """
    a, b = _pair(a, b, dt_ms)
    _positive(bin_ms=bin_ms)
    bins = int(timestep(max(_duration_ms(a), _duration_ms(b)), bin_ms)) + 1
    (keys_a, counts_a), (keys_b, counts_b) = (
        np.unique(_train(s) * bins + timestep(s.times_ms(), bin_ms), return_counts=True) for s in (a, b)
    )
    _, in_a, in_b = np.intersect1d(keys_a, keys_b, assume_unique=True, return_indices=True)
    trials, per_trial = a.shape[1], a.shape[2] * bins

    def summed(keys: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.bincount(keys // per_trial, values, minlength=trials)

    product = summed(keys_a[in_a], counts_a[in_a] * counts_b[in_b])
    with np.errstate(invalid="ignore"):
        return product / np.sqrt(summed(keys_a, counts_a**2) * summed(keys_b, counts_b**2))


def isi_cv(spikes, *, dt_ms: float | None = None) -> np.ndarray:
    """Coefficient of variation of the intervals between spikes, [B, N].

    Standard deviation (divided by n) over mean: 0 for a clock, 1 for a long Poisson train; NaN below three spikes.
    """
    spikes = _as_spikes(spikes, dt_ms)
    trains = _sorted(spikes)
    index = np.repeat(np.arange(trains.count.size), trains.count)
    within = index[1:] == index[:-1]
    interval, index = np.diff(trains.time)[within], index[1:][within]
    count = np.maximum(trains.count - 1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(index, interval, minlength=count.size) / count
        # around the mean, not as a difference of squares: a clock must give 0, not the root of a rounding error
        variance = np.bincount(index, (interval - mean[index]) ** 2, minlength=count.size) / count
        cv = np.sqrt(variance) / mean
    return np.where(count >= 2, cv, np.nan).reshape(spikes.shape[1:])


# -- events, train by train ------------------------------------------------------------------------


class _Trains(NamedTuple):
    """Times of all events, train after train: train k has `count[k]` of them from `start[k]` on."""

    time: np.ndarray
    start: np.ndarray
    count: np.ndarray

    def table(self, rows: np.ndarray) -> np.ndarray:
        """Times of some trains [rows, longest of them], filled up with NaN."""
        nth = np.arange(self.count[rows].max(initial=0))
        there = nth < self.count[rows][:, None]
        out = np.full(there.shape, np.nan)
        out[there] = self.time[(self.start[rows][:, None] + nth)[there]]
        return out


def _train(spikes: Spikes) -> np.ndarray:
    """The train of each event: trial · N + neuron."""
    return spikes.batch * spikes.shape[2] + spikes.neuron


def _sorted(spikes: Spikes) -> _Trains:
    train, time = _train(spikes), spikes.times_ms()
    count = np.bincount(train, minlength=spikes.shape[1] * spikes.shape[2])
    return _Trains(time[np.lexsort((time, train))], np.cumsum(count) - count, count)


def _nth_events(train: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of the first event of every train, then of the second, …; `train` is sorted."""
    count = np.bincount(train)
    rank = np.arange(train.size) - np.repeat(np.cumsum(count) - count, count)
    order = np.argsort(rank, kind="stable")
    yield from np.split(order, np.cumsum(np.bincount(rank))[:-1])


def _edit_distance(a: _Trains, b: _Trains, rows: np.ndarray, cost_per_ms: float) -> np.ndarray:
    """Victor-Purpura distance of the trains `rows`, which are ordered by falling count in a."""
    time_a, time_b = a.table(rows), b.table(rows)
    count_a, columns = a.count[rows], np.arange(time_b.shape[1] + 1)
    # cost[k, j]: from the first i spikes of a to the first j of b. Moving within the table's row is adding a spike,
    # j - k of them from column k: a running minimum of cost - j.
    cost = np.tile(columns.astype(float), (rows.size, 1))
    for i in range(time_a.shape[1]):
        active = int(np.searchsorted(-count_a, -i, side="left"))
        before = cost[:active]
        # columns beyond the end of a train are NaN and never looked at: fmin keeps them out of the others
        moved = before[:, :-1] + cost_per_ms * np.abs(time_b[:active] - time_a[:active, i : i + 1])
        after = before + 1
        after[:, 1:] = np.fmin(after[:, 1:], moved)
        cost[:active] = np.minimum.accumulate(after - columns, axis=1) + columns
    return cost[np.arange(rows.size), b.count[rows]]


def _matches(a: _Trains, b: _Trains, window_ms: float) -> np.ndarray:
    """Largest number of disjoint pairs at most `window_ms` apart, per train.

    Walks along both trains at once: the earlier of two spikes that are too far apart has no partner left.
    """
    found = np.zeros(a.count.size, dtype=np.int64)
    i, j = a.start.copy(), b.start.copy()
    end_i, end_j = a.start + a.count, b.start + b.count
    walking = np.flatnonzero((i < end_i) & (j < end_j))
    while walking.size:
        ahead = a.time[i[walking]] - b.time[j[walking]]
        found[walking] += np.abs(ahead) <= window_ms
        i[walking] += ahead <= window_ms
        j[walking] += ahead >= -window_ms
        walking = walking[(i[walking] < end_i[walking]) & (j[walking] < end_j[walking])]
    return found


# -- arguments -------------------------------------------------------------------------------------


def _as_spikes(spikes, dt_ms: float | None) -> Spikes:
    if isinstance(spikes, Spikes):
        if dt_ms is not None and not math.isclose(dt_ms, spikes.dt_ms):
            raise ValueError(f"dt_ms = {dt_ms} contradicts {spikes!r}; it is meant for dense arrays, leave it out")
        return spikes
    if dt_ms is None:
        raise ValueError("a dense array [T, B, N] has no time step; add dt_ms=…, or pass Spikes")
    return Spikes.from_dense(spikes, dt_ms)


def _pair(a, b, dt_ms: float | None) -> tuple[Spikes, Spikes]:
    # Two Spikes carry their own steps, which may differ; dt_ms then has nothing to say.
    if isinstance(a, Spikes) and isinstance(b, Spikes) and dt_ms is not None:
        raise ValueError(f"dt_ms = {dt_ms} is meant for dense arrays; {a!r} and {b!r} have their own, leave it out")
    a, b = (s if isinstance(s, Spikes) else _as_spikes(s, dt_ms) for s in (a, b))
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(f"the trains do not pair up: (trials, neurons) is {a.shape[1:]} and {b.shape[1:]}")
    if abs(_duration_ms(a) - _duration_ms(b)) > 0.5 * max(a.dt_ms, b.dt_ms):
        raise ValueError(f"the trains last {_duration_ms(a):g} and {_duration_ms(b):g} ms; cut the longer one first")
    return a, b


def _duration_ms(spikes: Spikes) -> float:
    return spikes.shape[0] * spikes.dt_ms


def _positive(**value: float) -> None:
    for name, number in value.items():
        if not number > 0:
            raise ValueError(f"{name} = {number} must be positive")
