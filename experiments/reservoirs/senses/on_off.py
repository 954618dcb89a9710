"""Numbers as regular spike trains, two channels for each."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator

from spiketwin.experiments.reservoirs.senses.series import series
from spiketwin.models.encoders.shared import positive, whole_steps
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
    steps, z = whole_steps(duration_ms, dt_ms, "duration_ms"), np.clip(z, -3, 3)
    rate = np.concatenate([np.maximum(z, 0), np.maximum(-z, 0)], axis=2) * (rate_hz * dt_ms * 1e-3)
    held = rate[:, np.arange(steps) * rate.shape[1] // steps]  # [B, T, inputs]
    # a channel fires where its phase passes a whole number; phases start apart, so that equal rates are not in step
    phase = np.cumsum(held, axis=1) + np.arange(rate.shape[2]) * 0.6180339887 % 1
    before = np.concatenate([np.broadcast_to(phase[:, :1] - held[:, :1], phase[:, :1].shape), phase[:, :-1]], axis=1)
    fired = np.floor(phase + 1e-9) > np.floor(before + 1e-9)
    return Spikes(*np.nonzero(fired.transpose(1, 0, 2)), shape=(steps, len(z), rate.shape[2]), dt_ms=dt_ms)
