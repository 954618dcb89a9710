"""Surrogate gradients: a spike is a step forward and a bump backward.

    forward   S = 1 where the membrane is beyond threshold, else 0
    backward  dS/dx = h(x),   x = distance to threshold, in units of the model's spike_scale

A surrogate is its h: `surrogate(h)` makes a differentiable spike function of it, so a new one is

    spike = surrogate("1/(1 + abs(x))")

An expression of x is compiled into the training kernels. A function of a tensor does as well, where h cannot be
written so; the kernels then leave h to torch.

Source: Zenke & Ganguli 2018, SuperSpike, eq. 7 (fast sigmoid); Neftci, Mostafa & Zenke 2019, Surrogate gradient learning in SNNs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from spiketwin.models.discretisation.functions import torch_functions
from spiketwin.models.discretisation.printing import code
from spiketwin.models.discretisation.symbols import to_sympy
from spiketwin.models.units import FUNCTIONS, identifiers


class _Spike(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x, spiked, derivative):
        return (x > 0 if spiked is None else spiked).to(x.dtype)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, _, ctx.derivative = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * ctx.derivative(x), None, None


class Surrogate:
    """spike(x, spiked=None) -> 0 or 1 in the dtype and shape of x, with `derivative(x)` as its gradient.

    Without `spiked` a spike is x > 0; the engine gives `spiked` (bool), because there the model's own comparison
    (> or >=) decides.  expression: the derivative as text in x, '' where it is a function.
    """

    def __init__(self, derivative: Callable[[Tensor], Tensor], expression: str = "") -> None:
        self.derivative, self.expression = derivative, expression

    def __call__(self, x: Tensor, spiked: Tensor | None = None) -> Tensor:
        return _Spike.apply(x, spiked, self.derivative)

    def __repr__(self) -> str:
        return f"surrogate({self.expression!r})" if self.expression else f"surrogate({self.derivative!r})"


def surrogate(derivative: str | Callable[[Tensor], Tensor]) -> Surrogate:
    """A spike function whose gradient is `derivative`: an expression of x in Brian2's syntax, or a function of a tensor.

    Raises ValueError for an expression that does not parse or has other names than x.
    """
    if not isinstance(derivative, str):
        return Surrogate(derivative)
    try:
        names = identifiers(derivative) - set(FUNCTIONS)
    except SyntaxError as error:
        raise ValueError(
            f"the surrogate's derivative '{derivative}' is not an expression ({error.msg}); write e.g. '1/(1 + abs(x))**2'"
        ) from None
    if names - {"x"}:
        raise ValueError(f"the surrogate's derivative '{derivative}' mentions '{sorted(names - {'x'})[0]}'; it may depend on x only")
    compiled = compile(code(to_sympy(derivative), "torch"), f"<{derivative}>", "eval")

    def evaluate(x: Tensor) -> Tensor:
        value = eval(compiled, {"__builtins__": {}}, {**torch_functions(), "x": x})  # parsed and printed by us
        return value if torch.is_tensor(value) else torch.full_like(x, float(value))

    return Surrogate(evaluate, derivative)


def fast_sigmoid(scale: float = 100.0) -> Surrogate:
    """h = 1/(scale |x| + 1)², the derivative of x/(1 + scale |x|)."""
    scale = _positive(scale, "scale")
    return surrogate(f"1/({scale!r}*abs(x) + 1)**2")


def sigmoid(scale: float = 10.0) -> Surrogate:
    """h = scale σ(scale x) σ(-scale x), the derivative of the logistic function: an area of 1, a peak of scale/4."""
    scale = _positive(scale, "scale")
    return surrogate(f"{scale!r}*exp(-{scale!r}*abs(x))/(1 + exp(-{scale!r}*abs(x)))**2")


def arctan(scale: float = 2.0) -> Surrogate:
    """h = (scale/2)/(1 + (π scale x/2)²), the derivative of arctan(π scale x/2)/π: an area of 1 (Fang et al. 2021)."""
    scale = _positive(scale, "scale")
    return surrogate(f"{scale / 2!r}/(({math.pi / 2 * scale!r}*x)**2 + 1)")


def gaussian(width: float = 0.4) -> Surrogate:
    """h = the normal density of standard deviation `width`: an area of 1 (Yin et al. 2021)."""
    width = _positive(width, "width")
    return surrogate(f"{1 / (width * math.sqrt(2 * math.pi))!r}*exp(-0.5*(x/{width!r})**2)")


def triangle(width: float = 1.0) -> Surrogate:
    """h = max(0, 1 - |x|/width)/width: an area of 1, and no gradient beyond `width` (Esser et al. 2016; Bellec et al. 2018)."""
    width = _positive(width, "width")
    return surrogate(f"(1 - abs(x)/{width!r} + abs(1 - abs(x)/{width!r}))/{2 * width!r}")


def straight_through() -> Surrogate:
    """h = 1 everywhere: the gradient passes as if there were no threshold (Bengio et al. 2013)."""
    return surrogate("1")


SURROGATES: dict[str, Callable[..., Surrogate]] = {
    "fast_sigmoid": fast_sigmoid,
    "sigmoid": sigmoid,
    "arctan": arctan,
    "gaussian": gaussian,
    "triangle": triangle,
    "straight_through": straight_through,
}


def _positive(value: float, name: str) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} = {value} of a surrogate gradient must be positive and finite, e.g. {name} = 1")
    return float(value)
