"""Avalanches: runs of bins with more spikes than a threshold, between bins without. Near criticality their sizes follow a power law.

    p(x) = x^-alpha / zeta(alpha, x_min),  x = x_min, x_min + 1, …
    alpha maximises -n ln zeta(alpha, x_min) - alpha Σ ln x;  its standard error is 1/sqrt(n d²/dalpha² ln zeta)

The threshold is 0 where at least a tenth of the bins are empty, and half the median activity in networks that are never quiet.
A fit is no proof: look at `ks`, at `against_exponential` and at how many decades it spans; subsampling and bin width change exponents.

Source: Beggs & Plenz 2003, J. Neurosci. 23:11167 (avalanches; bins of the mean interval between spikes of all neurons); Poil, Hardstone,
Mansvelder & Linkenkaer-Hansen 2012, J. Neurosci. 32:9817 (threshold); Clauset, Shalizi & Newman 2009, SIAM Review 51:661, sections 3.1-3.3 and 5.1 (x_min by the Kolmogorov-Smirnov distance, Vuong's likelihood ratio).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.special

from spiketwin.experiments.reservoirs.diagnostics.branching import population_activity
from spiketwin.models.encoders.shared import whole
from spiketwin.models.spikes import Spikes


@dataclass(frozen=True, eq=False)
class Avalanches:
    """sizes: spikes of each avalanche [A].  durations: its bins [A].  bin_ms: time of a bin.  threshold: spikes in a bin that are none."""

    sizes: np.ndarray
    durations: np.ndarray
    bin_ms: float
    threshold: float


@dataclass(frozen=True)
class PowerLaw:
    """exponent: alpha.  error: its standard error.  minimum: x_min.  ks: largest distance of the cumulative distributions from x_min on.
    count: how many x >= x_min.  against_exponential: log likelihood ratio of the power law over the best exponential, in its standard
    deviations: above 2 a power law is likelier, below -2 an exponential is, between them the data cannot tell.
    """

    exponent: float
    error: float
    minimum: int
    ks: float
    count: int
    against_exponential: float


def avalanches(spikes: Spikes, *, bin_ms: float | None = None, threshold: float | None = None) -> Avalanches:
    """Avalanches of all trials; those cut off by the beginning or the end of a trial are left out.

    bin_ms: None: the mean interval between successive spikes of all neurons, at least one step.  threshold: None: as above.
    """
    if bin_ms is None:
        per_trial = len(spikes) / spikes.shape[1]
        bin_ms = spikes.dt_ms * max(round(spikes.shape[0] / max(per_trial, 1)), 1)
    activity = population_activity(spikes, bin_ms=bin_ms)
    if threshold is None:
        threshold = 0.0 if np.mean(activity == 0) >= 0.1 else float(np.median(activity) / 2)
    sizes, durations = avalanche_sizes(activity, threshold=threshold)
    return Avalanches(sizes, durations, bin_ms, threshold)


def avalanche_sizes(activity: np.ndarray, *, threshold: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Sizes and durations of the runs above `threshold` in activity [T] or [T, B] that begin and end within it.

    Raises ValueError for NaN.
    """
    a = np.asarray(activity)
    if np.isnan(a).any() or np.isnan(threshold):
        raise ValueError(f"activity or threshold = {threshold} holds NaN, above and below which nothing lies; repair it first")
    a = a[:, None] if a.ndim == 1 else a
    # trials one after the other, a mark between them: runs next to a mark are cut off
    line = np.concatenate([np.r_[a[:, b], -1] for b in range(a.shape[1])])
    change = np.diff(np.r_[0, line > threshold, 0].astype(int))
    start, stop = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    before = np.where(start > 0, line[start - 1], -1)
    whole = (before >= 0) & (line[np.minimum(stop, len(line) - 1)] >= 0)
    total = np.r_[0, np.cumsum(np.maximum(line, 0))]
    return (total[stop] - total[start])[whole].astype(int), (stop - start)[whole]


def fit_power_law(x: np.ndarray, *, minimum: int | None = None, least: int = 50) -> PowerLaw:
    """Discrete power law of whole numbers x >= 1 by maximum likelihood.

    minimum: x_min; None: the one with the smallest Kolmogorov-Smirnov distance that leaves `least` numbers.
    Raises ValueError for fewer numbers than that, for numbers below 1, and when all are equal.
    """
    whole(1, least=least, minimum=1 if minimum is None else minimum)
    x = np.sort(np.asarray(x))
    if x.size and (x[0] < 1 or np.any(x != np.floor(x))):
        raise ValueError(f"a power law here is of whole numbers from 1 on, but x holds {x[(x < 1) | (x != np.floor(x))][0]:g}")
    if x.size < least:
        raise ValueError(f"{x.size} numbers are too few for a power law; give at least {least}: a longer run, or shorter bins")
    if x[0] == x[-1]:
        raise ValueError(f"all numbers are {x[0]:g}; a power law needs numbers that vary")
    if minimum is not None:
        return _fitted(x[x >= minimum], minimum)
    possible = [int(m) for m in np.unique(x) if np.count_nonzero(x >= m) >= least and m < x[-1]]
    return min((_fitted(x[x >= m], m) for m in possible[:100]), key=lambda fit: fit.ks)


def _fitted(x: np.ndarray, minimum: int) -> PowerLaw:
    if x.size < 2 or x[0] == x[-1]:
        raise ValueError(f"{x.size} numbers from minimum = {minimum} on do not vary; lower it")
    logs = np.log(x).mean()

    def loss(alpha: float) -> float:
        return float(np.log(scipy.special.zeta(alpha, minimum)) + alpha * logs)

    alpha = float(scipy.optimize.minimize_scalar(loss, bounds=(1.0001, 20), method="bounded", options={"xatol": 1e-7}).x)
    h = 1e-4 * alpha
    curvature = (loss(alpha + h) - 2 * loss(alpha) + loss(alpha - h)) / h**2 if alpha - h > 1 else np.nan
    values, counts = np.unique(x, return_counts=True)
    seen = np.cumsum(counts) / x.size
    expected = 1 - scipy.special.zeta(alpha, values + 1) / scipy.special.zeta(alpha, minimum)
    below = 1 - scipy.special.zeta(alpha, values) / scipy.special.zeta(alpha, minimum)
    ks = max(np.abs(seen - expected).max(), np.abs(np.r_[0, seen[:-1]] - below).max())
    # exponential: (1 - q) q^(x - x_min), whose most likely q is mean/(1 + mean) of x - x_min
    excess = x - minimum
    q = excess.mean() / (1 + excess.mean())
    ratio = -alpha * np.log(x) - np.log(scipy.special.zeta(alpha, minimum)) - np.log(1 - q) - excess * np.log(q)
    likelier = ratio.sum() / (ratio.std() * np.sqrt(x.size)) if ratio.std() > 0 else 0.0
    return PowerLaw(alpha, float(1 / np.sqrt(x.size * curvature)), minimum, float(ks), int(x.size), float(likelier))
