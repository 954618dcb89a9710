"""One spike per input, the stronger the earlier: time to first spike, and its logarithmic form.

    time to first spike   T = tau ln(x / (x - threshold))    when a leaky integrator driven by x reaches its threshold
    log-temporal          T = halving log2(1 / x)            half the intensity comes `halving` later

In the second, a factor of contrast moves all spikes of an image by the same time and leaves their differences alone.
"""

from __future__ import annotations

import numpy as np

from spiketwin.models.decoders import first_spike_ms
from spiketwin.models.encoders.shared import at_times, before, intensities, positive, whole_steps
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
    x = intensities(x)
    steps = whole_steps(tmax_ms, dt_ms, "tmax_ms")
    _check(tau_ms, threshold)
    batch, neuron = np.nonzero(x > threshold)
    above = x[batch, neuron]
    return at_times(tau_ms * np.log(above / (above - threshold)), batch, neuron, shape=(steps, *x.shape), dt_ms=dt_ms)


def time_to_first_spike_ms(x, *, tau_ms: float = 20.0, threshold: float = 0.2, tmax_ms: float = 100.0) -> np.ndarray:
    """When each input fires, in ms [B, N]; inf where it does not. Raises ValueError as time_to_first_spike does."""
    x = intensities(x)
    _check(tau_ms, threshold)
    above = np.where(x > threshold, x, np.inf)
    return before(np.where(x > threshold, -tau_ms * np.log1p(-threshold / above), np.inf), tmax_ms)


def time_to_first_spike_value(spikes: Spikes, *, tau_ms: float = 20.0, threshold: float = 0.2) -> np.ndarray:
    """The intensities [B, N] behind the first spikes: threshold / (1 - exp(-T/tau)), at most 1; 0 where there is none."""
    _check(tau_ms, threshold)
    time_ms = first_spike_ms(spikes)
    share = -np.expm1(-time_ms / tau_ms)
    return np.where(np.isfinite(time_ms), threshold / np.maximum(share, threshold), 0.0)


def log_temporal(x, *, halving_ms: float = 10.0, tmax_ms: float = 100.0, dt_ms: float = 1.0) -> Spikes:
    """At most one spike per input, at T = halving log2(1/x) where x > 0 and T < tmax, else no spike.

    x: intensities [B, N] in 0 … 1.  Returns spikes [tmax/dt, B, N], with the exact T in `time_ms`.  Halving 10 ms:
    x = 1 fires at 0, 0.5 at 10, 0.1 at 33.2 ms.  With halving = dt the label is the exponent of the largest power of
    two in x, the single-spike form of logarithmic temporal coding; its form with a spike per binary digit is `phase`.
    Raises ValueError for NaN, for x outside 0 … 1, and for settings that are not positive.
    Source: Zhang et al. 2020, Efficient spiking neural networks with logarithmic temporal coding; Hopfield 1995 for
    logarithmic times that make patterns independent of contrast.
    """
    x = intensities(x)
    steps = whole_steps(tmax_ms, dt_ms, "tmax_ms")
    positive(halving_ms=halving_ms)
    batch, neuron = np.nonzero(x)
    return at_times(-halving_ms * np.log2(x[batch, neuron]), batch, neuron, shape=(steps, *x.shape), dt_ms=dt_ms)


def log_temporal_ms(x, *, halving_ms: float = 10.0, tmax_ms: float = 100.0) -> np.ndarray:
    """When each input fires, in ms [B, N]; inf where it does not. Raises ValueError as log_temporal does."""
    x = intensities(x)
    positive(halving_ms=halving_ms)
    return before(-halving_ms * np.log2(x, out=np.full(x.shape, -np.inf), where=x > 0), tmax_ms)


def log_temporal_value(spikes: Spikes, *, halving_ms: float = 10.0) -> np.ndarray:
    """The intensities [B, N] behind the first spikes: 2^(-T/halving); 0 where there is none."""
    positive(halving_ms=halving_ms)
    return np.exp2(-first_spike_ms(spikes) / halving_ms)


def _check(tau_ms: float, threshold: float) -> None:
    positive(tau_ms=tau_ms)
    if not 0 < threshold < 1:
        raise ValueError(f"threshold = {threshold} must lie between 0 and 1, so that some inputs fire and some do not")
