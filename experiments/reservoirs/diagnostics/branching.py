"""Branching ratio: how many spikes follow one spike, within the network.

    <A_{t+1} | A_t> = m A_t + h                      m < 1: activity dies out but for the input h; m = 1: critical
    naive           m = r_1, the slope of A_{t+1} over A_t
    multistep       r_k = b m^k, fitted over k         where only a share of the neurons is seen, b < 1 and r_1 is too small, but not m

Source: Wilting & Priesemann 2018, Nature Communications 9:2325, eq. 1-4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.optimize

from spiketwin.models.encoders.shared import positive
from spiketwin.models.spikes import Spikes


@dataclass(frozen=True, eq=False)
class Branching:
    """slopes: r_1 … r_K [K].  m: multistep estimate per bin.  b: its share at lag 0.  bin_ms: time of a bin."""

    slopes: np.ndarray
    m: float
    b: float
    bin_ms: float

    @property
    def naive(self) -> float:
        return float(self.slopes[0])

    @property
    def tau_ms(self) -> float:
        """How long activity reverberates: -bin / ln m; inf at m >= 1, nan where m is not known."""
        if not self.m > 0:
            return float("nan")
        return float(-self.bin_ms / np.log(self.m)) if self.m < 1 else float("inf")


def branching_ratio(activity: np.ndarray, *, lags: int = 40, bin_ms: float = 4.0) -> Branching:
    """Both estimates from the activity [T] or [T, B], spikes of all neurons in each bin. Trials share their mean.

    lags: K.  nan where the activity does not vary, or where its correlations do not fall off from a positive value, or not as b m^k does.
    Raises ValueError for fewer than two bins above lags.
    """
    positive(bin_ms=bin_ms)
    a = np.asarray(activity, float)
    a = a[:, None] if a.ndim == 1 else a
    if a.ndim != 2:
        raise ValueError(f"activity has shape {a.shape}; give [T] or [T, B], the spikes of all neurons")
    if lags < 2 or len(a) < lags + 3:
        raise ValueError(f"{len(a)} bins for {lags} lags; give at least {lags + 3} bins, and 2 lags")
    slopes = np.array([_slope(a[:-k], a[k:]) for k in range(1, lags + 1)])
    unknown = Branching(slopes, float("nan"), float("nan"), bin_ms)
    if not np.isfinite(slopes).all() or slopes[0] <= 0:
        return unknown
    k = np.arange(1, lags + 1)
    guess = (min(slopes[0], 0.99), 0.9)
    try:
        (b, m), _ = scipy.optimize.curve_fit(lambda k, b, m: b * m**k, k, slopes, p0=guess, bounds=([0, 1e-6], [np.inf, 1.5]))
    except RuntimeError:  # what curve_fit says of slopes that no b and m come near to
        return unknown
    return Branching(slopes, float(m), float(b), bin_ms)


def population_activity(spikes: Spikes, *, bin_ms: float) -> np.ndarray:
    """Spikes of all neurons [bins, B]; an incomplete last bin is left out."""
    positive(bin_ms=bin_ms)
    each = max(int(round(bin_ms / spikes.dt_ms)), 1)
    steps, trials, _ = spikes.shape
    if (bins := steps // each) < 1:
        raise ValueError(f"bin_ms = {bin_ms} is longer than the run of {steps * spikes.dt_ms:g} ms; shorten it")
    heard = spikes.step < bins * each
    where = spikes.step[heard] // each * trials + spikes.batch[heard]
    return np.bincount(where, minlength=bins * trials).reshape(bins, trials).astype(float)


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    square = float(np.sum(x**2))
    return float(np.sum(x * y) / square) if square > 0 else float("nan")
