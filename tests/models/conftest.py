"""One model alone in the compiled engine: what most facts need."""

from __future__ import annotations

import numpy as np
import pytest

from spiketwin.models.engines import get_engine
from spiketwin.models.gallery import best_scheme
from spiketwin.models.network import Network, Population, Projection, SpikeSource
from spiketwin.models.neurons import neuron
from spiketwin.models.spikes import Spikes


@pytest.fixture
def simulate():
    """simulate(name, …) -> Recording of `size` uncoupled neurons 'cells'.

    drive: SI number or array [size]; drives over time as `inputs`.  spike: (receptor, SI weight) for one
    presynaptic spike that takes effect at the end of step 0, so at time dt.
    """

    def run(name, *, duration_ms, dt_ms=0.1, size=1, drive=None, spike=None, parameters=None, initial=None, scheme=None, **settings):
        spec = neuron(name)
        drives = {} if drive is None else {spec.drives[0]: drive}
        cells = Population("cells", spec, size, parameters=parameters or {}, drives=drives, initial=initial or {})
        scheme = scheme or best_scheme(spec)
        settings = {"record": {"cells": spec.states}, **settings}
        if spike is None:
            return get_engine("compiled").run(Network([cells]), dt_ms=dt_ms, scheme=scheme, duration_ms=duration_ms, **settings)
        receptor, weight = spike
        network = Network([cells], [Projection("source", "cells", np.full((size, 1), weight), receptor)], [SpikeSource("source", 1)])
        arriving = Spikes([0], [0], [0], (round(duration_ms / dt_ms), 1, 1), dt_ms)
        return get_engine("compiled").run(network, {"source": arriving}, dt_ms=dt_ms, scheme=scheme, **settings)

    return run


@pytest.fixture
def voltage():
    """voltage(recording) -> v in mV, [T, N]."""
    return lambda recording: 1e3 * recording.states["cells"]["v"][:, 0]
