"""The equations of a model as sympy expressions, subexpressions kept by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import sympy

from spiketwin.models.spec import NeuronSpec
from spiketwin.models.units import UNITS, identifiers

DT = sympy.Symbol("dt", positive=True)
NOISE = sympy.Symbol("noise", real=True)  # standard normal, one draw per neuron and step
ACTIVE = sympy.Symbol("active")


# The functions below are named as they are printed; fdiff gives sympy their partial derivatives.


class where(sympy.Function):
    """where(flag, a, b): a where the flag is set, as `active` is unless refractory."""

    def fdiff(self, argindex: int = 1) -> Any:
        one, zero = sympy.Integer(1), sympy.Integer(0)
        return (zero, where(self.args[0], one, zero), where(self.args[0], zero, one))[argindex - 1]


class blend(sympy.Function):
    """blend(flag, s, a, b) = b + s (a - b), where s is 1 if the flag is set and 0 if not: a reset at a spike s."""

    def fdiff(self, argindex: int = 1) -> Any:
        flag, _, a, b = self.args
        one, zero = sympy.Integer(1), sympy.Integer(0)
        return (zero, a - b, where(flag, one, zero), where(flag, zero, one))[argindex - 1]


class relax(sympy.Function):
    """relax(x_inf, x, decay) = x_inf + (x - x_inf) decay."""

    def fdiff(self, argindex: int = 1) -> Any:
        target, x, decay = self.args
        return (1 - decay, decay, x - target)[argindex - 1]


class exp_dd(sympy.Function):
    """Divided difference of exp over its arguments."""


class exprel(sympy.Function):
    """(exp(x) - 1)/x, 1 at 0."""

    def fdiff(self, argindex: int = 1) -> Any:
        return exprel_slope(self.args[0])


class exprel_slope(sympy.Function):
    """The derivative of exprel: (exp(x) (x - 1) + 1)/x², 1/2 at 0."""


class clip(sympy.Function):
    """x limited to low … high; its slope at the ends is that inside, as in torch."""

    def fdiff(self, argindex: int = 1) -> Any:
        x, low, high = self.args
        inside, above = (
            where(sympy.And(x >= low, x <= high), sympy.Integer(1), sympy.Integer(0)),
            where(x > high, sympy.Integer(1), sympy.Integer(0)),
        )
        return (inside, where(x < low, sympy.Integer(1), sympy.Integer(0)), above)[argindex - 1]


class _Extremum(sympy.Function):
    def fdiff(self, argindex: int = 1) -> Any:
        # of two equal values each gets half, as in torch
        mine, other = self.args[argindex - 1], self.args[2 - argindex]
        half = where(sympy.Eq(mine, other), sympy.Rational(1, 2), sympy.Integer(0))
        return where(self.wins(mine, other), sympy.Integer(1), half)


class minimum(_Extremum):
    wins = staticmethod(sympy.StrictLessThan)


class maximum(_Extremum):
    wins = staticmethod(sympy.StrictGreaterThan)


class expm1(sympy.Function):
    def fdiff(self, argindex: int = 1) -> Any:
        return sympy.exp(self.args[0])


class log1p(sympy.Function):
    def fdiff(self, argindex: int = 1) -> Any:
        return 1 / (1 + self.args[0])


class _Steps(sympy.Function):
    def fdiff(self, argindex: int = 1) -> Any:
        return sympy.Integer(0)


class floor(_Steps):
    pass


class ceil(_Steps):
    pass


_FUNCTIONS = {
    "exp": sympy.exp,
    "log": sympy.log,
    "sqrt": sympy.sqrt,
    "sin": sympy.sin,
    "cos": sympy.cos,
    "tan": sympy.tan,
    "sinh": sympy.sinh,
    "cosh": sympy.cosh,
    "tanh": sympy.tanh,
    "arctan": sympy.atan,
    "abs": sympy.Abs,
    "exprel": exprel,
    "clip": clip,
    "minimum": minimum,
    "maximum": maximum,
    "floor": floor,
    "ceil": ceil,
    "expm1": expm1,
    "log1p": log1p,
}


def plus(*terms: sympy.Expr) -> sympy.Expr:
    """A sum that keeps the order in which it is read: x + dt f(x)."""
    return sympy.Add(*(t for t in terms if t != 0), evaluate=False)


def symbol(name: str) -> sympy.Symbol:
    return DT if name == "dt" else sympy.Symbol(name, real=True)


def to_sympy(expression: str, functions: Mapping[str, Any] = MappingProxyType({})) -> sympy.Expr:
    """An expression in Brian2 syntax as sympy; unit names become their SI factor. functions: further ones."""
    names = {n: symbol(n) for n in identifiers(expression)}
    factors = {n: sympy.Float(f) if f != 1 else sympy.Integer(1) for n, (f, _) in UNITS.items()}
    code = compile(expression.strip(), f"<{expression}>", "eval")
    return sympy.sympify(eval(code, {"__builtins__": {}}, {**factors, **_FUNCTIONS, **functions, **names}))  # validated by NeuronSpec


class System:
    """Right-hand sides of a model. States, drives and parameters are symbols.

    rates: state symbol -> expression in which subexpressions appear by name.
    subexpressions: symbol -> expression, in an order in which each needs only earlier ones.
    noise: state symbol -> coefficient of the white noise xi (0 where there is none).
    """

    def __init__(self, spec: NeuronSpec) -> None:
        self.spec = spec
        self.states = [symbol(s) for s in spec.states]
        self.gated = {symbol(s) for s in spec.gated}
        self.drives = [symbol(d) for d in spec.drives]
        self.parameters = {symbol(p) for p in spec.parameters}
        self.subexpressions = self._ordered({symbol(n): to_sympy(e) for n, e in spec.subexpressions.items()})
        xi = symbol("xi")
        full = {symbol(n): to_sympy(e) for n, e in spec.rates.items()}
        self.noise = {x: sympy.diff(f, xi) for x, f in full.items()}
        self.rates = {x: f.subs(xi, 0) if f.has(xi) else f for x, f in full.items()}

    @staticmethod
    def _ordered(pending: dict) -> dict:
        ordered: dict = {}
        pending = dict(pending)
        while pending:
            ready = [n for n, e in pending.items() if not e.free_symbols & pending.keys()]
            if not ready:
                raise ValueError(f"subexpressions {', '.join(map(str, pending))} depend on each other in a circle")
            for name in ready:
                ordered[name] = pending.pop(name)
        return ordered

    def substituted(self, expression: sympy.Expr, only_with: set | None = None) -> sympy.Expr:
        """`expression` with subexpressions written out: all, or those that depend on a symbol of `only_with`."""
        for name, value in reversed(self.subexpressions.items()):
            if expression.has(name) and (only_with is None or self.substituted(value).free_symbols & only_with):
                expression = expression.subs(name, value)
        return expression

    def is_constant(self, expression: sympy.Expr) -> bool:
        """Whether the value never changes during a run: parameters, numbers and dt only."""
        return not expression.free_symbols - self.parameters - {DT}


@lru_cache(maxsize=256)
def system(spec: NeuronSpec) -> System:
    return System(spec)
