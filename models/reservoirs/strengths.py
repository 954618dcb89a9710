"""How strong the synapses of a topology are: functions that give every stored entry of an adjacency a signed value.

    drawn(mean, distribution)       mean of its kind times a random number of mean 1; inhibition has a negative mean
    per_root_degree(strengths)      divided by the root of the mean in-degree: input fluctuations that do not depend on the size
    tightly_balanced(strengths)     inhibition scaled neuron by neuron, so that every row sums to 0
    spectrally_scaled(strengths, ρ) balanced, and scaled to a spectral radius

They wrap each other: spectrally_scaled(drawn(…), radius=0.95).
Source: van Vreeswijk & Sompolinsky 1996 for 1/√K; Rajan & Abbott 2006 for the spectrum of E/I matrices.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from spiketwin.models.reservoirs.kinds import ByKind, Ends, by_kind
from spiketwin.models.stacks.heterogeneity import Sampler, gamma

# generator, adjacency bool [N_post, N_pre], kinds of its neurons -> values [N_post, N_pre], of the same sparsity
Strengths = Callable[[np.random.Generator, scipy.sparse.csr_array, Ends], scipy.sparse.csr_array]

EXPONENTIAL = gamma(1.0, shape=1.0)  # standard deviation 100 %


def drawn(mean: float | ByKind[float], distribution: Sampler = EXPONENTIAL) -> Strengths:
    """mean of the kind of synapse times what the distribution draws; by default gamma with a standard deviation of 100 %.

    Source: Maass, Natschläger & Markram 2002, section 4, for the default.
    """
    means = by_kind(mean)

    def draw(rng: np.random.Generator, adjacency: scipy.sparse.csr_array, ends: Ends) -> scipy.sparse.csr_array:
        post, pre = _places(adjacency)
        of_excitatory, of_inhibitory = np.where(ends.post, means.ee, means.ei), np.where(ends.post, means.ie, means.ii)
        value = np.where(ends.pre[pre], of_excitatory[post], of_inhibitory[post]) * distribution(len(pre), rng)
        return _valued(adjacency, value)

    return draw


def per_root_degree(strengths: Strengths) -> Strengths:
    """The same over √K, K the mean number of synapses per neuron."""

    def draw(rng: np.random.Generator, adjacency: scipy.sparse.csr_array, ends: Ends) -> scipy.sparse.csr_array:
        values = strengths(rng, adjacency, ends)
        return _valued(values, values.data / np.sqrt(max(values.nnz, 1) / values.shape[0]))

    return draw


def tightly_balanced(strengths: Strengths) -> Strengths:
    """The same with the inhibition of each neuron scaled so that it cancels the excitation: rows sum to 0.

    Raises ValueError for a neuron that has synapses of one sign only: raise the connection probability.
    """
    return lambda rng, adjacency, ends: balanced(strengths(rng, adjacency, ends))


def balanced(weights: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """weights with the negative entries of each row scaled so that the row sums to 0; signs stay what they are."""
    positive, negative = weights.maximum(0).sum(axis=1), -weights.minimum(0).sum(axis=1)
    one_sided = np.flatnonzero((positive > 0) != (negative > 0))
    if len(one_sided):
        post = one_sided[0]
        raise ValueError(
            f"neuron {post} has {'no inhibition' if positive[post] > 0 else 'no excitation'}, so nothing can balance its input "
            f"({len(one_sided)} such neurons); raise the connection probability of the topology"
        )
    factor = np.divide(positive, negative, out=np.ones_like(positive), where=negative > 0)
    post, _ = _places(weights)
    return _valued(weights, np.where(weights.data < 0, weights.data * factor[post], weights.data))


def spectrally_scaled(strengths: Strengths, radius: float = 0.95) -> Strengths:
    """The same, balanced row by row and scaled so that the largest eigenvalue has the absolute value `radius`.

    Without the balance the mean of an E/I matrix makes one eigenvalue far outside the disc of all others, of the order of the
    mean times K where the disc grows with √K; scaling by it would leave next to nothing of the disc. Rows that sum to 0 have no
    such outlier (Rajan & Abbott 2006).
    """
    if not (np.isfinite(radius) and radius > 0):
        raise ValueError(f"radius = {radius} must be positive and finite")

    def draw(rng: np.random.Generator, adjacency: scipy.sparse.csr_array, ends: Ends) -> scipy.sparse.csr_array:
        values = balanced(strengths(rng, adjacency, ends))
        found = spectral_radius(values)
        if not found > 0:
            raise ValueError("the matrix has no eigenvalue but 0: there is no loop in it; raise the connection probability of the topology")
        return _valued(values, values.data * (radius / found))

    return draw


def spectral_radius(weights) -> float:
    """The largest absolute value of an eigenvalue of a square matrix, dense or sparse."""
    if weights.shape[0] <= 1500:
        dense = weights.toarray() if scipy.sparse.issparse(weights) else np.asarray(weights)
        return float(np.abs(np.linalg.eigvals(dense)).max())
    # the edge of the disc is crowded: a few eigenvalues more help the iteration to settle
    start = np.random.default_rng(0).standard_normal(weights.shape[0])
    return float(np.abs(scipy.sparse.linalg.eigs(weights.astype(float), k=6, v0=start, tol=1e-4, return_eigenvectors=False)).max())


def _places(matrix: scipy.sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each stored entry, in the order of its data."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)), matrix.indices


def _valued(matrix: scipy.sparse.csr_array, values: np.ndarray) -> scipy.sparse.csr_array:
    return scipy.sparse.csr_array((np.asarray(values, dtype=float), matrix.indices.copy(), matrix.indptr.copy()), shape=matrix.shape)
