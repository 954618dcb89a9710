"""A neuron model, declared once: equations with units, threshold, reset, refractoriness, inputs.

Everything else (Brian2 simulation, derived discrete steps, torch module, compiled kernel, adaptive
truth) reads this declaration; nothing restates it.
"""

from __future__ import annotations

import difflib
import keyword
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from types import MappingProxyType

from spiketwin.models.units import (
    BASE,
    DIMENSIONLESS,
    FUNCTIONS,
    UNITS,
    Dimension,
    UnitError,
    dimension_of,
    identifiers,
    quantity,
    unit,
)

_HALF = Fraction(1, 2)
RESERVED = {"i", "j", "t", "dt", "xi", "N", "e", "pi", "inf", "lastspike", "not_refractory", "active"}


class SpecError(ValueError):
    """A declaration is not valid. The message names the thing, the value and the fix."""


@dataclass(frozen=True)
class Parameter:
    """A constant of the model: value in `unit`, and the interval it must lie in.

    bounds: '(0, inf)', '[0, inf)', … in the same unit; round brackets exclude the end.
    is_whole: whether it counts something.
    """

    value: float
    unit: str = "1"
    bounds: str = "(-inf, inf)"
    description: str = ""
    is_whole: bool = False

    @property
    def si(self) -> float:
        return self.value * unit(self.unit)[0]

    @property
    def dimension(self) -> Dimension:
        return unit(self.unit)[1]

    def in_si(self, name: str, value):
        """`value` of the parameter `name` in SI: a number or array in this parameter's unit, or text such as '20 ms'.

        Raises SpecError when the unit, or any value against the bounds, is wrong.
        """
        import numpy as np

        factor = unit(self.unit)[0]
        if isinstance(value, str):
            si, dimension = quantity(value)
            if dimension != self.dimension:
                raise SpecError(f"parameter '{name}' = {value}: {dimension} where {self.unit} ({self.dimension}) is needed")
            array = np.asarray(si)
        else:
            array = np.asarray(value, dtype=float) * factor
        self.check(name, array / factor)
        return array

    def check(self, name: str, value) -> None:
        import numpy as np

        if self.is_whole and (np.asarray(value) % 1 != 0).any():
            raise SpecError(f"parameter '{name}' = {value} must be a whole number within {self.bounds}")
        low, high, closed_low, closed_high = _interval(self.bounds)
        if np.ndim(value) == 0 and low < value < high:
            return
        value = np.asarray(value, dtype=float)
        above = value >= low if closed_low else value > low
        below = value <= high if closed_high else value < high
        if not bool(np.all(above & below & ~np.isnan(value))):
            worst = value[~(above & below)].flat[0] if value.ndim else float(value)
            raise SpecError(f"parameter '{name}' = {worst} {self.unit} lies outside {self.bounds} {self.unit}")


@lru_cache(maxsize=256)
def _interval(bounds: str) -> tuple[float, float, bool, bool]:
    match = re.fullmatch(r"\s*([\[(])\s*(\S+)\s*,\s*(\S+)\s*([\])])\s*", bounds)
    if not match:
        raise SpecError(f"bounds '{bounds}' are not an interval such as '(0, inf)' or '[0, 1]'")
    return float(match[2]), float(match[3]), match[1] == "[", match[4] == "]"


@dataclass(frozen=True)
class Equation:
    """One line of the declaration. kind: 'differential', 'subexpression' or 'drive'."""

    kind: str
    name: str
    expression: str
    unit: str
    gated: bool = False


def parse_equations(text: str) -> tuple[Equation, ...]:
    """Lines in Brian2 syntax: 'dx/dt = … : unit (unless refractory)', 'x = … : unit', 'x : unit'."""
    equations = []
    # An expression may run over several lines; a new equation starts where a name meets '=' or ':'.
    logical: list[str] = []
    for raw in text.splitlines():
        line = raw.split("#")[0].strip()
        if not line:
            continue
        if re.match(r"(d\w+/dt|\w+)\s*(=|:)", line) or not logical:
            logical.append(line)
        else:
            logical[-1] += " " + line
    for line in logical:
        match = re.fullmatch(r"(?:d(\w+)/dt|(\w+))\s*(?:=\s*(.+?))?\s*:\s*([^()]+?)\s*(?:\((.*)\))?", line)
        if not match:
            raise SpecError(f"equation '{line}' is not 'dx/dt = … : unit', 'x = … : unit' or 'x : unit'")
        state, name, expression, unit_name, flags = match.groups()
        flags = [f.strip() for f in (flags or "").split(",") if f.strip()]
        if unknown := set(flags) - {"unless refractory"}:
            raise SpecError(f"flag '{sorted(unknown)[0]}' of '{line}' is not supported; use 'unless refractory' or none")
        kind = "differential" if state else "subexpression" if expression else "drive"
        if state and not expression:
            raise SpecError(f"equation '{line}' has no right-hand side")
        equations.append(Equation(kind, state or name, expression or "", unit_name, bool(flags)))
    return tuple(equations)


@dataclass(frozen=True)
class Statement:
    """One assignment: target, operator ('=', '+=', '-=') and expression."""

    target: str
    operator: str
    expression: str


def parse_statements(text: str, what: str) -> tuple[Statement, ...]:
    """Assignments separated by ';' or new lines. what: 'reset', 'on_pre', …, for the error."""
    statements = []
    for part in filter(None, (p.strip() for p in re.split(r"[;\n]", text))):
        match = re.fullmatch(r"(\w+)\s*(=|\+=|-=)\s*(?!=)(.+)", part)
        if not match:
            raise SpecError(f"{what} '{part}' is not 'x = …', 'x += …' or 'x -= …'")
        statements.append(Statement(*match.groups()))
    return tuple(statements)


@dataclass(frozen=True)
class NeuronSpec:
    """A neuron model in Brian2's equation syntax, with units, validated on construction.

    equations: differential equations, subexpressions, and drives ('i_ext : amp', given at every step).
    threshold: condition for a spike, e.g. 'v > v_threshold' ('' for a neuron that never spikes);
        'rand() < …' makes it stochastic and may use `dt`, the step in seconds, which no other expression
        may. Its strictness is part of the model.
    reset: statements executed at a spike. refractory: '' for none, the name of a time parameter, or a
        condition that keeps the neuron refractory while it holds (as in Brian2).
    inputs: the states (receptors) that arriving spikes add to.
    every_step: statements executed at the start of each step, before the integration, with what has arrived by then. What they
        do happens once per step whatever its length, so such a model is one of steps: its limit of small dt may be another model.
    initial: state at time 0, as expressions of parameters, earlier states and subexpressions; 0 if absent.
    spike_scale: what a distance to threshold is measured in by surrogate gradients, e.g.
        'v_threshold - v_rest'.  source: paper and equation numbers.

    Raises SpecError or UnitError naming the thing, the value and the fix.
    """

    name: str
    equations: str
    parameters: Mapping[str, Parameter]
    threshold: str = ""
    reset: str = ""
    refractory: str = ""
    inputs: tuple[str, ...] = ()
    initial: Mapping[str, str] = field(default_factory=dict)
    spike_scale: str = ""
    source: str = ""
    every_step: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))
        object.__setattr__(self, "initial", MappingProxyType(dict(self.initial)))
        object.__setattr__(self, "inputs", tuple(self.inputs))
        _validate(self)

    def __hash__(self) -> int:
        return hash((self.name, self.equations, tuple(self.parameters.items()), self.threshold, self.reset))

    def __reduce__(self):
        # mapping proxies do not pickle
        fields = (self.name, self.equations, dict(self.parameters), self.threshold, self.reset, self.refractory)
        return NeuronSpec, (*fields, self.inputs, dict(self.initial), self.spike_scale, self.source, self.every_step)

    @cached_property
    def lines(self) -> tuple[Equation, ...]:
        return parse_equations(self.equations)

    @cached_property
    def states(self) -> tuple[str, ...]:
        return tuple(e.name for e in self.lines if e.kind == "differential")

    @cached_property
    def drives(self) -> tuple[str, ...]:
        return tuple(e.name for e in self.lines if e.kind == "drive")

    @cached_property
    def subexpressions(self) -> Mapping[str, str]:
        return {e.name: e.expression for e in self.lines if e.kind == "subexpression"}

    @cached_property
    def rates(self) -> Mapping[str, str]:
        """Right-hand side of each differential equation."""
        return {e.name: e.expression for e in self.lines if e.kind == "differential"}

    @cached_property
    def gated(self) -> frozenset[str]:
        """States that are clamped, and closed to input, while the neuron is refractory."""
        return frozenset(e.name for e in self.lines if e.gated)

    @cached_property
    def reset_statements(self) -> tuple[Statement, ...]:
        return parse_statements(self.reset, "reset")

    @cached_property
    def every_step_statements(self) -> tuple[Statement, ...]:
        return parse_statements(self.every_step, "every_step")

    @cached_property
    def refractory_kind(self) -> str:
        """'none', 'time' (a parameter in seconds) or 'condition'."""
        if not self.refractory:
            return "none"
        return "time" if self.refractory in self.parameters else "condition"

    @cached_property
    def is_noisy(self) -> bool:
        """Whether the equations contain white noise `xi`."""
        return any("xi" in identifiers(expression) for expression in self.rates.values())

    @property
    def has_random_threshold(self) -> bool:
        """Whether spiking is a draw: the threshold calls rand()."""
        return "rand()" in self.threshold.replace(" ", "")

    def dimension(self, name: str) -> Dimension:
        """Dimension of a state, drive, subexpression or parameter."""
        if name in self.parameters:
            return self.parameters[name].dimension
        return unit(next(e.unit for e in self.lines if e.name == name))[1]

    def si_unit(self, name: str) -> str:
        """SI unit of a state, drive, subexpression or parameter, as Brian2 spells it."""
        return str(self.dimension(name))

    def with_defaults(self, name: str = "", **values: float | str) -> NeuronSpec:
        """A copy whose parameters have other default values: numbers in their unit, or text such as '5 ms'."""
        parameters = dict(self.parameters)
        for key, value in values.items():
            if key not in parameters:
                raise SpecError(unknown(key, "parameter", self.name, parameters))
            p = parameters[key]
            factor = unit(p.unit)[0]
            number = float(p.in_si(key, value)) / factor if isinstance(value, str) else float(value)
            p.check(key, number)
            parameters[key] = replace(p, value=number)
        return replace(self, name=name or self.name, parameters=parameters)


def unknown(name: str, kind: str, owner: str, known) -> str:
    """The message for a name that does not exist: says what it may have been."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    reserved = f"; Brian2 reserves '{name}'" if name in RESERVED or name in UNITS else ""
    hint = f" Did you mean '{close[0]}'?" if close else f" Known: {', '.join(known) or 'none'}."
    return f"unknown {kind} '{name}' of '{owner}'{reserved}.{hint}"


def _validate(spec: NeuronSpec) -> None:
    if not spec.name.isidentifier():
        raise SpecError(f"model name '{spec.name}' is not an identifier; use letters, digits and '_'")
    seen: set[str] = set()
    for name in [*(e.name for e in spec.lines), *spec.parameters]:
        _check_name(name, spec.name)
        if name in seen:
            raise SpecError(f"'{name}' of '{spec.name}' is declared twice; rename one of them")
        seen.add(name)
    for name, parameter in spec.parameters.items():
        parameter.check(name, parameter.value)

    known = {name: p.dimension for name, p in spec.parameters.items()}
    for equation in spec.lines:
        known[equation.name] = _base_unit(equation, spec.name)
    noise = {"xi": BASE["second"].power(-1).power(_HALF)}
    for equation in spec.lines:
        if equation.kind == "drive":
            continue
        expected = known[equation.name]
        if equation.kind == "differential":
            expected = expected.times(BASE["second"].power(-1))
        found = _dimension(equation.expression, {**known, **noise}, spec.name, f"the equation of '{equation.name}'")
        if found != expected and equation.expression.strip() not in ("0", "0.0"):
            raise UnitError(
                f"the equation of '{equation.name}' in '{spec.name}' has unit {found}, but {expected} is needed: '{equation.expression}'"
            )

    # A draw per step has a probability that depends on the step, so `dt` is known there and nowhere else.
    for text, what, names in ((spec.threshold, "the threshold", {**known, "dt": BASE["second"]}), (spec.spike_scale, "spike_scale", known)):
        if text:
            _dimension(text, names, spec.name, what)
    if spec.refractory:
        found = _dimension(spec.refractory, known, spec.name, "the refractory period")
        if spec.refractory in spec.parameters and found != BASE["second"]:
            raise UnitError(f"refractory parameter '{spec.refractory}' of '{spec.name}' has unit {found}; it must be a time")
        if spec.refractory not in spec.parameters and not re.search(r"[<>]", spec.refractory):
            raise SpecError(f"refractory '{spec.refractory}' of '{spec.name}' is neither a time parameter nor a condition")
    if spec.threshold and not re.search(r"[<>]", spec.threshold):
        raise SpecError(f"threshold '{spec.threshold}' of '{spec.name}' is not a condition; write e.g. 'v > v_threshold'")
    if spec.gated and not spec.refractory:
        raise SpecError(
            f"'{sorted(spec.gated)[0]}' of '{spec.name}' is '(unless refractory)' but the model has no refractory period; give one or drop the flag"
        )
    for what, statements in (("reset", spec.reset_statements), ("every_step", spec.every_step_statements)):
        for statement in statements:
            if statement.target not in spec.states:
                raise SpecError(unknown(statement.target, f"{what} target", spec.name, spec.states))
            found = _dimension(statement.expression, known, spec.name, f"the {what}")
            if found != known[statement.target]:
                fix = (
                    f"; Brian2 wants units on zero too: write 0*{known[statement.target]}"
                    if statement.expression.strip() in ("0", "0.0")
                    else ""
                )
                raise UnitError(
                    f"the {what} of '{statement.target}' in '{spec.name}' has unit {found}, but {known[statement.target]} is needed{fix}"
                )
    if closed := [s.target for s in spec.every_step_statements if s.target in spec.gated]:
        raise SpecError(
            f"'{closed[0]}' of '{spec.name}' is clamped while refractory, but every_step changes it in every step; drop '(unless refractory)' or the statement"
        )
    for name in spec.inputs:
        if name not in spec.states:
            raise SpecError(unknown(name, "input", spec.name, spec.states))
    for name, expression in spec.initial.items():
        if name not in spec.states:
            raise SpecError(unknown(name, "initial value", spec.name, spec.states))
        found = _dimension(expression, known, spec.name, f"the initial value of '{name}'")
        if found != known[name] and expression.strip() not in ("0", "0.0"):
            raise UnitError(f"the initial value of '{name}' in '{spec.name}' has unit {found}, but {known[name]} is needed")


def _check_name(name: str, owner: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise SpecError(f"name '{name}' of '{owner}' is not an identifier; use letters, digits and '_'")
    if name in RESERVED or name in UNITS or name in FUNCTIONS:
        what = "a unit" if name in UNITS else "a function" if name in FUNCTIONS else "reserved by Brian2"
        suggestion = {"i": "i_syn", "N": "size", "xi": "noise", "t": "time", "e": "e_rev"}.get(name, f"{name}_")
        raise SpecError(f"name '{name}' of '{owner}' is {what}; rename it, e.g. '{suggestion}'")
    if name.startswith("_") or name.endswith(("_pre", "_post")):
        raise SpecError(
            f"name '{name}' of '{owner}' begins with '_' or ends with '_pre' or '_post', which Brian2 keeps for itself; rename it"
        )


def _base_unit(equation: Equation, owner: str) -> Dimension:
    factor, dimension = unit(equation.unit)
    if not math.isclose(factor, 1.0):
        raise UnitError(f"'{equation.name}' of '{owner}' is declared in {equation.unit}; equations take SI units: write '{dimension}'")
    return dimension


def _dimension(expression: str, known: Mapping[str, Dimension], owner: str, what: str) -> Dimension:
    try:
        return dimension_of(expression, known)
    except NameError as error:
        raise SpecError(unknown(str(error.args[0]), f"name in {what}", owner, [n for n in known if n != "xi"])) from None
    except UnitError as error:
        raise UnitError(f"{what} of '{owner}': {error}") from None


__all__ = ["DIMENSIONLESS", "Equation", "NeuronSpec", "Parameter", "SpecError", "Statement", "UnitError"]
