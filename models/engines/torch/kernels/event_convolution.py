"""Convolution of spikes as a torch operation: its cost grows with the spikes, not with the pixels.

The result and all gradients are those of torch.nn.functional.conv2d, followed by max_pool2d where a pooling is asked for.
The kernels are in models/engines/compiled/convolution.py; this file lays weights and offsets out for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from spiketwin.models.engines.threads import run_parts
from spiketwin.models.engines.torch.kernels.buffers import POOL
from spiketwin.models.engines.torch.kernels.chunks import images_per_call, rows_per_call

VECTOR_BYTES = 64
# Share of inputs that are not zero up to which adding up weights is faster than the dense convolution, forward and backward
# together. Measured on kernels of 3 × 3 and 5 × 5 and 16 to 128 output channels: even at .2 to .5 where a max pooling
# leaves few gradients, and at .05 to .1 without one.
EVENT_DENSITY, EVENT_DENSITY_POOLED = 0.08, 0.25
# Images are shared out in this many parts whatever the number of threads, so that sums are the same on every machine.
PARTS = 16
# Each part sums weight gradients in memory of its own; large kernels get fewer parts.
SUMS_BYTES = 1 << 26
# Share of outputs with a gradient up to which patches of weights are added up for the gradient of the input.
GRADIENT_DENSITY = 0.25


@dataclass(frozen=True)
class Shape:
    """Sizes of a convolution, with a max pooling of pool × pool behind it (1: none)."""

    channels: int
    height: int
    width: int
    out_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    pool: int = 1

    @property
    def out(self) -> tuple[int, int]:
        """Rows and columns before the pooling."""
        rows, columns = ((n + 2 * p - k) // s + 1 for n, p, k, s in zip((self.height, self.width), self.padding, self.kernel, self.stride))
        return rows, columns

    @property
    def pooled(self) -> tuple[int, int]:
        return self.out[0] // self.pool, self.out[1] // self.pool


@dataclass(frozen=True, eq=False)
class Layout:
    """Offsets that the kernels use, for one shape and dtype; names as there."""

    shape: Shape
    lanes: int
    start: np.ndarray
    to: np.ndarray
    origin: np.ndarray
    length: np.ndarray
    windows: np.ndarray
    corner: np.ndarray
    pixel: np.ndarray

    @property
    def taps(self) -> tuple[np.ndarray, ...]:
        return self.start, self.to, self.origin, self.length

    def image(self, dtype: np.dtype) -> np.ndarray:
        """Room for the outputs of one image, channels last."""
        return _aligned_empty(self.shape.out[0] * self.shape.out[1] * self.out_padded, dtype)

    def pooled(self, dtype: np.dtype) -> np.ndarray:
        """Room for what the pooling leaves of it."""
        return _aligned_empty(self.shape.pooled[0] * self.shape.pooled[1] * self.out_padded, dtype)

    def ids(self) -> np.ndarray:
        """Room for the pixels of one channel that are not zero."""
        return np.empty(self.shape.height * self.shape.width + 1, np.int64)

    @property
    def out_padded(self) -> int:
        return _filled(self.shape.out_channels, self.lanes)

    @property
    def in_padded(self) -> int:
        return _filled(self.shape.channels, self.lanes)

    @property
    def columns(self) -> int:
        """Taps per row of the kernel that one output column can meet with one pixel: ⌈kernel/stride⌉."""
        return -(-self.shape.kernel[1] // self.shape.stride[1])

    # -- weights -------------------------------------------------------------------------------------------

    def by_input(self, weight: Tensor) -> np.ndarray:
        """[C, ky, residue, tap backwards, O]: kx = residue + stride · tap. Taps that the kernel has not are 0."""
        s, taps = self.shape.stride[1], self.columns
        fill = (0, s * taps - self.shape.kernel[1])
        rows = functional.pad(weight.detach(), fill).unflatten(3, (taps, s)).flip(3)  # [O, C, ky, tap, residue]
        return _aligned(_channels_last(rows.permute(1, 2, 4, 3, 0), self.lanes))

    def from_by_input(self, packed: Tensor) -> Tensor:
        """The inverse of by_input."""
        s, taps, shape = self.shape.stride[1], self.columns, self.shape
        rows = packed.view(shape.channels, shape.kernel[0], s, taps, self.out_padded)[..., : shape.out_channels]
        return rows.permute(4, 0, 1, 3, 2).flip(3).flatten(3)[..., : shape.kernel[1]].contiguous()

    def by_output(self, weight: Tensor) -> np.ndarray:
        """[O, ky, kx, C]."""
        return _aligned(_channels_last(weight.detach().permute(0, 2, 3, 1), self.lanes))


@lru_cache(maxsize=64)
def layout(shape: Shape, itemsize: int) -> Layout:
    lanes = VECTOR_BYTES // itemsize
    (kh, kw), (sy, sx), (py, px), (rows, columns) = shape.kernel, shape.stride, shape.padding, shape.out
    out_vectors, in_vectors = _filled(shape.out_channels, lanes) // lanes, _filled(shape.channels, lanes) // lanes
    taps = -(-kw // sx)
    start, to, origin, length = [0], [], [], []
    for y in range(shape.height):
        for x in range(shape.width):
            last, residue = divmod(x + px, sx)  # the rightmost output column that sees x, through tap 0 of this residue
            first_tap, end_tap = max(0, taps - 1 - last), min(taps, columns - last + taps - 1)
            for ky in range(kh):
                row, off = divmod(y + py - ky, sy)
                if off == 0 and 0 <= row < rows and first_tap < end_tap:
                    to.append((row * columns + last - taps + 1 + first_tap) * out_vectors)
                    origin.append(((ky * sx + residue) * taps + first_tap) * out_vectors)
                    length.append((end_tap - first_tap) * out_vectors)
            start.append(len(to))
    k = shape.pool
    window_rows, window_columns = (np.arange(n)[:, None] * k + np.arange(k) for n in shape.pooled)  # [Hp, k], [Wp, k]
    out_y = np.broadcast_to(window_rows[:, None, :, None], (*shape.pooled, k, k)).reshape(-1, k * k)
    out_x = np.broadcast_to(window_columns[None, :, None, :], (*shape.pooled, k, k)).reshape(-1, k * k)
    width = shape.width + 2 * px
    y, x = np.divmod(np.arange(shape.height * shape.width), shape.width)
    arrays = (start, to, origin, length, (out_y * columns + out_x) * out_vectors)
    arrays += ((out_y * sy * width + out_x * sx) * in_vectors, ((y + py) * width + x + px) * in_vectors * lanes)
    return Layout(shape, lanes, *(np.ascontiguousarray(a, dtype=np.int64) for a in arrays))


def refusal(x: Tensor, weight: Tensor, *, pool: int = 1, event_density: float | None = None) -> str:
    """'' or why images x [M, C, H, W] had better be convolved by torch. event_density: share of inputs that are not 0 up to
    which events are preferred; None: the measured one."""
    if event_density is None:
        event_density = EVENT_DENSITY_POOLED if pool > 1 else EVENT_DENSITY
    if event_density == 0:
        return "events are switched off"
    if x.device.type != "cpu" or weight.device.type != "cpu":
        return f"x is on {x.device}, events are for the CPU"
    if torch.is_autocast_enabled("cpu") or x.dtype not in (torch.float32, torch.float64) or x.dtype != weight.dtype:
        return "the precision is not that of the kernels"
    if torch._C._functorch.is_functorch_wrapped_tensor(x) or torch._C._functorch.is_functorch_wrapped_tensor(weight):
        return "a transformation of torch.func is at work"
    if (share := density(x)) > event_density:
        return f"{share:.1%} of the inputs are not 0, more than {event_density:.0%}"
    return ""


def convolution(x: Tensor, weight: Tensor, *, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """conv2d for x [M, C, H, W]: by events where they are few, else in calls of as many images as stay in the cache."""
    if not refusal(x, weight):
        return event_convolution(x, weight, stride=stride, padding=padding)
    sizes = x.shape[2:], padding, weight.shape[2:], stride
    outputs = weight.shape[0] * math.prod((n + 2 * p - k) // s + 1 for n, p, k, s in zip(*sizes))
    rows = rows_per_call((math.prod(x.shape[1:]) + outputs) * x.element_size(), len(x), x.device)
    # one split, not slices: the gradient of each slice would be a tensor of all images
    return torch.cat([functional.conv2d(part, weight, stride=stride, padding=padding) for part in x.split(rows)])


def event_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    pool: int = 1,
) -> Tensor:
    """max_pool2d(conv2d(x, weight, bias, stride, padding), pool) for x [M, C, H, W] that is mostly zero.

    weight [O, C, Kh, Kw], bias [O].  pool: side and stride of the pooling's windows, 1 for none; at most 16.
    Returns [M, O, Ho, Wo]. Gradients reach x, weight and bias; none depends on the number of threads.
    A zero of x adds nothing, also where a weight is NaN or infinite.
    Raises TypeError for other dtypes than float32 and float64 or mixed ones, ValueError for shapes that do not fit or another device than the CPU.
    """
    for name, tensor in (("x", x), ("weight", weight), ("bias", bias)):
        if tensor is None:
            continue
        if tensor.device.type != "cpu":
            raise ValueError(f"{name} is on {tensor.device}; event-driven convolution runs on the CPU, use functional.conv2d there")
        if tensor.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"{name} is {tensor.dtype}; event-driven convolution takes float32 and float64, convert it with .float()")
        if tensor.dtype != weight.dtype:
            raise TypeError(f"{name} is {tensor.dtype} and weight {weight.dtype}; give both the same dtype")
    if x.ndim != 4 or weight.ndim != 4 or x.shape[1] != weight.shape[1]:
        raise ValueError(f"x is [M, C, H, W] and weight [O, C, Kh, Kw] with the same C; got {tuple(x.shape)} and {tuple(weight.shape)}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias has shape {tuple(bias.shape)}; give one value for each of the {weight.shape[0]} output channels")
    if not 1 <= pool <= 16:
        raise ValueError(f"pool = {pool} must be between 1 and 16")
    shape = Shape(*x.shape[1:], weight.shape[0], tuple(weight.shape[2:]), tuple(stride), tuple(padding), pool)
    if min(shape.pooled) < 1 or min(stride) < 1 or min(padding) < 0:
        raise ValueError(f"images of {shape.height} × {shape.width} give no output with {shape}; enlarge the image or the padding")
    return _EventConvolution.apply(x, weight, bias, layout(shape, x.element_size()))


class _EventConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, plan):
        from spiketwin.models.engines.compiled import convolution as kernels

        x, shape = x.contiguous(), plan.shape
        M, dtype = len(x), _numpy_type(x)
        size = (M, shape.out_channels, shape.pooled[0] * shape.pooled[1])
        out, where = POOL.empty(size, x.dtype), POOL.empty((M, size[2] * plan.out_padded), torch.uint8)
        offset = np.zeros(plan.out_padded, dtype) if bias is None else _aligned(_channels_last(bias.detach(), plan.lanes))
        pixels, packed = _pixels(x), plan.by_input(weight)

        def part(_: int, first: int, last: int) -> None:
            work = plan.image(dtype), plan.pooled(dtype), plan.ids()
            kernels.forward(pixels, packed, offset, *plan.taps, plan.windows, out.numpy(), where.numpy(), *work, first, last)

        _share(part, M, PARTS)
        ctx.save_for_backward(x, weight, where)
        ctx.plan, ctx.has_bias = plan, bias is not None
        return out.view(M, shape.out_channels, *shape.pooled)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, weight, where = ctx.saved_tensors
        plan, needs, gradient = ctx.plan, ctx.needs_input_grad, gradient.contiguous()
        return (
            _input_gradient(gradient, where, weight, x, plan) if needs[0] else None,
            _weight_gradient(gradient, where, x, plan) if needs[1] else None,
            gradient.sum(0).sum((1, 2)) if needs[2] and ctx.has_bias else None,  # six times as fast as all at once
            None,
        )


def _weight_gradient(g: Tensor, where: Tensor, x: Tensor, plan: Layout) -> Tensor:
    from spiketwin.models.engines.compiled import convolution as kernels

    shape, dtype = plan.shape, _numpy_type(x)
    (kh, _), (_, sx) = shape.kernel, shape.stride
    size = shape.channels * kh * sx * plan.columns * plan.out_padded
    parts = max(1, min(PARTS, SUMS_BYTES // (size * x.element_size()), len(x)))
    totals = _aligned_empty(parts * size, dtype).reshape(parts, size)
    totals[:] = 0
    pixels, values = _pixels(x), _pixels(g)

    def part(k: int, first: int, last: int) -> None:
        kernels.weight_gradient(
            pixels,
            values,
            where.numpy(),
            *plan.taps,
            plan.windows,
            totals[k],
            plan.image(dtype),
            plan.pooled(dtype),
            plan.ids(),
            first,
            last,
        )

    _share(part, len(x), parts)
    return plan.from_by_input(torch.from_numpy(totals.sum(axis=0)))


def _input_gradient(g: Tensor, where: Tensor, weight: Tensor, x: Tensor, plan: Layout) -> Tensor:
    """Adds a patch of weights per output that has a gradient; where most of them have one, the dense operation is faster."""
    from spiketwin.models.engines.compiled import convolution as kernels

    shape, dtype = plan.shape, _numpy_type(x)
    if shape.pool == 1 and density(g) > GRADIENT_DENSITY:
        return _dense_input_gradient(g, weight, x, shape)
    dx = POOL.empty((len(x), shape.channels, shape.height * shape.width), x.dtype)
    packed, values = plan.by_output(weight), _pixels(g)
    (kh, kw), (py, px), vectors = shape.kernel, shape.padding, plan.in_padded // plan.lanes
    width = shape.width + 2 * px

    def part(_: int, first: int, last: int) -> None:
        image = _aligned_empty((shape.height + 2 * py) * width * plan.in_padded, dtype)
        patch = plan.corner, kh, kw * vectors, width * vectors, plan.pixel
        kernels.input_gradient(values, where.numpy(), packed, *patch, dx.numpy(), image, first, last)

    _share(part, len(x), PARTS)
    return dx.view_as(x)


def _dense_input_gradient(g: Tensor, weight: Tensor, x: Tensor, shape: Shape) -> Tensor:
    dx = POOL.empty(tuple(x.shape), x.dtype)
    for part in images_per_call((math.prod(x.shape[1:]) + math.prod(g.shape[1:])) * x.element_size(), len(x)):
        options = (None, shape.stride, shape.padding, (1, 1), False, (0, 0), 1, (True, False, False))
        dx[part] = torch.ops.aten.convolution_backward(g[part], x[part], weight, *options)[0]
    return dx


def density(x: Tensor, sample: int = 64) -> float:
    """Share of entries of x [M, …] that are not zero, from at most `sample` evenly spaced rows."""
    chosen = x.detach()[:: max(1, len(x) // sample)]
    return float(torch.count_nonzero(chosen)) / max(1, chosen.numel())


def _share(part: Callable[[int, int, int], None], images: int, parts: int) -> None:
    """part(k, first, last) for `parts` ranges of images of nearly equal size."""
    parts = min(parts, images)
    run_parts(lambda k: part(k, k * images // parts, (k + 1) * images // parts), parts)


def _filled(channels: int, lanes: int) -> int:
    return -(-channels // lanes) * lanes


def _channels_last(tensor: Tensor, lanes: int) -> Tensor:
    """The last axis filled up with zeros to whole vectors."""
    return functional.pad(tensor, (0, _filled(tensor.shape[-1], lanes) - tensor.shape[-1]))


def _aligned_empty(size: int, dtype: np.dtype) -> np.ndarray:
    """[size] at a multiple of VECTOR_BYTES: a vector that crosses lines of the cache takes twice as long."""
    memory = np.empty(size * dtype.itemsize + VECTOR_BYTES, np.uint8)
    begin = -memory.ctypes.data % VECTOR_BYTES
    return memory[begin : begin + size * dtype.itemsize].view(dtype)


def _aligned(tensor: Tensor) -> np.ndarray:
    array = _aligned_empty(tensor.numel(), _numpy_type(tensor))
    array[:] = tensor.reshape(-1).numpy()
    return array


def _pixels(images: Tensor) -> np.ndarray:
    """[M, C, H, W] -> [M, C, H·W], the same memory."""
    M, C, H, W = images.shape
    return images.detach().view(M, C, H * W).numpy()


def _numpy_type(tensor: Tensor) -> np.dtype:
    return np.dtype("float32" if tensor.dtype == torch.float32 else "float64")
