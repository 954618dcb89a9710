"""Physical units without a unit library: a name becomes a factor to SI and a dimension.

Declarations must validate without importing Brian2, so the few units that neurons need are listed
here, spelled as Brian2 spells them. Engines compute in SI; units live at the boundary.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from numbers import Integral
from typing import NamedTuple

PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "c": 1e-2, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12}


class Dimension(NamedTuple):
    """Exponents of metre, kilogram, second and ampere."""

    metre: Fraction = Fraction(0)
    kilogram: Fraction = Fraction(0)
    second: Fraction = Fraction(0)
    ampere: Fraction = Fraction(0)

    def times(self, other: Dimension) -> Dimension:
        return Dimension(*(a + b for a, b in zip(self, other, strict=True)))

    def power(self, exponent: Fraction | int) -> Dimension:
        return Dimension(*(a * exponent for a in self))

    def __str__(self) -> str:
        """The SI unit as Brian2 reads it: 'volt', 'amp/metre**2', 'metre*second**-1'."""
        for name, dimension in BASE.items():
            if dimension == self:
                return name
        for name in COMPOUND:
            if unit(name)[1] == self:
                return name
        names = ("metre", "kilogram", "second", "amp")
        return "*".join(
            n if e == 1 else f"{n}**{e}" if e.denominator == 1 else f"{n}**{float(e)}" for n, e in zip(names, self, strict=True) if e
        )


def _dimension(m: int, kg: int, s: int, a: int) -> Dimension:
    return Dimension(Fraction(m), Fraction(kg), Fraction(s), Fraction(a))


DIMENSIONLESS = Dimension()
BASE = {
    "1": DIMENSIONLESS,
    "second": _dimension(0, 0, 1, 0),
    "volt": _dimension(2, 1, -3, -1),
    "amp": _dimension(0, 0, 0, 1),
    "ohm": _dimension(2, 1, -3, -2),
    "siemens": _dimension(-2, -1, 3, 2),
    "farad": _dimension(-2, -1, 4, 2),
    "hertz": _dimension(0, 0, -1, 0),
    "metre": _dimension(1, 0, 0, 0),
    "kilogram": _dimension(0, 1, 0, 0),
}
# How common compounds are printed: per membrane area, and rates of change.
COMPOUND = ("amp/metre**2", "siemens/metre**2", "farad/metre**2", "ohm*metre**2", "volt/second", "amp/second", "1/volt")
SYMBOLS = {"s": "second", "V": "volt", "A": "amp", "S": "siemens", "F": "farad", "Hz": "hertz", "m": "metre"}


def _table() -> dict[str, tuple[float, Dimension]]:
    table = {name: (1.0, dimension) for name, dimension in BASE.items() if name != "1"}
    table["meter"] = table["metre"]
    for prefix, factor in PREFIXES.items():
        table.setdefault(prefix + "ohm", (factor, BASE["ohm"]))
        table.setdefault(prefix + "siemens", (factor, BASE["siemens"]))
        table.setdefault(prefix + "farad", (factor, BASE["farad"]))
        for symbol, base in SYMBOLS.items():
            # Brian2 has no bare one-letter units, and `m`, `s` are gates and times in equations.
            if len(prefix + symbol) > 1:
                table.setdefault(prefix + symbol, (factor, BASE[base]))
    return table


UNITS: Mapping[str, tuple[float, Dimension]] = _table()
SPELLED_OUT = {"V": "volt", "A": "amp", "s": "second", "S": "siemens", "F": "farad", "m": "metre"}


class UnitError(ValueError):
    """A quantity has the wrong unit, or a unit that is not known."""


@lru_cache(maxsize=512)
def unit(text: str) -> tuple[float, Dimension]:
    """Factor to SI and dimension of a unit such as 'mV', 'uA/cm**2', '1/ms' or '1'.

    Raises UnitError naming the part that is not a unit.
    """
    try:
        tree = ast.parse(_spell(text).strip(), mode="eval")
    except SyntaxError:
        raise UnitError(f"'{text}' is not a unit; write e.g. 'mV', '1/ms' or 'uA/cm**2'") from None
    return _unit_of(tree.body, text)


def _spell(text: str) -> str:
    return re.sub(r"\b[VAsSFm]\b", lambda m: SPELLED_OUT[m.group()], text.replace("^", "**"))


def _unit_of(node: ast.AST, text: str) -> tuple[float, Dimension]:
    match node:
        case ast.Constant(value=1):
            return 1.0, DIMENSIONLESS
        case ast.Name(id=name) if name in UNITS:
            return UNITS[name]
        case ast.BinOp(left=left, op=ast.Mult() | ast.Div() as op, right=right):
            (f, d), (g, e) = _unit_of(left, text), _unit_of(right, text)
            sign = 1 if isinstance(op, ast.Mult) else -1
            return f * g**sign, d.times(e.power(sign))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            try:
                exponent = Fraction(ast.literal_eval(right)).limit_denominator(12)
            except (TypeError, ValueError):
                raise UnitError(f"the exponent '{ast.unparse(right)}' in unit '{text}' is not a number") from None
            factor, dimension = _unit_of(left, text)
            return factor ** float(exponent), dimension.power(exponent)
    raise UnitError(f"'{ast.unparse(node)}' in unit '{text}' is not a unit; known: ms, mV, nA, pA, Mohm, nS, pF, Hz, uA/cm**2, …")


def quantity(text: str | float) -> tuple[float, Dimension]:
    """SI value and dimension of '20 ms', '-65 mV' or a plain number.

    Raises UnitError when the text is not a number followed by a unit.
    """
    if not isinstance(text, str):
        return float(text), DIMENSIONLESS
    match = re.fullmatch(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?inf)\s*\*?\s*(.*?)\s*", text)
    if not match:
        raise UnitError(f"'{text}' is not a quantity; write a number and a unit, such as '20 ms'")
    factor, dimension = unit(match[2] or "1")
    return float(match[1]) * factor, dimension


# -- dimensions of expressions ---------------------------------------------------------------------

DIMENSIONLESS_FUNCTIONS = {"exp", "log", "log10", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arctan", "exprel", "expm1", "log1p"}
KEEPING_FUNCTIONS = {"abs", "clip", "floor", "ceil", "minimum", "maximum"}
FUNCTIONS = DIMENSIONLESS_FUNCTIONS | KEEPING_FUNCTIONS | {"sqrt", "int", "rand", "randn"}


def dimension_of(expression: str, known: Mapping[str, Dimension]) -> Dimension:
    """Dimension of an expression whose names have the dimensions `known`.

    Raises UnitError for sums of unlike quantities and functions of dimensional arguments, and
    NameError for a name that is neither known, a unit nor a function.
    """
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except SyntaxError as error:
        raise UnitError(f"'{expression}' is not an expression: {error.msg}") from None
    return _dimension_of(tree.body, known, expression)


def _dimension_of(node: ast.AST, known: Mapping[str, Dimension], text: str) -> Dimension:
    def of(child: ast.AST) -> Dimension:
        return _dimension_of(child, known, text)

    def same(children: list[ast.expr], what: str) -> Dimension:
        # A literal 0 has every unit, as in Brian2.
        dimensions = [of(c) for c in children if not (isinstance(c, ast.Constant) and c.value == 0)]
        for child, dimension in zip(children[1:], dimensions[1:], strict=False):
            if dimension != dimensions[0]:
                raise UnitError(f"in '{text}': {what} joins {dimensions[0]} and {dimension} ('{ast.unparse(child)}')")
        return dimensions[0] if dimensions else DIMENSIONLESS

    match node:
        case ast.Constant():
            return DIMENSIONLESS
        case ast.Name(id=name):
            if name in known:
                return known[name]
            if name in UNITS:
                return UNITS[name][1]
            raise NameError(name)
        case ast.UnaryOp(operand=operand):
            return of(operand)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
            return same([left, right], "a sum")
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return of(left).times(of(right))
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return of(left).times(of(right).power(-1))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            if of(right) != DIMENSIONLESS:
                raise UnitError(f"in '{text}': the exponent '{ast.unparse(right)}' has unit {of(right)}")
            base = of(left)
            if base == DIMENSIONLESS:
                return base
            if any(isinstance(n, ast.Name | ast.Call) for n in ast.walk(right)):
                raise UnitError(
                    f"in '{text}': {base} to the power '{ast.unparse(right)}' has no fixed unit; write the exponent as a number"
                )
            exponent = eval(compile(ast.Expression(right), "<exponent>", "eval"), {"__builtins__": {}})
            return base.power(Fraction(exponent).limit_denominator(12))
        case ast.Compare(left=left, comparators=comparators):
            same([left, *comparators], "a comparison")
            return DIMENSIONLESS
        case ast.BoolOp(values=values):
            for value in values:
                of(value)
            return DIMENSIONLESS
        case ast.Call(func=ast.Name(id=name), args=args):
            if name not in FUNCTIONS:
                raise NameError(name)
            if name == "sqrt":
                return of(args[0]).power(Fraction(1, 2))
            if name in KEEPING_FUNCTIONS:
                return same(list(args), f"{name}()")
            for argument in args:
                if of(argument) != DIMENSIONLESS:
                    raise UnitError(f"in '{text}': {name}() takes a dimensionless argument, got {of(argument)} ('{ast.unparse(argument)}')")
            return DIMENSIONLESS
    raise UnitError(f"'{ast.unparse(node)}' in '{text}' cannot be used in an equation")


@lru_cache(maxsize=1024)
def identifiers(expression: str) -> frozenset[str]:
    """Names in an expression, function names and units left out."""
    tree = ast.parse(expression.strip(), mode="eval")
    called = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    return frozenset({n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} - called - set(UNITS))


def is_finite(value: float) -> bool:
    return math.isfinite(value)


def positive(**values: float) -> None:
    """Raises ValueError that names the first value which is not positive and finite."""
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} = {value} must be positive and finite")


def whole(least: int, /, **values: int) -> None:
    """Raises ValueError that names the first value which is no whole number, or one below `least`."""
    for name, value in values.items():
        if not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} = {value} must be a whole number and at least {least}")
