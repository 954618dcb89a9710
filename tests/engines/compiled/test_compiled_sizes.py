"""The compiled engine at the ends of what can be asked: nothing, one, a million neurons, ten million synapses."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse

from spiketwin.models.engines import get_engine
from spiketwin.models.engines.base import prepare
from spiketwin.models.engines.compiled.program import Program
from spiketwin.models.network import Network, PoissonSource, Population, Projection, SpikeSource
from spiketwin.models.neurons import neuron
from spiketwin.models.spikes import Spikes

COMPILED = get_engine("compiled")


@pytest.mark.parametrize("weights", [scipy.sparse.csr_array((3, 3)), scipy.sparse.csc_array((3, 3))])
def test_a_projection_without_synapses_changes_nothing(weights):
    cells = Population("p", neuron("cuba_lif"), 3, drives={"i_ext": "0.3 nA"})
    connected = Network([cells], [Projection("p", "p", weights, "i_syn", unit="pA", delay_ms=1.0)])
    runs = [COMPILED.run(network, dt_ms=0.5, duration_ms=100).spikes["p"] for network in (connected, Network([cells]))]
    assert len(runs[0]) >= 6 and runs[0].equals(runs[1])


def test_one_neuron_with_one_synapse_on_itself():
    """Each spike adds 1 nA to i_syn at once, 100 Mohm · 1 nA = 100 mV of drive: once it fires it fires on, every 7 ms instead of every 30."""
    for current, fires in (("0 nA", False), ("0.25 nA", True)):
        cells = Population("p", neuron("cuba_lif"), 1, drives={"i_ext": current})
        network = Network([cells], [Projection("p", "p", np.array([[1000.0]]), "i_syn", unit="pA")])
        spikes = COMPILED.run(network, dt_ms=0.5, duration_ms=100).spikes["p"]
        gaps = np.diff(spikes.step)
        assert (len(spikes) >= 8 and (gaps < 15).all()) if fires else len(spikes) == 0


@pytest.mark.parametrize(("duration_ms", "message"), [(0.0, "0 steps"), (-5.0, "-10 steps")])
def test_a_run_without_steps_says_so(duration_ms, message):
    network = Network([Population("p", neuron("cuba_lif"), 2)])
    with pytest.raises(ValueError, match=message):
        COMPILED.run(network, dt_ms=0.5, duration_ms=duration_ms)
    with pytest.raises(ValueError, match="positive and finite"):
        COMPILED.run(network, dt_ms=-0.5, duration_ms=10)


def test_a_million_neurons():
    size, steps = 1_000_000, 8
    drive = np.zeros(size)
    drive[::1000] = 40e-9  # 4 V of drive: over threshold, 20 mV away, in the first step of 0.5 ms, and again 2 ms later
    run = COMPILED.run(Network([Population("p", neuron("cuba_lif"), size, drives={"i_ext": drive})]), dt_ms=0.5, duration_ms=steps * 0.5)
    assert run.spikes["p"].step.tolist() == [0] * 1000 + [4] * 1000
    np.testing.assert_array_equal(run.spikes["p"].neuron, np.tile(np.arange(0, size, 1000), 2))


def test_a_list_of_spikes_that_fills_up_is_emptied_on_the_way(monkeypatch):
    network = Network([Population("p", neuron("cuba_lif"), 20, drives={"i_ext": "0.4 nA"})])
    whole = COMPILED.run(network, dt_ms=0.5, duration_ms=2000, trials=2).spikes["p"]
    monkeypatch.setattr("spiketwin.models.engines.compiled.program.LIST_SIZE", 1)
    assert len(whole) > 2000
    assert COMPILED.run(network, dt_ms=0.5, duration_ms=2000, trials=2).spikes["p"].equals(whole)


def test_ten_million_synapses_are_held_once():
    """Each of 10,000 neurons has 1,000 targets. Sources fire in turn, so that each target's input is known."""
    size, degree = 10_000, 1_000
    post = ((np.arange(size)[:, None] + np.arange(degree)[None, :]) % size).astype(np.int32)
    post.sort(axis=1)
    weights = scipy.sparse.csc_array(
        (np.ones(size * degree), post.ravel(), np.arange(0, size * degree + 1, degree, dtype=np.int32)), shape=(size, size)
    )
    network = Network(
        [Population("p", neuron("cuba_lif"), size)], [Projection("s", "p", weights, "i_syn", unit="pA")], [SpikeSource("s", size)]
    )
    spikes = Spikes(np.arange(4), np.zeros(4), [0, 5000, 9999, 5000], (4, 1, size), 0.5)
    tracemalloc.start()
    try:
        run = prepare(network, {"s": spikes}, dt_ms=0.5, scheme="exact")
        program = Program(run, np.dtype("float64"))
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # the weights in SI; indices, 4 bytes each, are those of the matrix itself
    assert held < 9 * size * degree and peak < 9 * size * degree
    assert np.shares_memory(program.shared["post0"], weights.indices)
    program.execute(1)
    got = program.recording().final["p"]["i_syn"][0]
    decay = np.exp(-0.5 / 5)
    want = np.zeros(size)
    for step, source in ((0, 0), (1, 5000), (2, 9999), (3, 5000)):
        want[(source + np.arange(degree)) % size] += 1e-12 * decay ** (3 - step)
    np.testing.assert_allclose(got, want, rtol=1e-12)  # three products


def test_a_long_poisson_input_needs_no_memory():
    """1,000 trains of 500 Hz for 100 s hold 50 million spikes; as a list they would take 200 MB and more."""
    network = Network(
        [Population("p", neuron("cuba_lif"), 1)],
        [Projection("s", "p", np.full((1, 1000), 1e-3), "i_syn", unit="pA")],
        [PoissonSource("s", 1000, 500.0)],
    )
    COMPILED.run(network, dt_ms=1.0, duration_ms=10)  # what compiling takes is not counted
    tracemalloc.start()
    try:
        final = COMPILED.run(network, dt_ms=1.0, duration_ms=2000).final["p"]["i_syn"][0, 0]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2e6
    # stationary mean of weight · N · p / (1 - decay), p = 1 - exp(-0.5); it fluctuates by about 1 %
    want = 1e-15 * 1000 * -np.expm1(-0.5) / -np.expm1(-1 / 5)
    assert final == pytest.approx(want, rel=0.1)
