"""Poisson trains on the grid, drawn gap by gap: what never fires costs nothing.

A step holds a spike with probability 1 - exp(-rate dt), so the gap to the next spike is 1 + floor(E/(rate dt)) steps with an
exponential E. Each neuron has a stream of its own, numbered by a key: a train does not depend on the other neurons.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True, error_model="numpy")
def mix(x):
    """SplitMix64's finaliser (Steele, Lea & Flood 2014): a counter becomes a random word."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True, nogil=True, error_model="numpy")
def poisson_events(mean, steps, key):
    """Neurons [events] ordered by (step, neuron), and where each step begins [steps + 1].

    mean [N]: expected spikes per step, rate times dt.  key: number of the draw, uint64.
    """
    total = 0.0
    for n in range(mean.size):
        total += mean[n]
    when = np.empty(int(total * steps + 8 * math.sqrt(total * steps)) + 16, np.uint32)
    who = np.empty(when.size, np.uint32)
    count = 0
    offsets = np.zeros(steps + 1, np.int64)
    for n in range(mean.size):
        if not mean[n] > 0:
            continue
        state = mix(key + GOLDEN * np.uint64(n + 1))
        t = -1
        while True:
            state += GOLDEN
            # 53 bits, from 2**-53 to 1
            gap = -math.log((np.float64(mix(state) >> np.uint64(11)) + 1.0) * 1.1102230246251565e-16) / mean[n]
            if not gap < steps - t - 1:
                break
            t += 1 + int(gap)
            if count == when.size:
                when = np.concatenate((when, when))
                who = np.concatenate((who, who))
            when[count] = t
            who[count] = n
            count += 1
            offsets[t + 1] += 1
    for t in range(steps):
        offsets[t + 1] += offsets[t]
    events = np.empty(count, np.uint32)
    place = offsets[:-1].copy()
    for k in range(count):  # neurons come in order, so they stay in order within a step
        events[place[when[k]]] = who[k]
        place[when[k]] += 1
    return events, offsets
