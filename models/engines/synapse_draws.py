"""Random numbers of single synapses, the same in every engine: what rand() means in a learning rule.

A number belongs to the synapse, the step and the place of rand() in the rule, and is made from these by counting, not by drawing in
turn: nothing depends on which synapses learn first, on threads, or on what else is random. `drawn` is the same for arrays of numpy;
its text, NUMPY, stands in the script that Brian2 runs.

Source: Salmon et al. 2011, SC'11, for random numbers by counting; Steele, Lea & Flood 2014, OOPSLA, for the mixing.
"""

from __future__ import annotations

import inspect

import numpy as np

from spiketwin.models.engines.poisson import GOLDEN, TO_UNIT, inlined, mix


def mixed(x):
    """SplitMix64: counters become random words."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def drawn(key, draws, synapse, step, which):
    """Numbers in 0 … 1 of these synapses in this step: the rule's rand() number `which` of `draws`."""
    golden, synapse = np.uint64(0x9E3779B97F4A7C15), np.asarray(synapse).astype(np.uint64)
    with np.errstate(over="ignore"):
        state = mixed(np.uint64(key) + golden * (synapse + np.uint64(1)))
        word = mixed(state + golden * np.uint64(int(step) * draws + int(which) + 1))
    return ((word >> np.uint64(11)).astype(float) + 0.5) * 2.0**-53


NUMPY = "\n\n".join(["", inspect.getsource(mixed), inspect.getsource(drawn)])


@inlined
def draw(key, draws, synapse, step, which):
    """A number between 0 and 1, both excluded."""
    state = mix(key + GOLDEN * np.uint64(synapse + 1))
    word = mix(state + GOLDEN * np.uint64(step * draws + which + 1))
    return (np.float64(word >> np.uint64(11)) + 0.5) * TO_UNIT


def synapse_stream(seed: int, projection: int) -> np.uint64:
    """The key of a projection, counted in the order of Network.projections, in a run with this seed."""
    return np.uint64(np.random.SeedSequence([seed, 3, projection]).generate_state(1, np.uint64)[0])
