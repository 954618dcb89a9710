"""Kernels that know no model: spikes are found, sent along synapses and received.

Shapes: states [B, S, N], ring [D, N] (what arrives in the next D steps), ids: neurons that fired, in order. Of the N neurons those
from `low` to `high` are this thread's, and of presynaptic neuron i the synapses from begin[i] to end[i] reach them.
Indices are unsigned: numba need not ask whether one counts from the end, which halves the cost of a synapse.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from spiketwin.models.engines.compiled.intrinsics import trailing_zeros, wide_vectors

# Only the driver is called from Python; without wrappers the others compile in half the time.
WITHOUT_WRAPPERS = dict(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
NEVER = -(1 << 40)  # the step of a spike that has not happened
SYNAPSE, PRE, POST, DELAY = range(4)  # columns of a list of incoming synapses: what is read together lies together
PAGE, WITHIN = 6, 63  # of the synapses that are due in one step 2**6 lie side by side
OUTSIDE = 2  # in `warm`: of a neuron with weights beyond the rule's bounds
kernel = njit(**WITHOUT_WRAPPERS)  # for functions written per model, which are cached with the driver
shared = njit(cache=True, **WITHOUT_WRAPPERS)


@shared
def collect(words, low, high, ids, k):
    """Append the neurons whose flag is set to `ids` from position k. words: the flags, bytes of 0 or 1, eight at a time."""
    any_fired = np.uint64(0)
    first, last = low >> np.uint64(3), (high + np.uint64(7)) >> np.uint64(3)
    for w in range(first, last):  # in vectors: in most steps that is all
        any_fired |= words[w]
    if any_fired == 0:
        return k
    # each word is kept, the next one in its place where it is zero: no branch that the processor could guess wrong
    place = beyond = k + np.int64(high - low)  # where no neuron will be listed
    for w in range(first, last):
        ids[beyond] = w
        beyond += np.int64(words[w] != 0)
    for here in range(place, beyond):
        w = np.uint64(ids[here])
        flags = words[w]
        while flags != 0:
            ids[k] = (w << np.uint64(3)) + (trailing_zeros(flags) >> np.uint64(3))
            k += 1
            flags &= flags - np.uint64(1)
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
def deliver(ids, first, last, begin, end, post, weight, target):
    """Each spike adds the weights of its synapses, listed by presynaptic neuron, to `target` [N]."""
    for k in range(first, last):
        for s in range(begin[ids[k]], end[ids[k]]):
            target[post[s]] += weight[s]


@shared
def deliver_dense(ids, first, last, weight, target, low, high):
    """As deliver, for a full matrix `weight` [N_pre, N_post]."""
    for k in range(first, last):
        row = weight[ids[k]]
        for n in range(low, high):
            target[n] += row[n]


@shared
def deliver_delayed(ids, first, last, begin, end, post, weight, delay, ring, t):
    """As deliver, each synapse into the slot of the step in which its spike arrives."""
    slots = np.uint64(ring.shape[0])
    now = np.uint64(t) % slots
    for k in range(first, last):
        for s in range(begin[ids[k]], end[ids[k]]):
            slot = now + delay[s]
            ring[slot - slots if slot >= slots else slot, post[s]] += weight[s]


@shared
def receive(ring, t, state, low, high):
    """Add what arrives at step t to the receptor and empty the slot."""
    wide_vectors()
    slot = ring[t % ring.shape[0]]
    for n in range(low, high):
        state[n] += slot[n]
        slot[n] = 0.0


@shared
def receive_gated(ring, t, state, low, high, hold, limit):
    """As receive; neurons that are refractory (hold > limit) ignore what arrives."""
    wide_vectors()
    slot = ring[t % ring.shape[0]]
    for n in range(low, high):
        if hold[n] <= limit:
            state[n] += slot[n]
        slot[n] = 0.0


@shared
def calm(states, low, high):
    """States that have decayed to 1e-303 (1e-33 in single precision) become zero: below 1e-308 arithmetic is a hundred times slower."""
    tiny = np.finfo(states.dtype).tiny * 1e5
    for k in range(states.shape[0]):
        row = states[k]
        for n in range(low, high):
            row[n] = 0 if abs(row[n]) <= tiny else row[n]  # NaN stays NaN


@shared
def record(t, b, states, low, high, which, trace):
    """Keep the states `which` of trial b at the start of step t in trace [R, T, B, N]."""
    for r in range(which.size):
        for n in range(low, high):
            trace[r, t, b, n] = states[b, which[r], n]


# Plastic projections. Names and shapes as in plastic.py.


@shared
def send(
    now, b, ids, first, last, begin, end, offset, weight, scale, flight, in_start, incoming, full, warm_list, warm_n, due, due_n,
    head, gains,
):  # fmt: skip
    """Each spike adds its weights to what arrives after their delays; synapses of warm neurons will learn then."""
    weights = weight[b]
    size, slots = np.uint64(flight.size), np.int64(flight.shape[0])
    here = now % slots
    shift = np.uint64(here) * np.uint64(flight.shape[1])
    for k in range(first, last):
        i = ids[k]
        gain = scale * gains[i, head[i]]
        for s in range(begin[i], end[i]):
            place = shift + offset[s]
            flight[0, place - size if place >= size else place] += weights[s] * gain  # rows lie one after the other
        for a in range(warm_n[0]):
            n = warm_list[a]
            if full:
                q = in_start[n] + np.int64(i)
            else:  # find neuron i among those that reach n
                q, beyond = in_start[n], in_start[n + 1]
                while q < beyond:
                    middle = (q + beyond) // 2
                    if incoming[middle, PRE] < i:
                        q = middle + 1
                    else:
                        beyond = middle
                if q == in_start[n + 1] or incoming[q, PRE] != i:
                    continue
            slot = here + incoming[q, DELAY]
            slot = slot - slots if slot >= slots else slot
            due[due_n[slot] >> PAGE, slot, due_n[slot] & WITHIN] = q
            due_n[slot] += 1


@shared
def warm_up(
    now, n, in_start, incoming, newest, steps, head, due, due_n, warm, warm_list, warm_n, cooled, hot, hot_n, is_hot
):  # fmt: skip
    """Synapses of neuron n learn from now on when spikes arrive, also those that are on their way after step `now`."""
    if not is_hot[n]:
        is_hot[n] = 1
        hot[hot_n[0]] = n
        hot_n[0] += 1
    if warm[n]:
        return
    warm[n] = 1
    warm_list[warm_n[0]] = n
    warm_n[0] += 1
    for q in range(in_start[n], in_start[n + 1]):
        i = incoming[q, PRE]
        since = max(now - incoming[q, DELAY], cooled[n])  # what was fired while the neuron was warm before is listed already
        if newest[i] <= since:
            continue
        h = head[i]
        while steps[i, h] > since:
            slot = (steps[i, h] + incoming[q, DELAY]) % due_n.size
            due[due_n[slot] >> PAGE, slot, due_n[slot] & WITHIN] = q
            due_n[slot] += 1
            h = h - 1 if h > 0 else steps.shape[1] - 1


@shared
def fade(now, traces, peaks, decay, read, hot, hot_n, is_hot, warm, warm_list, warm_n, cooled, always):
    """Step `now` begins: traces decay. A hundred times below what the precision tells from their peaks they count as zero: they would
    move no weight any more.

    A neuron is warm, so that arriving spikes make its synapses learn, while a trace that on_pre reads is not zero.
    """
    nothing = np.finfo(traces.dtype).eps * 0.01
    kept = warmer = 0
    for a in range(hot_n[0]):
        n = hot[a]
        alive, matters = False, always or warm[n] == OUTSIDE
        for k in range(decay.size):
            x = traces[k, n] * decay[k]
            if abs(x) <= nothing * peaks[k, n]:
                x *= 0
            else:
                alive = True
                matters = matters or read[k]
            traces[k, n] = x
        if matters and warm[n]:
            warm_list[warmer] = n
            warmer += 1
        elif warm[n]:
            warm[n] = 0
            cooled[n] = now - 1
        if alive or matters:
            hot[kept] = n
            kept += 1
        else:
            is_hot[n] = 0
    hot_n[0] = kept
    warm_n[0] = warmer


@shared
def forget(
    low, high, always, flight, traces, peaks, is_hot, warm, cooled, dirty, newest, latest, steps, values, head, gains, due, due_n, hot, hot_n, warm_list,
    warm_n,
):  # fmt: skip
    """No spike has happened yet."""
    due_n[:] = 0
    newest[:] = NEVER
    latest[:] = 0
    steps[:] = NEVER
    values[:] = 0
    head[:] = 0
    gains[:] = 1
    flight[:, low:high] = 0
    traces[:, low:high] = peaks[:, low:high] = 0
    cooled[low:high] = NEVER
    dirty[low:high] = 1
    hot_n[0] = warm_n[0] = high - low if always else 0
    for n in range(low, high):
        hot[n - low] = warm_list[n - low] = n
        is_hot[n] = warm[n] = always


@shared
def normalise(
    now, total, b, low, high, weight, scale, in_start, incoming, limits, newest, steps, head, gains, flight, due, due_n,
    warm, warm_list, warm_n, cooled, hot, hot_n, is_hot, dirty,
):  # fmt: skip
    """Before step `now`: scale the incoming weights of every neuron for which they changed, so that they sum to total.

    A weight that this takes beyond the rule's bounds is clipped by the rule when the next spike arrives, so its neuron stays warm.
    """
    weights = weight[b]
    for n in range(low, high):
        if not dirty[n]:
            continue
        dirty[n] = 0
        have = 0.0
        for q in range(in_start[n], in_start[n + 1]):
            have += weights[incoming[q, SYNAPSE]]
        if not have > 0:
            continue
        factor, inside = total / have, True
        for q in range(in_start[n], in_start[n + 1]):
            old = weights[incoming[q, SYNAPSE]]
            new = weights.dtype.type(old * factor)
            weights[incoming[q, SYNAPSE]] = new
            inside = inside and limits[0] <= new <= limits[1]
            i, arrived = incoming[q, PRE], now - 1 - incoming[q, DELAY]
            if newest[i] > arrived:  # spikes on their way carry the new weight, too
                h = head[i]
                while steps[i, h] > arrived:
                    flight[(steps[i, h] + incoming[q, DELAY]) % flight.shape[0], n] += (new - old) * scale * gains[i, h]
                    h = h - 1 if h > 0 else steps.shape[1] - 1
        if inside:
            warm[n] = min(warm[n], 1)
        else:
            warm_up(now - 1, n, in_start, incoming, newest, steps, head, due, due_n, warm, warm_list, warm_n, cooled, hot, hot_n, is_hot)
            warm[n] = OUTSIDE
            dirty[n] = 1


@shared
def record_weights(t, b, weight, begin, end, trace):
    """Keep the weights of trial b at the start of step t in trace [T, B, S]."""
    for i in range(begin.size):
        for s in range(begin[i], end[i]):
            trace[t, b, s] = weight[b, s]


@njit(cache=True, nogil=True, error_model="numpy")
def forget_now(*arrays):
    """forget() for Python."""
    forget(*arrays)


@njit(cache=True, nogil=True, error_model="numpy")
def normalise_now(now, total, low, high, *arrays):
    """normalise() for Python, of the one trial of a session."""
    normalise(now, total, 0, low, high, *arrays)


@njit(cache=True, nogil=True, error_model="numpy")
def replace_weights(now, values, low, high, weight, scale, in_start, incoming, newest, steps, head, gains, flight, dirty):
    """Before step `now` of a session: other weights, also for the spikes on their way."""
    weights = weight[0]
    for n in range(low, high):
        dirty[n] = 1
        for q in range(in_start[n], in_start[n + 1]):
            s = incoming[q, SYNAPSE]
            i, h = incoming[q, PRE], head[incoming[q, PRE]]
            while steps[i, h] > now - 1 - incoming[q, DELAY]:
                flight[(steps[i, h] + incoming[q, DELAY]) % flight.shape[0], n] += (values[s] - weights[s]) * scale * gains[i, h]
                h = h - 1 if h > 0 else steps.shape[1] - 1
            weights[s] = values[s]
