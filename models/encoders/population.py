"""Population: each value is seen by several neurons with overlapping Gaussian receptive fields; the nearest fires first.

    centre_i   = (i - 1/2) / (fields - 2),    i = 0 … fields - 1:  one centre lies beyond each end of 0 … 1
    width      = 1 / (overlap (fields - 2))
    activation = exp(-(x - centre)² / (2 width²))
    T          = tmax (1 - activation)  where activation > activation_min, else no spike

Source: Bohte, Kok & La Poutré 2002, Error-backpropagation in temporally encoded networks of spiking neurons (overlap 1.5,
tmax 10 ms, silent after 9 ms).
"""

from __future__ import annotations

import numpy as np

from spiketwin.models.decoders import first_spike_ms
from spiketwin.models.encoders.shared import at_times, intensities, positive, whole, whole_steps
from spiketwin.models.spikes import Spikes


def population(
    x, *, fields: int = 8, overlap: float = 1.5, activation_min: float = 0.1, tmax_ms: float = 10.0, dt_ms: float = 1.0
) -> Spikes:
    """At most one spike from each of `fields` neurons per input, the earlier the nearer the value is to the neuron's centre.

    x: intensities [B, N] in 0 … 1.  Returns spikes [tmax/dt, B, N · fields], with the exact times in `time_ms`; the fields of
    input n are neurons n · fields and following.
    Raises ValueError for NaN, for x outside 0 … 1, for fewer than 3 fields, and for fields so narrow that a value would be seen by
    one of them only, since that leaves open on which side of the centre it lies.
    """
    x = intensities(x)
    steps = whole_steps(tmax_ms, dt_ms, "tmax_ms")
    time_ms = population_ms(x, fields=fields, overlap=overlap, activation_min=activation_min, tmax_ms=tmax_ms)
    batch, neuron = np.nonzero(np.isfinite(time_ms))
    return at_times(time_ms[batch, neuron], batch, neuron, shape=(steps, *time_ms.shape), dt_ms=dt_ms)


def population_ms(x, *, fields: int = 8, overlap: float = 1.5, activation_min: float = 0.1, tmax_ms: float = 10.0) -> np.ndarray:
    """When each neuron fires, in ms [B, N · fields]; inf where it does not. Raises ValueError as population does."""
    x = intensities(x)
    positive(tmax_ms=tmax_ms)
    centre, width = _fields(fields, overlap)
    # the second nearest centre is at most a spacing away, where the activation is exp(-overlap²/2)
    if not 0 < activation_min < np.exp(-(overlap**2) / 2):
        raise ValueError(
            f"activation_min = {activation_min} must lie between 0 and exp(-overlap²/2) = {np.exp(-(overlap**2) / 2):.3g}, so that two fields see each value"
        )
    activation = np.exp(-0.5 * ((x[:, :, None] - centre) / width) ** 2).reshape(len(x), -1)
    return np.where(activation > activation_min, tmax_ms * (1 - activation), np.inf)


def population_value(spikes: Spikes, *, fields: int = 8, overlap: float = 1.5, tmax_ms: float = 10.0) -> np.ndarray:
    """The values [B, N] where the two first spikes of each input say they are; NaN where fewer than two fired.

    The logarithms of two activations differ by (c1 - c2)(2 x - c1 - c2)/(2 width²), which is solved for x.
    """
    positive(tmax_ms=tmax_ms)
    centre, width = _fields(fields, overlap)
    if spikes.shape[2] % fields:
        raise ValueError(f"{spikes!r} has {spikes.shape[2]} neurons, which are not groups of fields = {fields}; give the encoder's setting")
    time_ms = first_spike_ms(spikes).reshape(spikes.shape[1], -1, fields)
    pair = np.argsort(time_ms, axis=2, kind="stable")[:, :, :2]
    first, second = np.moveaxis(np.take_along_axis(time_ms, pair, axis=2), 2, 0)
    seen = np.isfinite(second)
    ratio = np.log1p(-np.where(seen, first, 0.0) / tmax_ms) - np.log1p(-np.where(seen, second, 0.0) / tmax_ms)
    c1, c2 = np.moveaxis(centre[pair], 2, 0)
    return np.where(seen, (c1 + c2) / 2 + width**2 * ratio / (c1 - c2), np.nan).clip(0, 1)


def _fields(fields: int, overlap: float) -> tuple[np.ndarray, float]:
    """Centres [fields] and width of the receptive fields."""
    whole(3, fields=fields)  # one within 0 … 1 and one beyond each end
    positive(overlap=overlap)
    return (np.arange(fields) - 0.5) / (fields - 2), 1 / (overlap * (fields - 2))
