"""What runs between the neuron layers of a stack, while it is written down as a network.

A Signal is a sum: of branches, each the spikes of one population through a chain of layers without time; of what the input of a stack
that takes numbers becomes on its way; and of a constant, which biases add up to. Layers act on all of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from spiketwin.models.engines.torch.stacks.delays import DelayedLinear
from spiketwin.models.engines.torch.stacks.norm import NormOverTime, NormThroughTime
from spiketwin.models.network import Convolution
from spiketwin.models.stacks.layers import Shape

SUMS = (nn.Conv2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Linear, nn.Flatten, NormOverTime, NormThroughTime, DelayedLinear)
KEEPING = (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, NormOverTime)  # what a gain of each channel may pass
OVER_TIME = (NormOverTime, NormThroughTime, DelayedLinear)  # modules that take [T, B, …]
SPARSE = 0.25  # share of weights that are not zero up to which a matrix is stored as sparse
ROWS = 1024  # neurons whose weights are found together


@dataclass(frozen=True, eq=False)
class Branch:
    """Spikes of `source`, whose neurons have `shape`, through modules without biases; then times a gain of each step [T, …], if any."""

    source: str
    shape: Shape
    modules: tuple[nn.Module, ...] = ()
    gain: Tensor | None = None

    def through(self, name: str, module: nn.Module) -> Branch:
        """Raises ValueError, which calls the module `name`, where a gain of each step has made weights of each step."""
        if isinstance(module, NormThroughTime):
            factor = module.weight / torch.sqrt(module.running_var + module.eps)  # [T, C]
            places = apply(self.modules, torch.zeros(1, *self.shape, dtype=torch.float64)).shape[2:]
            factor = factor.detach().view(*factor.shape, *[1] * len(places)).expand(*factor.shape, *places)
            return replace(self, gain=factor if self.gain is None else factor * self.gain)
        if self.gain is None:
            return replace(self, modules=(*self.modules, module))
        if not isinstance(module, KEEPING):
            raise ValueError(
                f"'{name}', a {type(module).__name__}, stands behind a NormThroughTime, whose gain of each step would make weights of each "
                "step; put neurons, N, between, or train with norm=NormOverTime"
            )
        gain = self.gain if isinstance(module, NormOverTime) else apply((module,), self.gain)
        return replace(self, modules=(*self.modules, module), gain=gain)


@dataclass(frozen=True, eq=False)
class Signal:
    """branches: see Branch.  analog: the modules that the stack's input of numbers has passed; None where there is none of it.
    constant: [1 or T, shape], before the maximum is taken over windows of `window` × `window` places; 1: it is not."""

    branches: tuple[Branch, ...]
    analog: tuple[nn.Module, ...] | None
    constant: Tensor
    window: int = 1

    @classmethod
    def of_spikes(cls, source: str, shape: Shape) -> Signal:
        return cls((Branch(source, shape),), None, torch.zeros(1, *shape, dtype=torch.float64))

    @classmethod
    def of_input(cls, shape: Shape) -> Signal:
        return cls((), (), torch.zeros(1, *shape, dtype=torch.float64))

    def through(self, name: str, module: nn.Module) -> Signal:
        """The signal behind a module. Raises ValueError, which calls it `name`, where that is no such sum."""
        if self.window > 1:
            if isinstance(module, nn.Flatten):
                return self
            if not isinstance(module, NormOverTime):
                raise ValueError(f"'{name}', a {type(module).__name__}, stands behind a maximum pooling, where only neurons and a norm can")
            if not (_scale(module) > 0).all():
                raise ValueError(
                    f"'{name}', a NormOverTime behind a maximum pooling, turns the sign of a channel, whose maximum becomes a minimum; "
                    "write C5-BN-MP2"
                )
            # max(g x + b) = g max(x) + b for g > 0: the norm of what is pooled
        if not self.branches:
            # of numbers alone: whatever it is, it is computed
            return replace(self, analog=(*(self.analog or ()), module), constant=torch.zeros_like(apply((module,), self.constant)))
        if isinstance(module, nn.MaxPool2d):
            return self._pooled(name, module)
        if not isinstance(module, SUMS):
            raise ValueError(f"'{name}', a {type(module).__name__}, is no sum of weighted spikes and has no projection")
        plain = _without_bias(module)
        return replace(
            self,
            branches=tuple(b.through(name, plain) for b in self.branches),
            analog=None if self.analog is None else (*self.analog, plain),
            constant=apply((module,), self._for(module)),
        )

    def _for(self, module: nn.Module) -> Tensor:
        """The constant at as many steps as a module tells apart."""
        return self.constant.expand(module.steps, *self.constant.shape[1:]) if isinstance(module, NormThroughTime) else self.constant

    def _pooled(self, name: str, module: nn.MaxPool2d) -> Signal:
        size = module.kernel_size if isinstance(module.kernel_size, int) else module.kernel_size[0]
        if not any(b.modules for b in self.branches):
            raise ValueError(
                f"'{name}', a MaxPool2d, pools spikes, not currents; put neurons behind it, as in C5-MP{size}-N, or pool the mean (AP{size})"
            )
        if any(b.gain is not None for b in self.branches):
            raise ValueError(
                f"'{name}', a MaxPool2d, stands behind a NormThroughTime, which has a gain for each step; pool the mean (AP{size})"
            )
        if self.analog is not None or not torch.equal(module(self.constant), -module(-self.constant)):
            raise ValueError(
                f"'{name}', a MaxPool2d, pools more than weighted spikes and a bias that is equal within windows; pool the mean (AP{size})"
            )
        return replace(self, window=size)

    def plus(self, other: Signal) -> Signal:
        """The sum of two. Raises ValueError where maxima would be added."""
        if 1 < max(self.window, other.window):
            raise ValueError("maxima of a pooling are added to something else; put neurons behind the pooling")
        analog = [s.analog for s in (self, other) if s.analog is not None]
        if len(analog) > 1:
            both = Sum(*analog)
            return Signal((*self.branches, *other.branches), (both,), self.constant + other.constant)
        return Signal((*self.branches, *other.branches), analog[0] if analog else None, self.constant + other.constant)

    def places(self) -> Iterator[np.ndarray]:
        """For each place of the window: where the members of all windows lie in the flattened signal, [N of the pooled]."""
        _, channels, height, width = self.constant.shape
        index, k = np.arange(channels * height * width).reshape(channels, height, width), self.window
        for row in range(k):
            for column in range(k):
                yield index[:, row : height // k * k : k, column : width // k * k : k].ravel()

    @property
    def pooled_constant(self) -> Tensor:
        """The constant as neurons receive it."""
        return self.constant if self.window == 1 else nn.functional.max_pool2d(self.constant, self.window)


class Sum(nn.Module):
    """The sum of what two chains make of the same input [T, B, …]."""

    def __init__(self, first: tuple[nn.Module, ...], second: tuple[nn.Module, ...]) -> None:
        super().__init__()
        self.chains = (first, second)

    def forward(self, x: Tensor) -> Tensor:
        return _run(self.chains[0], x) + _run(self.chains[1], x)


@dataclass(frozen=True, eq=False)
class Front:
    """What stands between the stack's input, or nothing, and the current into a population.

    analog, constant: as in Signal.  per_increment: current per increment of a step.  late: whether it flows in the step after.
    """

    analog: tuple[nn.Module, ...] | None
    constant: Tensor
    per_increment: np.ndarray
    late: bool

    @torch.no_grad()
    def current(self, x: Tensor, steps: int) -> np.ndarray:
        """Of an input x [1 or T, B, …], that of each step: [T, B, N], or [T, 1, N] where the input has no part in it."""
        arrives = self.constant[:steps, None]
        if self.analog is not None:
            if any(isinstance(m, DelayedLinear | NormThroughTime) for m in self.analog):
                x = x.expand(steps, *x.shape[1:])
            arrives = _run(self.analog, x) + arrives
        flows = arrives.flatten(2).numpy() * self.per_increment
        return np.broadcast_to(flows, (steps, *flows.shape[1:]))


def apply(modules: tuple[nn.Module, ...], x: Tensor) -> Tensor:
    """Of one trial, [1 or T, shape], through modules."""
    with torch.no_grad():
        return _run(modules, x[:, None])[:, 0]


def _run(modules: tuple[nn.Module, ...], x: Tensor) -> Tensor:
    """[T, B, …] through modules for one step, and for all."""
    for module in modules:
        x = module(x) if isinstance(module, (*OVER_TIME, Sum)) else module(x.flatten(0, 1)).unflatten(0, x.shape[:2])
    return x


def _without_bias(module: nn.Module) -> nn.Module:
    """The linear part of an affine module."""
    plain = deepcopy(module)
    with torch.no_grad():
        for part in plain.modules():
            for name in ("bias", "running_mean"):
                if isinstance(getattr(part, name, None), Tensor):
                    getattr(part, name).zero_()
    return plain


@torch.no_grad()
def weights_of(branch: Branch):
    """Weights [N_post, N_pre] of a branch: a Convolution where it is one, else a matrix, sparse where few are not zero."""
    import scipy.sparse

    work = [m for m in branch.modules if not isinstance(m, nn.Flatten)]
    if work and isinstance(work[0], nn.Conv2d) and all(isinstance(m, NormOverTime) for m in work[1:]):
        kernel = work[0].weight
        for norm in work[1:]:
            kernel = kernel * _scale(norm)[:, None, None, None]
        return Convolution(kernel.numpy(), *branch.shape[1:], stride=work[0].stride[0], padding=int(work[0].padding[0]))
    if len(work) == 1 and isinstance(work[0], nn.Linear):
        return _stored(work[0].weight.numpy())
    size, rows = prod(branch.shape), []
    for first in range(0, size, ROWS):
        one_each = torch.zeros(min(ROWS, size - first), size, dtype=torch.float64)
        one_each[torch.arange(len(one_each)), first + torch.arange(len(one_each))] = 1
        found = _run(branch.modules, one_each.view(1, -1, *branch.shape)).flatten(2)[0]
        rows.append(scipy.sparse.csr_array(found.numpy()))
    return _stored(scipy.sparse.csr_array(scipy.sparse.vstack(rows).T))


def _stored(weights):
    """As a dense array or a sparse matrix, whichever suits it."""
    import scipy.sparse

    share = (weights.nnz if scipy.sparse.issparse(weights) else np.count_nonzero(weights)) / prod(weights.shape)
    if share < SPARSE:
        return scipy.sparse.csr_array(weights)
    return weights.toarray() if scipy.sparse.issparse(weights) else weights


def _scale(norm: NormOverTime) -> Tensor:
    """What the norm multiplies each channel with."""
    inner = norm.norm
    assert inner.running_var is not None
    return norm.scale * inner.weight / torch.sqrt(inner.running_var + inner.eps)
