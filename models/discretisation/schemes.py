"""One function per scheme: a System becomes the assignments of one step, dt long.

Each returns [(symbol, expression), …]; the new value of state x is assigned to `x_new`.
Drives are constant over a step. Gated states keep their value while the neuron is refractory.
"""

from __future__ import annotations

from typing import Any

import sympy

from spiketwin.models.discretisation.symbols import ACTIVE, DT, NOISE, System, plus, relax, symbol, where

Assignments = list[tuple[sympy.Symbol, sympy.Expr]]


class SchemeError(ValueError):
    """The scheme cannot integrate these equations; the message says why and what can."""


def new(x: sympy.Symbol) -> sympy.Symbol:
    return symbol(f"{x}_new")


def euler(s: System) -> Assignments:
    """x + dt f(x)."""
    return _subexpressions(s, s.rates) + [(new(x), _gate(s, x, plus(x, DT * f))) for x, f in s.rates.items()]


def exponential_euler(s: System) -> Assignments:
    """x_inf + (x - x_inf) exp(-dt/tau), for each state with the others held at their old values."""
    steps, temporaries, needed = [], [], {}
    for x, rate in s.rates.items():
        f = s.substituted(rate, only_with={x})
        slope = sympy.diff(f, x)
        if slope.has(x):
            raise SchemeError(f"exponential Euler needs '{x}' of '{s.spec.name}' to appear linearly in its own equation; use rk4 or euler")
        offset = f.subs(x, 0)
        rate = sympy.factor_terms(sympy.expand(-slope))
        needed[x] = f
        if rate == 0:
            update = plus(x, DT * offset)
        elif offset == 0:
            update = x * sympy.exp(-rate * DT)
        else:
            target, decay = symbol(f"{x}_inf"), sympy.exp(-rate * DT)
            if not s.is_constant(rate):
                temporaries.append((symbol(f"{x}_decay"), decay))
                decay = symbol(f"{x}_decay")
            temporaries.append((target, offset / rate))
            update = relax(target, x, decay)
        steps.append((new(x), _gate(s, x, update)))
    return _subexpressions(s, needed) + temporaries + steps


def rk4(s: System) -> Assignments:
    """Classical Runge-Kutta, order 4."""
    out: Assignments = []
    slopes = []
    for stage, factor in enumerate((0, sympy.Rational(1, 2), sympy.Rational(1, 2), 1), start=1):
        at = {x: x for x in s.states}
        if slopes:
            at = {x: symbol(f"{x}_{stage}") for x in s.states}
            out += [(at[x], plus(x, DT * factor * slopes[-1][x])) for x in s.states]
        assignments, slope = _stage(s, at, f"_{stage}")
        out += assignments
        slopes.append(slope)
    a, b, c, d = slopes
    return out + [(new(x), plus(x, DT / 6 * plus(a[x], 2 * b[x], 2 * c[x], d[x]))) for x in s.states]


def euler_maruyama(s: System) -> Assignments:
    """x + dt f(x) + sqrt(dt) g(x) noise."""
    kick = sympy.sqrt(DT) * NOISE
    updates = [(new(x), _gate(s, x, plus(x, DT * s.rates[x], kick * s.noise[x]))) for x in s.states]
    return _subexpressions(s, {x: s.rates[x] + s.noise[x] for x in s.states}) + updates


def heun(s: System) -> Assignments:
    """Stochastic Heun: Euler predictor, trapezoidal corrector in drift and diffusion (Stratonovich).

    Of order 2 without noise. Brian2's 'heun' corrects the diffusion only, so it is of order 1.
    """
    kick = sympy.sqrt(DT) * NOISE
    first, f0 = _stage(s, {x: x for x in s.states}, "_1")
    ahead = {x: symbol(f"{x}_ahead") for x in s.states}
    g0 = {x: _if_active(s, x, s.noise[x]) for x in s.states}
    g1 = {x: _if_active(s, x, s.substituted(s.noise[x]).subs(ahead)) for x in s.states}
    predictor = [(ahead[x], plus(x, DT * f0[x], kick * g0[x])) for x in s.states]
    second, f1 = _stage(s, ahead, "_2")
    half = sympy.Rational(1, 2)
    corrector = [(new(x), plus(x, DT * half * plus(f0[x], f1[x]), kick * half * (g0[x] + g1[x]))) for x in s.states]
    return first + predictor + second + corrector


def _subexpressions(s: System, rates: dict) -> Assignments:
    """The named subexpressions that the rates need, at the old state."""
    needed: set = set().union(*(r.free_symbols for r in rates.values())) if rates else set()
    kept = []
    for name, value in reversed(s.subexpressions.items()):
        if name in needed:
            kept.append((name, value))
            needed |= value.free_symbols
    return kept[::-1]


def _stage(s: System, at: dict, suffix: str) -> tuple[Assignments, dict]:
    """Slopes of all states at the point `at`, as symbols, with the assignments that compute them."""
    out, slope, names = [], {}, dict(at)
    for name, value in _subexpressions(s, s.rates):
        names[name] = symbol(f"{name}{suffix}")
        out.append((names[name], value.xreplace(names)))
    for x, rate in s.rates.items():
        slope[x] = symbol(f"d_{x}{suffix}")
        out.append((slope[x], _if_active(s, x, rate.xreplace(names))))
    return out, slope


def _gate(s: System, x: sympy.Symbol, update: sympy.Expr) -> Any:
    return where(ACTIVE, update, x) if x in s.gated else update


def _if_active(s: System, x: sympy.Symbol, value: sympy.Expr) -> Any:
    return where(ACTIVE, value, sympy.Integer(0)) if x in s.gated and value != 0 else value
