"""Ben's Spiker Algorithm: spikes that, sent through a FIR filter, add up to the signal.

    at each step t:  a spike if  Σ_k |s(t+k)| - Σ_k |s(t+k) - h(k)| >= threshold,  then s(t+k) <- s(t+k) - h(k)
    decoded:         s(t) = Σ_k h(k) spike(t-k)

A spike is set where taking the filter's answer away brings the rest of the signal closer to 0 by the threshold. Signals are not
negative. What one spike adds, the height of h, is as fine as the code gets.

Source: Schrauwen & Van Campenhout 2003, BSA, a fast and accurate spike train encoding scheme, IJCNN 4:2825.
"""

from __future__ import annotations

import numpy as np

from spiketwin.models.encoders.shared import ROUNDING, positive, signals
from spiketwin.models.spikes import Spikes

THRESHOLD = 0.955  # of the paper, for a filter of sum 1


def bsa(x, *, fir, threshold: float | None = None, dt_ms: float) -> Spikes:
    """Spikes [T, B, N] of signals [T, B, N] that are not negative, a sample per step of dt_ms.

    fir: the filter h [K], in the unit of the signal.  threshold: in that unit; None: .955 Σ h, as in the paper. What does not reach
    the end of the signal cannot fit there, so the last spikes are K steps before it where the threshold is near Σ h.
    Raises ValueError for NaN, infinite and negative values, for another shape, and for a threshold that is not positive.
    """
    rest, fir = signals(x).copy(), _filter(fir)
    threshold = THRESHOLD * float(fir.sum()) if threshold is None else threshold
    positive(threshold=threshold, dt_ms=dt_ms)
    if rest.min() < 0:
        raise ValueError(f"signals reach down to {rest.min():g}, but BSA takes none below 0; shift and scale them")
    fired = np.zeros(rest.shape, dtype=bool)
    for t in range(len(rest)):
        ahead = rest[t : t + fir.size]  # shorter at the end
        h = fir[: len(ahead), None, None]
        closer = (np.abs(ahead) - np.abs(ahead - h)).sum(axis=0)
        fired[t] = closer >= threshold - ROUNDING
        ahead -= h * fired[t]
    return Spikes(*np.nonzero(fired), shape=fired.shape, dt_ms=dt_ms)


def bsa_rate_hz(level, *, fir, dt_ms: float) -> np.ndarray:
    """The rate in Hz that adds up to a signal which stays at `level`, an array of any shape: level/Σ h spikes per step, one at most.

    A level below the height of h may draw none at all.  Raises ValueError for settings that are not positive, Σ h among them.
    """
    worth = float(_filter(fir).sum())
    positive(dt_ms=dt_ms)
    if not worth > 0:
        raise ValueError(f"the filter adds up to {worth:g}, so that no rate of its spikes adds up to a level; give one of a positive sum")
    return np.clip(np.asarray(level, float) / worth, 0, 1) * (1e3 / dt_ms)


def bsa_value(spikes: Spikes, *, fir) -> np.ndarray:
    """The signals [T, B, N] that spikes stand for: each adds the filter h from its step on. Raises ValueError for a filter as bsa does."""
    fired = spikes.dense(float)
    value = np.zeros_like(fired)
    for k, h in enumerate(_filter(fir)[: len(fired)]):
        value[k:] += h * fired[: len(fired) - k]
    return value


def _filter(fir) -> np.ndarray:
    """h as float64 [K]. Raises ValueError for another shape and for values that are not finite."""
    fir = np.asarray(fir, float)
    if fir.ndim != 1 or not fir.size or not np.isfinite(fir).all():
        raise ValueError(f"fir has shape {fir.shape}; give the filter's answer to one spike, [K] finite numbers")
    return fir
