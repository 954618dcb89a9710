"""Published networks: Brunel's theory and a small network of his, CUBA and COBA rates, and the measures of the study."""

from __future__ import annotations

import numpy as np
import pytest

from spiketwin.experiments.studies.reservoirs.network_facts import cv, mean_interval_ms, spectrum
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.reservoirs.published import CELLS, STATES, brunel_network, coba_network, cuba_network, mean_field_rate_hz
from spiketwin.models.spikes import Spikes


@pytest.mark.parametrize(("name", "theory_hz"), [("synchronous_fast", 55.8), ("asynchronous", 38.0), ("synchronous_slow", 6.5)])
def test_mean_field_rates_are_those_of_the_papers_table(name, theory_hz):
    assert mean_field_rate_hz(STATES[name]) == pytest.approx(theory_hz, abs=0.06)  # the table has one decimal


def test_brunels_network_has_his_degrees_and_weights():
    (projection,) = brunel_network(STATES["asynchronous"], excitatory=400).projections
    dense = projection.weights.toarray()
    assert dense.shape == (500, 500) and ((dense[:, :400] > 0).sum(axis=1) == 40).all() and ((dense[:, 400:] < 0).sum(axis=1) == 10).all()
    assert set(np.unique(projection.weights.data)) == {0.1, -0.5} and projection.delay_ms == 1.5


def test_a_smaller_asynchronous_network_fires_as_the_theory_says():
    """A quarter of the neurons and of the synapses, with four times the weight: the mean input stays, its variance grows."""
    smaller = dict(excitatory=2500, j_mv=0.4)
    network = brunel_network(STATES["asynchronous"], **smaller)
    run = CompiledEngine(threads=1).run(network, dt_ms=0.1, duration_ms=250, scheme="euler_maruyama")
    spikes = run.spikes[CELLS].during(500, 2500)
    # the diffusion that the theory assumes has jumps of 2 % of the threshold here
    assert spikes.rates_hz().mean() == pytest.approx(mean_field_rate_hz(STATES["asynchronous"], **smaller), rel=0.05)
    assert cv(spikes) > 0.3


def test_cuba_and_coba_fire_at_the_published_rates():
    """CUBA 5.4 to 6.0 Hz. COBA 18 to 22 Hz over six seeds: another program found 18.4 to 19.5 for a few."""
    engine = CompiledEngine(threads=1)
    cuba = engine.run(cuba_network(), dt_ms=0.1, duration_ms=600).spikes[CELLS].during(1000, 6000)
    assert cuba.rates_hz().mean() == pytest.approx(5.7, abs=0.4)
    coba = engine.run(coba_network(seed=3), dt_ms=0.1, duration_ms=400, scheme="exponential_euler").spikes[CELLS].during(1000, 4000)
    assert 17 < coba.rates_hz().mean() < 23 and cv(coba) > 0.7


def test_variation_of_intervals_and_the_rhythm_of_activity():
    # intervals 1, 3, 1, 3: mean 2, standard deviation 1; the other neuron is regular: 0
    steps = np.array([0, 1, 4, 5, 8, 0, 2, 4, 6, 8])
    spikes = Spikes(steps, np.zeros(10, int), np.repeat([0, 1], 5), (20, 1, 2), 1.0)
    assert cv(spikes) == pytest.approx(0.25)
    assert cv(Spikes([0], [0], [0], (20, 1, 2), 1.0)) == 0


def test_the_mean_interval_is_that_within_neurons() -> None:
    spikes = Spikes([0, 3, 4, 10, 14], [0] * 5, [0, 1, 0, 0, 1], (20, 1, 2), 0.5)
    assert mean_interval_ms(spikes) == pytest.approx(0.5 * (4 + 6 + 11) / 3)
    assert mean_interval_ms(Spikes([0], [0], [0], (20, 1, 2), 1.0)) == float("inf")
    # a rate that swings at 40 Hz
    rng, time = np.random.default_rng(0), np.arange(1000) * 1e-3
    fired = rng.random((1000, 1, 50)) < 0.02 * (1 + np.sin(2 * np.pi * 40 * time))[:, None, None]
    frequency, power = spectrum(Spikes.from_dense(fired, 1.0))
    assert frequency[power.argmax()] == pytest.approx(40, abs=1.01)
