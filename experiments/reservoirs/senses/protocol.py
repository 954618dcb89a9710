"""What a sense is."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from spiketwin.models.spikes import Spikes


class Sense(Protocol):
    """What an estimator needs of a sense."""

    inputs_: int

    def fit(self, X) -> Sense: ...

    def spikes(self, X, *, dt_ms: float, duration_ms: float) -> tuple[Spikes, np.ndarray]:
        """Spikes [T, B, inputs_], and after how many steps each sample ends [B]."""
        ...
