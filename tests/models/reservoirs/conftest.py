"""Poisson input for liquids, and a run of one in the compiled engine."""

from __future__ import annotations

import numpy as np
import pytest

from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.reservoirs import INPUT
from spiketwin.models.spikes import Spikes


@pytest.fixture
def poisson():
    """poisson(channels, rate_hz, …) -> Spikes of independent channels."""

    def draw(channels, rate_hz, *, duration_ms=1000.0, dt_ms=1.0, trials=1, seed=0):
        rng = np.random.default_rng(seed)
        fired = rng.random((round(duration_ms / dt_ms), trials, channels)) < rate_hz * dt_ms * 1e-3
        return Spikes.from_dense(fired, dt_ms)

    return draw


@pytest.fixture
def echo(poisson):
    """echo(liquid, rate_hz, …) -> Recording under Poisson input."""

    def run(liquid, rate_hz=25.0, *, scheme="exact", **how):
        spikes = poisson(liquid.inputs, rate_hz, **how)
        return CompiledEngine(threads=1).run(liquid.network, {INPUT: spikes}, dt_ms=spikes.dt_ms, scheme=scheme)

    return run
