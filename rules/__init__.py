"""How weights change: plasticity and training rules, surrogate gradients, losses, read-outs.

plasticity/         learning rules of synapses in a simulation: STDP in all its forms; RULES lists them
protocols.py        what given spike times do to a weight
figures.py          window(rule) and frequency_curve(rule)
table.py            every rule with its source, its engines and what a synapse must know (locality.py)
local/              supervised local rules of trainable networks; LOCAL_RULES lists them
readouts/           what classifies the activity of a network that stays as it is; votes.py: of one that learnt without labels
surrogate/          a spike's step forward and its bump backward
spike_backprop.py   errors of spike counts, sent back once (Lee et al. 2020)
losses.py           of counts, membranes and first spikes
regularisers.py     prices of too much and too little activity
"""

from __future__ import annotations

from spiketwin.rules.figures import frequency_curve, window
from spiketwin.rules.plasticity import RULES, intrinsic, rule, together

__all__ = ["RULES", "frequency_curve", "intrinsic", "rule", "together", "window"]
