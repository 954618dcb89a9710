"""What learning rules make of a network: rates that are reached, weights that part ways."""

from __future__ import annotations

import numpy as np
import pytest

from spiketwin.models import Network, PoissonSource, Population, Projection
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.neurons import coba_lif
from spiketwin.rules import rule


def test_inhibitory_plasticity_brings_neurons_to_the_target_rate():
    """Eight neurons whose currents alone make them fire at up to 70 Hz end at rho_0 (Vogels et al. 2011, eq. 4), whatever the current."""
    wanted = 10.0
    learning = rule("inhibitory").with_parameters(rho_0=f"{wanted} Hz", eta=0.05, w_max=20)
    cells = Population("cells", coba_lif, 8, drives={"i_ext": np.linspace(0.15e-9, 0.3e-9, 8)})
    inhibition = Projection("inhibition", "cells", np.full((8, 60), 0.1), "g_inh", "nS", rule=learning, name="learning")
    session = CompiledEngine(threads=1).start(
        Network([cells], [inhibition], [PoissonSource("inhibition", 60, 20.0)]), dt_ms=0.5, scheme="exponential_euler", seed=1
    )

    def rates(seconds: float) -> np.ndarray:
        fired = session.run(duration_ms=1e3 * seconds).spikes["cells"]
        return np.bincount(fired.neuron, minlength=8) / seconds

    early = rates(0.5)
    rates(40)
    late = rates(20)
    assert early.max() > 3 * wanted and np.ptp(early) > wanted
    # 200 spikes in 20 s, so that chance alone is ± 7 % where firing is irregular
    np.testing.assert_allclose(late, wanted, rtol=0.2)
    assert late.mean() == pytest.approx(wanted, rel=0.08)
    weights = session.weights("learning").mean(axis=1)
    assert (np.diff(weights) > 0).all(), "stronger currents are met by stronger inhibition"
