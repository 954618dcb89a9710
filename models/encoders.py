"""From numbers to spikes: each encoder takes intensities in 0 … 1 and gives Spikes."""

from __future__ import annotations

import numpy as np

from spiketwin.models.spikes import Spikes


def time_to_first_spike(x, *, tau_ms: float = 20.0, threshold: float = 0.2, tmax_ms: float = 100.0, dt_ms: float = 1.0) -> Spikes:
    """At most one spike per input; the stronger the input, the earlier:

        T = tau ln(x / (x - threshold))  where x > threshold and T < tmax, else no spike.

    This is when a leaky integrator of time constant tau that is driven by x reaches the threshold.
    x: intensities [B, N] in 0 … 1.  Returns spikes [tmax/dt, B, N]: labelled floor(T/dt), with the
    exact T in `time_ms`.  tau 20 ms and threshold 0.2: x = 1 fires at 4.46 ms, 0.3 at 21.97 ms.
    Raises ValueError for NaN, for x outside 0 … 1, and for settings that are not positive.
    Source: eq. 13-14 of the thesis this project grew from; Zenke, SpyTorch tutorial 2.
    """
    x = _intensities(x)
    steps = _steps(tmax_ms, dt_ms, "tmax_ms")
    if not tau_ms > 0:
        raise ValueError(f"tau_ms = {tau_ms} must be positive")
    if not 0 < threshold < 1:
        raise ValueError(f"threshold = {threshold} must lie between 0 and 1, so that some inputs fire and some do not")
    batch, neuron = np.nonzero(x > threshold)
    above = x[batch, neuron]
    time_ms = tau_ms * np.log(above / (above - threshold))
    in_time = time_ms < tmax_ms
    time_ms = time_ms[in_time]
    # a time just below tmax may divide to the last step + 1
    step = np.minimum(np.floor(time_ms / dt_ms).astype(np.int64), steps - 1)
    return Spikes(step, batch[in_time], neuron[in_time], (steps, *x.shape), dt_ms, time_ms)


def poisson(x, *, rate_hz: float, duration_ms: float, dt_ms: float = 1.0, seed: int = 0) -> Spikes:
    """Independent Poisson trains of rate x · rate_hz.

    x: intensities [B, N] in 0 … 1.  Returns spikes [duration/dt, B, N], the same for the same seed.
    Raises ValueError for NaN, for x outside 0 … 1, for a negative rate.
    """
    x = _intensities(x)
    if not (np.isfinite(rate_hz) and rate_hz >= 0):
        raise ValueError(f"rate_hz = {rate_hz} must be finite and not negative")
    trials, size = x.shape
    steps, rng = _steps(duration_ms, dt_ms, "duration_ms"), np.random.default_rng(seed)
    probability = -np.expm1(-x * rate_hz * dt_ms * 1e-3)
    events = [np.nonzero(rng.random((trials, size)) < probability) for _ in range(steps)]
    step = np.repeat(np.arange(steps), [len(b) for b, _ in events])
    return Spikes(step, np.concatenate([b for b, _ in events]), np.concatenate([n for _, n in events]), (steps, trials, size), dt_ms)


def _intensities(x) -> np.ndarray:
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


def _steps(duration_ms: float, dt_ms: float, name: str) -> int:
    if not (np.isfinite(dt_ms) and dt_ms > 0 and np.isfinite(duration_ms)):
        raise ValueError(f"{name} = {duration_ms} and dt_ms = {dt_ms} must be positive and finite")
    steps = round(duration_ms / dt_ms)
    if steps < 1 or abs(steps * dt_ms - duration_ms) > 1e-6 * dt_ms:
        raise ValueError(f"{name} = {duration_ms} is not a whole number of steps of dt_ms = {dt_ms}")
    return steps
