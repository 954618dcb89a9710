"""Assignments as code for an engine, as text to read, and as LaTeX."""

from __future__ import annotations

import math
import re

import sympy
from sympy.printing.latex import LatexPrinter
from sympy.printing.pycode import PythonCodePrinter


class CodePrinter(PythonCodePrinter):
    """Python expressions over arrays (numpy), tensors (torch), scalars (numba) or Brian2's abstract code."""

    def __init__(self, dialect: str) -> None:
        super().__init__({"fully_qualified_modules": False, "allow_unknown_functions": True, "order": "none"})
        self.dialect = dialect

    def _print_Float(self, expr):
        return repr(float(expr))

    def _print_Rational(self, expr):
        return f"{expr.p}/{expr.q}"

    def _print_Exp1(self, expr):
        return repr(math.e)  # exp(1), which sympy writes as `e`

    def _print_Pi(self, expr):
        return repr(math.pi)

    def _print_exp(self, expr):
        return f"exp({self._print(expr.args[0])})"

    def _print_where(self, expr):
        condition, a, b = (self._print(x) for x in expr.args)
        match self.dialect:
            case "numba":
                return f"(({a}) if {condition} else ({b}))"
            case "brian":
                return f"int(not_refractory)*({a}) + int(not not_refractory)*({b})"
            case "torch" if expr.args[2] == 0:
                return f"({a})*{condition}"
        return f"where({condition}, {a}, {b})"

    def _print_maximum(self, expr):
        a, b = (self._print(x) for x in expr.args)
        # Brian2 has no maximum; a choice is exact where (a + b + abs(a - b))/2 would be rounded
        return f"int({a} > {b})*({a}) + int({a} <= {b})*({b})" if self.dialect == "brian" else f"maximum({a}, {b})"

    def _print_relax(self, expr):
        target, x, decay = (self._print(a) for a in expr.args)
        if self.dialect == "torch":
            return f"lerp({target}, {x}, {decay})"
        wrap = expr.args[0].is_Atom
        target = target if wrap else f"({target})"
        return f"({target} + ({x} - {target})*{decay})"

    def _print_Function(self, expr):
        name = expr.func.__name__
        return f"{name}({', '.join(self._print(a) for a in expr.args)})"


class KernelPrinter(CodePrinter):
    """Scalar code of one precision: every number is `real(…)`, powers are written out, conditions choose without branching."""

    def __init__(self) -> None:
        super().__init__("numba")

    def _print_Integer(self, expr):
        return f"real({float(expr)!r})"

    _print_Zero = _print_One = _print_NegativeOne = _print_Float = _print_Integer

    def _print_Rational(self, expr):
        return f"real({expr.p / expr.q!r})"

    _print_Half = _print_Rational

    def _print_Exp1(self, expr):
        return f"real({math.e!r})"

    def _print_Pi(self, expr):
        return f"real({math.pi!r})"

    def _print_Pow(self, expr, rational=False):
        base, exponent = expr.args
        if exponent.is_Integer and abs(int(exponent)) <= 8:
            product = "*".join([f"({self._print(base)})"] * abs(int(exponent)))
            return f"({product})" if exponent > 0 else f"(real(1.0)/({product}))"
        if exponent.is_Rational and exponent.q == 2 and abs(exponent.p) == 1:
            root = f"sqrt({self._print(base)})"
            return root if exponent.p > 0 else f"(real(1.0)/{root})"
        return f"(({self._print(base)})**({self._print(exponent)}))"

    def _print_sign(self, expr):
        return f"sign({self._print(expr.args[0])})"

    def _print_And(self, expr):
        return "(" + " & ".join(f"({self._print(a)})" for a in expr.args) + ")"

    def _print_Or(self, expr):
        return "(" + " | ".join(f"({self._print(a)})" for a in expr.args) + ")"

    def _print_Not(self, expr):
        return f"(not ({self._print(expr.args[0])}))"

    def _print_blend(self, expr):
        flag, _, a, b = expr.args
        return f"(({self._print(a)}) if {self._print(flag)} else ({self._print(b)}))"


class TritonPrinter(KernelPrinter):
    """The same for blocks of numbers in Triton's language, where a choice takes both its branches."""

    def _print_Pow(self, expr, rational=False):
        base, exponent = expr.args
        if exponent.is_Integer and abs(int(exponent)) > 8:  # power() is for positive bases
            product = "*".join([f"({self._print(base)})"] * abs(int(exponent)))
            return f"({product})" if exponent > 0 else f"(real(1.0)/({product}))"
        if exponent.is_Integer or exponent.is_Rational and exponent.q == 2 and abs(exponent.p) == 1:
            return super()._print_Pow(expr)
        return f"power({self._print(base)}, {self._print(exponent)})"

    def _print_Abs(self, expr):
        return f"tl.abs({self._print(expr.args[0])})"

    def _print_where(self, expr):
        return self._choice(*expr.args)

    def _print_blend(self, expr):
        flag, _, a, b = expr.args
        return self._choice(flag, a, b)

    def _choice(self, condition, a, b):
        return f"tl.where({self._print(condition)}, {self._print(a)}, {self._print(b)})"

    def _print_Not(self, expr):
        return f"(({self._print(expr.args[0])}) == 0)"


class _Latex(LatexPrinter):
    def _print_where(self, expr):
        return rf"\left[{self._print(expr.args[1])}\right]_{{\mathrm{{unless\ refractory}}}}"

    def _print_relax(self, expr):
        target, x, decay = (self._print(a) for a in expr.args)
        return rf"{target} + \left({x} - {target}\right) {decay}"

    def _print_exp_dd(self, expr):
        return rf"\exp\left[{', '.join(self._print(a) for a in expr.args)}\right]"

    def _print_exprel(self, expr):
        x = self._print(expr.args[0])
        return rf"\frac{{e^{{{x}}} - 1}}{{{x}}}"


def code(expression: sympy.Expr, dialect: str) -> str:
    """One expression in a dialect: 'numpy', 'torch', 'numba', 'brian', or 'kernel' (scalars of one precision, `real`) and 'triton'."""
    printer = {"kernel": KernelPrinter, "triton": TritonPrinter}.get(dialect)
    return str((printer() if printer else CodePrinter(dialect)).doprint(expression))


def latex_lines(assignments) -> str:
    """An align* block, one row per assignment; x_new is written x(t + Δt)."""
    symbols = set().union(*(e.free_symbols for _, e in assignments)) if assignments else set()
    printer = _Latex({"mul_symbol": "dot", "order": "none", "symbol_names": {s: latex_name(str(s)) for s in symbols}})
    rows = [f"{latex_name(str(name))} &= {printer.doprint(expression)}" for name, expression in assignments]
    body = " \\\\\n".join(rows)
    return f"\\begin{{align*}}\n{body}\n\\end{{align*}}"


def latex_name(name: str) -> str:
    """A name as it is written on paper: tau_mem, v_new, dt_over_tau_mem, gain_v_i_syn, d_v_2."""
    if name == "dt":
        return r"\Delta t"
    if name.endswith("_new"):
        return rf"{latex_name(name[:-4])}(t + \Delta t)"
    if match := re.fullmatch(r"dt_over_(\w+)", name):
        return rf"\tfrac{{\Delta t}}{{{latex_name(match[1])}}}"
    if match := re.fullmatch(r"d_(\w+)_(\d)", name):
        return rf"k^{{({match[2]})}}_{{{latex_name(match[1])}}}"
    if match := re.fullmatch(r"(gain|decay|rate)_(\w+)", name):
        below = match[2].replace("_", r"\_")
        return rf"\mathrm{{{match[1]}}}_{{\mathrm{{{below}}}}}"
    if match := re.fullmatch(r"(\w+)_inf", name):
        return rf"{latex_name(match[1])}^{{\infty}}"
    head, _, tail = name.partition("_")
    return _Latex().doprint(sympy.Symbol(head)) + (rf"_{{\mathrm{{{tail.replace('_', ' ')}}}}}" if tail else "")
