"""Spikes times sparse weights, with gradients, where the matrix with its zeros would not fit: memory grows with synapses and spikes."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 1 << 24  # synapses times rows whose gradients are held at once


def csr(post: Tensor, pre: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """The matrix [N_post, N_pre] with `values` at (post, pre), in any order, as sparse CSR."""
    order = torch.argsort(post * shape[1] + pre)
    start = torch.zeros(shape[0] + 1, dtype=torch.int64, device=values.device)
    start[1:] = torch.bincount(post, minlength=shape[0]).cumsum(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(start, pre[order], values[order], shape, check_invariants=False)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, spikes: Tensor, values: Tensor, post: Tensor, pre: Tensor, n_post: int) -> Tensor:
        ctx.save_for_backward(spikes, values, post, pre)
        return (csr(post, pre, values, (n_post, spikes.shape[1])) @ spikes.t().contiguous()).t()

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients: Tensor):
        (gradient,) = gradients
        spikes, values, post, pre = ctx.saved_tensors
        of_spikes = of_values = None
        if ctx.needs_input_grad[0]:
            of_spikes = (csr(pre, post, values, (spikes.shape[1], gradient.shape[1])) @ gradient.t().contiguous()).t()
        if ctx.needs_input_grad[1]:
            rows = max(CHUNK // max(len(values), 1), 1)
            of_values = torch.zeros_like(values)
            for some, sent in zip(gradient.split(rows), spikes.split(rows), strict=True):
                of_values += (some[:, post] * sent[:, pre]).sum(0)
        return of_spikes, of_values, None, None, None


def sparse_product(spikes: Tensor, values: Tensor, post: Tensor, pre: Tensor, n_post: int) -> Tensor:
    """Increments [M, n_post] of spikes [M, n_pre] through synapses from pre to post [S] with `values` [S]; differentiable once in both."""
    return _Product.apply(spikes, values, post, pre, n_post)
