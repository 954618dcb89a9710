"""What all encoders share: the checks of what they are given, and the way from times onto the grid."""

from __future__ import annotations

import numpy as np

from spiketwin.models.spikes import Spikes
from spiketwin.models.units import positive as positive  # which encoders and others have from here
from spiketwin.models.units import whole as whole

# In steps. Times that are multiples of dt differ from them in their last bits: 3 · 0.1 / 0.1 is not quite 3.
ROUNDING = 1e-9


def intensities(x) -> np.ndarray:
    """x as float64 [B, N]. Raises ValueError for another shape, for NaN, and for values outside 0 … 1."""
    x = np.asarray(x, dtype=float)
    if x.ndim != 2:
        raise ValueError(f"intensities are [B, N], one row per sample; got shape {x.shape}" + ("; give x[None]" if x.ndim == 1 else ""))
    if np.isnan(x).any():
        raise ValueError(
            f"intensities hold {np.isnan(x).sum()} NaN, the first in sample {np.nonzero(np.isnan(x))[0][0]}; repair or drop those samples"
        )
    if x.size and (x.min() < 0 or x.max() > 1):
        hint = f"divide by {256 - 1 if x.max() > 16 else x.max():g}" if x.min() >= 0 else "shift and scale them"
        raise ValueError(f"intensities must lie in 0 … 1, but they lie in {x.min():g} … {x.max():g}; {hint}")
    return x


def signals(x) -> np.ndarray:
    """x as float64 [T, B, N]. Raises ValueError for another shape, for no steps, for NaN and infinite values."""
    x = np.asarray(x, dtype=float)
    if x.ndim != 3 or not len(x):
        hint = "; give x[:, None, None]" if x.ndim == 1 else "; give x[:, None] for one trial [T, N]" if x.ndim == 2 else ""
        raise ValueError(f"signals are [T, B, N] with at least one step; got shape {x.shape}{hint}")
    if not np.isfinite(x).all():
        step, trial, _ = np.argwhere(~np.isfinite(x))[0]
        raise ValueError(
            f"signals hold {(~np.isfinite(x)).sum()} NaN or infinite values, the first at step {step} of trial {trial}; fill or cut them"
        )
    return x


def whole_steps(duration_ms: float, dt_ms: float, name: str) -> int:
    """How many steps of dt_ms a duration has. Raises ValueError, with the duration's name, unless that is a whole number."""
    if not (np.isfinite(dt_ms) and dt_ms > 0 and np.isfinite(duration_ms)):
        raise ValueError(f"{name} = {duration_ms} and dt_ms = {dt_ms} must be positive and finite")
    steps = round(duration_ms / dt_ms)
    if steps < 1 or abs(steps * dt_ms - duration_ms) > 1e-6 * dt_ms:
        raise ValueError(f"{name} = {duration_ms} is not a whole number of steps of dt_ms = {dt_ms}")
    return steps


def before(time_ms: np.ndarray, tmax_ms: float) -> np.ndarray:
    """The times before tmax_ms, inf in place of the others. Raises ValueError unless tmax_ms is positive; inf keeps all."""
    if not tmax_ms > 0:
        raise ValueError(f"tmax_ms = {tmax_ms} must be positive")
    return np.where(time_ms < tmax_ms, time_ms, np.inf)


def at_times(time_ms: np.ndarray, batch: np.ndarray, neuron: np.ndarray, *, shape: tuple[int, int, int], dt_ms: float) -> Spikes:
    """Spikes at exact times, labelled with the step that holds them; those from the end T·dt on are left out."""
    step = np.floor(time_ms / dt_ms + ROUNDING)
    inside = step < shape[0]
    return Spikes(step[inside].astype(np.int64), batch[inside], neuron[inside], shape, dt_ms, time_ms[inside])
