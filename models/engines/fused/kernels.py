"""Kernels that know no model: events along synapses, forward and backward, for a few trials at a time.

Shapes: ids: neurons that fired, in order; increments, gradients [rows·N], the trials of a chunk one after the other.
Sums run in the order of the events and of the neurons, whatever the number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Share of neurons that fire above which a matrix product is faster than adding up the rows of those that do.
CROSSOVER = 0.2

shared = njit(cache=True, nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
inlined = njit(nogil=True, error_model="numpy", forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)  # a pass over the neurons


@shared
def gather(ids, first, last, weight, out):
    """out [N_post] += Σ weight[j] over the events j; weight [N_pre, N_post]. Four events at a time: out is loaded once for four."""
    k = first
    while k + 4 <= last:
        a, b, c, d = weight[ids[k]], weight[ids[k + 1]], weight[ids[k + 2]], weight[ids[k + 3]]
        for n in range(out.size):
            out[n] += (a[n] + b[n]) + (c[n] + d[n])
        k += 4
    while k < last:
        a = weight[ids[k]]
        for n in range(out.size):
            out[n] += a[n]
        k += 1


@shared
def is_busy(counts, first_row, rows, neurons):
    """Whether so many neurons of a chunk fired that a matrix product is faster. It follows from the spikes alone."""
    total = 0
    for r in range(first_row, first_row + rows):
        total += counts[r]
    return rows >= 4 and total > CROSSOVER * rows * neurons


@shared
def scatter(ids, first, last, gradient, weight_gradient):
    """weight_gradient[j] += gradient [N_post] for each event j."""
    for k in range(first, last):
        row = weight_gradient[ids[k]]
        for n in range(gradient.size):
            row[n] += gradient[n]


@shared
def gather_sparse(ids, first, last, start, post, weight, out):
    """As gather, for synapses listed by presynaptic neuron: those of j are start[j] … start[j+1]."""
    for k in range(first, last):
        for s in range(start[ids[k]], start[ids[k] + np.uint32(1)]):
            out[post[s]] += weight[s]


@shared
def scatter_sparse(ids, first, last, start, post, gradient, weight_gradient):
    """weight_gradient[s] += gradient[post[s]] for each synapse s of each event."""
    for k in range(first, last):
        for s in range(start[ids[k]], start[ids[k] + np.uint32(1)]):
            weight_gradient[s] += gradient[post[s]]


@shared
def product(a, weight, rows, out, fresh):
    """out [rows, J] += (fresh: =) a [rows, N] weight [N, J]: spikes forward, or gradients back to the neurons they came from.

    Four rows and four neurons at a time, so that each weight that is loaded serves four products, each sum sixteen.
    """
    size, width = weight.shape
    if fresh:
        out[:rows] = 0
    r = 0
    while r + 4 <= rows:
        g0, g1, g2, g3 = a[r], a[r + 1], a[r + 2], a[r + 3]
        o0, o1, o2, o3 = out[r], out[r + 1], out[r + 2], out[r + 3]
        n = 0
        while n + 4 <= size:
            w0, w1, w2, w3 = weight[n], weight[n + 1], weight[n + 2], weight[n + 3]
            for j in range(width):
                v0, v1, v2, v3 = w0[j], w1[j], w2[j], w3[j]
                o0[j] += (g0[n] * v0 + g0[n + 1] * v1) + (g0[n + 2] * v2 + g0[n + 3] * v3)
                o1[j] += (g1[n] * v0 + g1[n + 1] * v1) + (g1[n + 2] * v2 + g1[n + 3] * v3)
                o2[j] += (g2[n] * v0 + g2[n + 1] * v1) + (g2[n + 2] * v2 + g2[n + 3] * v3)
                o3[j] += (g3[n] * v0 + g3[n + 1] * v1) + (g3[n + 2] * v2 + g3[n + 3] * v3)
            n += 4
        while n < size:
            w0 = weight[n]
            for j in range(width):
                o0[j] += g0[n] * w0[j]
                o1[j] += g1[n] * w0[j]
                o2[j] += g2[n] * w0[j]
                o3[j] += g3[n] * w0[j]
            n += 1
        r += 4
    while r < rows:
        g0, o0 = a[r], out[r]
        n = 0
        while n + 4 <= size:
            w0, w1, w2, w3 = weight[n], weight[n + 1], weight[n + 2], weight[n + 3]
            c0, c1, c2, c3 = g0[n], g0[n + 1], g0[n + 2], g0[n + 3]
            for j in range(width):
                o0[j] += (c0 * w0[j] + c1 * w1[j]) + (c2 * w2[j] + c3 * w3[j])
            n += 4
        while n < size:
            w0, c0 = weight[n], g0[n]
            for j in range(width):
                o0[j] += c0 * w0[j]
            n += 1
        r += 1


@shared
def product_sparse(gradient, start, post, weight, rows, out, fresh):
    """out [rows, N_pre] += (fresh: =) Σ gradient [rows, N_post] over the synapses of each neuron, listed by presynaptic neuron."""
    if fresh:
        out[:rows] = 0
    for r in range(rows):
        for j in range(out.shape[1]):
            total = out[r, j]
            for s in range(start[j], start[j + 1]):
                total += gradient[r, post[s]] * weight[s]
            out[r, j] = total


@shared
def list_fired(fired, words, rows, neurons, first_row, ids, counts):
    """Write down who fired in a chunk. fired [rows·neurons], 0 or 1, trial after trial; words: the same bytes, eight at
    a time.  ids [rows, neurons], counts [rows] of all steps and trials; first_row: where the chunk begins.

    Each neuron is written, and counts only if it fired: cheaper than asking each of them.
    """
    for r in range(rows):
        row, k = ids[first_row + r], np.uint64(0)
        if neurons % 8 == 0:
            for w in range(r * neurons // 8, (r + 1) * neurons // 8):
                if words[w] != 0:
                    for m in range(8 * w, 8 * w + 8):
                        row[k] = m - r * neurons
                        k += np.uint64(fired[m])
        else:
            for m in range(r * neurons, (r + 1) * neurons):
                row[k] = m - r * neurons
                k += np.uint64(fired[m])
        counts[first_row + r] = k
