"""Any torch module, applied to every step of [T, B, …].

    stage = OverTime(nn.Sequential(nn.Conv2d(12, 64, 5), nn.MaxPool2d(2)))
    currents = stage(spikes)    # [T, B, 12, 12, 12] -> [T, B, 64, 4, 4]
    print(stage.plan())         # what was done, and why

What is the same at every step is computed once: an image shown for 50 steps costs one convolution. A convolution with a
mean pooling behind it is one convolution (kernels/mean_pooling.py). A convolution whose input is nearly all zero adds up the weights
of its spikes (kernels/event_convolution.py). Everything else gets as many steps per call as stay in the cache (kernels/chunks.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from spiketwin.models.engines.torch.kernels.chunks import rows_per_call
from spiketwin.models.engines.torch.kernels.event_convolution import density, event_convolution, refusal
from spiketwin.models.engines.torch.kernels.mean_pooling import mean_pooled, mean_side


class OverTime(nn.Module):
    """A module for one step, [B, …] -> [B, …], as a module for all steps, [T, B, …] -> [T, B, …].

    Equal to calling it step by step. chunk: steps per call; None: as many as stay in the cache.
    event_density: share of inputs that are not zero up to which a convolution is event-driven; 0: never, 1: always, None: where
    that was measured to be faster (kernels/event_convolution.py).
    autocast: torch.bfloat16 to run the module in that precision (both directions, products added up in float32). It
    needs half the memory traffic, and a CPU with bf16 units; inputs of 0 and 1 are exact, but weights and gradients are rounded
    to 8 bits: gradients then differ by a few per cent, and spikes near threshold flip. Off by default.
    """

    def __init__(
        self, module: nn.Module, *, chunk: int | None = None, event_density: float | None = None, autocast: torch.dtype | None = None
    ) -> None:
        super().__init__()
        if chunk is not None and chunk < 1:
            raise ValueError(f"chunk = {chunk} steps per call must be at least 1, or None to let the cache decide")
        if event_density is not None and not 0 <= event_density <= 1:
            raise ValueError(f"event_density = {event_density} is a share of the inputs; give a value from 0 to 1")
        self.module, self.chunk, self.event_density, self.autocast = module, chunk, event_density, autocast
        self._plan = ["not run yet"]

    def forward(self, x: Tensor) -> Tensor:
        """x: [T, B, …]. A tensor that does not change over time (T = 1, or expanded along it) is worked on once; the result
        then is such a tensor, too. Raises ValueError for fewer than two dimensions or no steps."""
        self._plan = []
        return over_time(self.module, x, chunk=self.chunk, event_density=self.event_density, autocast=self.autocast, note=self._plan.append)

    def plan(self) -> str:
        """What the last call did and why, a line per part."""
        return "\n".join(self._plan)

    def extra_repr(self) -> str:
        return (
            f"chunk={self.chunk or 'by cache'}, event_density={'as measured' if self.event_density is None else self.event_density}"
            + f", autocast={self.autocast}" * bool(self.autocast)
        )


def over_time(
    module: nn.Module,
    x: Tensor,
    *,
    chunk: int | None = None,
    event_density: float | None = None,
    autocast: torch.dtype | None = None,
    note: Callable[[str], object] = lambda line: None,
) -> Tensor:
    """`module` at every step of x [T, B, …]; the rest as in OverTime. note: is told what is done, a line per part."""
    if x.ndim < 2 or not len(x):
        raise ValueError(f"x is [T, B, …] with at least one step; got shape {tuple(x.shape)}")
    T, B = x.shape[:2]
    if T > 1 and x.stride(0) == 0:
        note(f"the same input at all {T} steps: computed once")
        once = over_time(
            module, x.detach()[:1] if not x.requires_grad else x[:1], event_density=event_density, autocast=autocast, note=note
        )
        return once.expand(T, *once.shape[1:])
    module = _merged(module, note)
    convolution, pool, others = _leading_convolution(module)
    if convolution is not None and not (reason := _refusal(convolution, pool, x, autocast, event_density)):
        images, how = x.flatten(0, 1), dict(stride=convolution.stride, padding=convolution.padding, pool=pool)
        note(f"{convolution}{' and max pooling' if pool > 1 else ''}: event-driven, {density(images):.1%} of the inputs are not 0")
        y = event_convolution(images, convolution.weight, convolution.bias, **how).unflatten(0, (T, B))
        return over_time(others, y, chunk=chunk, event_density=event_density, autocast=autocast, note=note) if len(others) else y
    if convolution is None:
        reason = "it does not begin with a convolution"
    y, steps = _dense(module, x, chunk, autocast)
    note(f"{module}: dense, {steps} steps per call; {reason}")
    return y


def _merged(module: nn.Module, note: Callable[[str], object]) -> nn.Module:
    """The module with one convolution in place of each convolution and the mean pooling right behind it."""
    parts = list(_flat(module))
    for k in range(len(parts) - 2, -1, -1):
        convolution, pool = parts[k : k + 2]
        if not (_has_hooks(convolution) or _has_hooks(pool)) and (side := mean_side(convolution, pool)):
            parts[k : k + 2] = [mean_pooled(convolution, side)]
            note(f"{convolution} and mean pooling: one convolution of {' × '.join(map(str, parts[k].kernel_size))} with stride {side}")
            module = nn.Sequential(*parts)
    return module


def _leading_convolution(module: nn.Module) -> tuple[nn.Conv2d | None, int, nn.Sequential]:
    """The convolution that the module begins with, the side of a max pooling right behind it (1: none), and what follows."""
    parts = list(_flat(module))
    if not parts or type(parts[0]) is not nn.Conv2d or _has_hooks(parts[0]):
        return None, 1, nn.Sequential(*parts)
    pool = _side(parts[1]) if len(parts) > 1 else 1
    return parts[0], pool, nn.Sequential(*parts[2 if pool > 1 else 1 :])


def _flat(module: nn.Module) -> Iterator[nn.Module]:
    if type(module) is nn.Sequential and not _has_hooks(module):
        for part in module:
            yield from _flat(part)
    else:
        yield module


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks)


def _side(module: nn.Module) -> int:
    """k of a max pooling of k × k windows side by side; 1 for any other module."""
    if type(module) is not nn.MaxPool2d or _has_hooks(module) or module.ceil_mode or module.return_indices:
        return 1
    sizes = {*_pair(module.kernel_size), *_pair(module.stride)}
    plain = len(sizes) == 1 and set(_pair(module.padding)) == {0} and set(_pair(module.dilation)) == {1}
    side = sizes.pop()
    return side if plain and side <= 16 else 1


def _pair(value) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _refusal(convolution: nn.Conv2d, pool: int, x: Tensor, autocast: torch.dtype | None, event_density: float | None) -> str:
    """'' or why this convolution cannot be event-driven."""
    if autocast:
        return f"{autocast} was asked for"
    if x.ndim != 5 or x.shape[2] != convolution.in_channels:
        return "the input is no image of that many channels"
    if (
        convolution.groups != 1
        or set(convolution.dilation) != {1}
        or convolution.padding_mode != "zeros"
        or isinstance(convolution.padding, str)
    ):
        return "groups, dilation, padding modes and padding by name have no kernel"
    return refusal(x.flatten(0, 1), convolution.weight, pool=pool, event_density=event_density)


def _dense(module: nn.Module, x: Tensor, chunk: int | None, autocast: torch.dtype | None) -> tuple[Tensor, int]:
    """The module in calls of `chunk` steps, and how many those were."""
    T = len(x)
    if any(isinstance(m, _BatchNorm) and m.training for m in module.modules()):
        chunk = 1  # statistics of a batch are those of one step
    if chunk is None and not any(isinstance(m, nn.Conv2d) for m in module.modules()) and len(_innermost(module)) <= 1:
        chunk = T  # reads and writes everything once: nothing to keep in the cache
    if chunk is not None and chunk >= T:
        return _call(module, x, autocast), T
    # one split, not slices: the gradient of each slice would be a tensor of all steps
    if chunk is not None:
        return torch.cat([_call(module, part, autocast) for part in x.split(chunk)]), chunk
    first, rest = x.split([1, T - 1])
    with _counted(module) as sizes:
        results = [_call(module, first, autocast)]
        chunk = rows_per_call(x[0].nbytes + sum(sizes), T, x.device)
    results += [_call(module, part, autocast) for part in rest.split(chunk) if len(part)]
    return torch.cat(results), chunk


def _call(module: nn.Module, x: Tensor, autocast: torch.dtype | None) -> Tensor:
    rows = x.flatten(0, 1)
    if rows.ndim == 4 and rows.shape[1] > 1 and any(isinstance(m, nn.Conv2d) for m in module.modules()):
        rows = rows.contiguous(memory_format=torch.channels_last)
    if autocast is None:
        y = module(rows)
    else:
        with torch.autocast(x.device.type, dtype=autocast):
            y = module(rows)
        y = y.to(x.dtype)
    return y.contiguous().unflatten(0, x.shape[:2])


def _innermost(module: nn.Module) -> list[nn.Module]:
    """The parts that do the work, views left out."""
    return [m for m in module.modules() if not any(m.children()) and not isinstance(m, nn.Flatten | nn.Identity)]


@contextmanager
def _counted(module: nn.Module) -> Iterator[list[int]]:
    """A list that gets the bytes of what each innermost part of the module returns."""
    sizes: list[int] = []
    hooks = [m.register_forward_hook(lambda _m, _i, out: sizes.append(getattr(out, "nbytes", 0))) for m in _innermost(module)]
    try:
        yield sizes
    finally:
        for hook in hooks:
            hook.remove()
