"""A stimulus that makes each model fire, for figures and for checks that run over all models.

drive: constant analogue input, enough for regular firing ({} where the model has no drive). drive_max: the end of an f-I curve.
receptor, weight, rate_hz: a Poisson train that makes the model fire through its (excitatory) receptor; the
empty receptor means that the model has none. One spike of that weight does not make a rested neuron fire.
quiet: parameters that silence a model which fires without input; {} where it is silent anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypedDict

from spiketwin.models.neurons import NEURONS
from spiketwin.models.spec import unknown


class Stimulus(TypedDict):
    drive: Mapping[str, str]
    drive_max: str
    receptor: str
    weight: str
    rate_hz: float
    quiet: Mapping[str, float]


def _stimulus(i_ext: str, drive_max: str, receptor: str = "", weight: str = "", rate_hz: float = 0.0, **quiet: float) -> Stimulus:
    return Stimulus(drive={"i_ext": i_ext}, drive_max=drive_max, receptor=receptor, weight=weight, rate_hz=rate_hz, quiet=quiet)


# Drives are no round multiples of the threshold: a v that meets it exactly would be decided by rounding.
STIMULUS: Mapping[str, Stimulus] = MappingProxyType(
    {
        "if_neuron": _stimulus("0.0937 nA", "0.3 nA", "v", "1.03 mV", 500),
        "lif": _stimulus("0.29 nA", "0.6 nA"),
        "lif_delta": _stimulus("0.29 nA", "0.6 nA", "v", "1.37 mV", 900),
        "cuba_lif": _stimulus("0.29 nA", "0.6 nA", "i_syn", "0.057 nA", 1000),
        "cuba_lif_2": _stimulus("0.17 nA", "0.4 nA", "i_exc", "0.033 nA", 1000),
        "fast_slow_lif": _stimulus("0.29 nA", "0.6 nA", "i_fast", "0.133 nA", 1000),
        "coba_lif": _stimulus("0.17 nA", "0.4 nA", "g_exc", "2.3 nS", 500),
        "alpha_lif": _stimulus("0.29 nA", "0.6 nA", "h_syn", "0.021 nA", 1000),
        "adaptive_lif": _stimulus("0.39 nA", "0.8 nA", "i_syn", "0.077 nA", 1000),
        "adex": _stimulus("0.83 nA", "1.6 nA", "i_syn", "0.17 nA", 1000),
        "izhikevich": _stimulus("10 mV/ms", "20 mV/ms", "v", "7.3 mV", 1000),
        "diehl_cook_exc": _stimulus("0.031 nA", "0.1 nA", "g_exc", "1.1 nS", 1000),
        "diehl_cook_inh": _stimulus("0.0253 nA", "0.06 nA", "g_exc", "1.3 nS", 500),
        "escape_lif": _stimulus("0.23 nA", "0.5 nA", "i_syn", "0.047 nA", 1000),
        "noisy_lif": _stimulus("0.21 nA", "0.5 nA", "i_syn", "0.043 nA", 1000),
        "rnn_lif": _stimulus("1.37 nA", "4 nA", "i_syn", "0.29 nA", 1000),
        "leaky_readout": _stimulus("1.37 nA", "4 nA", "i_syn", "0.29 nA", 1000),
        "hh_1952": _stimulus("10 uA/cm**2", "60 uA/cm**2", "i_syn", "1.7 uA/cm**2", 1000),
        "hh_neuron": _stimulus("10 uA/cm**2", "60 uA/cm**2", "i_syn", "1.7 uA/cm**2", 1000),
        "hh_traub_miles": _stimulus("0.2 nA", "1 nA", "g_exc", "3.1 nS", 400, e_leak=-65),
    }
)


def stimulus(name: str) -> Stimulus:
    """The stimulus for a model. Raises ValueError for a model that has none, saying what to add."""
    if name not in STIMULUS:
        hint = "add a line to models/neurons/stimuli.py" if name in NEURONS else unknown(name, "model", "spiketwin", NEURONS)
        raise ValueError(f"no stimulus for '{name}': {hint}")
    return STIMULUS[name]
