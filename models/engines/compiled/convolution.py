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


@intrinsic
def add_scaled(_typing, target, i, source, j, factor):
    """Vector i of `target` += factor · vector j of `source`.

    Spelled out for LLVM, whose own vectorised loop would ask at each stretch whether the two overlap.
    """
    lanes = VECTOR_BYTES * 8 // target.dtype.bitwidth

    def code(context, builder, signature, arguments):
        place, index, weights, other, scale = arguments
        vector = ir.VectorType(context.get_value_type(target.dtype), lanes)
        lane = ir.IntType(32)

        def at(kind, array, index):
            data = context.make_array(kind)(context, builder, array).data
            return builder.gep(builder.bitcast(data, vector.as_pointer()), [index])

        to, taken = at(target, place, index), at(source, weights, other)
        one = builder.insert_element(ir.Constant(vector, ir.Undefined), scale, lane(0))
        scales = builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(lane, lanes), [0] * lanes))
        align = target.dtype.bitwidth // 8
        product = builder.fmul(scales, builder.load(taken, align=align), flags=("contract",))
        builder.store(builder.fadd(product, builder.load(to, align=align), flags=("contract",)), to, align=align)
        return context.get_dummy_value()

    return types.void(target, types.uintp, source, types.uintp, target.dtype), code


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
def forward(x, weight, bias, start, to, origin, length, windows, out, where, image, ids, best, arg, first, last):
    """out of images first … last - 1, and in `where` [M, O, Q] which output of its window is largest, the first of equals.

    Taps of pixel p are start[p] … start[p + 1]: `length` vectors from `origin` of a channel's weights to `to` of the image.
    """
    channels, O, padded = x.shape[1], out.shape[1], bias.size
    per_channel = weight.size // (channels * (VECTOR_BYTES // x.itemsize))
    for m in range(first, last):
        for p in range(0, image.size, padded):
            for o in range(padded):
                image[p + o] = bias[o]
        for c in range(channels):
            pixels = x[m, c]
            for e in range(collect(pixels, ids)):
                p = ids[e]
                for k in range(start[p], start[p + 1]):
                    add_stretch(image, to[k], weight, c * per_channel + origin[k], length[k], pixels[p])
        for q in range(windows.shape[0]):
            for o in range(padded):
                best[o] = image[windows[q, 0] + o]
                arg[o] = 0
            for k in range(1, windows.shape[1]):
                at = windows[q, k]
                for o in range(padded):
                    value = image[at + o]
                    better = (value > best[o]) | (value != value)  # as torch: NaN wins
                    best[o] = value if better else best[o]
                    arg[o] = k if better else arg[o]
            for o in range(O):
                out[m, o, q] = best[o]
            if windows.shape[1] > 1:
                for o in range(O):
                    where[m, o, q] = arg[o]


@shared
def unpool(g, where, m, windows, image):
    """The gradient of each output: that of its window where it was the largest, else 0."""
    image[:] = 0
    pooled = windows.shape[1] > 1
    for o in range(g.shape[1]):
        for q in range(g.shape[2]):
            image[windows[q, where[m, o, q] if pooled else 0] + o] = g[m, o, q]


@entry
def weight_gradient(x, g, where, start, to, origin, length, windows, total, image, ids, first, last):
    """Sum over images first … last - 1 into `total`, laid out as the weights."""
    channels = x.shape[1]
    per_channel = total.size // (channels * (VECTOR_BYTES // x.itemsize))
    total[:] = 0
    for m in range(first, last):
        unpool(g, where, m, windows, image)
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
    pooled = corner.shape[1] > 1
    for m in range(first, last):
        padded_image[:] = 0
        for o in range(g.shape[1]):
            for q in range(g.shape[2]):
                value = g[m, o, q]
                if value != 0:
                    at = corner[q, where[m, o, q] if pooled else 0]
                    for row in range(rows):
                        add_stretch(padded_image, at + row * row_step, weight, (o * rows + row) * row_vectors, row_vectors, value)
        for c in range(dx.shape[1]):
            for p in range(dx.shape[2]):
                dx[m, c, p] = padded_image[pixel[p] + c]
