"""What a run leaves behind: spikes and states, with the settings that produced them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from spiketwin.models.spikes import Spikes

# population name -> names of the states to record; spikes are always recorded
Record = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class Recording:
    """Spikes and states of one run.

    spikes: population -> Spikes.  states: population -> state -> array [T, B, N] in SI, the value at
    the start of each step.  final: population -> state -> array [B, N] after the last step.
    time_ms: [T], the times of the rows of `states`.
    """

    engine: str
    scheme: str
    dt_ms: float
    spikes: Mapping[str, Spikes]
    states: Mapping[str, Mapping[str, np.ndarray]]
    final: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    seed: int | None = None

    @property
    def time_ms(self) -> np.ndarray:
        steps = next(iter(self.spikes.values())).shape[0]
        return np.arange(steps) * self.dt_ms
