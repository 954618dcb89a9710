"""Ben's Spiker Algorithm: spikes that, sent through a FIR filter, add up to the signal.

    at each step t:  a spike if  Σ_k |s(t+k)| - Σ_k |s(t+k) - h(k)| >= threshold,  then s(t+k) <- s(t+k) - h(k)
    decoded:         s(t) = Σ_k h(k) spike(t-k)

A spike is set where taking the filter's answer away brings the rest of the signal closer to 0 by the threshold. Signals are not
negative. What one spike adds, the height of h, is as fine as the code gets.

Source: Schrauwen & Van Campenhout 2003, BSA, a fast and accurate spike train encoding scheme, IJCNN 4:2825.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import firwin
from sklearn.base import BaseEstimator

from spiketwin.experiments.reservoirs.senses.series import on_grid, signals
from spiketwin.models.encoders import shared
from spiketwin.models.encoders.shared import ROUNDING, positive, whole_steps
from spiketwin.models.spikes import Spikes

THRESHOLD = 0.955  # of the paper, for a filter of sum 1


def bsa(x, fir: np.ndarray, *, threshold: float = THRESHOLD, dt_ms: float) -> Spikes:
    """Spikes [T, B, N] of signals [T, B, N] that are not negative, a sample per step of dt_ms.

    fir: the filter h [K], in the unit of the signal.  threshold: in that unit; what does not reach the end of the signal cannot fit
    there, so the last spikes are K steps before it where the threshold is near Σ h.
    Raises ValueError for NaN, infinite and negative values, for another shape, and for a threshold that is not positive.
    """
    rest, fir = shared.signals(x).copy(), np.asarray(fir, float)
    positive(threshold=threshold, dt_ms=dt_ms)
    if fir.ndim != 1 or not fir.size or not np.isfinite(fir).all():
        raise ValueError(f"fir has shape {fir.shape}; give the filter's answer to one spike, [K] finite numbers")
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


def bsa_value(spikes: Spikes, fir: np.ndarray) -> np.ndarray:
    """The signals [T, B, N] that spikes stand for: each adds the filter h from its step on."""
    fired = spikes.dense(float)
    value = np.zeros_like(fired)
    for k, h in enumerate(np.asarray(fir, float)[: len(fired)]):
        value[k:] += h * fired[: len(fired) - k]
    return value


class BSA(BaseEstimator):
    """Signals as one channel each, whose filtered spikes are the signal between its least and its greatest value in fit().

    peak_hz: rate that stands for the greatest value. A spike is as high as 1/(peak_hz · length_ms), about: that is how fine the code is.
    cutoff_hz, length_ms: of the low-pass that decodes, a Hamming-windowed sinc: what is faster than cutoff_hz is lost.
    threshold: in the filter's sum.
    X: [samples, steps, channels], spread over the run; what lies outside the range of fit() is clipped.
    """

    def __init__(self, peak_hz: float = 500.0, *, cutoff_hz: float = 20.0, length_ms: float = 40.0, threshold: float = THRESHOLD) -> None:
        self.peak_hz, self.cutoff_hz, self.length_ms, self.threshold = peak_hz, cutoff_hz, length_ms, threshold

    def fit(self, X) -> BSA:
        positive(peak_hz=self.peak_hz, cutoff_hz=self.cutoff_hz, length_ms=self.length_ms, threshold=self.threshold)
        values = signals(X)
        self.least_, spread = values.min(axis=(0, 1)), np.ptp(values, axis=(0, 1))
        self.range_ = np.where(spread > 0, spread, 1.0)
        self.inputs_ = len(self.least_)
        return self

    def filter(self, dt_ms: float) -> np.ndarray:
        """h [K]: what a spike adds to a signal scaled to 0 … 1. Raises ValueError for a step too long for the settings."""
        if self.peak_hz * dt_ms > 1e3 or self.cutoff_hz * dt_ms >= 500:
            raise ValueError(
                f"dt_ms = {dt_ms} is too long for peak_hz = {self.peak_hz} (a spike per step at most) "
                f"or cutoff_hz = {self.cutoff_hz} (half a step's rate at most); lower them or dt_ms"
            )
        taps = max(round(self.length_ms / dt_ms), 2)
        return firwin(taps, self.cutoff_hz, fs=1e3 / dt_ms) * (1e3 / (self.peak_hz * dt_ms))

    def spikes(self, X, *, dt_ms: float, duration_ms: float) -> tuple[Spikes, np.ndarray]:
        steps, fir = whole_steps(duration_ms, dt_ms, "duration_ms"), self.filter(dt_ms)
        scaled = np.clip((signals(X) - self.least_) / self.range_, 0, 1)
        found = bsa(on_grid(scaled, steps), fir, threshold=self.threshold * fir.sum(), dt_ms=dt_ms)
        return found, np.full(found.shape[1], steps)
