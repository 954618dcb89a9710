"""Kernels that know no model: events along synapses, forward and backward, for a few trials at a time.

Shapes: ids: neurons that fired, in order; increments, gradients [rows·N], the trials of a chunk one after the other.
Sums run in the order of the events and of the neurons, whatever the number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import njit

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
def project_back(gradient, weight, rows, out):
    """out [rows, N_pre] += gradient [rows, N_post] weight [N_post, N_pre]: what the spikes of the source would have changed.

    Four rows and four neurons at a time, so that each weight that is loaded serves sixteen products.
    """
    n_post, n_pre = weight.shape
    r = 0
    while r + 4 <= rows:
        g0, g1, g2, g3 = gradient[r], gradient[r + 1], gradient[r + 2], gradient[r + 3]
        o0, o1, o2, o3 = out[r], out[r + 1], out[r + 2], out[r + 3]
        n = 0
        while n + 4 <= n_post:
            w0, w1, w2, w3 = weight[n], weight[n + 1], weight[n + 2], weight[n + 3]
            for j in range(n_pre):
                a, b, c, d = w0[j], w1[j], w2[j], w3[j]
                o0[j] += (g0[n] * a + g0[n + 1] * b) + (g0[n + 2] * c + g0[n + 3] * d)
                o1[j] += (g1[n] * a + g1[n + 1] * b) + (g1[n + 2] * c + g1[n + 3] * d)
                o2[j] += (g2[n] * a + g2[n + 1] * b) + (g2[n + 2] * c + g2[n + 3] * d)
                o3[j] += (g3[n] * a + g3[n + 1] * b) + (g3[n + 2] * c + g3[n + 3] * d)
            n += 4
        while n < n_post:
            w0 = weight[n]
            for j in range(n_pre):
                o0[j] += g0[n] * w0[j]
                o1[j] += g1[n] * w0[j]
                o2[j] += g2[n] * w0[j]
                o3[j] += g3[n] * w0[j]
            n += 1
        r += 4
    while r < rows:
        g0, o0 = gradient[r], out[r]
        n = 0
        while n + 4 <= n_post:
            w0, w1, w2, w3 = weight[n], weight[n + 1], weight[n + 2], weight[n + 3]
            c0, c1, c2, c3 = g0[n], g0[n + 1], g0[n + 2], g0[n + 3]
            for j in range(n_pre):
                o0[j] += (c0 * w0[j] + c1 * w1[j]) + (c2 * w2[j] + c3 * w3[j])
            n += 4
        while n < n_post:
            w0, c0 = weight[n], g0[n]
            for j in range(n_pre):
                o0[j] += c0 * w0[j]
            n += 1
        r += 1


@shared
def project_back_sparse(gradient, start, post, weight, rows, out):
    """As project_back, for synapses listed by presynaptic neuron."""
    for r in range(rows):
        for j in range(out.shape[1]):
            total = out[r, j]
            for s in range(start[j], start[j + 1]):
                total += gradient[r, post[s]] * weight[s]
            out[r, j] = total


@shared
def list_fired(fired, words, size, neurons, first_row, ids, counts):
    """Write down who fired in a chunk: fired [size], 0 or 1, trial after trial of `neurons` each; words: the same
    bytes, eight at a time.  ids [rows, neurons], counts [rows] of all steps and trials; first_row: that of the chunk."""
    row, start, k = first_row, 0, 0
    for w in range((size + 7) // 8):
        if words[w] != 0:
            for m in range(8 * w, min(8 * w + 8, size)):
                if fired[m] != 0:
                    while m >= start + neurons:
                        counts[row] = k
                        row, start, k = row + 1, start + neurons, 0
                    ids[row, k] = m - start
                    k += 1
    while start < size:
        counts[row] = k
        row, start, k = row + 1, start + neurons, 0
