"""Burst: a stronger input fires more spikes, and faster; both the count and the intervals carry the value.

    count    = ceil(spikes_max · x)
    interval = longest - (longest - shortest) · x

Source: Guo et al. 2021, Neural coding in spiking neural networks, for this code of inputs (there with intervals rounded up
to steps); Park et al. 2019, Fast and efficient information transmission with burst spikes, for bursts between layers.
"""

from __future__ import annotations

import numpy as np

from spiketwin.models.decoders import count, mean_interval_ms
from spiketwin.models.encoders.shared import ROUNDING, at_times, intensities, positive, whole, whole_steps
from spiketwin.models.spikes import Spikes


def burst(
    x,
    *,
    spikes_max: int = 5,
    shortest_ms: float = 2.0,
    longest_ms: float = 20.0,
    duration_ms: float = 100.0,
    dt_ms: float = 1.0,
) -> Spikes:
    """One burst per input that is not 0, from time 0 on.

    x: intensities [B, N] in 0 … 1.  spikes_max, shortest_ms: spikes and interval of x = 1.  longest_ms: interval at x = 0.
    Returns spikes [duration/dt, B, N], with the exact times in `time_ms`.  By default .5 fires at 0, 11 and 22 ms.
    Raises ValueError for NaN, for x outside 0 … 1, for settings that are not positive, for an interval shorter than a
    step, and where the longest burst does not fit into the duration.
    """
    x = intensities(x)
    steps = whole_steps(duration_ms, dt_ms, "duration_ms")
    whole(1, spikes_max=spikes_max)
    _check(shortest_ms, longest_ms)
    if shortest_ms < dt_ms * (1 - ROUNDING):
        raise ValueError(f"shortest_ms = {shortest_ms} is less than a step of dt_ms = {dt_ms}, which holds one spike; use a finer step")
    fewer = np.arange(spikes_max)  # a burst of k + 1 spikes is longest for the weakest such input, k / spikes_max
    needed = (fewer * (longest_ms - (longest_ms - shortest_ms) * fewer / spikes_max)).max()
    if needed >= duration_ms:
        raise ValueError(f"duration_ms = {duration_ms} is too short: a burst can last {needed:g} ms; use more time or less of longest_ms")
    many = burst_count(x, spikes_max=spikes_max).ravel()
    train = np.repeat(np.arange(x.size), many)
    nth = np.arange(train.size) - np.repeat(np.cumsum(many) - many, many)
    time_ms = nth * burst_interval_ms(x, shortest_ms=shortest_ms, longest_ms=longest_ms).ravel()[train]
    return at_times(time_ms, *np.unravel_index(train, x.shape), shape=(steps, *x.shape), dt_ms=dt_ms)


def burst_count(x, *, spikes_max: int = 5) -> np.ndarray:
    """How many spikes each input fires [B, N]: ceil(spikes_max · x). Raises ValueError as burst does."""
    x = intensities(x)
    whole(1, spikes_max=spikes_max)
    # 20 · .55 is 11.000000000000002, and yet 11 spikes
    return np.maximum(np.ceil(spikes_max * x - ROUNDING), x > 0).astype(np.int64)


def burst_interval_ms(x, *, shortest_ms: float = 2.0, longest_ms: float = 20.0) -> np.ndarray:
    """The time between two spikes of each input's burst, in ms [B, N]: falls from longest to shortest as x grows from 0 to 1.

    Raises ValueError as burst does.
    """
    _check(shortest_ms, longest_ms)
    return longest_ms - (longest_ms - shortest_ms) * intensities(x)


def burst_value(spikes: Spikes, *, spikes_max: int = 5, shortest_ms: float = 2.0, longest_ms: float = 20.0) -> np.ndarray:
    """The intensities [B, N]: from the interval where there is one; half a count, 1/(2 spikes_max), for a single spike; else 0."""
    whole(1, spikes_max=spikes_max)
    _check(shortest_ms, longest_ms)
    many, interval_ms = count(spikes), mean_interval_ms(spikes)
    by_interval = ((longest_ms - interval_ms) / (longest_ms - shortest_ms)).clip(0, 1)
    return np.where(many > 1, by_interval, many / (2 * spikes_max))


def _check(shortest_ms: float, longest_ms: float) -> None:
    positive(shortest_ms=shortest_ms, longest_ms=longest_ms)
    if not shortest_ms < longest_ms:
        raise ValueError(f"shortest_ms = {shortest_ms} must be less than longest_ms = {longest_ms}, so that intervals tell values apart")
