"""Exact integration of linear equations, also where time constants coincide.

For dx/dt = M x + b with constant M, the step is x <- exp(M dt) x + ∫exp(M s)b ds. When no state feeds
back on itself through others, the entries of exp(M dt) are sums over the paths j -> … -> i of the
product of the couplings times a divided difference of exp over the rates met on the way
(Opitz 1964; Rotter & Diesmann 1999 for neurons). The divided difference has no singularity: at
tau_syn = tau_mem, where the usual (exp(-dt/a) - exp(-dt/b))/(1/b - 1/a) is 0/0, it is the limit.
"""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from spiketwin.models.discretisation.schemes import Assignments, SchemeError, _gate, new
from spiketwin.models.discretisation.symbols import DT, System, exp_dd, plus, relax, symbol


def exact(s: System) -> Assignments:
    """The exact step of a linear system whose drives are constant over it."""
    rates = {x: s.substituted(f) for x, f in s.rates.items()}
    matrix = {(x, y): sympy.diff(f, y) for x, f in rates.items() for y in s.states}
    for (x, y), entry in matrix.items():
        if not s.is_constant(entry):
            raise SchemeError(
                f"exact integration needs linear equations; '{y}' enters the equation of '{x}' of '{s.spec.name}' nonlinearly; use rk4 or exponential_euler"
            )
    offset = {x: f.subs(dict.fromkeys(s.states, 0)) for x, f in rates.items()}
    couplings = {(x, y): m for (x, y), m in matrix.items() if x != y and m != 0}
    _require_no_loop(s, couplings)
    for x, y in couplings:
        if y in s.gated:
            raise SchemeError(
                f"exact integration of '{s.spec.name}' would need '{x}' to know that '{y}' is clamped while refractory; use rk4"
            )

    temporaries, updates = [], []
    for x in s.states:
        rate = matrix[x, x]
        if rate == 0:
            update = plus(x, DT * offset[x])
        elif offset[x] == 0:
            update = x * sympy.exp(rate * DT)
        else:
            target = offset[x] * (-1 / rate)
            if not target.is_Symbol:
                temporaries.append((symbol(f"{x}_inf"), target))
                target = symbol(f"{x}_inf")
            update = relax(target, x, sympy.exp(rate * DT))
        for path in _paths(x, couplings):
            source = path[-1]
            gain = sympy.prod(couplings[pair] for pair in zip(path, path[1:], strict=False)) * DT ** (len(path) - 1)
            points = [matrix[y, y] * DT for y in path]
            factor = symbol(f"gain_{x}_{source}") if _single(x, source, couplings) else gain * exp_dd(*points)
            update = plus(*_terms(update), factor * source)
            if offset[source] != 0:
                update = plus(*_terms(update), gain * DT * exp_dd(*points, sympy.Integer(0)) * offset[source])
        updates.append((new(x), _gate(s, x, update)))
    gains = [
        (symbol(f"gain_{x}_{path[-1]}"), _gain(path, couplings, matrix))
        for x in s.states
        for path in _paths(x, couplings)
        if _single(x, path[-1], couplings)
    ]
    return gains + temporaries + updates


def _gain(path: tuple, couplings: dict, matrix: dict) -> sympy.Expr:
    """How much of the path's last state arrives in its first within one step."""
    product = sympy.prod(couplings[pair] for pair in zip(path, path[1:], strict=False))
    return product * DT ** (len(path) - 1) * exp_dd(*(matrix[y, y] * DT for y in path))


def _paths(x: sympy.Symbol, couplings: dict) -> Iterator[tuple]:
    """All paths x <- y <- z … along the couplings, at least one coupling long."""
    frontier = [(x,)]
    while frontier:
        path = frontier.pop(0)
        for to, source in couplings:
            if to == path[-1]:
                yield (*path, source)
                frontier.append((*path, source))


def _terms(e: sympy.Expr) -> tuple:
    return e.args if e.is_Add else (e,)


def _single(x: sympy.Symbol, source: sympy.Symbol, couplings: dict) -> bool:
    return sum(path[-1] == source for path in _paths(x, couplings)) == 1


def _require_no_loop(s: System, couplings: dict) -> None:
    remaining = set(s.states)
    while remaining:
        free = {x for x in remaining if not any(to == x and source in remaining for to, source in couplings)}
        if not free:
            names = ", ".join(sorted(map(str, remaining)))
            raise SchemeError(
                f"exact integration of '{s.spec.name}' needs states without mutual feedback, but {names} drive each other; use rk4"
            )
        remaining -= free
