"""The registry: every model is complete, validated by Brian2 itself, and has a stimulus that makes it fire."""

from __future__ import annotations

import numpy as np
import pytest

from spiketwin.models.discretisation import unsupported_reason
from spiketwin.models.network import Network, PoissonSource, Population, Projection
from spiketwin.models.neurons import NEURONS, neuron
from spiketwin.models.neurons.stimuli import STIMULUS, stimulus
from spiketwin.models.units import quantity


@pytest.mark.parametrize("name", NEURONS)
def test_a_model_is_complete(name):
    spec = neuron(name)
    assert spec.name == name
    assert spec.source and all(p.description for p in spec.parameters.values())
    assert "v" in spec.states and spec.drives == ("i_ext",)
    assert bool(spec.threshold) == bool(spec.spike_scale)
    assert spec.inputs or name == "lif"  # the one model with injected current only
    # what has a refractory period in its parameters uses it
    assert ("tau_ref" in spec.parameters) == (spec.refractory == "tau_ref")
    values = Population("cells", spec, 3).initial_values()
    assert all(np.isfinite(v).all() and v.shape == (3,) for v in values.values())


@pytest.mark.parametrize("name", NEURONS)
def test_brian2_accepts_the_equations(name):
    brian2 = pytest.importorskip("brian2")
    spec = neuron(name)
    brian2.start_scope()
    namespace = {}
    for n, p in spec.parameters.items():
        d = p.dimension
        dim = brian2.get_or_create_dimension(m=float(d.metre), kg=float(d.kilogram), s=float(d.second), A=float(d.ampere))
        namespace[n] = brian2.Quantity(p.si, dim=dim)
    # a drive is a parameter of each neuron there
    group = brian2.NeuronGroup(
        2,
        spec.equations,
        threshold=spec.threshold or None,
        reset=spec.reset or None,
        refractory=spec.refractory or False,
        method="euler",
        namespace=namespace,
    )
    network = brian2.Network(group)
    network.run(0.1 * brian2.ms)  # units are checked before the run
    assert set(spec.states) <= set(group.variables)


@pytest.mark.parametrize("name", NEURONS)
def test_some_scheme_integrates_every_model(name):
    spec = neuron(name)
    assert not unsupported_reason(spec, "euler_maruyama" if spec.is_noisy else "rk4")


def test_unknown_model():
    with pytest.raises(ValueError, match="unknown model 'coba' of 'spiketwin'. Did you mean 'coba_lif'?"):
        neuron("coba")


def test_every_model_has_a_stimulus():
    assert set(STIMULUS) == set(NEURONS)
    with pytest.raises(ValueError, match="no stimulus for 'cuba'.*Did you mean 'cuba_lif"):
        stimulus("cuba")


@pytest.mark.parametrize("name", NEURONS)
def test_stimuli_have_the_models_units(name):
    spec, s = neuron(name), stimulus(name)
    for drive, text in s["drive"].items():
        assert quantity(text)[1] == spec.dimension(drive) == quantity(s["drive_max"])[1]
    assert (s["receptor"] in spec.inputs) == bool(spec.inputs)
    if s["receptor"]:
        assert quantity(s["weight"])[1] == spec.dimension(s["receptor"])


@pytest.mark.parametrize("name", [n for n, spec in NEURONS.items() if spec.threshold])
def test_stimuli_make_their_model_fire(simulate, name):
    s = stimulus(name)
    driven = simulate(name, drive=quantity(s["drive"]["i_ext"])[0], duration_ms=500, dt_ms=0.05, record={})
    assert 5 <= len(driven.spikes["cells"]) < 100
    if s["receptor"]:
        weight = quantity(s["weight"])[0]
        single = simulate(name, spike=(s["receptor"], weight), parameters=s["quiet"], duration_ms=100, dt_ms=0.05, seed=1)
        assert len(single.spikes["cells"]) == 0
        assert np.ptp(single.states["cells"]["v"][:, 0, 0]) > 0


@pytest.mark.parametrize("name", [n for n, s in STIMULUS.items() if s["receptor"] and NEURONS[n].threshold])
def test_poisson_stimuli_make_their_model_fire(name):
    from spiketwin.models.engines import get_engine
    from spiketwin.models.gallery import best_scheme

    s = stimulus(name)
    projection = Projection("input", "cells", np.array([[quantity(s["weight"])[0]]]), s["receptor"])
    network = Network([Population("cells", neuron(name), 1)], [projection], [PoissonSource("input", 1, s["rate_hz"])])
    run = get_engine("compiled").run(network, dt_ms=0.05, scheme=best_scheme(neuron(name)), duration_ms=500)
    assert 5 <= len(run.spikes["cells"]) < 100


def test_figures_have_a_panel_for_each_answer():
    from spiketwin.models.gallery import figure

    titles = [axes.get_title() for axes in figure("cuba_lif", dt_ms=0.2).axes]
    assert titles == ["step of 0.29 nA", "f-I curve", "i_syn + 0.057 nA"]
    assert len(figure("lif", dt_ms=0.2).axes) == 2
