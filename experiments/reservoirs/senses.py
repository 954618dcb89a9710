"""How samples become the spikes that a liquid hears. Each sample's spikes depend on that sample alone, and not on chance.

    OnOff        numbers: each feature drives two channels, one by what exceeds its mean, one by what falls short of it
    EventInput   events: cochlea words, event cameras, as they are

A sense is an estimator without labels: fit(X) learns scales, inputs_ is its number of channels, spikes(X) gives (Spikes, ends).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array

from spiketwin.experiments.data.events import EventSamples
from spiketwin.models.encoders.shared import positive, whole_steps
from spiketwin.models.spikes import Spikes, timestep


class Sense(Protocol):
    """What an estimator needs of a sense."""

    inputs_: int

    def fit(self, X) -> Sense: ...

    def spikes(self, X, *, dt_ms: float, duration_ms: float) -> tuple[Spikes, np.ndarray]:
        """Spikes [T, B, inputs_], and after how many steps each sample ends [B]."""
        ...


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
        values = self._values(X)
        rows = values.reshape(-1, values.shape[2])
        self.mean_, spread = rows.mean(axis=0), rows.std(axis=0)
        self.scale_ = np.where(spread > 0, spread, 1.0)
        self.inputs_ = 2 * values.shape[2]
        return self

    def spikes(self, X, *, dt_ms: float, duration_ms: float) -> tuple[Spikes, np.ndarray]:
        values, steps = self._values(X), whole_steps(duration_ms, dt_ms, "duration_ms")
        z = np.clip((values - self.mean_) / self.scale_, -3, 3)
        rate = np.concatenate([np.maximum(z, 0), np.maximum(-z, 0)], axis=2) * (self.rate_hz * dt_ms * 1e-3)
        held = rate[:, np.arange(steps) * rate.shape[1] // steps]  # [B, T, inputs]
        # a channel fires where its phase passes a whole number; phases start apart, so that equal rates are not in step
        phase = np.cumsum(held, axis=1) + np.arange(self.inputs_) * 0.6180339887 % 1
        before = np.concatenate([np.broadcast_to(phase[:, :1] - held[:, :1], phase[:, :1].shape), phase[:, :-1]], axis=1)
        fired = np.floor(phase + 1e-9) > np.floor(before + 1e-9)
        return Spikes(*np.nonzero(fired.transpose(1, 0, 2)), shape=(steps, len(z), self.inputs_), dt_ms=dt_ms), np.full(len(z), steps)

    @staticmethod
    def _values(X) -> np.ndarray:
        values = check_array(X, dtype=float, allow_nd=True)
        if values.ndim not in (2, 3):
            raise ValueError(f"X has shape {values.shape}; give [samples, features] or [samples, steps, channels]")
        return values[:, None] if values.ndim == 2 else values


class EventInput(BaseEstimator):
    """Recorded events on the grid of the run; a sample ends `tail_ms` after its last event, or with the run.

    X: EventSamples, or a list of them as cross-validation makes it.
    """

    def __init__(self, tail_ms: float = 0.0) -> None:
        self.tail_ms = tail_ms

    def fit(self, X) -> EventInput:
        if not self.tail_ms >= 0:
            raise ValueError(f"tail_ms = {self.tail_ms} must not be negative")
        self.inputs_ = joined(X).size
        return self

    def spikes(self, X, *, dt_ms: float, duration_ms: float) -> tuple[Spikes, np.ndarray]:
        spikes = joined(X).batch(dt_ms=dt_ms, duration_ms=duration_ms)
        steps, trials, _ = spikes.shape
        last = np.full(trials, -1)
        np.maximum.at(last, spikes.batch, spikes.step)
        if (last < 0).any():
            raise ValueError(
                f"sample {int(np.argmin(last))} holds no event within duration_ms = {duration_ms:g}; leave it out or lengthen the run"
            )
        return spikes, np.minimum(last + 1 + int(timestep(self.tail_ms, dt_ms)), steps)


def is_events(X) -> bool:
    return isinstance(X, EventSamples) or (isinstance(X, list) and len(X) > 0 and all(isinstance(x, EventSamples) for x in X))


def joined(X) -> EventSamples:
    """Events as one set of samples. Raises ValueError for anything else, or for parts from different recordings."""
    if isinstance(X, EventSamples):
        return X
    if not is_events(X):
        raise ValueError(f"X is a {type(X).__name__}; EventInput takes EventSamples, such as load('spoken').train")
    first = X[0]
    if any(x.source is not first.source or x.size != first.size for x in X):
        raise ValueError("the samples come from different recordings; give parts of one EventSamples")
    numbers, labels = (np.concatenate([np.atleast_1d(getattr(x, name)) for x in X]) for name in ("numbers", "labels"))
    return EventSamples(first.source, numbers, labels, first.size)
