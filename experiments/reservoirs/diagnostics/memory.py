"""Memory: how well linear read-outs of the state recall functions of past inputs.

    C[z] = 1 - min_w <(z - w·x)²> / <z²>                          capacity for a target z, 0 … 1
    z(t) = u(t - k)                                                linear memory at lag k (Jaeger 2001); their sum is at most N
    z(t) = Π_i sqrt(2 d_i + 1) P_{d_i}(u(t - k_i)),  Σ d_i = d      of degree d, P Legendre polynomials (Dambre et al. 2012, eq. 5-6)

u is uniform in -1 … 1 and independent from step to step, so the targets are orthonormal, and over a complete set of them the
capacities sum to the number of linearly independent states when memory fades. From T samples even a useless state of N neurons
"explains" N/T of any target: T C is then chi-squared with N degrees of freedom. A capacity that such chance exceeds with
probability `chance` counts as 0 (after Dambre et al., supplement).

Source: Jaeger 2001, GMD report 152; Dambre, Verstraeten, Schrauwen & Massar 2012, Scientific Reports 2:514.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import scipy.stats
from numpy.polynomial import Legendre

from spiketwin.experiments.reservoirs.diagnostics.probe import Probe, filtered_every, read_spikes
from spiketwin.experiments.reservoirs.diagnostics.ranks import check_finite
from spiketwin.models.encoders.shared import positive
from spiketwin.models.reservoirs import Liquid
from spiketwin.models.spikes import Spikes, timestep

CHANCE = 1e-4
GOLDEN = 0.6180339887


@dataclass(frozen=True, eq=False)
class Memory:
    """by_lag: capacity for the input of 0, 1, … steps ago [K], 0 where chance explains it.  by_degree: totals [degrees], from degree 1.
    threshold: below which a capacity counts as 0.  rank: linearly independent states, which bounds the total.
    step_ms: time between inputs, nan for steps without a time.
    """

    by_lag: np.ndarray
    by_degree: np.ndarray
    threshold: float
    rank: int
    step_ms: float = float("nan")

    @property
    def linear(self) -> float:
        return float(self.by_degree[0])

    @property
    def nonlinear(self) -> float:
        return float(self.by_degree[1:].sum())


def memory(
    states: np.ndarray, u: np.ndarray, *, lags: int = 20, degrees: int = 3, nonlinear_lags: int = 6, chance: float = CHANCE
) -> Memory:
    """Capacities of states for functions of the input.

    states: [T, N] or [T, B, N].  u: [T] or [T, B], uniform in -1 … 1.  A state may depend on the input of its own row, lag 0.
    lags: of the linear capacity.  degrees: highest degree.  nonlinear_lags: of degree 2 and higher, whose targets multiply.
    Raises ValueError for states that are not finite, and for too few samples: T·B must be at least four times N, or chance explains too much.
    """
    states, u = np.asarray(states, float), np.asarray(u, float)
    if states.ndim == 2:
        states, u = states[:, None], u[:, None] if u.ndim == 1 else u
    if states.ndim != 3 or states.shape[:2] != u.shape or not u.size:
        raise ValueError(f"states have shape {states.shape}, the input {u.shape}; give [T, B, N] and [T, B], or [T, N] and [T]")
    check_finite(states)
    if not 0 < chance < 1:
        raise ValueError(f"chance = {chance} is a probability: between 0 and 1")
    if not np.abs(u).max() <= 1:
        raise ValueError(f"the input reaches {np.abs(u).max():g}; Legendre polynomials are orthogonal on -1 … 1, scale it")
    if degrees < 1 or not 1 <= nonlinear_lags <= lags:
        raise ValueError(
            f"degrees = {degrees} must be 1 or more, nonlinear_lags = {nonlinear_lags} must lie within 1 … {lags}, which is lags"
        )
    washout = lags - 1
    x = states[washout:].reshape(-1, states.shape[2])
    if len(x) < 4 * x.shape[1]:
        raise ValueError(f"{len(x)} samples after {washout} of washout for {x.shape[1]} states; give at least {4 * x.shape[1]}")
    basis = _basis(x)
    rank = basis.shape[1]
    threshold = float(scipy.stats.chi2.isf(chance, rank) / len(x)) if rank else 1.0
    values = polynomials(u, degrees)
    totals, by_lag = [], np.zeros(0)
    for degree in range(1, degrees + 1):
        found = capacities(basis, targets(values, degree, lags if degree == 1 else nonlinear_lags, washout))
        found = np.where(found > threshold, found, 0.0)
        by_lag = found if degree == 1 else by_lag
        totals.append(found.sum())
    return Memory(by_lag, np.array(totals), threshold, rank)


def capacities(basis: np.ndarray, wanted: Iterator[np.ndarray]) -> np.ndarray:
    """C of each target [M]. basis: orthonormal columns [T, R] that span the centred states."""
    found = []
    for z in wanted:
        z = z - z.mean()
        found.append(np.sum((basis.T @ z) ** 2) / np.sum(z**2))
    return np.array(found)


def polynomials(u: np.ndarray, degrees: int) -> np.ndarray:
    """Normalised Legendre polynomials of the input [degrees + 1, ...]: their mean square is 1 for uniform u."""
    return np.array([np.sqrt(2 * d + 1) * Legendre.basis(d)(u) for d in range(degrees + 1)])


def targets(values: np.ndarray, degree: int, lags: int, washout: int) -> Iterator[np.ndarray]:
    """All products of total `degree` over inputs of 0 … lags - 1 steps ago, each [(T - washout)·B]."""
    steps = values.shape[1]
    for chosen in itertools.combinations_with_replacement(range(lags), degree):
        z = 1.0
        for lag in sorted(set(chosen)):
            z = z * values[chosen.count(lag), washout - lag : steps - lag]
        yield np.ravel(z)


def memory_capacity(
    liquid: Liquid,
    probe: Probe | None = None,
    *,
    step_ms: float = 20.0,
    steps: int = 500,
    trials: int = 8,
    lags: int = 12,
    degrees: int = 3,
    nonlinear_lags: int = 5,
) -> Memory:
    """Capacities of a liquid for a random signal that changes every step_ms and is coded in regular spikes (coded()).

    States are read at the end of each step, so lag 0 is the input that has just been heard.
    """
    probe = probe or Probe()
    every = int(timestep(step_ms, probe.dt_ms))
    if every < 1:
        raise ValueError(f"step_ms = {step_ms} is shorter than dt_ms = {probe.dt_ms}; lengthen it")
    u = probe.rng(3).uniform(-1, 1, (steps, trials))
    answer = probe.run(liquid, coded(u, liquid.inputs, every=every, rate_hz=probe.rate_hz, dt_ms=probe.dt_ms))
    x = filtered_every(read_spikes(answer, liquid), every, probe.tau_ms)
    return replace(memory(x, u, lags=lags, degrees=degrees, nonlinear_lags=nonlinear_lags), step_ms=every * probe.dt_ms)


def coded(u: np.ndarray, channels: int, *, every: int, rate_hz: float, dt_ms: float) -> Spikes:
    """A signal u [S, B] in -1 … 1 as spikes [S·every, B, channels]: even channels fire at (1 + u) rate_hz, odd ones at (1 - u) rate_hz.

    Counts are whole numbers, rounded at another level in each channel, so that all channels together tell u; they depend on u of
    their own step alone, for the code must not remember.
    """
    positive(rate_hz=rate_hz)
    channel = np.arange(channels)
    sign, offset = 1 - 2 * (channel % 2), (channel // 2 + 0.5) * GOLDEN % 1
    expected = (1 + u[:, :, None] * sign) * rate_hz * every * dt_ms * 1e-3
    counts = np.minimum(np.floor(expected + offset), every).astype(int)  # [S, B, channels]
    where = np.repeat(np.arange(counts.size), counts.ravel())
    nth = np.arange(len(where)) - np.repeat(np.cumsum(counts.ravel()) - counts.ravel(), counts.ravel())
    s, b, c = np.unravel_index(where, counts.shape)
    # evenly over the step, each channel at a phase of its own
    within = np.floor((nth + (channel * GOLDEN**2 % 1)[c]) * every / counts[s, b, c]).astype(int)
    return Spikes(s * every + within, b, c, (len(u) * every, u.shape[1], channels), dt_ms)


def _basis(x: np.ndarray) -> np.ndarray:
    """Orthonormal columns that span the centred states; constant and dependent ones add none."""
    left, values, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    return left[:, values > 1e-9 * max(values[0], 1e-300)] if values[0] > 0 else left[:, :0]
