"""Numbers as regular spike trains, two channels for each."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator

from spiketwin.experiments.reservoirs.senses.held_rates import held_rates
from spiketwin.experiments.reservoirs.senses.series import series
from spiketwin.models.encoders.shared import positive
from spiketwin.models.spikes import Spikes


class OnOff(BaseEstimator):
    """Numbers as regular spike trains: a feature at z standard deviations above its mean fires its first channel at z · rate_hz,
    below it the second; beyond three standard deviations no faster.

    rate_hz: rate at one standard deviation.
    X: [samples, features], held for the whole run, or [samples, steps, channels], each step for an equal share of it.
    """

    def __init__(self, rate_hz: float = 40.0) -> None:
        self.rate_hz = rate_hz

    def fit(self, X) -> OnOff:
        positive(rate_hz=self.rate_hz)
        values = series(X)
        rows = values.reshape(-1, values.shape[2])
        self.mean_, spread = rows.mean(axis=0), rows.std(axis=0)
        self.scale_ = np.where(spread > 0, spread, 1.0)
        self.inputs_ = 2 * values.shape[2]
        return self

    def spikes(self, X, *, dt_ms: float, duration_ms: float) -> tuple[Spikes, np.ndarray]:
        values = series(X)
        spikes = on_off((values - self.mean_) / self.scale_, rate_hz=self.rate_hz, dt_ms=dt_ms, duration_ms=duration_ms)
        return spikes, np.full(len(values), spikes.shape[0])


def on_off(z: np.ndarray, *, rate_hz: float, dt_ms: float, duration_ms: float) -> Spikes:
    """Regular spikes of z [samples, frames, channels], each frame held for an equal share of the duration.

    Channels of z come first where it is positive, then again where it is negative, at |z| · rate_hz, |z| = 3 at most.
    """
    z = np.clip(z, -3, 3)
    return held_rates(rate_hz * np.concatenate([np.maximum(z, 0), np.maximum(-z, 0)], axis=2), dt_ms=dt_ms, duration_ms=duration_ms)
