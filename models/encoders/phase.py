"""Phase: the binary digits of a value, one per phase of a period; a spike in phase k is worth 2^-(k + 1).

    x ≈ Σ_k s_k 2^-(k + 1),    k = 0 … phases - 1, and again in each period

Source: Kim et al. 2018, Deep neural networks with weighted spikes.
"""

from __future__ import annotations

import numpy as np

from spiketwin.models.encoders.shared import intensities, positive, whole, whole_steps
from spiketwin.models.spikes import Spikes, timestep


def phase(x, *, phases: int = 8, phase_ms: float = 1.0, periods: int = 1, dt_ms: float = 1.0) -> Spikes:
    """A spike at the start of each phase whose binary digit of x is 1, the same in every period.

    x: intensities [B, N] in 0 … 1; what is below 2^-phases is cut off, and 1 becomes 1 - 2^-phases.
    Returns spikes [periods · phases · phase_ms/dt, B, N].  .625 = .101 in binary digits fires in phases 0 and 2.
    Raises ValueError for NaN, for x outside 0 … 1, for settings that are not positive, and for more than 52 phases.
    """
    digits = _digits(x, phases)
    per_phase = whole_steps(phase_ms, dt_ms, "phase_ms")
    whole(1, periods=periods)
    events = [np.nonzero(digits >> (phases - 1 - k) & 1) for k in range(phases)]
    step = np.repeat(np.arange(phases) * per_phase, [len(b) for b, _ in events])
    batch, neuron = (np.concatenate(part) for part in zip(*events, strict=True))
    start = np.repeat(np.arange(periods) * phases * per_phase, len(step))
    return Spikes(
        start + np.tile(step, periods),
        np.tile(batch, periods),
        np.tile(neuron, periods),
        (periods * phases * per_phase, *digits.shape),
        dt_ms,
    )


def phase_rate_hz(x, *, phases: int = 8, phase_ms: float = 1.0) -> np.ndarray:
    """The rate [B, N] in Hz: the number of ones among the digits of x, over a period. Raises ValueError as phase does."""
    digits = _digits(x, phases)
    positive(phase_ms=phase_ms)
    return np.sum([digits >> k & 1 for k in range(phases)], axis=0) / (phases * phase_ms) * 1e3


def phase_value(spikes: Spikes, *, phases: int = 8, phase_ms: float = 1.0) -> np.ndarray:
    """The intensities [B, N]: the worth 2^-(k + 1) of all spikes, divided by the number of periods."""
    positive(phase_ms=phase_ms)
    T, B, N = spikes.shape
    periods = int(timestep(T * spikes.dt_ms, phases * phase_ms))
    if periods < 1:
        raise ValueError(f"{spikes!r} is shorter than a period of {phases} phases of {phase_ms} ms; give the settings of the encoder")
    k = timestep(spikes.times_ms(), phase_ms) % phases
    return np.bincount(spikes.batch * N + spikes.neuron, np.exp2(-1.0 - k), minlength=B * N).reshape(B, N) / periods


def _digits(x, phases: int) -> np.ndarray:
    """floor(x · 2^phases) as int [B, N]; its bits are the digits, the first phase the highest."""
    whole(1, phases=phases)
    if phases > 52:
        raise ValueError(f"phases = {phases} must lie in 1 … 52, the digits of a floating-point number")
    return np.minimum(np.ldexp(intensities(x), phases).astype(np.int64), 2**phases - 1)
