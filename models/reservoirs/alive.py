"""Whether a liquid lives: not silent, not firing all the time. What a dead one needs is in the message."""

from __future__ import annotations

import numpy as np

from spiketwin.models.engines.base import refractory_steps
from spiketwin.models.recording import Recording
from spiketwin.models.reservoirs.liquid import Liquid


class LiquidError(ValueError):
    """A liquid is silent, or fires all the time. The message names the parameters to move."""


def check_alive(recording: Recording, liquid: Liquid, *, least_hz: float = 0.5, most_of_ceiling: float = 0.5) -> float:
    """Mean rate in Hz of the neurons that are read, over all trials of a recording.

    least_hz: what a living liquid exceeds.  most_of_ceiling: and the share of the highest possible rate, one spike per step or
    per refractory period, that it stays below.
    Raises LiquidError naming the parameter to move.
    """
    counts, ceiling = [], []
    for name in liquid.read:
        spikes = recording.spikes[name]
        steps, trials, _ = spikes.shape
        held = np.maximum(refractory_steps(liquid.network.population(name), recording.dt_ms), 1)
        counts.append(spikes.counts().sum(axis=0) / trials)
        ceiling.append(steps / held)
    count, most = np.concatenate(counts), np.concatenate(ceiling)
    rate_hz = float(count.mean() / (steps * recording.dt_ms * 1e-3))
    if rate_hz < least_hz:
        raise LiquidError(
            f"the liquid is silent: {rate_hz:.2g} Hz on average, {np.mean(count == 0):.0%} of {liquid.size} neurons never fired; raise input_scale "
            "or background, or lower inhibition; is there any spike in the input?"
        )
    if (share := float(np.mean(count / most))) > most_of_ceiling:
        often = " at every step" if share > 0.9 and (most >= steps).all() else f" {share:.0%} as often as they can"
        raise LiquidError(
            f"the liquid is saturated: its neurons fire{often}, {rate_hz:.4g} Hz on average, and carry no trace of the input; lower "
            "connection_scale, raise inhibition, or lower input_scale and background"
        )
    return rate_hz
