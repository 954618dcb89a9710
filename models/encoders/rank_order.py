"""Rank order: the strongest input fires first, then the next; only the order carries the message, not the times.

    T = rank · interval,    rank = how many different stronger intensities there are

A reader gives the spike of each rank a weight of modulation^rank, so that early spikes count most.

Source: Thorpe & Gautrais 1998, Rank order coding.
"""

from __future__ import annotations

import numpy as np

from spiketwin.models.decoders import first_spike_ms
from spiketwin.models.encoders.shared import at_times, before, intensities, positive, whole_steps
from spiketwin.models.spikes import Spikes


def rank_order(x, *, interval_ms: float = 1.0, tmax_ms: float | None = None, dt_ms: float = 1.0) -> Spikes:
    """One spike per input that is not 0, in the order of their intensities, interval_ms apart; equal ones fire together.

    x: intensities [B, N] in 0 … 1.  tmax_ms: ranks from there on stay silent; None: all N fit, rounded up to whole steps.
    Returns spikes [tmax/dt, B, N], with the exact times in `time_ms`: with an interval below dt several ranks share a step.
    x = .2, .9, .5, 0 fire at 2, 0, 1 ms and never.
    Raises ValueError for NaN, for x outside 0 … 1, and for settings that are not positive.
    """
    x = intensities(x)
    positive(interval_ms=interval_ms, dt_ms=dt_ms)
    steps = max(1, int(np.ceil(x.shape[1] * interval_ms / dt_ms))) if tmax_ms is None else whole_steps(tmax_ms, dt_ms, "tmax_ms")
    batch, neuron = np.nonzero(x)
    return at_times(interval_ms * ranks(x)[batch, neuron], batch, neuron, shape=(steps, *x.shape), dt_ms=dt_ms)


def rank_order_ms(x, *, interval_ms: float = 1.0, tmax_ms: float = np.inf) -> np.ndarray:
    """When each input fires, in ms [B, N]; inf where it does not. Raises ValueError as rank_order does."""
    x = intensities(x)
    positive(interval_ms=interval_ms)
    return before(np.where(x > 0, interval_ms * ranks(x), np.inf), tmax_ms)


def rank_order_value(spikes: Spikes, *, modulation: float = 0.9) -> np.ndarray:
    """What a rank-order reader sees of each input [B, N]: modulation^rank of its first spike; 0 where there is none.

    The order of the intensities comes back, their values do not.  modulation: between 0 and 1.
    """
    if not 0 < modulation < 1:
        raise ValueError(f"modulation = {modulation} must lie between 0 and 1, so that earlier spikes count more")
    time_ms = first_spike_ms(spikes)
    fired = np.isfinite(time_ms)
    return np.where(fired, modulation ** ranks(-np.where(fired, time_ms, np.inf)), 0.0)


def ranks(x: np.ndarray) -> np.ndarray:
    """Of each value its place from the top of its row [B, N], 0 for the largest; equal values share a place."""
    order = np.argsort(-x, axis=1, kind="stable")
    falling = np.take_along_axis(x, order, axis=1)
    place = np.zeros(x.shape, dtype=np.int64)
    place[:, 1:] = np.cumsum(falling[:, 1:] != falling[:, :-1], axis=1)
    out = np.empty_like(place)
    np.put_along_axis(out, order, place, axis=1)
    return out
