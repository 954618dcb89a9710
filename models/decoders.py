"""From spikes and membranes back to numbers: one per trial and neuron, out of all steps.

    count               Σ_t S                                        spikes
    rate_hz             Σ_t S / (T dt)                               spikes
    first_spike_ms      time of the first spike                      spikes
    mean_interval_ms    (last - first) / (count - 1)                 Spikes only
    membrane_mean       Σ_t v / T                                    membranes
    max_over_time       max_t v                                      membranes

Spikes are Spikes, or a tensor [T, B, N] of 0 and 1; membranes are a tensor [T, B, N]. A tensor is numpy's or torch's, and the
result is of the same kind. In torch all are differentiable. The decision of a classifier is the argmax of count, membrane_mean
or max_over_time, or the argmin of first_spike_ms.

For first_spike_ms the gradient is exact in this sense: with S_t changed between 0 and 1 at one step, the time changes by the
derivative times the change, because it is linear in each S_t:

    T_first = dt Σ_t Π_(s <= t) (1 - S_s),    the steps that pass without a spike
"""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from spiketwin.models.spikes import Spikes
from spiketwin.models.units import positive


def count(spikes) -> Any:
    """Spikes per trial and neuron [B, N].  spikes: Spikes or [T, B, N]."""
    return spikes.counts() if isinstance(spikes, Spikes) else _over_time(spikes).sum(0)


def rate_hz(spikes, dt_ms: float | None = None) -> Any:
    """Rate per trial and neuron [B, N] in Hz.  spikes: Spikes, or [T, B, N] together with dt_ms."""
    dt_ms, many = _step(spikes, dt_ms), count(spikes)
    return many / (spikes.shape[0] * dt_ms * 1e-3)


def first_spike_ms(spikes, dt_ms: float | None = None, *, silent_ms: float = inf) -> Any:
    """Time of the first spike [B, N] in ms; silent_ms where there is none.

    spikes: Spikes (their exact times where they have them), or [T, B, N] together with dt_ms: then the label of the step, n·dt.
    The gradient also reaches neurons that are silent: a spike at step n would bring their time from T·dt to n·dt. A loss of it
    needs a finite silent_ms, such as the duration.
    Raises ValueError when a tensor comes without dt_ms.
    """
    dt_ms = _step(spikes, dt_ms)
    if isinstance(spikes, Spikes):
        first = spikes.first_ms()
        return np.where(np.isinf(first), silent_ms, first)
    _over_time(spikes)
    if isinstance(spikes, np.ndarray):
        fired = spikes != 0
        return np.where(fired.any(axis=0), fired.argmax(axis=0) * dt_ms, silent_ms)
    import torch

    spikes = spikes if spikes.is_floating_point() else spikes.to(torch.get_default_dtype())
    first = dt_ms * (1 - spikes).cumprod(0).sum(0)
    silent = ~(spikes.detach() != 0).any(0)
    return torch.where(silent, first + (silent_ms - dt_ms * len(spikes)), first)


def mean_interval_ms(spikes: Spikes) -> np.ndarray:
    """Mean time between two spikes of a neuron [B, N] in ms: (last - first) / (count - 1); NaN below two spikes.

    Raises ValueError for a tensor.
    """
    if not isinstance(spikes, Spikes):
        raise ValueError(
            f"intervals need the times of Spikes, got a {type(spikes).__name__}; make them with Spikes.from_dense(array, dt_ms)"
        )
    _, B, N = spikes.shape
    last, many, mean = np.full((B, N), -inf), spikes.counts(), np.full((B, N), np.nan)
    np.maximum.at(last, (spikes.batch, spikes.neuron), spikes.times_ms())
    several = many > 1
    mean[several] = (last[several] - spikes.first_ms()[several]) / (many - 1)[several]
    return mean


def membrane_mean(v) -> Any:
    """Mean over time [B, N] of membranes v [T, B, N]."""
    return _over_time(v).mean(0)


def max_over_time(v) -> Any:
    """The largest value of each membrane over time [B, N].  v: [T, B, N].  The gradient goes to the step that held it."""
    v = _over_time(v)
    return v.max(axis=0) if isinstance(v, np.ndarray) else v.amax(0)


def _over_time(tensor) -> Any:
    """The tensor. Raises ValueError unless it is [T, B, N] with at least one step."""
    if isinstance(tensor, Spikes):
        raise ValueError(f"membranes [T, B, N] are needed, but {tensor!r} was given; record the state, e.g. record={{'out': ('v',)}}")
    shape = tuple(getattr(tensor, "shape", ()))
    if len(shape) != 3 or not shape[0]:
        what = f"shape {shape}" if hasattr(tensor, "shape") else f"a {type(tensor).__name__}; make it one with np.asarray"
        raise ValueError(f"a tensor [T, B, N] with at least one step is needed; got {what}")
    return tensor


def _step(spikes, dt_ms: float | None) -> float:
    if isinstance(spikes, Spikes):
        if dt_ms is not None and not np.isclose(dt_ms, spikes.dt_ms, rtol=1e-9):
            raise ValueError(f"dt_ms = {dt_ms} contradicts {spikes!r}; it is meant for tensors, leave it out")
        return spikes.dt_ms
    if dt_ms is None:
        raise ValueError("a tensor [T, B, N] has no time step; add dt_ms=…, or pass Spikes")
    positive(dt_ms=dt_ms)
    return dt_ms
