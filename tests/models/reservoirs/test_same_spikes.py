"""Same liquid, same spikes: compiled, in Brian2 and in torch, for a second."""

from __future__ import annotations

import pytest

from spiketwin.models.engines import get_engine
from spiketwin.models.engines.brian import BrianEngine
from spiketwin.models.reservoirs import INPUT, deep, fast_slow_liquid, liquid, maass_column
from spiketwin.models.stacks.heterogeneity import lognormal, uniform


def assert_same(made, poisson, engines, least):
    spikes = {INPUT: poisson(made.inputs, 25.0, seed=3)}
    reference = get_engine("compiled").run(made.network, spikes, dt_ms=1.0).spikes
    assert sum(len(reference[name]) for name in made.read) > least
    for engine in engines:
        found = engine.run(made.network, spikes, dt_ms=1.0).spikes
        for name in (p.name for p in made.network.populations):
            assert found[name].equals(reference[name]), (engine.name, name)


def test_the_column(poisson):
    """135 neurons, four kinds of synapses with their delays, two refractory periods."""
    assert_same(maass_column(8), poisson, (BrianEngine(codegen="numpy"), get_engine("torch")), least=2000)


def test_a_thousand_neurons_with_delays_and_membranes_of_their_own(poisson):
    made = liquid(40, 1000, delay_ms=uniform(0.0, 6.0), parameters={"tau_mem": lognormal(20, 0.3)})
    assert_same(made, poisson, (BrianEngine(codegen="numpy"), get_engine("torch")), least=10_000)


@pytest.mark.parametrize("build", [fast_slow_liquid, lambda inputs: deep(inputs, (60, 60))], ids=["fast_slow", "deep"])
def test_torch_runs_the_others(poisson, build):
    assert_same(build(20), poisson, (get_engine("torch"),), least=500)
