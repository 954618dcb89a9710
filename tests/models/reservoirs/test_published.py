"""Published networks: Brunel's theory and a small network of his, CUBA and COBA rates, and the measures of the study."""

from __future__ import annotations

import numpy as np
import pytest

from spiketwin.experiments.protocol import COMMITTED, load
from spiketwin.experiments.studies.reservoirs import network_facts
from spiketwin.experiments.studies.reservoirs.network_facts import cv, mean_interval_ms, spectrum
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.reservoirs.published import CELLS, STATES, State, brunel_network, coba_network, cuba_network, mean_field_rate_hz
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
    """CUBA 5.4 to 6.0 Hz and a CV of .53 over the second of Brian2's example. COBA 18 to 22 Hz over six seeds: another program found
    18.4 to 19.5 for a few."""
    engine = CompiledEngine(threads=1)
    cuba = [engine.run(cuba_network(seed=seed), dt_ms=0.1, duration_ms=1000).spikes[CELLS] for seed in range(3)]
    assert 5.4 < np.mean([spikes.rates_hz().mean() for spikes in cuba]) < 6.0
    assert np.mean([cv(spikes) for spikes in cuba]) == pytest.approx(0.53, abs=0.02)  # seeds differ by .01
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


def test_the_committed_networks_fire_as_published() -> None:
    """At full size: rates, rhythms and CVs of Brunel's paper and of independent simulations."""
    found = load(COMMITTED / "network_facts.json").mean
    assert 5.4 < found("cuba") < 6.0 and found("cuba_cv") == pytest.approx(0.53, abs=0.03)
    assert found("asynchronous_rate") == pytest.approx(37.5, abs=1) and found("asynchronous_mean_field") == pytest.approx(37.95, abs=0.01)
    assert found("asynchronous_cv") == pytest.approx(0.42, abs=0.03)  # .8 s hold few intervals that are long
    for name in ("synchronous_fast", "synchronous_slow"):
        # three seeds differ by .4 Hz in the slow state; lines of the spectrum lie 1.25 Hz apart
        assert found(f"{name}_rate") == pytest.approx(STATES[name].rate_hz, rel=0.05)
        assert found(f"{name}_rhythm") == pytest.approx(STATES[name].rhythm_hz, rel=0.05)
    # the grid's error halves with the step: what is left of it at .0125 ms is the last change once more
    at = [found(f"synchronous_regular_rate_at_{dt_ms:g}_ms") for dt_ms in network_facts.Config().finer_dt_ms]
    assert at[2] - at[1] == pytest.approx((at[1] - at[0]) / 2, rel=0.1)
    assert 2 * at[2] - at[1] == pytest.approx(335, rel=0.01)


def test_smoke() -> None:
    result = network_facts.smoke()
    for name in ("cuba", "coba", *(f"{state}_rate" for state in STATES), "synchronous_regular_rate_at_0.05_ms"):
        assert result.mean(name) > 2, name
    assert all(max(result.curves[state]["power"]) == 1 for state in STATES)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: State(float("nan"), 2.0), "g = nan and eta = 2.0 must be finite"),
        (lambda: State(5.0, -1.0), "eta = -1.0"),
        (lambda: brunel_network(STATES["asynchronous"], excitatory=3), "excitatory = 3 must be a whole number and at least 4"),
        (lambda: brunel_network(STATES["asynchronous"], excitatory=100, share=2.0), "share = 2.0 of the neurons"),
        (lambda: cuba_network(100, 2.0), "probability of ee synapses is 2.0"),
        (lambda: network_facts.Config(duration_ms=850.0), "duration_ms = 850.0 must be a positive multiple of 100 ms"),
    ],
)
def test_bad_input(make, match) -> None:
    with pytest.raises(ValueError, match=match):
        make()
