"""The step with a bump for a gradient, and its smooth form.

    step      S(x) = 1 where x > 0, else 0          what the network computes
    bump      h(x)                                  what its gradient takes dS/dx for
    smooth    an integral of h; here 1/2 + ∫ h from 0 to x   the step whose true derivative is h

Source: Neftci, Mostafa & Zenke 2019, Surrogate gradient learning in SNNs, box 1 and figure 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from spiketwin.models.discretisation.functions import torch_functions
from spiketwin.models.discretisation.printing import code
from spiketwin.models.discretisation.symbols import symbol, to_sympy
from spiketwin.models.spec import unknown
from spiketwin.models.units import FUNCTIONS, identifiers

Curve = Callable[[Tensor], Tensor]


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

    def __init__(self, derivative: Curve, expression: str = "", smooth: Curve | None = None) -> None:
        self.derivative, self.expression, self._smooth = derivative, expression, smooth

    def __call__(self, x: Tensor, spiked: Tensor | None = None) -> Tensor:
        return _Spike.apply(x, spiked, self.derivative)

    @property
    def is_smooth(self) -> bool:
        """Whether the integral of the derivative is known, so that `smooth` can be called."""
        return self._smooth is not None

    def smooth(self, x: Tensor) -> Tensor:
        """The smooth step of which the derivative is the slope, in the dtype and shape of x.

        In its place in a network, gradients are exact derivatives, and finite differences find them.
        Raises ValueError where the integral was not given.
        """
        if self._smooth is None:
            raise ValueError(f"{self!r} has no smooth form; give the integral of its derivative, surrogate(…, smooth='x/(1 + abs(x))')")
        return self._smooth(x)

    def __repr__(self) -> str:
        return f"surrogate({self.expression!r})" if self.expression else f"surrogate({self.derivative!r})"


def surrogate(derivative: str | Curve, smooth: str | Curve | None = None) -> Surrogate:
    """A spike function whose gradient is `derivative`: an expression of x in Brian2's syntax, or a function of a tensor.

    smooth: an integral of the derivative, for figures and for `Surrogate.smooth`; the kernels do not need it.
    Raises ValueError for an expression that does not parse, has other names than x or is no formula, and for what is neither
    an expression nor a function.
    """
    form = None if smooth is None else curve(smooth, "smooth form")
    return Surrogate(curve(derivative, "derivative"), derivative if isinstance(derivative, str) else "", form)


def curve(expression: str | Curve, what: str) -> Curve:
    """An expression of x as a function of a tensor; a function as it is. Raises ValueError, which names `what` it was to be."""
    if callable(expression):
        return expression
    if not isinstance(expression, str):
        raise ValueError(f"the surrogate's {what} {expression!r} is neither text nor a function; write e.g. '1/(1 + abs(x))**2'")
    try:
        names = identifiers(expression) - set(FUNCTIONS)
    except SyntaxError as error:
        raise ValueError(
            f"the surrogate's {what} '{expression}' is not an expression ({error.msg}); write e.g. '1/(1 + abs(x))**2'"
        ) from None
    if names - {"x"}:
        raise ValueError(f"the surrogate's {what} '{expression}' mentions '{sorted(names - {'x'})[0]}'; it may depend on x only")
    try:
        formula = to_sympy(expression)
        if formula.free_symbols - {symbol("x")}:
            raise TypeError("it holds text")
        compiled = compile(code(formula, "torch"), f"<{expression}>", "eval")
    except NameError as error:
        known = sorted(set(torch_functions()) & FUNCTIONS - {"int"})
        raise ValueError(f"the surrogate's {what}: " + unknown(str(error.name), "function", expression, known)) from None
    except (TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise ValueError(
            f"the surrogate's {what} '{expression}' is no formula of x ({error}); use + - * / **, abs, minimum, maximum, exp, …"
        ) from None

    def evaluate(x: Tensor) -> Tensor:
        value = eval(compiled, {"__builtins__": {}}, {**torch_functions(), "x": x})  # parsed and printed by us
        return value if torch.is_tensor(value) else torch.full_like(x, float(value))

    return evaluate


def positive(value: float, name: str) -> float:
    """`value` as a float. Raises ValueError where it is not positive and finite."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} = {value} of a surrogate gradient must be positive and finite, e.g. {name} = 1")
    return float(value)
