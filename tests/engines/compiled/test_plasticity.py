"""Plastic networks: the compiled engine against Brian2 over long random activity, and in every form of projection."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from plastic_cases import EVERYTHING, FAST, FORMS, largest_difference, random_network
from spiketwin.models import Network, Parameter, PoissonSource, Population, Projection, neuron
from spiketwin.models.engines.brian import BrianEngine
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.plasticity import Normalisation, PlasticityRule

BRIAN, COMPILED = BrianEngine(codegen="numpy"), CompiledEngine()


def test_a_minute_of_poisson_activity_gives_the_weight_traces_of_brian2():
    """A recurrent network with delays, both projections learning; every weight at each of 30,000 steps."""
    network = random_network(np.random.default_rng(1))
    arguments = dict(dt_ms=2.0, scheme="exact", duration_ms=60_000, record={"feed": ("w",), "recurrent": ("w",)}, seed=3)
    brian, compiled = BRIAN.run(network, **arguments), COMPILED.run(network, **arguments)
    assert compiled.spikes["cells"].equals(brian.spikes["cells"])
    assert 5 < compiled.spikes["cells"].rates_hz().mean() < 100
    for name in ("feed", "recurrent"):
        trace = brian.states[name]["w"][:, 0]
        assert (np.ptp(trace, axis=0) > 0.1).mean() > 0.8, "most weights must move for this to say anything"
        assert largest_difference(brian, compiled, name) < 1e-9


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_other_rules_and_forms_are_equal_in_brian2(options):
    network = random_network(np.random.default_rng(2), **options)
    arguments = dict(dt_ms=1.0, scheme="exact", duration_ms=1500, record={"feed": ("w",), "recurrent": ("w",)}, seed=3, trials=2)
    brian, compiled = BRIAN.run(network, **arguments), COMPILED.run(network, **arguments)
    assert compiled.spikes["cells"].equals(brian.spikes["cells"])
    assert len(compiled.spikes["cells"]) > 100
    assert compiled.states["feed"]["w"].shape == brian.states["feed"]["w"].shape
    for name in ("feed", "recurrent"):
        assert np.ptp(brian.states[name]["w"], axis=0).max() > 0.1
        assert largest_difference(brian, compiled, name) < 1e-9


def test_dense_weights_with_equal_delays_and_populations_that_share_a_source():
    rng = np.random.default_rng(4)
    cells = [Population(n, neuron("cuba_lif"), 5, drives={"i_ext": "0.19 nA"}) for n in ("a", "b")]
    projections = [Projection("input", n, rng.random((5, 6)), "i_syn", "nA", d, rule=FAST) for n, d in (("a", 0.0), ("b", 2.5))]
    network = Network(
        cells, [*projections, Projection("a", "b", rng.random((5, 5)), "i_syn", "pA", rule=FAST)], [PoissonSource("input", 6, 20)]
    )
    arguments = dict(dt_ms=0.5, scheme="exact", duration_ms=500, seed=1)
    brian, compiled = BRIAN.run(network, **arguments), COMPILED.run(network, **arguments)
    for name, weights in brian.weights.items():
        assert brian.spikes["b"].equals(compiled.spikes["b"])
        assert not np.array_equal(weights[0], network.projections[0].synapse_values())
        np.testing.assert_allclose(compiled.weights[name], weights, rtol=1e-9, atol=1e-12)


def test_a_session_keeps_what_synapses_remember_and_draw(tmp_path):
    """Two halves, the second from a file in a session of its own, are the whole bit for bit."""
    network = random_network(np.random.default_rng(8), rule=EVERYTHING)

    def start():
        return COMPILED.start(network, dt_ms=1.0, scheme="exact", seed=4)

    whole, first, second = start(), start(), start()
    first.run(duration_ms=200)
    second.load(first.save(tmp_path / "half.npz"))
    for session, duration_ms in ((whole, 400), (second, 200)):
        session.run(duration_ms=duration_ms)
    for name in ("feed", "recurrent"):
        np.testing.assert_array_equal(second.weights(name).data, whole.weights(name).data)
        assert not np.array_equal(first.weights(name).data, whole.weights(name).data)


def test_trials_learn_apart_from_each_other_whatever_the_threads():
    network = random_network(np.random.default_rng(5))
    arguments = dict(dt_ms=1.0, scheme="exact", duration_ms=400, trials=3, seed=2)
    one, three = (CompiledEngine(threads=k).run(network, **arguments) for k in (1, 3))
    assert not np.array_equal(one.weights["feed"][0], one.weights["feed"][1])
    np.testing.assert_array_equal(one.weights["feed"], three.weights["feed"])


def test_single_precision_learns_the_same():
    network = random_network(np.random.default_rng(6))
    arguments = dict(dt_ms=1.0, scheme="exact", duration_ms=150, seed=2)
    double, single = (CompiledEngine(dtype=d).run(network, **arguments) for d in ("float64", "float32"))
    assert single.spikes["cells"].equals(double.spikes["cells"]) and len(single.spikes["cells"]) > 10
    assert single.weights["feed"].dtype == np.float32
    # some hundred changes, each rounded to 24 bits
    np.testing.assert_allclose(single.weights["feed"], double.weights["feed"], atol=1e-5)


def test_normalisation_keeps_the_sum_and_leaves_neurons_without_weight_alone():
    weights = np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 0.0]])
    learning = Projection(
        "input", "cells", weights, "i_syn", "nA", rule=FAST, name="learning", normalisation=Normalisation(2.0, every_ms=10)
    )
    network = Network([Population("cells", neuron("cuba_lif"), 2)], [learning], [PoissonSource("input", 3, 0.0)])
    for engine in (BRIAN, COMPILED):
        got = engine.run(network, dt_ms=1.0, scheme="exact", duration_ms=20).weights["learning"][0]
        np.testing.assert_allclose(learning.matrix(got), [[1.0, 0.5, 0.5], [0, 0, 0]], rtol=1e-12)


def test_a_projection_without_synapses():
    network = Network(
        [Population("cells", neuron("cuba_lif"), 2)],
        [Projection("input", "cells", scipy.sparse.csr_array((2, 3)), "i_syn", "nA", rule=FAST, name="none")],
        [PoissonSource("input", 3, 50.0)],
    )
    for engine in (BRIAN, COMPILED):
        assert engine.run(network, dt_ms=1.0, scheme="exact", duration_ms=20).weights["none"].shape == (1, 0)


def test_names_of_traces_do_not_matter():
    """Names of one letter that generated code might want for itself."""
    a, b = (
        PlasticityRule(
            name="named",
            pre_traces=f"d{pre}/dt = -{pre}/tau : 1",
            post_traces=f"d{post}/dt = -{post}/tau : 1 \n d{more}/dt = -{more}/tau : 1",
            on_pre=f"{pre} = 1; w = clip(w - 0.02*{post}, 0, 1)",
            on_post=f"w = clip(w + 0.05*{pre}*{more}, 0, 1); {post} = 1; {more} = {more} + 1",
            parameters={"tau": Parameter(20, "ms")},
            bounds=("0", "1"),
        )
        for pre, post, more in (("pre", "post", "more"), ("h", "n", "q"))
    )
    ran = [
        COMPILED.run(random_network(np.random.default_rng(1), rule=rule), dt_ms=2.0, scheme="exact", duration_ms=2000, seed=3)
        for rule in (a, b)
    ]
    np.testing.assert_array_equal(ran[0].weights["feed"], ran[1].weights["feed"])
    assert np.ptp(ran[0].weights["feed"]) > 0.1 and len(ran[0].spikes["cells"]) > 20
