"""Kernels that know no model: spikes are found, sent along synapses and received.

Shapes: states [B, S, N], ring [D, N] (what arrives in the next D steps), ids: neurons that fired, in order.
Indices are unsigned: numba need not ask whether one counts from the end, which halves the cost of a synapse.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

# Only the driver is called from Python; without wrappers the others compile in half the time.
WITHOUT_WRAPPERS = dict(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
kernel = njit(**WITHOUT_WRAPPERS)  # for functions written per model, which are cached with the driver
shared = njit(cache=True, **WITHOUT_WRAPPERS)


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
def calm(states):
    """States that have decayed to 1e-303 (1e-33 in single precision) become zero: below 1e-308 arithmetic is a hundred times slower."""
    tiny = np.finfo(states.dtype).tiny * 1e5
    for k in range(states.shape[0]):
        row = states[k]
        for n in range(row.size):
            row[n] = row[n] if abs(row[n]) > tiny else 0


@shared
def record(t, b, states, which, trace):
    """Keep the states `which` of trial b at the start of step t in trace [R, T, B, N]."""
    for r in range(which.size):
        for n in range(states.shape[2]):
            trace[r, t, b, n] = states[b, which[r], n]


# Plastic projections. Shapes and names as in plastic.py.


@shared
def power(powers, rates, k, steps):
    """What is left of trace k after so many steps."""
    if steps < powers.shape[1]:
        return powers[k, steps]
    return powers.dtype.type(math.exp(-rates[k] * steps))


@shared
def warm(n, hot, hot_n, is_hot):
    """The traces of neuron n are stepped from now on."""
    if not is_hot[n]:
        is_hot[n] = 1
        hot[hot_n[0]] = n
        hot_n[0] += 1


@shared
def fade(traces, decay, hot, hot_n, is_hot):
    """Postsynaptic traces decay by one step. Below 1e-20 they count as zero: they would move no weight any more."""
    kept = 0
    for a in range(hot_n[0]):
        n, alive = hot[a], 0
        for k in range(decay.size):
            x = traces[k, n] * decay[k]
            if abs(x) < 1e-20:
                x *= 0
            else:
                alive = 1
            traces[k, n] = x
        if alive:
            hot[kept] = n
            kept += 1
        else:
            is_hot[n] = 0
    hot_n[0] = kept


@shared
def forget(recent_n, steps, values, head, traces, hot_n, is_hot, dirty):
    """No spike has happened yet."""
    recent_n[:] = 0
    steps[:] = -(1 << 40)
    values[:] = 0
    head[:] = 0
    traces[:] = 0
    hot_n[:] = 0
    is_hot[:] = 0
    dirty[:] = 1


@shared
def normalise(total, in_start, in_synapse, weight, dirty, b):
    """Scale the incoming weights of every neuron for which they changed, so that they sum to total."""
    weights = weight[b]
    for n in range(dirty.size):
        if dirty[n]:
            dirty[n] = 0
            have = 0.0
            for q in range(in_start[n], in_start[n + 1]):
                have += weights[in_synapse[q]]
            if have > 0:
                factor = total / have
                for q in range(in_start[n], in_start[n + 1]):
                    weights[in_synapse[q]] *= factor


@shared
def record_weights(t, b, weight, trace):
    """Keep the weights of trial b at the start of step t in trace [T, B, S]."""
    for s in range(weight.shape[1]):
        trace[t, b, s] = weight[b, s]


@njit(cache=True, nogil=True, error_model="numpy")
def normalise_now(total, in_start, in_synapse, weight, dirty):
    """normalise() for Python, of the one trial of a session."""
    normalise(total, in_start, in_synapse, weight, dirty, 0)
