"""One time step of a model under a scheme: constants of the run, assignments of the step, code."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import cast

import sympy

from spiketwin.models.discretisation import schemes
from spiketwin.models.discretisation.conditions import written_out
from spiketwin.models.discretisation.exact import exact
from spiketwin.models.discretisation.functions import numpy_functions, torch_functions
from spiketwin.models.discretisation.hoisting import hoist
from spiketwin.models.discretisation.printing import code, latex_lines
from spiketwin.models.discretisation.schemes import SchemeError
from spiketwin.models.discretisation.symbols import ACTIVE, DT, NOISE, System, plus, symbol, system, to_sympy
from spiketwin.models.spec import NeuronSpec, unknown


@dataclass(frozen=True)
class Scheme:
    """A time-stepping scheme. order: of the state's error in dt without noise (inf: exact for what it
    accepts); strong_order: with additive noise, path by path."""

    name: str
    order: float
    summary: str
    assign: Callable[[System], schemes.Assignments]
    strong_order: float | None = None

    @property
    def stochastic(self) -> bool:
        return self.strong_order is not None


SCHEMES: Mapping[str, Scheme] = {
    s.name: s
    for s in (
        Scheme("euler", 1, "forward Euler, the mapping of the ODE to a recurrent network", schemes.euler),
        Scheme("exponential_euler", 1, "each state relaxes exactly, the others held", schemes.exponential_euler),
        Scheme("exact", float("inf"), "matrix exponential of linear equations", exact),
        Scheme("rk4", 4, "classical Runge-Kutta", schemes.rk4),
        Scheme("euler_maruyama", 1, "forward Euler with noise", schemes.euler_maruyama, strong_order=1),
        Scheme("heun", 2, "stochastic Heun, trapezoidal", schemes.heun, strong_order=1),
    )
}


@dataclass(frozen=True, eq=False)
class Step:
    """The derived step. Assign the constants once per run, then the assignments at every step."""

    spec: NeuronSpec
    scheme: str
    definitions: tuple[tuple[sympy.Symbol, sympy.Expr], ...]
    assignments: tuple[tuple[sympy.Symbol, sympy.Expr], ...]

    @property
    def order(self) -> float:
        return SCHEMES[self.scheme].order

    @cached_property
    def constants(self) -> tuple[str, ...]:
        """Names computed once per run from parameters and dt."""
        return tuple(str(name) for name, _ in self.definitions)

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """What advance() takes, in order: all states, then drives, parameters and constants used, dt, active, noise."""
        used = {str(s) for _, e in self.assignments for s in e.free_symbols}
        order = [*self.spec.drives, *self.spec.parameters, *self.constants, str(DT), str(ACTIVE), str(NOISE)]
        return (*self.spec.states, *(n for n in order if n in used))

    def constant_values(self, values: Mapping[str, object], dt_s: float, backend: str = "numpy") -> dict:
        """The constants for parameters `values` (SI; numbers, arrays or tensors [N]) and a step of `dt_s` seconds."""
        namespace = {**_functions(backend), **values, "dt": dt_s}
        out: dict = {}
        for name, expression in self._defined(backend):
            out[name] = namespace[name] = eval(expression, {"__builtins__": {}}, namespace)  # printed by us
        return out

    def _defined(self, backend: str) -> list:
        """Names and compiled expressions of the constants."""
        if backend not in self._compiled:
            self._compiled[backend] = [(str(name), compile(code(e, backend), f"<{name}>", "eval")) for name, e in self.definitions]
        return self._compiled[backend]

    @cached_property
    def _compiled(self) -> dict[str, list]:
        return {}

    def function(self, backend: str) -> Callable:
        """advance(*arguments) -> tuple of new states, in the order of spec.states; arrays broadcast."""
        if backend not in self._made:
            self._made[backend] = self._make(backend)
        return self._made[backend]

    @cached_property
    def _made(self) -> dict[str, Callable]:
        return {}

    def _make(self, backend: str) -> Callable:
        namespace = dict(_functions(backend))
        exec(compile(self.source(backend), f"<{self.spec.name} {self.scheme} {backend}>", "exec"), namespace)  # printed by us
        return namespace["advance"]

    def source(self, dialect: str) -> str:
        """Python source of advance() for 'numpy', 'torch' (tensors) or 'numba' (scalars)."""
        body = [f"    {name} = {self._shaped(name, expression, dialect)}" for name, expression in self.assignments]
        result = ", ".join(f"{s}_new" for s in self.spec.states)
        return f"def advance({', '.join(self.arguments)}):\n" + "\n".join(body) + f"\n    return ({result},)\n"

    def _shaped(self, name: sympy.Symbol, expression: sympy.Expr, dialect: str) -> str:
        """The expression; where a state becomes one number, as an array of them."""
        state = str(name).removesuffix("_new")
        return code(expression, dialect) + (f" + 0*{state}" if expression.is_number and state in self.spec.states else "")

    def readable(self) -> str:
        """The step as code to read: constants first, then one step, then threshold and reset."""
        lines = [f"# {self.spec.name}, {SCHEMES[self.scheme].summary} (order {self.order:g})", f"# source: {self.spec.source}"]
        lines += ["", "# once per run"] if self.definitions else [""]
        lines += [f"{name} = {code(e, 'numpy')}" for name, e in self.definitions]
        lines += ["", "# every step"]
        lines += [f"{name} = {code(e, 'numpy')}" for name, e in self.assignments]
        lines += ["", f"{', '.join(self.spec.states)} = {', '.join(f'{s}_new' for s in self.spec.states)}"]
        if self.spec.threshold:
            lines += [f"if {self.spec.threshold}:", *(f"    {s.target} {s.operator} {s.expression}" for s in self.spec.reset_statements)]
            if not self.spec.reset_statements:
                lines += ["    spike"]
        return "\n".join(lines) + "\n"

    def latex(self) -> str:
        """The step as a LaTeX align* block."""
        return latex_lines([*self.definitions, *self.assignments])

    def brian_method(self, noise: str = "randn()") -> Callable:
        """The step as a Brian2 integration method; the run must supply `constants` as names.

        noise: what stands for a standard-normal draw in Brian2's code.
        """
        rename = {name: symbol(f"_{name}") for name, _ in self.assignments}
        lines = [f"{rename[name]} = {code(e.xreplace(rename), 'brian')}" for name, e in self.assignments]
        lines += [f"{s} = _{s}_new" for s in self.spec.states]
        if self.spec.is_noisy:
            # one draw per step, shared by the stages of the scheme
            lines = [f"_noise = {noise}", *(re.sub(r"\bnoise\b", "_noise", line) for line in lines)]
        text = "\n".join(lines)
        return lambda equations, variables=None, method_options=None: text


@lru_cache(maxsize=512)
def derive(spec: NeuronSpec, scheme: str) -> Step:
    """The step of `spec` under `scheme`.

    Raises SchemeError when the scheme is unknown or cannot integrate these equations; it says what can.
    """
    if scheme not in SCHEMES:
        raise SchemeError(unknown(scheme, "scheme", spec.name, SCHEMES))
    if spec.is_noisy and not SCHEMES[scheme].stochastic:
        raise SchemeError(f"'{spec.name}' has noise, which {scheme} cannot integrate; use euler_maruyama or heun")
    if scheme == "euler_maruyama" and not spec.is_noisy:
        raise SchemeError(f"'{spec.name}' has no noise; use euler, which is the same step")
    s = system(spec)
    assignments = SCHEMES[scheme].assign(s)
    definitions = [(n, e) for n, e in assignments if s.is_constant(e) and str(n).startswith("gain_")]
    steps = _with_every_step(spec, [(n, e) for n, e in assignments if (n, e) not in definitions])
    steps, hoisted = hoist(steps, s.parameters | {n for n, _ in definitions})
    return Step(spec, scheme, tuple(definitions + hoisted), tuple(steps))


def _with_every_step(spec: NeuronSpec, steps: schemes.Assignments) -> schemes.Assignments:
    """The statements that a model executes before it integrates, then the step from where they leave its states."""
    now: dict = {}
    first: schemes.Assignments = []
    for k, statement in enumerate(spec.every_step_statements):
        x, name = symbol(statement.target), symbol(f"{statement.target}_first_{k}")
        value = to_sympy(written_out(statement.expression, spec.subexpressions)).xreplace(now)
        old = now.get(x, x)
        value = {"=": value, "+=": plus(old, value), "-=": plus(old, -value)}[statement.operator]
        if value.is_number:  # a state that is emptied needs no name
            now[x] = value
            continue
        first.append((name, value))
        now[x] = name
    return first + [(n, cast(sympy.Expr, e.xreplace(now))) for n, e in steps]


def unsupported_reason(spec: NeuronSpec, scheme: str) -> str:
    """'' when `scheme` can integrate `spec`, else a sentence that says why not and what can."""
    try:
        derive(spec, scheme)
    except SchemeError as error:
        return str(error)
    return ""


def _functions(backend: str) -> dict:
    return torch_functions() if backend == "torch" else numpy_functions()
