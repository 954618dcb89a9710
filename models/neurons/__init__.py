"""Every neuron model, by name. A new model is a declaration in this folder and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from spiketwin.models.neurons.adaptive import adaptive_lif
from spiketwin.models.neurons.adex import adex
from spiketwin.models.neurons.alpha import alpha_lif
from spiketwin.models.neurons.coba import coba_lif
from spiketwin.models.neurons.cuba import cuba_lif, cuba_lif_2, fast_slow_lif
from spiketwin.models.neurons.diehl_cook import diehl_cook_exc, diehl_cook_inh
from spiketwin.models.neurons.hodgkin_huxley import hh_1952, hh_neuron
from spiketwin.models.neurons.izhikevich import izhikevich
from spiketwin.models.neurons.lif import if_neuron, lif, lif_delta
from spiketwin.models.neurons.rnn import leaky_readout, rnn_lif
from spiketwin.models.neurons.stochastic import escape_lif, noisy_lif
from spiketwin.models.neurons.traub_miles import hh_traub_miles
from spiketwin.models.spec import NeuronSpec, unknown

NEURONS: Mapping[str, NeuronSpec] = MappingProxyType(
    {
        "if_neuron": if_neuron,
        "lif": lif,
        "lif_delta": lif_delta,
        "cuba_lif": cuba_lif,
        "cuba_lif_2": cuba_lif_2,
        "fast_slow_lif": fast_slow_lif,
        "coba_lif": coba_lif,
        "alpha_lif": alpha_lif,
        "adaptive_lif": adaptive_lif,
        "adex": adex,
        "izhikevich": izhikevich,
        "diehl_cook_exc": diehl_cook_exc,
        "diehl_cook_inh": diehl_cook_inh,
        "escape_lif": escape_lif,
        "noisy_lif": noisy_lif,
        "rnn_lif": rnn_lif,
        "leaky_readout": leaky_readout,
        "hh_1952": hh_1952,
        "hh_neuron": hh_neuron,
        "hh_traub_miles": hh_traub_miles,
    }
)


def neuron(name: str) -> NeuronSpec:
    """The model of that name. Raises ValueError that suggests the closest name."""
    if name not in NEURONS:
        raise ValueError(unknown(name, "model", "spiketwin", NEURONS))
    return NEURONS[name]
