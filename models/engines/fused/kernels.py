"""Kernels that know no model: events along synapses, forward and backward, for a few trials at a time.

Shapes: ids: neurons that fired, in order; increments, gradients [rows·N], the trials of a chunk one after the other.
Sums run in the order of the events and of the neurons, whatever the number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from spiketwin.models.engines.compiled.kernels import wide_vectors
from spiketwin.models.engines.fused.tile import NARROW, ROWS, WIDE, add_row, narrow_tile, wide_tile

# Share of neurons that fire above which a matrix product is faster than adding up the rows of those that do.
CROSSOVER = 0.2

# Into the caller: at a call numba counts references to each array, which for ten numbers takes longer than adding them.
shared = njit(cache=True, nogil=True, error_model="numpy", forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
inlined = njit(nogil=True, error_model="numpy", forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)  # a pass over the neurons


@shared
def gather(ids, first, last, weight, out, start):
    """out [start: start + N_post] += Σ weight[j] over the events j; weight [N_pre, N_post]. Four at a time: out is loaded once for four."""
    size, o = np.uint64(weight.shape[1]), np.uint64(start)
    k = first
    while k + 4 <= last:
        a, b, c, d = ids[k], ids[k + 1], ids[k + 2], ids[k + 3]
        for n in range(size):
            out[o + n] += (weight[a, n] + weight[b, n]) + (weight[c, n] + weight[d, n])
        k += 4
    while k < last:
        a = ids[k]
        for n in range(size):
            out[o + n] += weight[a, n]
        k += 1


@shared
def is_busy(counts, first_row, rows, neurons):
    """Whether so many neurons of a chunk fired that a matrix product is faster. It follows from the spikes alone."""
    total = 0
    for r in range(first_row, first_row + rows):
        total += counts[r]
    return rows >= ROWS and total > CROSSOVER * rows * neurons


@shared
def scatter(ids, first, last, gradient, start, weight_gradient):
    """weight_gradient[j] += gradient [start: start + N_post] for each event j."""
    for k in range(first, last):
        add_row(weight_gradient, ids[k], gradient, start)


@shared
def gather_sparse(ids, first, last, begin, post, weight, out, start):
    """As gather, for synapses listed by presynaptic neuron: those of j are begin[j] … begin[j+1]."""
    o = np.uint64(start)
    for k in range(first, last):
        for s in range(begin[ids[k]], begin[ids[k] + np.uint32(1)]):
            out[o + post[s]] += weight[s]


@shared
def scatter_sparse(ids, first, last, begin, post, gradient, start, weight_gradient):
    """weight_gradient[s] += gradient[start + post[s]] for each synapse s of each event."""
    o = np.uint64(start)
    for k in range(first, last):
        for s in range(begin[ids[k]], begin[ids[k] + np.uint32(1)]):
            weight_gradient[s] += gradient[o + post[s]]


@shared
def product(a, weight, rows, out, fresh):
    """out [rows, J] += (fresh: =) a [rows, N] weight [N, J]: spikes forward, or gradients back to the neurons they came from."""
    wide_vectors()
    size, width = weight.shape
    if fresh:
        out[:rows] = 0
    whole = rows - rows % ROWS
    j = 0
    while j + WIDE <= width:  # all rows of a strip of weights that fits the first cache
        for r in range(0, whole, ROWS):
            wide_tile(a, weight, out, r, j)
        j += WIDE
    while j + NARROW <= width:
        for r in range(0, whole, ROWS):
            narrow_tile(a, weight, out, r, j)
        j += NARROW
    for r in range(whole):
        for k in range(j, width):
            total = out[r, k]
            for n in range(size):
                total += a[r, n] * weight[n, k]
            out[r, k] = total
    for r in range(whole, rows):
        for n in range(size):
            factor, row, target = a[r, n], weight[n], out[r]
            for k in range(width):
                target[k] += factor * row[k]


@shared
def product_sparse(gradient, begin, post, weight, rows, out, fresh):
    """out [rows, N_pre] += (fresh: =) Σ gradient [rows, N_post] over the synapses of each neuron, listed by presynaptic neuron."""
    if fresh:
        out[:rows] = 0
    for r in range(rows):
        for j in range(out.shape[1]):
            total = out[r, j]
            for s in range(begin[j], begin[j + 1]):
                total += gradient[r, post[s]] * weight[s]
            out[r, j] = total


@shared
def list_fired(fired, words, rows, neurons, first_row, ids, counts):
    """Write down who fired in a chunk. fired [rows·neurons], 0 or 1, trial after trial; words: the same bytes, eight at
    a time.  ids [rows·neurons], counts [rows] of all steps and trials; first_row: where the chunk begins.

    Each neuron is written, and counts only if it fired: cheaper than asking each of them.
    """
    for r in range(rows):
        begin = np.uint64((first_row + r) * neurons)
        at = begin
        if neurons % 8 == 0:
            for w in range(r * neurons // 8, (r + 1) * neurons // 8):
                if words[w] != 0:
                    for m in range(8 * w, 8 * w + 8):
                        ids[at] = m - r * neurons
                        at += np.uint64(fired[m])
        else:
            for m in range(r * neurons, (r + 1) * neurons):
                ids[at] = m - r * neurons
                at += np.uint64(fired[m])
        counts[first_row + r] = at - begin
