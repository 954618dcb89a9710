"""Signals by send-on-delta: a spike says that a channel has moved by so much (models/encoders/delta.py)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.base import BaseEstimator

from spiketwin.experiments.reservoirs.senses.series import on_grid, signals
from spiketwin.models.encoders import delta
from spiketwin.models.encoders.shared import positive, whole_steps
from spiketwin.models.spikes import Spikes


class Delta(BaseEstimator):
    """Two channels for each signal and each size of move: up and down. A constant signal is silent.

    deltas: moves that cost a spike, in standard deviations of the signal; small ones follow ripples, large ones see only what is big.
    X: [samples, steps, channels], spread over the run.
    Order of the channels: all up then all down for the first delta, for the second, …
    """

    def __init__(self, deltas: Sequence[float] = (0.25, 1.0)) -> None:
        self.deltas = deltas

    def fit(self, X) -> Delta:
        if np.ndim(self.deltas) != 1 or not len(self.deltas):
            what = "empty" if np.ndim(self.deltas) == 1 else f"{self.deltas}, which is no sequence"
            raise ValueError(f"deltas is {what}; give one size of move at least, e.g. (0.5,)")
        for size in self.deltas:
            positive(deltas=size)
        spread = signals(X).std(axis=(0, 1))
        self.scale_ = np.where(spread > 0, spread, 1.0)
        self.inputs_ = 2 * len(spread) * len(self.deltas)
        return self

    def spikes(self, X, *, dt_ms: float, duration_ms: float) -> tuple[Spikes, np.ndarray]:
        steps = whole_steps(duration_ms, dt_ms, "duration_ms")
        moving = on_grid(signals(X) / self.scale_, steps)
        parts = [delta(moving, delta=size, dt_ms=dt_ms) for size in self.deltas]
        neuron = [part.neuron + k * part.shape[2] for k, part in enumerate(parts)]
        step, batch = (np.concatenate([getattr(part, name) for part in parts]) for name in ("step", "batch"))
        shape = (steps, moving.shape[1], self.inputs_)
        return Spikes(step, batch, np.concatenate(neuron), shape, dt_ms), np.full(shape[1], steps)
