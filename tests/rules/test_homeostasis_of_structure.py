"""Mechanisms beside the weights: which synapses there are, and how excitable a neuron is."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest
import scipy.sparse

from spiketwin.experiments.studies.learning_rules.rules_in_engines import BOUND, Config, compare
from spiketwin.models import Network, PoissonSource, Population, Projection, SpecError, neuron
from spiketwin.models.engines.brian import BrianEngine
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.neurons import coba_lif, cuba_lif, lif_delta
from spiketwin.rules import RULES, intrinsic, rule, together
from spiketwin.rules.protocols import Protocol, pairs, weight_changes

REWIRING = RULES["structural_rewiring"]


# -- structural rewiring ----------------------------------------------------------------------------


def test_synapses_go_and_come_at_their_rates():
    """Without spikes. 2,000 weak synapses: a share exp(-t/tau_out) is left after t, where none returns; within four standard deviations.
    With w_new above w_prune all that returned stays: gone are p_0 = (e^(-t/tau_in) - e^(-t/tau_out))/(1 - tau_out/tau_in) of them."""
    n, t = 2000, 1.0
    silent = [Protocol([], [])] * n

    def left(made, weight):
        return weight_changes(made, silent, weight=weight, dt_ms=1.0, after_ms=1e3 * t) + weight

    def close(share, p):
        return abs(share - p) < 4 * np.sqrt(p * (1 - p) / n)

    slow = REWIRING.with_parameters(tau_out="1 second", tau_in="1e9 second", w_prune=0.1)
    weights = left(slow, 0.1)
    assert set(weights) == {0.0, 0.1} and close((weights == 0.1).mean(), exp(-t))
    assert (left(slow, 0.11) == 0.11).all(), "strong synapses stay"
    quick = REWIRING.with_parameters(tau_out="0.5 second", tau_in="2 second", w_prune=0.1, w_new=0.3)
    weights = left(quick, 0.1)
    assert set(weights) == {0.0, 0.1, 0.3}
    assert close((weights == 0).mean(), (exp(-t / 2) - exp(-t / 0.5)) / (1 - 0.25)) and close((weights == 0.1).mean(), exp(-t / 0.5))


def test_a_withdrawn_synapse_does_not_learn():
    """A pair at +10 ms adds .01 exp(-1/2); to a synapse that was withdrawn before, nothing."""
    both = together(rule("pair_additive"), REWIRING.with_parameters(tau_out="1 ms", tau_in="1e9 second", w_prune=0.1))
    protocol = [pairs(10, count=1), Protocol([], [])]
    np.testing.assert_allclose(weight_changes(both, protocol, weight=0.5, dt_ms=1.0), [0.01 * exp(-0.5), 0], rtol=1e-9)
    np.testing.assert_allclose(weight_changes(both, protocol, weight=0.05, dt_ms=1.0), [-0.05, -0.05], rtol=1e-12)


def test_a_network_that_learns_and_rewires_is_the_same_in_both_engines():
    both = together(
        rule("pair_additive").with_parameters(eta=0.05), REWIRING.with_parameters(w_prune=0.4, tau_out="0.5 second", tau_in="1 second")
    )
    found = compare(Config(duration_ms=800), both, 0)
    assert found["difference"] < BOUND and found["membrane"] < BOUND and not found["differing"]
    assert found["spikes"] > 100 and found["moved"] > 30


# -- intrinsic plasticity -----------------------------------------------------------------------------


def network(cells, size=4):
    currents = {"i_ext": np.linspace(0.15e-9, 0.4e-9, size)}
    synapses = scipy.sparse.csr_array(np.full((size, 50), 0.05))
    learning = Projection("input", "cells", synapses, "g_exc", "nS", name="learning", rule=rule("pair_additive"))
    return Network([Population("cells", cells, size, drives=currents)], [learning], [PoissonSource("input", 50, 20.0)])


def test_the_threshold_counts_spikes():
    """theta_ip = step_ip (spikes - rho_ip T), exactly; so the rate comes to rho_ip, where without it neurons fire at up to ten times that."""
    T, rho, step = 30.0, 8.0, 0.5e-3
    made = intrinsic(coba_lif, rho_ip=f"{rho} Hz", step_ip="0.5 mV")
    run = CompiledEngine().run(network(made), dt_ms=0.5, scheme="exponential_euler", duration_ms=1e3 * T, seed=1)
    counts = run.spikes["cells"].counts()[0]
    theta = run.final["cells"]["theta_ip"][0]
    np.testing.assert_allclose(theta, step * (counts - rho * T), atol=1e-9)  # 60,000 additions in double precision
    # theta stays within some 20 mV of 0: 40 spikes in 30 s
    late = run.spikes["cells"].step >= 40_000  # the last 10 s
    rates = np.bincount(run.spikes["cells"].neuron[late], minlength=4) / 10
    np.testing.assert_allclose(rates, rho, rtol=0.1)
    free = (
        CompiledEngine().run(network(coba_lif), dt_ms=0.5, scheme="exponential_euler", duration_ms=5e3, seed=1).spikes["cells"].counts()[0]
        / 5
    )
    assert free.max() > 4 * rho and np.ptp(free) > rho


def test_it_is_the_same_in_both_engines():
    made = intrinsic(coba_lif, rho_ip="10 Hz", step_ip="1 mV")
    kept = {"cells": ("v", "theta_ip"), "learning": ("w",)}
    runs = [
        engine.run(network(made), dt_ms=1.0, scheme="exponential_euler", duration_ms=600, seed=1, record=kept)
        for engine in (BrianEngine(codegen="numpy"), CompiledEngine())
    ]
    a, b = (run.spikes["cells"] for run in runs)
    assert len(a) > 20 and np.array_equal(a.step, b.step) and np.array_equal(a.neuron, b.neuron)
    for name, state in (("cells", "v"), ("cells", "theta_ip"), ("learning", "w")):
        x, y = (run.states[name][state] for run in runs)
        assert np.abs(x - y).max() < 1e-9 * np.abs(x).max(), state  # order of sums alone


def test_what_a_neuron_becomes_and_what_cannot():
    made = intrinsic(cuba_lif)
    assert made.threshold == f"{cuba_lif.threshold} + theta_ip" and made.reset.endswith("theta_ip += step_ip") and "theta_ip" in made.states
    assert made.parameters["step_ip"].value == 0.1 and made.parameters["rho_ip"].value == 5
    with pytest.raises(SpecError, match="has intrinsic plasticity already"):
        intrinsic(made)
    with pytest.raises(SpecError, match="the threshold '' of 'leaky_readout' is not of the form"):
        intrinsic(neuron("leaky_readout"))
    for name in ("hh_1952", "hh_neuron", "hh_traub_miles"):
        with pytest.raises(SpecError, match=f"of '{name}' resets nothing: it only notes spikes"):
            intrinsic(neuron(name))
    for wrong in (-1, np.nan):
        with pytest.raises(SpecError, match="lies outside"):
            intrinsic(lif_delta, rho_ip=wrong)
