"""Kernel quality and generalisation: the rank of the states for different inputs, and for versions of one input.

    kernel quality        rank of M [m, N], row i the state after input i,        m inputs that differ: high is good
    generalisation rank   the same for m jittered versions of one input: low is good
    rank                  how many singular values exceed threshold · the largest one

The difference of both predicts the performance on tasks.

Source: Legenstein & Maass 2007, Neural Networks 20:323, (there the rank itself; the threshold keeps rounding and noise out of it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spiketwin.experiments.reservoirs.diagnostics.probe import Probe, jittered, repeated
from spiketwin.models.encoders.shared import positive, whole
from spiketwin.models.reservoirs import Liquid

THRESHOLD = 0.01


@dataclass(frozen=True, eq=False)
class Rank:
    """singular_values: falling, [min(m, N)].  threshold: share of the largest.  most: the highest possible rank, min(m, N)."""

    singular_values: np.ndarray
    threshold: float

    @property
    def rank(self) -> int:
        return int(np.count_nonzero(self.singular_values > self.threshold * self.singular_values[0]))

    @property
    def most(self) -> int:
        return len(self.singular_values)


def state_rank(states: np.ndarray, *, threshold: float = THRESHOLD) -> Rank:
    """Rank of states [m, N]. Raises ValueError for states that are not finite, or a threshold outside 0 … 1."""
    states = np.asarray(states, float)
    if states.ndim != 2 or not states.size:
        raise ValueError(f"states have shape {states.shape}; give [inputs, neurons]")
    check_finite(states)
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold = {threshold} is a share of the largest singular value: 0 … 1")
    return Rank(np.linalg.svd(states, compute_uv=False), threshold)


def check_finite(states: np.ndarray) -> None:
    if not np.isfinite(states).all():
        raise ValueError("states hold NaN or infinite values; a liquid that overflowed needs a smaller dt_ms or connection_scale")


def kernel_quality(liquid: Liquid, probe: Probe | None = None, *, inputs: int | None = None, threshold: float = THRESHOLD) -> Rank:
    """Rank of the states after different Poisson inputs. inputs: how many; None: as many as neurons."""
    many, probe = liquid.size if inputs is None else inputs, probe or Probe()
    whole(1, inputs=many)
    return state_rank(probe.states(liquid, probe.poisson(liquid.inputs, many, stream=1)), threshold=threshold)


def generalisation_rank(
    liquid: Liquid, probe: Probe | None = None, *, inputs: int | None = None, jitter_ms: float = 4.0, threshold: float = THRESHOLD
) -> Rank:
    """Rank of the states after versions of one Poisson input, each spike moved by a normal deviate of jitter_ms."""
    many, probe = liquid.size if inputs is None else inputs, probe or Probe()
    whole(1, inputs=many)
    positive(jitter_ms=jitter_ms)
    one = repeated(probe.poisson(liquid.inputs, 1, stream=1), many)
    return state_rank(probe.states(liquid, jittered(one, jitter_ms, probe.rng(2))), threshold=threshold)
