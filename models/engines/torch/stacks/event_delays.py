"""Delayed weights as a sum over spikes: cost grows with the spikes, where a convolution over time takes every neuron at every step.

    y_i[t] = sum_j sum_k g_ij[k] x_j[t - k]

Forward and the gradient of g add up rows, one per spike and tap. The gradient of x, where it is wanted, is dense: it is asked for at
silent neurons too.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

# Share of inputs that are not zero up to which adding up rows is faster than the convolution, forward and backward together.
EVENT_DENSITY = 0.1


def delayed_sum(x: Tensor, kernel: Tensor) -> Tensor:
    """x [T, B, N_pre], kernel [N_post, N_pre, K + 1] -> y [T, B, N_post]; by events on a CPU where they are few."""
    if x.device.type == "cpu" and _is_plain(x, kernel) and int(torch.count_nonzero(x)) <= EVENT_DENSITY * x.numel():
        return _EventSum.apply(x, kernel)
    return _dense(x, kernel)


def _is_plain(x: Tensor, kernel: Tensor) -> bool:
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor
    return x.dtype == kernel.dtype and not (wrapped(x) or wrapped(kernel)) and not torch.is_autocast_enabled("cpu")


def _dense(x: Tensor, kernel: Tensor) -> Tensor:
    past = functional.pad(x.permute(1, 2, 0), (kernel.shape[2] - 1, 0))
    return functional.conv1d(past, kernel.flip(-1)).permute(2, 0, 1)


class _EventSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, kernel):
        (T, B, _), n_post = x.shape, len(kernel)
        step, trial, neuron = x.nonzero(as_tuple=True)
        row, value = step * B + trial, x[step, trial, neuron]
        starts = _starts(row, T * B)
        y = x.new_zeros(T, B, n_post)
        for k, table in enumerate(kernel.permute(2, 1, 0).contiguous()[:T]):
            # what is due after the last step is lost
            rows = (T - k) * B
            until = int(starts[rows]) if rows < T * B else len(row)
            part = functional.embedding_bag(neuron[:until], table, starts[:rows], mode="sum", per_sample_weights=value[:until])
            y[k:] += part.view(T - k, B, n_post)
        ctx.save_for_backward(row, neuron, value, kernel)
        ctx.shape = x.shape
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        row, neuron, value, kernel = ctx.saved_tensors
        (_, B, n_pre), taps = ctx.shape, kernel.shape[2]
        late = functional.pad(gradient, (0, 0, 0, 0, 0, taps - 1))  # nothing after the last step
        of_x = of_kernel = None
        if ctx.needs_input_grad[0]:
            of_x = functional.conv1d(late.permute(1, 2, 0), kernel.permute(1, 0, 2)).permute(2, 0, 1)
        if ctx.needs_input_grad[1]:
            order = torch.argsort(neuron, stable=True)
            rows, values, starts = row[order], value[order], _starts(neuron, n_pre)
            table = late.flatten(0, 1)
            sums = (functional.embedding_bag(rows + k * B, table, starts, mode="sum", per_sample_weights=values) for k in range(taps))
            of_kernel = torch.stack(list(sums), dim=-1).permute(1, 0, 2)
        return of_x, of_kernel


def _starts(bag: Tensor, bags: int) -> Tensor:
    """Where each bag begins once its entries are ordered by bag."""
    counts = torch.bincount(bag, minlength=bags)
    return counts.cumsum(0) - counts
