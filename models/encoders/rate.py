"""Rate codes: an input of intensity x fires at x · rate_hz, by chance in each step, as a Poisson process, or as a clock.

    bernoulli   a spike in each step with probability x rate dt          counts vary by x rate D (1 - x rate dt)
    poisson     … with probability 1 - exp(-x rate dt), that of at least one event of a Poisson process in the step
    regular     spikes at (k - 1/2) / (x rate), k = 1, 2, …              counts are rounded, they do not vary

Source: Adrian 1926 for the rate as a code; Gerstner et al. 2014, Neuronal Dynamics, section 7.2-7.3, for Poisson trains.
"""

from __future__ import annotations

import numpy as np

from spiketwin.models.decoders import rate_hz as decoded_rate_hz
from spiketwin.models.encoders.shared import ROUNDING, at_times, intensities, positive, whole_steps
from spiketwin.models.spikes import Spikes


def bernoulli(x, *, rate_hz: float, duration_ms: float, dt_ms: float = 1.0, seed: int = 0) -> Spikes:
    """A spike in each step with probability x · rate · dt, independent of all others.

    x: intensities [B, N] in 0 … 1.  Returns spikes [duration/dt, B, N], the same for the same seed.
    Raises ValueError for NaN, for x outside 0 … 1, for a negative rate and for one above one spike per step.
    """
    x = intensities(x)
    _check(rate_hz, dt_ms)
    return _independent(np.minimum(x * rate_hz * dt_ms * 1e-3, 1), whole_steps(duration_ms, dt_ms, "duration_ms"), dt_ms, seed)


def bernoulli_rate_hz(x, *, rate_hz: float) -> np.ndarray:
    """The expected rate [B, N] in Hz: x · rate. Raises ValueError as bernoulli does."""
    _check(rate_hz)
    return intensities(x) * rate_hz


def bernoulli_value(spikes: Spikes, *, rate_hz: float) -> np.ndarray:
    """The intensities [B, N] that make the counts most likely: measured rate / rate."""
    positive(rate_hz=rate_hz)
    return np.minimum(decoded_rate_hz(spikes) / rate_hz, 1)


def poisson(x, *, rate_hz: float, duration_ms: float, dt_ms: float = 1.0, seed: int = 0) -> Spikes:
    """Independent Poisson trains of rate x · rate_hz, of which a step holds at most one spike.

    x: intensities [B, N] in 0 … 1.  Returns spikes [duration/dt, B, N], the same for the same seed.
    Raises ValueError for NaN, for x outside 0 … 1, for a negative rate.
    """
    x = intensities(x)
    _check(rate_hz)
    return _independent(-np.expm1(-x * rate_hz * dt_ms * 1e-3), whole_steps(duration_ms, dt_ms, "duration_ms"), dt_ms, seed)


def poisson_rate_hz(x, *, rate_hz: float, dt_ms: float = 1.0) -> np.ndarray:
    """The expected rate on the grid [B, N] in Hz: (1 - exp(-x rate dt)) / dt, which is x · rate for small steps.

    Raises ValueError as poisson does.
    """
    _check(rate_hz)
    positive(dt_ms=dt_ms)
    return -np.expm1(-intensities(x) * rate_hz * dt_ms * 1e-3) / dt_ms * 1e3


def poisson_value(spikes: Spikes, *, rate_hz: float) -> np.ndarray:
    """The intensities [B, N] that make the counts most likely: -ln(1 - share of steps with a spike) / (rate dt), at most 1."""
    positive(rate_hz=rate_hz)
    share = decoded_rate_hz(spikes) * spikes.dt_ms * 1e-3
    with np.errstate(divide="ignore"):  # a spike in every step: as likely as it gets, intensity 1
        return np.minimum(-np.log1p(-share) / (rate_hz * spikes.dt_ms * 1e-3), 1)


def regular(x, *, rate_hz: float, duration_ms: float, dt_ms: float = 1.0) -> Spikes:
    """Spikes at equal intervals 1/(x · rate), the first after half an interval.

    These are the spikes of a perfect integrator that starts half full, so the count is x · rate · duration rounded.
    x: intensities [B, N] in 0 … 1.  Returns spikes [duration/dt, B, N], with the exact times in `time_ms`.
    Raises ValueError for NaN, for x outside 0 … 1, for a negative rate and for one above one spike per step.
    """
    x = intensities(x)
    steps = whole_steps(duration_ms, dt_ms, "duration_ms")
    _check(rate_hz, dt_ms)
    per_ms = x.ravel() * rate_hz * 1e-3
    # One more than can be: at_times leaves out what lies beyond the end.
    count = np.where(per_ms > 0, np.floor(per_ms * steps * dt_ms + 0.5) + 1, 0).astype(np.int64)
    train = np.repeat(np.arange(x.size), count)
    nth = np.arange(train.size) - np.repeat(np.cumsum(count) - count, count)
    with np.errstate(over="ignore"):  # an intensity of 1e-300 fires after the end of the world
        time_ms = (nth + 0.5) / per_ms[train]
    return at_times(time_ms, *np.unravel_index(train, x.shape), shape=(steps, *x.shape), dt_ms=dt_ms)


def regular_rate_hz(x, *, rate_hz: float, duration_ms: float) -> np.ndarray:
    """The rate [B, N] in Hz: the whole number of spikes nearest to x · rate · duration, over the duration.

    Where that lies half-way between two numbers the lower holds, for the last spike would come when the trial is over.
    Raises ValueError as regular does.
    """
    _check(rate_hz)
    positive(duration_ms=duration_ms)
    return np.ceil(intensities(x) * rate_hz * duration_ms * 1e-3 - 0.5 - ROUNDING).clip(0) / duration_ms * 1e3


def _check(rate_hz: float, dt_ms: float | None = None) -> None:
    if not (np.isfinite(rate_hz) and rate_hz >= 0):
        raise ValueError(f"rate_hz = {rate_hz} must be finite and not negative")
    if dt_ms is not None and rate_hz * dt_ms * 1e-3 > 1 + ROUNDING:
        raise ValueError(
            f"rate_hz = {rate_hz} is more than one spike per step of dt_ms = {dt_ms}; use a step of at most {1e3 / rate_hz:g} ms"
        )


def _independent(probability: np.ndarray, steps: int, dt_ms: float, seed: int) -> Spikes:
    """A spike in each step with `probability` [B, N].

    Drawn as waits from one spike of a train to its next, which are geometric: that costs as much as there are spikes,
    where a number for every step would cost [T, B, N].
    """
    rng = np.random.default_rng(seed)
    train = np.flatnonzero(probability)
    step, found = np.full(train.size, -1), [(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))]
    while train.size:
        # steps + 1 is too late from anywhere, and cannot overflow
        step = step + np.minimum(rng.geometric(probability.flat[train]), steps + 1)
        train, step = train[step < steps], step[step < steps]
        found.append((step, train))
    step, train = (np.concatenate(part) for part in zip(*found, strict=True))
    return Spikes(step, *np.unravel_index(train, probability.shape), shape=(steps, *probability.shape), dt_ms=dt_ms)
