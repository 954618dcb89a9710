"""How a network fires: rates, irregularity, synchrony.

    CV      standard deviation over mean of a neuron's intervals: 0 for a clock, 1 for Poisson
    chi²    Var_t(mean_n x_n) / mean_n Var_t(x_n): 1 when all neurons do the same, 1/N when each is independent
    Fano    variance over mean of the population's spikes in a bin: 1 for independent Poisson trains, N when all fire together

Source: Golomb & Rinzel 1994, Physica D 72:259 (chi); Gerstner et al. 2014, Neuronal Dynamics, section 7.3 (CV, Fano factor).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spiketwin.experiments.reservoirs.diagnostics.branching import population_activity
from spiketwin.models.distances import isi_cv
from spiketwin.models.spikes import Spikes


@dataclass(frozen=True, eq=False)
class Activity:
    """rate_hz: of each neuron [N], over all trials.  cv: of each neuron [N], mean over its trials of three spikes and more, else nan.
    chi: 0 … 1, of v where it was recorded, else of binned spikes.  fano: of the population, in bins.
    """

    rate_hz: np.ndarray
    cv: np.ndarray
    chi: float
    fano: float

    @property
    def silent(self) -> float:
        """Share of the neurons that never fired."""
        return float(np.mean(self.rate_hz == 0))


def activity(spikes: Spikes, v: np.ndarray | None = None, *, bin_ms: float = 5.0) -> Activity:
    """Rates, CV and synchrony of spikes [T, B, N]. v: traces [T, B, N] for chi, in any unit; None: spikes in bins of bin_ms.

    Raises ValueError for traces of another shape than the spikes.
    """
    if v is not None and np.shape(v) != spikes.shape:
        raise ValueError(f"v has shape {np.shape(v)}, the spikes {spikes.shape}; give traces of the same run [T, B, N]")
    cv = isi_cv(spikes)
    known = np.isfinite(cv)
    with np.errstate(invalid="ignore"):
        mean_cv = np.where(known, cv, 0).sum(axis=0) / known.sum(axis=0)
    traces = binned(spikes, bin_ms=bin_ms) if v is None else v
    return Activity(spikes.rates_hz().mean(axis=0), mean_cv, synchrony(traces), fano_factor(population_activity(spikes, bin_ms=bin_ms)))


def synchrony(traces: np.ndarray) -> float:
    """chi of traces [T, N] or [T, B, N], variances pooled over trials; nan where nothing varies."""
    x = np.asarray(traces, float)
    if x.ndim not in (2, 3):
        raise ValueError(f"traces have shape {x.shape}; give [T, N] or [T, B, N]")
    together, single = x.mean(axis=-1).var(axis=0).mean(), x.var(axis=0).mean()
    return float(np.sqrt(together / single)) if single > 0 else float("nan")


def fano_factor(counts: np.ndarray) -> float:
    """Variance over mean of counts [bins] or [bins, B] over time, pooled over trials; nan for silence."""
    counts = np.asarray(counts, float)
    mean = counts.mean()
    return float(counts.var(axis=0).mean() / mean) if mean > 0 else float("nan")


def binned(spikes: Spikes, *, bin_ms: float) -> np.ndarray:
    """Spikes of each neuron [bins, B, N]; an incomplete last bin is left out."""
    each = max(int(round(bin_ms / spikes.dt_ms)), 1)
    steps, trials, neurons = spikes.shape
    bins = steps // each
    heard = spikes.step < bins * each
    where = (spikes.step[heard] // each * trials + spikes.batch[heard]) * neurons + spikes.neuron[heard]
    return np.bincount(where, minlength=bins * trials * neurons).reshape(bins, trials, neurons)
