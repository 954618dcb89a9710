"""Convolution of sparse images: every pixel that is not zero adds its row of weights to the output it reaches.

An image of spikes is nearly empty, so the products of a dense convolution are nearly all with zero. Here a spike of
channel c at (y, x) adds, for each row of the kernel, one stretch of weights to one stretch of the output:

    out[oy, ox … ox + n, :] += value · weight[c, ky, kx … kx - n, :]

Channels of the output come last and a row of the kernel is stored backwards, so both stretches are contiguous and their
offsets, the `taps` of a pixel, are the same for all channels and images. The gradient of the weights adds the same stretches
the other way round. Behind a max pooling only one output in k² has a gradient, and the gradient of the input adds, for
each of them, a patch of weights.

Shapes: x [M, C, P] with P pixels, out and g [M, O, Q] with Q windows of the pooling (outputs where there is none), `image`
[outputs · O]. Stretches are counted in vectors of 64 bytes, to which channels are filled up; arrays that stretches
lie in begin at such an address.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

VECTOR_BYTES = 64  # the widest registers there are, and a line of the cache; LLVM splits it where registers are narrower

shared = njit(cache=True, nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
entry = njit(cache=True, nogil=True, error_model="numpy")


def _at(context, builder, kind, array, index, lanes: int):
    """Pointer to vector `index` of a one-dimensional array, `lanes` entries each."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(builder.bitcast(data, ir.VectorType(context.get_data_type(kind.dtype), lanes).as_pointer()), [index])


def _all_lanes(builder, value, lanes: int):
    """The vector that holds `value` in every lane."""
    vector, lane = ir.VectorType(value.type, lanes), ir.IntType(32)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, lane(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(lane, lanes), [0] * lanes))


# Vectors are spelled out for LLVM: its own vectorised loops would ask at each stretch whether the arrays overlap.


@intrinsic
def add_scaled(_typing, target, i, source, j, factor):
    """Vector i of `target` += factor · vector j of `source`."""
    lanes, align = VECTOR_BYTES * 8 // target.dtype.bitwidth, target.dtype.bitwidth // 8

    def code(context, builder, signature, arguments):
        place, index, weights, other, scale = arguments
        to, origin = _at(context, builder, target, place, index, lanes), _at(context, builder, source, weights, other, lanes)
        product = builder.fmul(_all_lanes(builder, scale, lanes), builder.load(origin, align=align), flags=("contract",))
        builder.store(builder.fadd(product, builder.load(to, align=align), flags=("contract",)), to, align=align)
        return context.get_dummy_value()

    return types.void(target, types.uintp, source, types.uintp, target.dtype), code


@intrinsic
def keep_larger(_typing, image, i, best, j, arg, k):
    """Where vector i of `image` is larger than vector j of `best`, or NaN: `best` becomes it and `arg` becomes k."""
    lanes, align = VECTOR_BYTES * 8 // best.dtype.bitwidth, best.dtype.bitwidth // 8

    def code(context, builder, signature, arguments):
        values, index, kept, other, which, now = arguments
        value = builder.load(_at(context, builder, image, values, index, lanes), align=align)
        to, mark = _at(context, builder, best, kept, other, lanes), _at(context, builder, arg, which, other, lanes)
        old = builder.load(to, align=align)
        better = builder.or_(builder.fcmp_ordered(">", value, old), builder.fcmp_unordered("uno", value, value))
        builder.store(builder.select(better, value, old), to, align=align)
        builder.store(builder.select(better, _all_lanes(builder, now, lanes), builder.load(mark, align=1)), mark, align=1)
        return context.get_dummy_value()

    return types.void(image, types.uintp, best, types.uintp, arg, types.uint8), code


@intrinsic
def put_where(_typing, image, i, values, j, arg, k):
    """Vector i of `image` = vector j of `values` where `arg` is k, else 0."""
    lanes, align = VECTOR_BYTES * 8 // image.dtype.bitwidth, image.dtype.bitwidth // 8

    def code(context, builder, signature, arguments):
        target, index, source, other, which, now = arguments
        value = builder.load(_at(context, builder, values, source, other, lanes), align=align)
        mark = builder.load(_at(context, builder, arg, which, other, lanes), align=1)
        here = builder.icmp_unsigned("==", mark, _all_lanes(builder, now, lanes))
        chosen = builder.select(here, value, ir.Constant(value.type, None))
        builder.store(chosen, _at(context, builder, image, target, index, lanes), align=align)
        return context.get_dummy_value()

    return types.void(image, types.uintp, values, types.uintp, arg, types.uint8), code


@shared
def add_stretch(target, i, source, j, vectors, factor):
    for k in range(vectors):
        add_scaled(target, np.uintp(i + k), source, np.uintp(j + k), factor)


@shared
def collect(pixels, ids):
    """Where `pixels` [P] are not zero, in order; returns how many. Written without a branch, which would guess wrong at each spike."""
    n = 0
    for p in range(pixels.size):
        ids[n] = p
        n += pixels[p] != 0
    return n


@entry
def forward(x, weight, bias, start, to, origin, length, windows, out, where, image, best, ids, first, last):
    """out of images first … last - 1, and in `where` [M, Q · O] which output of its window is largest, the first of equals.

    Taps of pixel p are start[p] … start[p + 1]: `length` vectors from `origin` of a channel's weights to `to` of the image.
    windows [Q, k²]: vectors of `image` where the outputs of a window begin.  bias [O], best [Q · O]: filled up to vectors.
    """
    channels, O, Q = x.shape[1], out.shape[1], out.shape[2]
    lanes = VECTOR_BYTES // x.itemsize
    per_channel, vectors = weight.size // (channels * lanes), bias.size // lanes
    for m in range(first, last):
        image[:] = 0
        for c in range(channels):
            pixels = x[m, c]
            for e in range(collect(pixels, ids)):
                p = ids[e]
                for k in range(start[p], start[p + 1]):
                    add_stretch(image, to[k], weight, c * per_channel + origin[k], length[k], pixels[p])
        arg = where[m]
        for q in range(Q):
            best[q * bias.size : (q + 1) * bias.size] = image[windows[q, 0] * lanes : windows[q, 0] * lanes + bias.size]
            arg[q * bias.size : (q + 1) * bias.size] = 0
            for k in range(1, windows.shape[1]):
                for v in range(vectors):
                    keep_larger(image, np.uintp(windows[q, k] + v), best, np.uintp(q * vectors + v), arg, np.uint8(k))
        for o in range(O):
            for q in range(Q):
                out[m, o, q] = best[q * bias.size + o] + bias[o]


@shared
def unpool(g, arg, windows, image, spread):
    """The gradient of each output: that of its window where it was the largest, else 0.  spread [Q · O]: room for g, channels last."""
    O, Q = g.shape
    lanes = VECTOR_BYTES // g.itemsize
    padded = spread.size // Q
    image[:] = 0  # outputs in no window stay 0
    for o in range(O):
        for q in range(Q):
            spread[q * padded + o] = g[o, q]
    for q in range(Q):
        for k in range(windows.shape[1]):
            for v in range(padded // lanes):
                put_where(image, np.uintp(windows[q, k] + v), spread, np.uintp(q * (padded // lanes) + v), arg, np.uint8(k))


@entry
def weight_gradient(x, g, where, start, to, origin, length, windows, total, image, spread, ids, first, last):
    """Sum over images first … last - 1 into `total`, laid out as the weights."""
    channels = x.shape[1]
    per_channel = total.size // (channels * (VECTOR_BYTES // x.itemsize))
    total[:] = 0
    spread[:] = 0
    for m in range(first, last):
        unpool(g[m], where[m], windows, image, spread)
        for c in range(channels):
            pixels = x[m, c]
            for e in range(collect(pixels, ids)):
                p = ids[e]
                for k in range(start[p], start[p + 1]):
                    add_stretch(total, c * per_channel + origin[k], image, to[k], length[k], pixels[p])


@entry
def input_gradient(g, where, weight, corner, rows, row_vectors, row_step, pixel, dx, padded_image, first, last):
    """dx [M, C, P] of images first … last - 1.

    weight: [O, rows, row_vectors], channels of the input last.  corner [Q, k²]: vector of `padded_image` at which the patch
    of an output begins; its rows are row_step vectors apart.  pixel [P]: where a pixel's channels begin in it.
    """
    padded = where.shape[1] // g.shape[2]
    for m in range(first, last):
        padded_image[:] = 0
        for o in range(g.shape[1]):
            for q in range(g.shape[2]):
                value = g[m, o, q]
                if value != 0:
                    at = corner[q, where[m, q * padded + o]]
                    for row in range(rows):
                        add_stretch(padded_image, at + row * row_step, weight, (o * rows + row) * row_vectors, row_vectors, value)
        for c in range(dx.shape[1]):
            for p in range(dx.shape[2]):
                dx[m, c, p] = padded_image[pixel[p] + c]
