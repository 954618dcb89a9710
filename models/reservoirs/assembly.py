"""From matrices of signed strengths to the projections of a network: one for each kind of synapse, named by it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.sparse

from spiketwin.models.network import Projection
from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.reservoirs.kinds import KINDS, ByKind, Ends, by_kind
from spiketwin.models.reservoirs.response import Receptor
from spiketwin.models.stacks.heterogeneity import Sampler

Delay = float | Sampler
Value = float | str | np.ndarray | Sampler


def split_by_kind(matrix: scipy.sparse.csr_array, ends: Ends) -> dict[str, scipy.sparse.csr_array]:
    """The entries of each kind of synapse, as matrices of the same shape; kinds without an entry are left out."""
    entries = matrix.tocoo()
    parts = {}
    for kind in KINDS:
        post, pre = ends.are(kind)
        own = post[entries.row] & pre[entries.col]
        if own.any():
            parts[kind] = scipy.sparse.csr_array((entries.data[own], (entries.row[own], entries.col[own])), shape=matrix.shape)
            parts[kind].sort_indices()
    return parts


def recurrent(
    population: str,
    strengths: scipy.sparse.csr_array,
    ends: Ends,
    rng: np.random.Generator,
    *,
    receptors: ByKind[Receptor],
    delay_ms: Delay | ByKind[Delay] = 0.0,
    rule: PlasticityRule | None | ByKind[PlasticityRule | None] = None,
    prefix: str = "",
    trainable: bool = True,
) -> list[Projection]:
    """The projections 'ee', 'ei', 'ie', 'ii' of a population onto itself, those that have synapses.

    strengths: weights [N, N] in the distance from rest to threshold that a spike moves v.
    """
    delays, rules, made = by_kind(delay_ms), by_kind(rule), []
    for kind, part in split_by_kind(strengths, ends).items():
        at = receptors[kind]
        made.append(
            Projection(
                population,
                population,
                part * at.weight,
                at.name,
                at.unit,
                delay_ms=delays_of(part, delays[kind], rng),
                rule=rules[kind],
                name=prefix + kind,
                trainable=trainable,
            )
        )
    return made


def delays_of(weights: scipy.sparse.csr_array, delay: Delay, rng: np.random.Generator):
    """One delay in ms for all synapses, or a sparse matrix of one per synapse, drawn and not below 0."""
    if not callable(delay):
        return float(delay)
    drawn = np.maximum(delay(weights.nnz, rng), 0.0)
    return scipy.sparse.csr_array((drawn, weights.indices.copy(), weights.indptr.copy()), shape=weights.shape)


def values_of(given: Mapping[str, Value], size: int, rng: np.random.Generator) -> dict[str, float | str | np.ndarray]:
    """Parameters of a population: numbers, text and arrays as they are, samplers drawn for each neuron."""
    return {name: value(size, rng) if callable(value) else value for name, value in given.items()}


def placed_at_random(size: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Which neurons are excitatory [size]: the share, rounded, at random places."""
    is_excitatory = placed_evenly(size, share)
    rng.shuffle(is_excitatory)
    return is_excitatory


def placed_evenly(size: int, share: float) -> np.ndarray:
    """The same, inhibitory neurons at even distances: every neighbourhood of a ring and every module has its own.

    Raises ValueError for a share outside 0 … 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"excitatory = {share} is a share of the neurons: 0 … 1")
    return np.diff(np.floor(np.arange(size + 1) * share + 0.5)) > 0
