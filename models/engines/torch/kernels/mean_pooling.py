"""A convolution and the mean pooling behind it as one convolution.

The mean of k × k neighbouring outputs is the output of the mean of k × k shifted kernels: of a kernel of K + k - 1, moved by k.

    multiplications per pooled place and channel    k² K² as two operations    (K + k - 1)² as one

so 36 instead of 100 for 5 × 5 and 2 × 2, and what the pooling would read is never written.
"""

from __future__ import annotations

from copy import copy
from typing import TypeGuard

from torch import nn
from torch.nn import functional


def mean_side(convolution: nn.Module, pool: nn.Module) -> int:
    """k where `pool` is the mean of k × k windows side by side, and `convolution` one that can take it in; else 0."""
    if not _is_plain(convolution) or type(pool) is not nn.AvgPool2d or pool.ceil_mode or pool.divisor_override:
        return 0
    sizes = {*_pair(pool.kernel_size), *_pair(pool.stride)}
    return sizes.pop() if len(sizes) == 1 and set(_pair(pool.padding)) == {0} else 0


def mean_pooled(convolution: nn.Conv2d, side: int) -> nn.Conv2d:
    """A convolution with the result of `convolution` and then a mean pooling of side × side; gradients reach its weight and bias.

    Sums are in another order, so results agree to rounding.
    """
    made = copy(convolution)
    shifted = functional.pad(convolution.weight, (side - 1,) * 4)
    made._parameters = {"bias": convolution.bias}
    made.weight = functional.avg_pool2d(shifted, side, stride=1)  # no parameter: a function of one
    made.kernel_size, made.stride = tuple(made.weight.shape[2:]), (side, side)
    return made


def _is_plain(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        type(module) is nn.Conv2d
        and {*module.stride, *module.dilation} == {1}
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def _pair(value) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)
