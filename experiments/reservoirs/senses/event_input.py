"""Recorded events as they are: cochlea words, event cameras."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator

from spiketwin.experiments.data.events import EventSamples
from spiketwin.models.encoders.shared import whole_steps
from spiketwin.models.spikes import Spikes, timestep


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
        whole_steps(duration_ms, dt_ms, "duration_ms")
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
