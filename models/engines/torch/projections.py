"""Projections as torch modules: weights in the projection's unit, delays in steps, spikes in, receptor increments out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spiketwin.models.engines.base import delay_steps
from spiketwin.models.engines.fused.kernels import CROSSOVER
from spiketwin.models.engines.torch.kernels.event_convolution import convolution
from spiketwin.models.engines.torch.kernels.sparse_product import csr, sparse_product
from spiketwin.models.network import Convolution, Projection
from spiketwin.models.spikes import Spikes
from spiketwin.models.units import unit

MOST_ENTRIES = 1 << 25  # of a sparse matrix that is multiplied with its zeros
# spikes [M, N_pre] -> increments [M, N_post]
Transmit = Callable[[Tensor], Tensor]


class WeightedProjection(nn.Module):
    """What the kinds share: `weight`, a Parameter (a buffer when not trainable) in the projection's own unit,
    so that one learning rate suits all; `delays`, the distinct delays in steps."""

    weight: Tensor

    def __init__(self, projection: Projection, values: np.ndarray, delays: np.ndarray, dtype: torch.dtype) -> None:
        super().__init__()
        self.projection = projection
        self.factor = unit(projection.unit or "1")[0]
        distinct, slot = np.unique(delays, return_inverse=True)
        self.delays: tuple[int, ...] = tuple(int(d) for d in distinct)
        self.register_buffer("slot", torch.as_tensor(slot.reshape(delays.shape)) if len(distinct) > 1 else None, persistent=False)
        weight = torch.tensor(np.array(values), dtype=dtype)
        if projection.trainable:
            self.weight = nn.Parameter(weight)
        else:
            self.register_buffer("weight", weight)

    @property
    def si(self) -> Tensor:
        return self.weight * self.factor if self.factor != 1 else self.weight

    def transmits(self) -> list[Transmit]:
        """One map spikes -> increments per entry of `delays`."""
        raise NotImplementedError

    def transmit_stacked(self) -> Transmit:
        """One map for spikes [M, len(delays)·N_pre], the past spikes side by side in the order of `delays`."""
        maps = self.transmits()
        if len(maps) == 1:
            return maps[0]
        return lambda spikes: reduce(torch.add, (f(part) for f, part in zip(maps, spikes.chunk(len(maps), dim=1), strict=True)))

    def extra_repr(self) -> str:
        p = self.projection
        post, pre = p.shape
        delay = f", delays {self.delays[0]}…{self.delays[-1]} steps" if self.delays != (0,) else ""
        return f"{p.source} -> {p.target}.{p.receptor}, {post} × {pre}, weights in {p.unit or 'SI'}{delay}"


class DenseProjection(WeightedProjection):
    """weight [N_post, N_pre]; every entry is a synapse."""

    def __init__(self, projection: Projection, dt_ms: float, dtype: torch.dtype) -> None:
        super().__init__(projection, projection.values(), delay_steps(projection.delay_ms, dt_ms), dtype)

    def matrices(self) -> list[Tensor]:
        """SI weights [N_post, N_pre] per entry of `delays`, 0 where a synapse has another delay."""
        if len(self.delays) == 1:
            return [self.si]
        return [self.si * (self.slot == k) for k in range(len(self.delays))]

    def transmits(self) -> list[Transmit]:
        return [_linear(matrix) for matrix in self.matrices()]

    def transmit_stacked(self) -> Transmit:
        return _linear(torch.cat(self.matrices(), dim=1))

    def weights(self) -> np.ndarray:
        return numpy_of(self.weight)


class SparseProjection(WeightedProjection):
    """weight [synapses], ordered by (post, pre).

    Multiplies as CSR when no gradient is needed. With gradients as a dense matrix of zeros elsewhere, which torch multiplies faster, as
    long as it is small enough; a larger one stays sparse.
    """

    def __init__(self, projection: Projection, dt_ms: float, dtype: torch.dtype) -> None:
        pre, post, si, delay_ms = projection.synapses()
        order = np.lexsort((pre, post))
        values = si[order] / unit(projection.unit or "1")[0]
        super().__init__(projection, values, delay_steps(delay_ms[order], dt_ms), dtype)
        self.register_buffer("pre", torch.as_tensor(pre[order]), persistent=False)
        self.register_buffer("post", torch.as_tensor(post[order]), persistent=False)

    def transmits(self) -> list[Transmit]:
        if self.slot is None:
            return [self._map(self.post, self.pre, self.si, 1)]
        chosen = [self.slot == k for k in range(len(self.delays))]
        return [self._map(self.post[c], self.pre[c], self.si[c], 1) for c in chosen]

    def transmit_stacked(self) -> Transmit:
        if self.slot is None:
            return self.transmits()[0]
        column = self.slot * self.projection.shape[1] + self.pre
        return self._map(self.post, column, self.si, len(self.delays))

    def _map(self, post: Tensor, column: Tensor, values: Tensor, blocks: int) -> Transmit:
        n_post, n_pre = self.projection.shape
        shape = (n_post, n_pre * blocks)
        if not torch.is_grad_enabled():
            matrix = csr(post, column, values, shape)
            return lambda spikes: (matrix @ spikes.t().contiguous()).t()
        if shape[0] * shape[1] > MOST_ENTRIES:
            return lambda spikes: sparse_product(spikes, values, post, column, n_post)
        return _linear(values.new_zeros(shape).index_put((post, column), values, accumulate=True))

    def weights(self):
        import scipy.sparse

        return scipy.sparse.csr_array(
            (numpy_of(self.weight), (numpy_of(self.post, int), numpy_of(self.pre, int))), shape=self.projection.shape
        )


class ConvolutionalProjection(WeightedProjection):
    """weight [C_out, C_in, K, K], one delay."""

    def __init__(self, projection: Projection, dt_ms: float, dtype: torch.dtype) -> None:
        super().__init__(projection, projection.values(), delay_steps(projection.delay_ms, dt_ms), dtype)
        if not isinstance(projection.weights, Convolution):
            raise TypeError(f"weights of '{projection.name}' are a {type(projection.weights).__name__}, not a Convolution")
        self.shape = projection.weights

    def transmits(self) -> list[Transmit]:
        shape, kernel = self.shape, self.si

        def transmit(spikes: Tensor) -> Tensor:
            image = spikes.reshape(-1, kernel.shape[1], shape.height, shape.width)
            return convolution(image, kernel, stride=(shape.stride, shape.stride), padding=(shape.padding, shape.padding)).flatten(1)

        return [transmit]

    def weights(self) -> Convolution:
        return replace(self.shape, kernel=numpy_of(self.weight))


def module_of(projection: Projection, dt_ms: float, dtype: torch.dtype) -> WeightedProjection:
    """The torch module of a projection. Raises ValueError for a convolution with one delay per synapse."""
    if isinstance(projection.weights, Convolution):
        if reason := convolution_reason(projection):
            raise ValueError(reason)
        return ConvolutionalProjection(projection, dt_ms, dtype)
    return (SparseProjection if projection.is_sparse else DenseProjection)(projection, dt_ms, dtype)


def convolution_reason(projection: Projection) -> str:
    """'' or why torch cannot run a convolutional projection."""
    if not isinstance(projection.weights, Convolution) or np.ndim(projection.delay_ms) == 0:
        return ""
    return f"convolution '{projection.name}' has one delay per synapse; give it one delay, or use weights.to_sparse()"


# -- spikes of a source, all steps at once -----------------------------------------------------------------


def arrivals(module: WeightedProjection, spikes: Tensor | Spikes, past: Tensor | None = None) -> Tensor:
    """Increments [T, B, N_post] that `spikes` of all steps cause; those due after the last step are dropped.

    past: spikes of the steps before, [D, B, N_pre]; without them nothing arrives before the first delay is over.
    """
    T, B, n_pre = spikes.shape
    if isinstance(spikes, Spikes):
        # of many spikes a product is faster than adding them up
        if isinstance(module, DenseProjection) and len(spikes) <= CROSSOVER * T * B * n_pre and (past is None or not past.requires_grad):
            events, D = (spikes, 0) if past is None else (_behind(past, spikes), len(past))
            parts = (_event_product(events, d - D, matrix, T) for d, matrix in zip(module.delays, module.matrices(), strict=True))
            return reduce(torch.add, parts).view(T, B, -1)
        spikes = dense(spikes, module.weight)
    parts = []
    for d, transmit in zip(module.delays, module.transmits(), strict=True):
        early = spikes[: max(T - d, 0)]
        if d and past is not None:
            first = len(past) - d
            early = torch.cat([past[first : first + T], early])
        part = transmit(early.reshape(-1, n_pre)).view(len(early), B, module.projection.shape[0])
        parts.append(functional.pad(part, (0, 0, 0, 0, T - len(early), 0)) if len(early) < T else part)
    return reduce(torch.add, parts)


def _behind(past: Tensor, spikes: Spikes) -> Spikes:
    """The events behind those of the steps before; step 0 is the first of these."""
    earlier = np.nonzero(past.detach().cpu().numpy())
    T, B, n_pre = spikes.shape
    rows = (np.concatenate(pair) for pair in zip(earlier, (spikes.step + len(past), spikes.batch, spikes.neuron), strict=True))
    return Spikes(*rows, (len(past) + T, B, n_pre), spikes.dt_ms)


def dense(spikes: Spikes, like: Tensor) -> Tensor:
    """The events as a tensor [T, B, N] with the dtype and device of `like`."""
    out = like.new_zeros(spikes.shape)
    out[tuple(torch.as_tensor(a, device=like.device) for a in (spikes.step, spikes.batch, spikes.neuron))] = 1
    return out


def _event_product(spikes: Spikes, delay: int, matrix: Tensor, T: int) -> Tensor:
    """Events times weights, [T·B, N_post], without a dense input: cost grows with the events, not with T·B·N_pre."""
    _, B, n_pre = spikes.shape
    row, column = (spikes.step + delay) * B + spikes.batch, spikes.neuron
    # two events of one neuron in one step count once, as everywhere
    keep = (row >= 0) & (row < T * B)
    keep[1:] &= (row[1:] != row[:-1]) | (column[1:] != column[:-1])
    row, column = row[keep], column[keep]
    # the same events ordered by presynaptic neuron, for the gradient; 16-bit keys are sorted in linear time
    order = np.argsort(column.astype(np.uint16) if n_pre < 2**16 else column, kind="stable")
    by_step = column, _starts(row, T * B)
    by_neuron = row[order], _starts(column, n_pre)
    return _EventProduct.apply(matrix, *(torch.as_tensor(a, device=matrix.device) for a in (*by_step, *by_neuron)))


class _EventProduct(torch.autograd.Function):
    """A W^T for a 0/1 matrix A given by its events. Forward: for each step and trial the sum of the weights of the
    neurons that fired; backward: for each neuron the sum of the gradients at its spikes. torch's own gradient of
    embedding_bag takes ten times as long on a CPU.
    """

    @staticmethod
    def forward(ctx, matrix, neurons, step_starts, steps, neuron_starts):
        ctx.save_for_backward(steps, neuron_starts)
        return functional.embedding_bag(neurons, matrix.t().contiguous(), step_starts, mode="sum")

    @staticmethod
    def backward(ctx, gradient):
        steps, neuron_starts = ctx.saved_tensors
        return functional.embedding_bag(steps, gradient.contiguous(), neuron_starts, mode="sum").t(), None, None, None, None


def _starts(bag: np.ndarray, bags: int) -> np.ndarray:
    """Where each bag begins once its entries are ordered by bag."""
    counts = np.bincount(bag, minlength=bags)
    return np.cumsum(counts) - counts


def _linear(matrix: Tensor) -> Transmit:
    return lambda spikes: functional.linear(spikes, matrix)


def numpy_of(tensor: Tensor, dtype=np.float64) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(dtype)
