"""Temporal switch: the time between the spikes of two neurons carries the value. One switches a current on, the other off.

    neuron n      fires at 0         weight +w
    neuron N + n  fires at x · tmax  weight -w,    so the charge that arrives is w · x · tmax

The projection behind it has the weights [W, -W].

Source: Han & Roy 2020, Deep spiking neural network: energy efficiency through time based coding; Rathi et al. 2023.
"""

from __future__ import annotations

import numpy as np

from spiketwin.models.decoders import first_spike_ms
from spiketwin.models.encoders.shared import at_times, intensities, positive, whole_steps
from spiketwin.models.spikes import Spikes


def temporal_switch(x, *, tmax_ms: float = 100.0, dt_ms: float = 1.0) -> Spikes:
    """Two spikes for each input that is not 0: "on" at time 0 from neuron n, "off" at x · tmax from neuron N + n.

    x: intensities [B, N] in 0 … 1.  Returns spikes [tmax/dt + 1, B, 2 N], with the exact times in `time_ms`; the step
    more holds the end of the longest interval.  An interval below dt has both spikes in one step.
    Raises ValueError for NaN, for x outside 0 … 1, and for settings that are not positive.
    """
    x = intensities(x)
    steps, size = whole_steps(tmax_ms, dt_ms, "tmax_ms") + 1, x.shape[1]
    batch, neuron = np.nonzero(x)
    off_ms = tmax_ms * x[batch, neuron]
    time_ms, both = np.concatenate((np.zeros_like(off_ms), off_ms)), np.concatenate((neuron, size + neuron))
    return at_times(time_ms, np.tile(batch, 2), both, shape=(steps, len(x), 2 * size), dt_ms=dt_ms)


def temporal_switch_ms(x, *, tmax_ms: float = 100.0) -> np.ndarray:
    """The time between the two spikes of each input, in ms [B, N]: x · tmax. Raises ValueError as temporal_switch does."""
    positive(tmax_ms=tmax_ms)
    return intensities(x) * tmax_ms


def temporal_switch_value(spikes: Spikes, *, tmax_ms: float = 100.0) -> np.ndarray:
    """The intensities [B, N] behind spikes of 2 N neurons: (off - on) / tmax; 0 without an "on".

    Where "off" has not come when the trial ends, the current has flowed until then, and that is what is returned, at most 1.
    """
    positive(tmax_ms=tmax_ms)
    if spikes.shape[2] % 2:
        raise ValueError(f"{spikes!r} has an odd number of neurons; a temporal switch has two for each value")
    on, off = np.split(first_spike_ms(spikes, silent_ms=spikes.shape[0] * spikes.dt_ms), 2, axis=1)
    return np.clip((off - on) / tmax_ms, 0, 1)
