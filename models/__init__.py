"""What a network is: neuron declarations, discretisation, networks, engines, encoders, recordings.

Light to import: Brian2, torch, numba, scipy and sympy come in only when an engine or a derivation needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from spiketwin.models.network import Convolution, Network, PoissonSource, Population, Projection, SpikeSource, stack
from spiketwin.models.recording import Recording
from spiketwin.models.spec import NeuronSpec, Parameter, SpecError
from spiketwin.models.spikes import Spikes
from spiketwin.models.units import UnitError

if TYPE_CHECKING:
    from spiketwin.models.discretisation import SCHEMES, derive
    from spiketwin.models.engines import get_engine
    from spiketwin.models.neurons import NEURONS, neuron

_LATER = {
    "SCHEMES": "spiketwin.models.discretisation",
    "derive": "spiketwin.models.discretisation",
    "get_engine": "spiketwin.models.engines",
    "NEURONS": "spiketwin.models.neurons",
    "neuron": "spiketwin.models.neurons",
}

__all__ = [
    "NEURONS",
    "SCHEMES",
    "Convolution",
    "Network",
    "NeuronSpec",
    "Parameter",
    "PoissonSource",
    "Population",
    "Projection",
    "Recording",
    "SpecError",
    "SpikeSource",
    "Spikes",
    "UnitError",
    "derive",
    "get_engine",
    "neuron",
    "stack",
]


def __getattr__(name: str):
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'spiketwin.models' has no attribute '{name}'")
