"""Kernels that know no model: spikes are found, sent along synapses and received.

Shapes: states [B, S, N], ring [D, N] (what arrives in the next D steps), ids: neurons that fired, in order.
Indices are unsigned: numba need not ask whether one counts from the end, which halves the cost of a synapse.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

# Only the driver is called from Python; without wrappers the others compile in half the time.
WITHOUT_WRAPPERS = dict(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
kernel = njit(**WITHOUT_WRAPPERS)  # for functions written per model, which are cached with the driver
shared = njit(cache=True, **WITHOUT_WRAPPERS)


@intrinsic
def wide_vectors(_typing):
    """Let LLVM use the widest vectors of the processor in the function that calls this, not only 32 bytes of 64."""

    def build(_context, builder, _signature, _arguments):
        # llvmlite knows no attributes with values, so this goes round its check of names
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')

    return types.void(), build


@shared
def collect(fired, words, ids, k):
    """Append the neurons whose flag is set to `ids` from position k; words: the same flags, eight at a time."""
    for w in range(words.size):
        if words[w] != 0:
            for n in range(8 * w, 8 * w + 8):
                if fired[n] != 0:
                    ids[k] = n
                    k += 1
    return k


@shared
def hold_for(hold, period, ids, first, last, t):
    """A neuron that fired at step t is refractory until step t + period, and in any case for the rest of this step."""
    for k in range(first, last):
        hold[ids[k]] = t + max(period[ids[k]], 1)


@shared
def hold_on(hold, ids, first, last):
    """A neuron that fired is refractory until its condition releases it."""
    for k in range(first, last):
        hold[ids[k]] = 1


@shared
def deliver(ids, first, last, start, post, weight, target):
    """Each spike adds the weights of its synapses, listed by presynaptic neuron, to `target` [N]."""
    for k in range(first, last):
        for s in range(start[ids[k]], start[ids[k] + 1]):
            target[post[s]] += weight[s]


@shared
def deliver_dense(ids, first, last, weight, target):
    """As deliver, for a full matrix `weight` [N_pre, N_post]."""
    for k in range(first, last):
        row = weight[ids[k]]
        for n in range(target.size):
            target[n] += row[n]


@shared
def deliver_delayed(ids, first, last, start, post, weight, delay, ring, t):
    """As deliver, each synapse into the slot of the step in which its spike arrives."""
    slots = np.uint64(ring.shape[0])
    now = np.uint64(t) % slots
    for k in range(first, last):
        for s in range(start[ids[k]], start[ids[k] + 1]):
            slot = now + delay[s]
            ring[slot - slots if slot >= slots else slot, post[s]] += weight[s]


@shared
def receive(ring, t, state):
    """Add what arrives at step t to the receptor and empty the slot."""
    slot = ring[t % ring.shape[0]]
    for n in range(state.size):
        state[n] += slot[n]
        slot[n] = 0.0


@shared
def receive_gated(ring, t, state, hold, limit):
    """As receive; neurons that are refractory (hold > limit) ignore what arrives."""
    slot = ring[t % ring.shape[0]]
    for n in range(state.size):
        if hold[n] <= limit:
            state[n] += slot[n]
        slot[n] = 0.0


@shared
def record(t, b, states, which, trace):
    """Keep the states `which` of trial b at the start of step t in trace [R, T, B, N]."""
    for r in range(which.size):
        for n in range(states.shape[2]):
            trace[r, t, b, n] = states[b, which[r], n]
