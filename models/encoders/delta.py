"""Send-on-delta: a neuron fires when a signal has risen by delta since the last spike, another when it has fallen by delta.

    on  (neuron n)      when signal >= reference + delta,  then reference <- reference + delta
    off (neuron N + n)  when signal <= reference - delta,  then reference <- reference - delta

The reference starts at the first sample. A step holds one spike, so a signal that moves by more than delta in a step is
followed with a lag. What a constant signal costs is nothing.

Source: Miskowicz 2006, Send-on-delta concept, for the sampling; Petro, Kasabov & Kiss 2020 (there called step-forward) and
Forno et al. 2022 for the encoder.
"""

from __future__ import annotations

import numpy as np

from spiketwin.models.encoders.shared import ROUNDING, positive, signals
from spiketwin.models.spikes import Spikes


def delta(x, *, delta: float, dt_ms: float) -> Spikes:
    """Spikes where a signal has moved by delta.

    x: signals [T, B, N], any unit; a sample per step of dt_ms.  delta: in the unit of the signal.
    Returns spikes [T, B, 2 N]: first the N "on" neurons, then the N "off" ones.
    Raises ValueError for NaN and infinite values, for another shape, and for settings that are not positive.
    """
    x = signals(x)
    positive(delta=delta, dt_ms=dt_ms)
    T, B, N = x.shape
    scaled = (x - x[0]) / delta
    level = np.zeros((B, N))  # of the reference, in deltas above the start: whole numbers do not drift
    steps, batches, neurons = [], [], []
    for n in range(T):
        distance = scaled[n] - level
        # a ramp of .1 per step reaches a delta of .1 up to rounding
        batch, neuron = np.nonzero(np.abs(distance) >= 1 - ROUNDING)
        if batch.size:
            way = np.sign(distance[batch, neuron])
            level[batch, neuron] += way
            steps.append(np.full(batch.size, n))
            batches.append(batch)
            neurons.append(np.where(way > 0, neuron, N + neuron))
    step, batch, neuron = (np.concatenate([np.empty(0, dtype=np.int64), *part]) for part in (steps, batches, neurons))
    return Spikes(step, batch, neuron, (T, B, 2 * N), dt_ms)


def delta_rate_hz(slope_per_s, *, delta: float, dt_ms: float) -> np.ndarray:
    """The rate in Hz of the "on" neuron of a ramp, and of the "off" neuron for a negative slope: |slope| / delta.

    slope_per_s: array of any shape.  At most one spike per step.
    """
    positive(delta=delta, dt_ms=dt_ms)
    return np.minimum(np.abs(slope_per_s) / delta, 1e3 / dt_ms)


def delta_value(spikes: Spikes, *, delta: float, start=0.0) -> np.ndarray:
    """The reference over time [T, B, N], which lies within delta of a signal that moves by at most delta per step.

    start: the first sample, a number or an array [B, N].
    """
    positive(delta=delta)
    T, B, double = spikes.shape
    if double % 2:
        raise ValueError(f"{spikes!r} has an odd number of neurons; send-on-delta has an on and an off neuron for each signal")
    size = double // 2
    moves = np.zeros((T, B, size))
    np.add.at(moves, (spikes.step, spikes.batch, spikes.neuron % size), np.where(spikes.neuron < size, 1.0, -1.0))
    return start + delta * np.cumsum(moves, axis=0)
