"""Poisson spike trains on the grid, the same in every engine, drawn one step at a time.

A neuron with rate r fires in a step with probability 1 - exp(-r dt), independent of all others. The neurons of a source
lie side by side on a line, each as long as its r dt, and points of a unit Poisson process fall on it: a neuron
fires where at least one falls on its part. From one point the next is an exponential gap away; after a hit the
search goes on behind the neuron, which the process, having no memory, does not notice. So a step costs as much as it has
spikes, and a silent neuron nothing.

The points of a step come from a stream of their own, numbered by (seed, source, trial, step): any step of any trial can be
drawn alone, on any thread, and nothing of a long run need be kept.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from spiketwin.models.spikes import Spikes

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
TO_UNIT = 2.0**-53
inlined = njit(nogil=True, error_model="numpy", cache=True)


@inlined
def mix(x):
    """SplitMix64 (Steele, Lea & Flood 2014): counters become random words."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@inlined
def mark(ends):
    """`marks`, where to look for a point: on which neuron's part each of N + 1 marks falls that divide the line evenly."""
    marks, n = np.empty(ends.size + 1, np.uint32), 0
    apart = ends[ends.size - 1] / ends.size
    for k in range(marks.size):
        while n < ends.size - 1 and ends[n] <= k * apart:
            n += 1
        marks[k] = n
    return marks


@inlined
def draw_step(ends, marks, key, trial, step, out):
    """Write the neurons that fire in this step to `out`, in order; returns how many.

    ends [N]: where each neuron's part of the line ends, the running sum of rate times dt.  marks: mark(ends).  out [N].
    """
    last, count, at = ends[ends.size - 1], 0, 0.0
    scale = min(ends.size / last, 1e300)  # a line may be short beyond measure
    state = mix(mix(key + GOLDEN * np.uint64(trial + 1)) + GOLDEN * np.uint64(step + 1))
    while True:
        state += GOLDEN
        at -= math.log(np.float64((mix(state) >> np.uint64(11)) + np.uint64(1)) * TO_UNIT)  # of 2^-53 … 1
        if not at < last:
            return count
        # the first neuron whose part ends beyond the point
        n = np.int64(marks[np.int64(at * scale)])
        while ends[n] <= at:
            n += 1
        while n > 0 and ends[n - 1] > at:  # a mark may be rounded
            n -= 1
        out[count] = n
        count += 1
        at = ends[n]


@njit(nogil=True, error_model="numpy", cache=True)
def _events(ends, key, steps, trials):
    """step, trial and neuron [3, events], ordered so."""
    expected = ends[-1] * steps * trials
    room = int(expected + 8 * math.sqrt(expected)) + 16
    events = np.empty((3, room), np.int64)
    out, marks = np.empty(ends.size, np.uint32), mark(ends)
    k = 0
    for t in range(steps):
        for b in range(trials):
            count = draw_step(ends, marks, key, b, t, out)
            if k + count > events.shape[1]:
                events = np.concatenate((events, np.empty((3, k + count), np.int64)), axis=1)
            for c in range(count):
                events[0, k], events[1, k], events[2, k] = t, b, out[c]
                k += 1
    return events[:, :k]


@njit(nogil=True, error_model="numpy", cache=True)
def stretch(ends, key, first, shown, steps):
    """Of trial 0 from step `first` on: neurons [events] in order, and where each step begins [K * steps + 1].

    ends [K, N]: of K stimuli, one after the other, each of which lasts `shown` steps of its `steps`; in the others nothing fires.
    """
    expected = ends[:, -1].sum() * shown
    events = np.empty(int(expected + 8 * math.sqrt(expected)) + 16, np.uint32)
    offsets = np.zeros(len(ends) * steps + 1, np.int64)
    out = np.empty(ends.shape[1], np.uint32)
    n = 0
    for k in range(len(ends)):
        marks = mark(ends[k])
        for t in range(k * steps, k * steps + shown):
            count = draw_step(ends[k], marks, key, 0, first + t, out)
            if n + count > events.size:
                events = np.concatenate((events, np.empty(n + count, np.uint32)))
            events[n : n + count] = out[:count]
            n += count
            offsets[t + 1] = n
        offsets[k * steps + shown + 1 : (k + 1) * steps + 1] = n
    return events[:n], offsets


def line(rate_hz, size: int, dt_ms: float) -> np.ndarray:
    """`ends` of draw_step() for rates in Hz, one, [size] or [K, size]; [size] or [K, size]."""
    rate_hz = np.asarray(rate_hz, dtype=float)
    return np.cumsum(np.broadcast_to(rate_hz * dt_ms * 1e-3, (*rate_hz.shape[:-1], size)), axis=-1)


def stream(seed: int, source: int) -> np.uint64:
    """The key of a source, counted in the order of Network.sources, in a run with this seed."""
    return np.uint64(np.random.SeedSequence([seed, 1, source]).generate_state(1, np.uint64)[0])


def poisson(rate_hz, steps: int, trials: int, size: int, dt_ms: float, key: np.uint64) -> Spikes:
    """All spikes of a source: independent Poisson trains, at each step a spike with probability 1 - exp(-rate dt)."""
    return Spikes(*_events(line(rate_hz, size, dt_ms), key, steps, trials), shape=(steps, trials, size), dt_ms=dt_ms)
