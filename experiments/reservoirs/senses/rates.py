"""Numbers of known range as rates: images, probabilities."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator

from spiketwin.experiments.reservoirs.senses.held_rates import held_rates
from spiketwin.experiments.reservoirs.senses.series import series
from spiketwin.models.encoders.shared import positive
from spiketwin.models.spikes import Spikes


class Rates(BaseEstimator):
    """Each feature x as a regular train of x/highest · rate_hz. Nothing is learnt but the number of features.

    rate_hz: of the highest value.  highest: of all features, such as 255 for pixels.
    X: [samples, features], held for the whole run, or [samples, steps, channels], each step for an equal share of it.
    Raises ValueError for values outside 0 … highest.
    """

    def __init__(self, rate_hz: float = 100.0, highest: float = 1.0) -> None:
        self.rate_hz, self.highest = rate_hz, highest

    def fit(self, X) -> Rates:
        positive(rate_hz=self.rate_hz, highest=self.highest)
        self.inputs_ = self._checked(X).shape[2]
        return self

    def spikes(self, X, *, dt_ms: float, duration_ms: float) -> tuple[Spikes, np.ndarray]:
        values = self._checked(X)
        spikes = held_rates(values * (self.rate_hz / self.highest), dt_ms=dt_ms, duration_ms=duration_ms)
        return spikes, np.full(len(values), spikes.shape[0])

    def _checked(self, X) -> np.ndarray:
        values = series(X)
        if values.min() < 0 or values.max() > self.highest:
            raise ValueError(
                f"X lies within {values.min():g} … {values.max():g}, but rates are for 0 … highest = {self.highest:g}; scale X, or set highest"
            )
        return values
