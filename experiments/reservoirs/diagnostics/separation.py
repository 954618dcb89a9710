"""Separation: how far apart two inputs move the state of a liquid.

    d(u, v) = |u*g - v*g| / sqrt(|u*g|² + |v*g|²),  g(t) = exp(-(t/tau)²)      input distance: 0 for equal trains, 1 for disjoint ones
    ‖x_u(t) - x_v(t)‖ = sqrt(1/N Σ_n (x_un(t) - x_vn(t))²)                     state distance
    Sep = C_d / (C_v + 1)                                                    of classes: between their centres, over within

A liquid separates when the state distance grows with the input distance and lies above the zero-distance curve: the same input
from two starting states, which is what the past leaves as noise.

Source: Maass, Natschläger & Markram 2002, Neural Comput. 14:2531, section 3 (there L2 norms, not divided by those of the trains);
classes: Goodman & Ventura 2006, IJCNN, and Norton & Ventura 2010, Neurocomputing 73:2893.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spiketwin.experiments.reservoirs.diagnostics.probe import Probe, filtered_every, mixed, read_spikes, restarted, together
from spiketwin.models.encoders.shared import positive, whole
from spiketwin.models.reservoirs import Liquid
from spiketwin.models.spikes import Spikes

SHARES = (0.1, 0.3, 0.6, 1.0)


@dataclass(frozen=True, eq=False)
class Separation:
    """time_ms: [K].  input_distance: [D], mean over pairs.  state_distance: [D, K].  zero_distance: [K]."""

    time_ms: np.ndarray
    input_distance: np.ndarray
    state_distance: np.ndarray
    zero_distance: np.ndarray

    def late(self) -> np.ndarray:
        """State distance over the second half of the run [D]."""
        return self.state_distance[:, len(self.time_ms) // 2 :].mean(axis=1)

    def late_zero(self) -> float:
        """Zero-distance curve over the second half of the run."""
        return float(self.zero_distance[len(self.time_ms) // 2 :].mean())


def separation(
    liquid: Liquid, probe: Probe | None = None, *, shares: tuple[float, ...] = SHARES, pairs: int = 20, every_ms: float = 10.0
) -> Separation:
    """State distance over time for pairs of inputs that differ in a share of their spikes, and the zero-distance curve.

    shares: of the spikes that are replaced by fresh ones, one for each point of the curve.  pairs: Poisson inputs per point.
    """
    probe = probe or Probe()
    whole(1, pairs=pairs)
    positive(every_ms=every_ms)
    if not len(shares) or not all(0 < share <= 1 for share in shares):
        raise ValueError(f"shares = {shares} must lie within 0 … 1 and above 0; the zero-distance curve is measured anyhow")
    every = max(int(round(every_ms / probe.dt_ms)), 1)
    base = probe.poisson(liquid.inputs, pairs)
    others = []
    for k, share in enumerate(shares):
        fresh = probe.poisson(liquid.inputs, pairs, share=share, stream=10 + k)
        others.append(mixed(base, fresh, share, probe.rng(30 + k)))
    answers = read_spikes(probe.run(liquid, together([base, *others])), liquid)
    x = filtered_every(answers, every, probe.tau_ms).reshape(-1, len(shares) + 1, pairs, liquid.size)
    again = filtered_every(read_spikes(probe.run(restarted(liquid, probe.seed), base), liquid), every, probe.tau_ms)
    far = state_distance(x[:, 1:], x[:, :1]).mean(axis=2).T
    time_ms = (np.arange(len(x)) + 1) * every * probe.dt_ms
    near = np.array([input_distance(base, other).mean() for other in others])
    return Separation(time_ms, near, far, state_distance(x[:, 0], again).mean(axis=1))


def state_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Root mean square over the neurons, the last axis, of the difference of states [..., N]."""
    return np.sqrt(np.mean((np.asarray(a) - b) ** 2, axis=-1))


def input_distance(a: Spikes, b: Spikes, *, tau_ms: float = 5.0) -> np.ndarray:
    """d(u, v) [B] over all channels of each trial; NaN where both are silent.

    One spike against the same one later by s: sqrt(1 - exp(-s²/(2 tau²))).
    Raises ValueError when shapes or grids differ.
    """
    positive(tau_ms=tau_ms)
    if a.shape != b.shape or a.dt_ms != b.dt_ms:
        raise ValueError(f"the inputs do not pair up: {a!r} and {b!r}; give equal shapes [T, B, N] and steps")
    steps, reach = a.shape[0], int(np.ceil(6 * tau_ms / a.dt_ms))
    # the inner product of two trains through g is a sum over pairs of spikes, ∝ exp(-(t_i - t_j)²/(2 tau²)): a sum over lags
    kernel = np.exp(-((np.arange(-reach, reach + 1) * a.dt_ms) ** 2) / (2 * tau_ms**2))
    dense_a, dense_b = (s.dense(float).transpose(1, 2, 0) for s in (a, b))

    def inner(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        size = 1 << (steps + 2 * reach).bit_length()
        smooth = np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(kernel, size), size)[..., reach : reach + steps]
        return (smooth * y).sum(axis=(1, 2))

    own = inner(dense_a, dense_a) + inner(dense_b, dense_b)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(np.maximum(1 - 2 * inner(dense_a, dense_b) / own, 0))


def class_separation(states: np.ndarray, labels: np.ndarray) -> float:
    """Sep of states [samples, N] with class labels [samples]; 0 when all centres are one.

    Raises ValueError for fewer than two classes.
    """
    states, labels = np.asarray(states, float), np.asarray(labels)
    if states.ndim != 2:
        raise ValueError(f"states have shape {states.shape}; give [samples, N]")
    if len(states) != len(labels):
        raise ValueError(f"{len(states)} states, but {len(labels)} labels; they must be equally many")
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(f"all samples are of one class, {classes.tolist()}; separation needs two")
    centres = np.array([states[labels == c].mean(axis=0) for c in classes])
    between = np.linalg.norm(centres[:, None] - centres, axis=2).sum() / len(classes) ** 2
    within = np.mean([np.linalg.norm(states[labels == c] - m, axis=1).mean() for c, m in zip(classes, centres)])
    return float(between / (within + 1))
