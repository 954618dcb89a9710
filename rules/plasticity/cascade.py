"""A cascade of synaptic states: synapses of one bit that grow harder to change the longer they have been confirmed.

A synapse is weak or strong, w = 0 or 1, and of a depth 0 … depths - 1. What would switch it, or confirm it, comes as in stochastic_window:

    neuron fires:  where a spike arrived within `window`, with probability p_plus:   towards 1
                   elsewhere, with probability p_minus:                              towards 0
    towards where it is not:  switches, to depth 0, with probability  q = x^depth,  x^depth/(1 - x) at the deepest
    towards where it is:      one deeper with probability             p = x^(depth + 1)/(1 - x),  unless it is the deepest

x is `ratio`. With one depth this is stochastic_window of two levels, but for the factor 1/(1 - x) of the deepest, which x -> 0 takes away. With
x = 1/2 all depths are equally often occupied in the long run, and memories fade as a power of time, where single bits forget exponentially:
a shallow synapse learns at once, a deep one keeps.

Source: Fusi, Drew & Abbott 2005, Neuron 45:599, section "The cascade model" and its experimental procedures for q and p. What offers a switch is from
Querlioz et al. 2013, IEEE Trans. Nanotechnol. 12:288, as in stochastic.py; there it is taken always.
"""

from __future__ import annotations

from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.spec import Parameter
from spiketwin.rules.plasticity.stochastic import SWITCH

cascade = PlasticityRule(
    name="cascade",
    pre_traces="dx/dt = -x/window : 1",
    synapse_states="depth : 1",
    on_pre="x = 1",
    # as in stochastic_window a spike exactly one window ago is recent. Depths are whole, but floats: so compared with half-way values.
    on_post="""
        recent = int(x > 0.999*exp(-1))
        strong = int(w > 0.5)
        agrees = recent*strong + (1 - recent)*(1 - strong)
        offered = recent*int(rand() < p_plus) + (1 - recent)*int(rand() < p_minus)
        deepest = int(depth > depths - 1.5)
        taken = rand()
        switches = offered*(1 - agrees)*int(taken*(1 - ratio*deepest) < ratio**depth)
        deepens = offered*agrees*(1 - deepest)*int(taken*(1 - ratio) < ratio**(depth + 1))
        w = switches*(1 - w) + (1 - switches)*w
        depth = (1 - switches)*(depth + deepens)
    """,
    parameters=dict(
        window=Parameter(20, "ms", "(0, inf)", "how long a spike counts as recent"),
        ratio=Parameter(0.5, "1", "(0, 0.5]", "probability of a switch at a depth over that at the depth before"),
        depths=Parameter(8, "1", "[1, inf)", "depths of a synapse", is_whole=True),
        **SWITCH,
    ),
    bounds=("0", "1"),
    source="Fusi, Drew & Abbott 2005",
)
