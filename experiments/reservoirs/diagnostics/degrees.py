"""Who is connected: fan-in and fan-out, and how many of the connections count.

    effective degree of a neuron = (Σ_j |w_j|)² / Σ_j w_j²

That is the number of synapses where all are equal, 1 where one outweighs all others; w is the height of the postsynaptic potential as
a share of the distance to threshold, so that receptors of different kinds compare.

Source: the participation ratio, as in Hill 1973, Ecology 54:427 (numbers of order 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse

from spiketwin.models.reservoirs import Liquid
from spiketwin.models.reservoirs.response import psp_height, threshold_distance


@dataclass(frozen=True, eq=False)
class Degrees:
    """fan_in, fan_out: synapses of each neuron [N].  effective_in, effective_out: those that count [N]; 0 without synapses."""

    fan_in: np.ndarray
    fan_out: np.ndarray
    effective_in: np.ndarray
    effective_out: np.ndarray


def degrees(liquid: Liquid) -> Degrees:
    """Of the synapses between the neurons that are read."""
    return degrees_of(recurrent_strengths(liquid))


def degrees_of(strengths) -> Degrees:
    """Of a matrix [N_post, N_pre], dense or sparse; entries of 0 are no synapses. Raises ValueError for another shape, for NaN and infinity."""
    w = scipy.sparse.csr_array(strengths)
    if w.ndim != 2 or not np.isfinite(w.data).all():
        raise ValueError(f"strengths of shape {w.shape} must be a matrix [N_post, N_pre] of finite numbers")
    w.eliminate_zeros()
    there, size, square = (w != 0).astype(float), abs(w), w.multiply(w)
    fans, effective = [], []
    for axis in (1, 0):
        fans.append(np.asarray(there.sum(axis=axis)).ravel().astype(int))
        total, squares = (np.asarray(m.sum(axis=axis)).ravel() for m in (size, square))
        effective.append(np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0))
    return Degrees(fans[0], fans[1], effective[0], effective[1])


def recurrent_strengths(liquid: Liquid) -> scipy.sparse.csr_array:
    """Postsynaptic potentials [N, N] as shares of the distance to threshold, over the neurons that are read."""
    network = liquid.network
    sizes = [network.population(name).size for name in liquid.read]
    first = dict(zip(liquid.read, np.cumsum([0, *sizes])))
    rows, columns, values = [np.empty(0, int)], [np.empty(0, int)], [np.empty(0)]
    for projection in network.projections:
        if projection.source in first and projection.target in first:
            pre, post, weight, _ = projection.synapses()
            spec = network.population(projection.target).neuron
            rows.append(post + first[projection.target])
            columns.append(pre + first[projection.source])
            values.append(weight * psp_height(spec, projection.receptor) / threshold_distance(spec))
    placed = (np.concatenate(rows), np.concatenate(columns))
    return scipy.sparse.csr_array((np.concatenate(values), placed), shape=(liquid.size, liquid.size))
