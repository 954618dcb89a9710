"""How weights change: plasticity and training rules, surrogate gradients, losses, read-outs.

    surrogate/          a spike's step forward and its bump backward
    spike_backprop.py   errors of spike counts, sent back once (Lee et al. 2020)
    losses.py           of counts, membranes and first spikes
    regularisers.py     prices of too much and too little activity

RULES: every plasticity rule, by name. A new rule is a declaration in this folder and one line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.spec import unknown
from spiketwin.rules.diehl_cook import diehl_cook

RULES: Mapping[str, PlasticityRule] = MappingProxyType({"diehl_cook": diehl_cook})


def rule(name: str) -> PlasticityRule:
    """The plasticity rule of that name. Raises ValueError that suggests the closest name."""
    if name not in RULES:
        raise ValueError(unknown(name, "rule", "spiketwin", RULES))
    return RULES[name]
