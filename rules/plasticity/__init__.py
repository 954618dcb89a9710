"""Every learning rule that runs in a simulation, by name. A new rule is a declaration in this folder and one line here.

RULES: of synapses.  OF_NEURONS: of neurons, each a function that gives a neuron the mechanism.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.spec import NeuronSpec, unknown
from spiketwin.rules.plasticity import calcium, diehl_cook, hebb, homeostasis, pair, reward, short_term, stochastic, structural, triplet
from spiketwin.rules.plasticity.cascade import cascade
from spiketwin.rules.plasticity.clopath import clopath
from spiketwin.rules.plasticity.homeostasis import together
from spiketwin.rules.plasticity.inhibitory import inhibitory
from spiketwin.rules.plasticity.intrinsic import intrinsic

RULES: Mapping[str, PlasticityRule] = MappingProxyType(
    {
        r.name: r
        for r in (
            pair.additive,
            pair.multiplicative,
            pair.power_law,
            pair.nearest,
            pair.anti_hebbian,
            triplet.cortex,
            triplet.cortex_nearest,
            triplet.hippocampus,
            triplet.hippocampus_nearest,
            clopath,
            calcium.calcium,
            calcium.noisy,
            diehl_cook.diehl_cook,
            diehl_cook.power_law,
            diehl_cook.exponential,
            diehl_cook.symmetric,
            stochastic.traces,
            stochastic.window,
            stochastic.graded,
            cascade,
            reward.izhikevich,
            reward.florian,
            inhibitory,
            hebb.hebb,
            hebb.oja,
            hebb.bcm,
            homeostasis.scaling,
            structural.rewiring,
            short_term.depressing,
            short_term.facilitating,
        )
    }
)

OF_NEURONS: Mapping[str, Callable[[NeuronSpec], NeuronSpec]] = MappingProxyType({"intrinsic": intrinsic})


def rule(name: str) -> PlasticityRule:
    """The learning rule of that name. Raises ValueError that suggests the closest name."""
    if name not in RULES:
        if name in OF_NEURONS:
            raise ValueError(f"'{name}' is a rule of neurons: call {name}(neuron) and give the neuron that it returns to a population")
        raise ValueError(unknown(name, "rule", "spiketwin", RULES))
    return RULES[name]


__all__ = ["OF_NEURONS", "RULES", "intrinsic", "rule", "together"]
