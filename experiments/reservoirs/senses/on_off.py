"""Numbers as regular spike trains, two channels for each."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator

from spiketwin.experiments.reservoirs.senses.series import series
from spiketwin.models.encoders.shared import positive, whole_steps
from spiketwin.models.spikes import Spikes

ROUNDING = 1e-9  # a phase that misses a whole number by less has reached it


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
    return regular(rate_hz * np.concatenate([np.maximum(z, 0), np.maximum(-z, 0)], axis=2), dt_ms=dt_ms, duration_ms=duration_ms)


def regular(rates_hz: np.ndarray, *, dt_ms: float, duration_ms: float) -> Spikes:
    """Regular spikes at rates [samples, frames, channels], each frame held for an equal share of the duration; one in a step at most.

    A channel fires where its phase, the integral of its rate, passes a whole number; phases start apart, so that equal rates are not in step.
    """
    steps, (samples, frames, channels) = whole_steps(duration_ms, dt_ms, "duration_ms"), rates_hz.shape
    begins = -(-np.arange(frames + 1) * steps // frames)
    rate = rates_hz * (dt_ms * 1e-3)
    phase = np.zeros((samples, frames + 1, channels))
    np.cumsum(rate * np.diff(begins)[:, None], axis=1, out=phase[:, 1:])
    phase += np.arange(channels) * 0.6180339887 % 1
    passed = np.floor(phase + ROUNDING)
    many = np.diff(passed, axis=1).astype(int)
    where = np.nonzero(many)
    each = many[where]
    nth = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
    sample, frame, channel = (np.repeat(index, each) for index in where)
    ahead = passed[sample, frame, channel] + 1 + nth - ROUNDING - phase[sample, frame, channel]
    step = begins[frame] + np.ceil(ahead / rate[sample, frame, channel]).astype(int) - 1
    key = np.unique((np.clip(step, begins[frame], begins[frame + 1] - 1) * samples + sample) * channels + channel)
    row, channel = np.divmod(key, channels)
    return Spikes(*np.divmod(row, samples), channel, shape=(steps, samples, channels), dt_ms=dt_ms)
