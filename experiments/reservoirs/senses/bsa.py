"""Signals by Ben's Spiker Algorithm: spikes that, sent through a low-pass, add up to the signal (models/encoders/bsa.py)."""

from __future__ import annotations

import numpy as np
from scipy.signal import firwin
from sklearn.base import BaseEstimator

from spiketwin.experiments.reservoirs.senses.series import on_grid, signals
from spiketwin.models.encoders.bsa import THRESHOLD, bsa
from spiketwin.models.encoders.shared import positive, whole_steps
from spiketwin.models.spikes import Spikes


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
        found = bsa(on_grid(scaled, steps), fir=fir, threshold=self.threshold * fir.sum(), dt_ms=dt_ms)
        return found, np.full(found.shape[1], steps)
