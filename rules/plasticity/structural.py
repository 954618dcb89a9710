"""Structural rewiring: weak synapses are withdrawn, and grow anew at random among the places that a network has for them.

    a synapse with w <= w_prune   is withdrawn with probability dt/tau_out in each step: w <- 0, and nothing moves it
    a withdrawn one               grows anew with probability dt/tau_in, with weight w_new

The projection's synapses are the places: pairs that are near enough for a contact, as a sparse matrix. Together with a rule that moves
weights, together(rule, rewiring), it stands last: where a synapse is withdrawn, what the other rule did is undone. What no rule moves and is weak is there a
share tau_out/(tau_in + tau_out) of the time, if w_new is weak, too; withdrawn ones return with probability 1 - exp(-t/tau_in) within t.

Source: Fauth, Wörgötter & Tetzlaff 2015, PLoS Comput. Biol. 11:e1004031, for potential synapses that form at a constant rate and go by their weight, here by
a threshold; Bellec, Kappel, Maass & Legenstein 2018, ICLR (soft-DEEP R), for a number of synapses that is not held.
The time constants are ours, as days cannot be simulated.
"""

from __future__ import annotations

from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.spec import Parameter

rewiring = PlasticityRule(
    name="structural_rewiring",
    synapse_states="gone : 1",  # 1 where withdrawn
    on_pre="w = (1 - gone)*w",
    on_post="w = (1 - gone)*w",
    every_step="""
        lost = (1 - gone)*int(w <= w_prune)*int(rand() < dt/tau_out)
        grown = gone*int(rand() < dt/tau_in)
        gone = gone + lost - grown
        w = (1 - gone)*(grown*w_new + (1 - grown)*w)
    """,
    parameters=dict(
        tau_out=Parameter(10, "second", "(0, inf)", "how long a weak synapse lasts, on average"),
        tau_in=Parameter(100, "second", "(0, inf)", "how long a place stays empty, on average"),
        w_prune=Parameter(0.05, "1", "[0, inf)", "weight up to which a synapse is weak"),
        w_new=Parameter(0.2, "1", "[0, inf)", "weight of a new synapse"),
        w_max=Parameter(1, "1", "(0, inf)", "largest weight"),
    ),
    bounds=("0", "w_max"),
    source="Fauth, Wörgötter & Tetzlaff 2015; Bellec et al. 2018",
)
