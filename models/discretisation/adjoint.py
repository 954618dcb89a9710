"""The gradient of one step, from its end back to its start: reverse-mode differentiation of a Program.

Each assignment y = f(a, b, …) gives, with ȳ the gradient of the loss with respect to y,

    ā += ȳ ∂f/∂a,   b̄ += ȳ ∂f/∂b, …

with the partial derivatives by sympy. At the threshold the spike's gradient passes times the surrogate's slope.

Source: Griewank & Walther 2008, Evaluating Derivatives, section 3.2; Neftci, Mostafa & Zenke 2019 for the surrogate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sympy

from spiketwin.models.discretisation.program import MARGIN, SPIKE, Crossing, Let, Program, arrival
from spiketwin.models.discretisation.symbols import ACTIVE, symbol, where

SLOPE = symbol("_slope")  # dS/dmargin at this margin, from the surrogate


@dataclass(frozen=True, eq=False)
class Backward:
    """Gradients through some consecutive events of a step.

    lets: assignments in the order of evaluation.  results: what comes out, by name: 'x' for each state (the gradient
    with respect to it before these events), '_arrive_R', '_spike' where the spike was made before these events,
    and the constants and signals asked for.  An absent name has no gradient here.
    """

    lets: tuple[Let, ...]
    results: dict[str, sympy.Expr]

    @property
    def needs(self) -> set:
        """Symbols that must be known of the forward step, and constants."""
        made = {let.name for let in self.lets}
        used = set().union(*(let.value.free_symbols for let in self.lets), *(e.free_symbols for e in self.results.values()))
        return {s for s in used - made if not str(s).startswith("_bar")}


def bar(name: object) -> sympy.Symbol:
    """The gradient of the loss with respect to `name`."""
    return symbol(f"_bar_{name}")


def backward(program: Program, events: Iterable[str], wrt: Iterable[str] = (), *, detach_reset: bool = True) -> Backward:
    """Gradients through `events` of the program, given bar(x) for each state x after them and bar('_spike').

    wrt: names of constants and signals whose gradient is wanted.  detach_reset: a reset passes no gradient to the spike.
    """
    chosen = set(events)
    operations = [op for event, ops in program.events if event in chosen for op in ops]
    start, end = _states_around(program, chosen)
    wanted = {symbol(n) for n in wrt}
    arrivals = {arrival(r) for r in program.receptors}
    varies = _varying(program, operations, set(start.values()) | wanted | arrivals | {SPIKE})

    terms: dict[sympy.Symbol, list[sympy.Expr]] = {}
    for x, last in end.items():
        terms.setdefault(last, []).append(bar(x))
    made_here = any(isinstance(op, Crossing) for op in operations)
    if made_here:
        terms.setdefault(SPIKE, []).append(bar(SPIKE))
    lets: list[Let] = []

    def total(name: sympy.Symbol) -> sympy.Expr | None:
        """The gradient of a name all of whose uses have been seen."""
        parts = terms.pop(name, [])
        if not parts:
            return None
        value = sympy.Add(*parts, evaluate=False) if len(parts) > 1 else parts[0]
        if value.is_Symbol:
            return value
        lets.append(Let(symbol(f"_bar{'' if str(name).startswith('_') else '_'}{name}_"), value))
        return lets[-1].name

    for op in reversed(operations):
        if isinstance(op, Crossing):
            gradient = total(SPIKE)
            if gradient is not None:
                slope = where(ACTIVE, SLOPE, sympy.Integer(0)) if op.gated else SLOPE
                terms.setdefault(MARGIN, []).append(gradient * slope)
        elif isinstance(op, Let) and op.name in varies and (gradient := total(op.name)) is not None:
            for argument in sorted(op.value.free_symbols & varies, key=str):
                if argument == SPIKE and detach_reset:
                    continue
                partial = sympy.diff(op.value, argument).xreplace({op.value: op.name})  # exp is its own derivative
                if partial != 0:
                    terms.setdefault(argument, []).append(gradient if partial == 1 else sympy.Mul(gradient, partial, evaluate=False))

    results: dict[str, sympy.Expr] = {}
    for x, first in start.items():
        if (gradient := total(first)) is not None:
            results[x] = gradient
    for name in [*sorted(arrivals, key=str), *sorted(wanted, key=str), *([] if made_here else [SPIKE])]:
        if (gradient := total(name)) is not None:
            results[str(name)] = gradient
    return Backward(tuple(lets), results)


def _states_around(program: Program, chosen: set[str]) -> tuple[dict[str, sympy.Symbol], dict[str, sympy.Symbol]]:
    """The symbol of each state before the first and after the last of the chosen events, which are consecutive."""
    now = {x: symbol(x) for x in program.spec.states}
    first: dict[str, sympy.Symbol] | None = None
    last = dict(now)
    for event, operations in program.events:
        if event in chosen and first is None:
            first = dict(now)
        for op in operations:
            if isinstance(op, Let) and (x := program.state_of(op.name)):
                now[x] = op.name
        if event in chosen:
            last = dict(now)
    return first or last, last


def _varying(program: Program, operations: list, sources: set) -> set:
    """Symbols that depend on something with a gradient."""
    varies = set(sources)
    for op in operations:
        if isinstance(op, Crossing) and MARGIN in varies:
            varies.add(SPIKE)
        elif isinstance(op, Let) and op.value.free_symbols & varies:
            varies.add(op.name)
    return varies
