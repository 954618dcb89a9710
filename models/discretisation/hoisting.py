"""Move what never changes during a run out of the step: decays, dt/tau, products of parameters."""

from __future__ import annotations

import sympy

from spiketwin.models.discretisation.symbols import DT, symbol


def hoist(assignments, fixed: set):
    """Assignments of one step, and the definitions of what was moved out of it.

    fixed: symbols that never change during a run; dt is one of them.
    """
    names: dict[sympy.Expr, sympy.Symbol] = {}
    fixed = fixed | {DT}

    def name_for(expression: sympy.Expr) -> sympy.Symbol:
        if expression not in names:
            text = _constant_name(expression)
            taken = {str(n) for n in names.values()} | {str(n) for n, _ in assignments} | {str(p) for p in fixed}
            while text is None or text in taken:
                text = f"{text or 'c'}_{len(names)}"
            names[expression] = symbol(text)
        return names[expression]

    def visit(e: sympy.Expr) -> sympy.Expr:
        if e.is_Atom:
            return e
        if not e.free_symbols - fixed:
            return name_for(e) if e.free_symbols else e
        if e.is_Mul or e.is_Add:
            fixed_part = [a for a in e.args if not a.free_symbols - fixed]
            moving = [visit(a) for a in e.args if a.free_symbols - fixed]
            constant = e.func(*fixed_part)
            sign, size = constant.as_coeff_Mul() if e.is_Mul else (sympy.Integer(1), constant)
            if not size.free_symbols:
                return e.func(constant, *moving)
            if sign not in (1, -1):
                sign, size = sympy.Integer(1), constant
            signed_name = e.is_Add and size.as_coeff_Mul()[0] == -1 and size.as_coeff_Mul()[1].is_Symbol
            if not size.is_Atom and size.free_symbols and not signed_name:
                size = name_for(size)
            factors = ([sign, size] if sign == -1 else [size]) if fixed_part else []
            first_moves = bool(e.args[0].free_symbols - fixed)
            parts = [*moving, *factors] if e.is_Add and first_moves else [*factors, *moving]
            return e.func(*parts, evaluate=False)
        return e.func(*(visit(a) for a in e.args))

    steps = []
    for name, expression in assignments:
        if not expression.free_symbols - fixed and expression.free_symbols:
            names[expression] = name
            fixed = fixed | {name}
        else:
            steps.append((name, visit(expression)))
    return steps, [(n, e) for e, n in names.items()]


def _constant_name(expression: sympy.Expr) -> str | None:
    """decay_mem for exp(-dt/tau_mem), dt_over_tau_mem for dt/tau_mem, sqrt_dt; None: no established name."""
    taus = [str(x) for x in expression.free_symbols if str(x).startswith("tau")]
    if expression.func == sympy.exp and len(taus) == 1 and expression == sympy.exp(-DT / symbol(taus[0])):
        return f"decay_{taus[0].removeprefix('tau_')}"
    if len(taus) == 1 and expression == DT / symbol(taus[0]):
        return f"dt_over_{taus[0]}"
    if len(taus) == 1 and expression == 1 / symbol(taus[0]):
        return f"rate_{taus[0].removeprefix('tau_')}"
    return {sympy.sqrt(DT): "sqrt_dt", DT / 2: "half_dt", DT / 6: "sixth_dt"}.get(expression)
