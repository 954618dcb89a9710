"""How the weights of a projection change: a rule as data, with units, and the normalisation of weights.

A rule has traces, which only the spikes of their own neuron change and which decay exponentially in between, states of
single synapses, such as an eligibility, and statements that run for a synapse when a presynaptic spike arrives there (`on_pre`), when
its postsynaptic neuron fires (`on_post`), or all the time (`every_step`). Brian2 runs the text as it stands; the compiled engine
compiles it, torch executes it event by event. Within a time step, after the threshold and before the reset, `every_step` comes first, then arrivals, then
postsynaptic spikes.

A neuromodulator is a state of the target population that `post_states` names: reward is a spike that arrives there.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from types import MappingProxyType

from spiketwin.models.expressions import evaluate
from spiketwin.models.spec import (
    RESERVED,
    Parameter,
    SpecError,
    Statement,
    _check_name,
    _dimension,
    parse_equations,
    parse_statements,
    unknown,
)
from spiketwin.models.units import BASE, DIMENSIONLESS, FUNCTIONS, UNITS, Dimension, UnitError, identifiers, unit

WEIGHT = "w"
GATE = "is_on"  # what every_step_if says, in Brian2's code
DRAW = re.compile(r"\brand\(\s*\)")
OURS = frozenset({GATE, "number", "drawn", "weight_unit"})  # what Brian2's code of a rule calls by these names


@dataclass(frozen=True)
class PlasticityRule:
    """A learning rule in Brian2's syntax, validated on construction.

    pre_traces, post_traces: decaying traces of the two neurons, 'dpre/dt = -pre/tau_pre : 1', 0 at the start.
    on_pre, on_post: statements 'x = …', 'x += …', 'x -= …', separated by ';' or new lines. They may read the weight
        `w` (a number in the projection's unit), all traces as this synapse sees them (the presynaptic ones late by
        its delay), parameters, and `post_states` of the target; they may set `w`, names of their own for
        intermediate results, and the traces of their own side, from that side alone.
        on_pre runs after the spike has acted with the weight as it was. `rand()` is uniform in 0 … 1, drawn for this synapse and
        event alone; every engine draws the same number.
    synapse_states: states of single synapses, 0 at the start: 'dc/dt = -c/tau_c : 1', which decays, or 'n : 1', which stays. All
        statements may read and set them.
    every_step: statements that run for each synapse in every step, with traces as they were left by earlier steps, decayed to this
        one. They may read `dt`, the step in seconds, and must not set traces. every_step_if: a condition on postsynaptic traces,
        `post_states` and parameters; where it does not hold, the neuron's synapses are left alone.
    efficacy: factor on the weight that a spike transmits, of presynaptic traces as the spike finds them: short-term plasticity.
    post_states: state of the target -> unit; state v is read as `v_post`, as it is before the reset.
    bounds: expressions of parameters between which initial weights must lie; the statements keep to them with clip().

    Raises SpecError or UnitError naming the thing, the value and the fix.
    """

    name: str
    on_pre: str = ""
    on_post: str = ""
    pre_traces: str = ""
    post_traces: str = ""
    synapse_states: str = ""
    every_step: str = ""
    every_step_if: str = ""
    efficacy: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    post_states: Mapping[str, str] = field(default_factory=dict)
    bounds: tuple[str, str] = ("-inf", "inf")
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))
        object.__setattr__(self, "post_states", MappingProxyType(dict(self.post_states)))
        object.__setattr__(self, "bounds", tuple(self.bounds))
        _validate(self)

    def __hash__(self) -> int:
        return hash(tuple(tuple(v.items()) if isinstance(v, Mapping) else v for v in self._fields))

    def __reduce__(self):
        # mapping proxies do not pickle
        return PlasticityRule, tuple(dict(v) if isinstance(v, Mapping) else v for v in self._fields)

    @property
    def _fields(self) -> tuple:
        return tuple(getattr(self, f.name) for f in fields(self))

    @cached_property
    def traces(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the traces of each side, 'pre' and 'post'."""
        return {side: tuple(e.name for e in parse_equations(text)) for side, text in self._equations.items()}

    @cached_property
    def memory(self) -> tuple[str, ...]:
        """Names of the states of single synapses."""
        return tuple(e.name for e in parse_equations(self.synapse_states))

    @cached_property
    def statements(self) -> Mapping[str, tuple[Statement, ...]]:
        """What runs at the event of each side, 'pre' and 'post', and in 'every' step; each rand() is numbered, rand(0), rand(1), …"""
        number, made = itertools.count(), {}
        for side, what, text in (
            ("pre", "on_pre", self.on_pre),
            ("post", "on_post", self.on_post),
            ("every", "every_step", self.every_step),
        ):
            made[side] = parse_statements(DRAW.sub(lambda _: f"rand({next(number)})", text), what)
        return made

    @cached_property
    def draws(self) -> int:
        """How many numbers a synapse may draw in a step."""
        return sum(len(DRAW.findall(text)) for text in (self.on_pre, self.on_post, self.every_step))

    @cached_property
    def values(self) -> Mapping[str, float]:
        """Every parameter in SI."""
        return {name: p.si for name, p in self.parameters.items()}

    @cached_property
    def decay_rates(self) -> Mapping[str, float]:
        """Trace, or state of a synapse -> its rate of decay in 1/s; 0 for a state that stays."""
        lines = [e for text in (*self._equations.values(), self.synapse_states) for e in parse_equations(text)]
        rates = {e.name: e.expression for e in lines if e.kind == "differential"}
        return {e.name: -float(evaluate(rates[e.name], {**self.values, e.name: 1.0})) if e.name in rates else 0.0 for e in lines}

    @cached_property
    def limits(self) -> tuple[float, float]:
        """The bounds as numbers, in the projection's unit."""
        low, high = (float(evaluate(b, {**self.values, "inf": math.inf})) for b in self.bounds)
        return low, high

    def trace_statements(self, side: str) -> tuple[Statement, ...]:
        """Of the statements of one side, those that its traces depend on; the others concern single synapses."""
        own, kept = set(self.traces[side]) | set(self.parameters), []
        for s in self.statements[side]:
            reads = identifiers(s.expression) | ({s.target} if s.operator != "=" else set())
            if s.target not in (WEIGHT, *self.memory) and reads <= own and "rand(" not in s.expression:
                own.add(s.target)
                kept.append(s)
            else:
                own.discard(s.target)
        return tuple(kept)

    def synapse_statements(self, side: str) -> tuple[Statement, ...]:
        """Of the statements of one side, those that the weight and the states of a synapse depend on."""
        needed, kept = {WEIGHT, *self.memory}, []
        for s in reversed(self.statements[side]):
            if s.target in needed:
                needed -= {s.target} if s.operator == "=" else set()
                needed |= identifiers(s.expression)
                kept.append(s)
        return tuple(reversed(kept))

    def with_parameters(self, **values: float | str) -> PlasticityRule:
        """The same rule with other parameters: numbers in the parameter's unit, or text such as '20 ms'."""
        parameters = dict(self.parameters)
        for name, value in values.items():
            if name not in parameters:
                raise SpecError(unknown(name, "parameter", self.name, parameters))
            p = parameters[name]
            if (si := p.in_si(name, value)).ndim:
                raise SpecError(f"parameter '{name}' of rule '{self.name}' is one number for all synapses; got {value}")
            parameters[name] = replace(p, value=float(si) / unit(p.unit)[0])
        return replace(self, parameters=parameters)

    @property
    def _equations(self) -> Mapping[str, str]:
        return {"pre": self.pre_traces, "post": self.post_traces}


@dataclass(frozen=True)
class Normalisation:
    """Scales the incoming weights of each postsynaptic neuron so that they sum to `total`, in the projection's unit.

    every_ms: at time 0 and then regularly, at the start of a step; None: whenever a session is asked to.
    A neuron whose weights sum to 0 or less is left alone.
    """

    total: float
    every_ms: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.total) and self.total > 0):
            raise ValueError(f"total = {self.total} of a normalisation must be positive and finite")
        if self.every_ms is not None and not (math.isfinite(self.every_ms) and self.every_ms > 0):
            raise ValueError(f"every_ms = {self.every_ms} of a normalisation must be positive, or None for none by itself")


# -- validation ------------------------------------------------------------------------------------


def _validate(rule: PlasticityRule) -> None:
    if not rule.name.isidentifier():
        raise SpecError(f"rule name '{rule.name}' is not an identifier; use letters, digits and '_'")
    if not any(text.strip() for text in (rule.on_pre, rule.on_post, rule.every_step)):
        raise SpecError(
            f"rule '{rule.name}' never changes a weight: give on_pre, on_post or every_step, or leave the rule out of the projection"
        )
    if rule.every_step_if and not rule.every_step:
        raise SpecError(
            f"rule '{rule.name}' has every_step_if = '{rule.every_step_if}', but no every_step; give it, or leave the condition out"
        )
    for text in (rule.on_pre, rule.on_post, rule.every_step):
        if re.search(r"\brand\b", DRAW.sub("", text)):
            raise SpecError(f"rule '{rule.name}' gives rand an argument: '{text.strip()}'; write rand()")
    known = _declared(rule)
    for line in parse_equations(rule.synapse_states):
        if line.kind != "drive":
            _check_decay(rule, line, f"the synapse state '{line.name}'", f", or '{line.name} : {line.unit}' for one that stays")
    for text in rule._equations.values():
        for line in parse_equations(text):
            _check_decay(rule, line, f"the trace '{line.name}'")
    low, high = (_bound(rule, b) for b in rule.bounds)
    if not low < high:
        raise SpecError(f"bounds of '{rule.name}' are {low:g} and {high:g}: the first must be the smaller one; swap them")
    for side, other in (("pre", "post"), ("post", "pre")):
        _check_statements(rule, side, dict(known), foreign=rule.traces[other], shared=rule.traces[side])
    every = {**known, "dt": unit("second")[1]}
    _check_statements(rule, "every", every, foreign=(*rule.traces["pre"], *rule.traces["post"]))
    _check_reads(rule, rule.every_step_if, "every_step_if", every, {*rule.traces["post"], *rule.parameters, *_seen(rule)})
    if rule.efficacy:
        found = _check_reads(rule, rule.efficacy, "efficacy", known, {*rule.traces["pre"], *rule.parameters})
        if found != DIMENSIONLESS:
            raise UnitError(f"the efficacy of rule '{rule.name}' has unit {found}; it is a factor on the weight: '{rule.efficacy}'")
    elif all(s.target != WEIGHT for statements in rule.statements.values() for s in statements):
        raise SpecError(
            f"no statement of rule '{rule.name}' changes the weight '{WEIGHT}'; write e.g. on_post = 'w = clip(w + …, 0, w_max)'"
        )


def _seen(rule: PlasticityRule) -> list[str]:
    return [f"{state}_post" for state in rule.post_states]


def _declared(rule: PlasticityRule) -> dict[str, Dimension]:
    """Every name that statements may read, with its dimension."""
    known: dict[str, Dimension] = {WEIGHT: DIMENSIONLESS}
    for name in rule.post_states:
        known[f"{name}_post"] = unit(rule.post_states[name])[1]
    for name, parameter in rule.parameters.items():
        if not name.isidentifier() or name in RESERVED | OURS or name in UNITS or name in FUNCTIONS or name.startswith("_"):
            raise SpecError(f"parameter '{name}' of rule '{rule.name}' is no name that Brian2 takes, or one it keeps for itself; rename it")
        parameter.check(name, parameter.value)
    dimensions = {name: p.dimension for name, p in rule.parameters.items()}
    for text in (*rule._equations.values(), rule.synapse_states):
        for line in parse_equations(text):
            _check_name(line.name, rule.name)
            if line.name in OURS:
                raise SpecError(f"'{line.name}' of rule '{rule.name}' is a name that the rule's code in Brian2 uses itself; rename it")
            dimensions_of_line = unit(line.unit)[1]
            if line.name in dimensions or line.name in known:
                raise SpecError(f"'{line.name}' of rule '{rule.name}' is declared twice; rename one of them")
            known[line.name] = dimensions_of_line
    if clash := set(known) & set(dimensions):
        raise SpecError(f"'{sorted(clash)[0]}' of rule '{rule.name}' is declared twice; rename one of them")
    return {**known, **dimensions}


def _check_decay(rule: PlasticityRule, line, what: str, otherwise: str = "") -> None:
    """It decays exponentially by itself: what makes its value between events known without stepping."""
    if line.kind != "differential" or line.gated:
        raise SpecError(f"{what} of rule '{rule.name}' is not of the form 'd{line.name}/dt = -{line.name}/tau : 1'{otherwise}")
    dimensions = {n: p.dimension for n, p in rule.parameters.items()} | {line.name: unit(line.unit)[1]}
    found = _dimension(line.expression, dimensions, rule.name, what)
    if found != dimensions[line.name].times(BASE["second"].power(-1)):
        raise UnitError(f"{what} of rule '{rule.name}' has rate {found}; it must be {line.unit} per second: '{line.expression}'")
    slope = [float(evaluate(line.expression, {**rule.values, line.name: x})) for x in (0.0, 1.0, -2.0, 3.0)]
    if slope[0] != 0 or not slope[1] < 0 or not all(math.isclose(s, slope[1] * x, rel_tol=1e-9) for s, x in zip(slope[1:], (1, -2, 3))):
        raise SpecError(
            f"{what} of rule '{rule.name}' does not decay exponentially ('{line.expression}'); write '-{line.name}/tau' with a tau > 0"
            f"{otherwise}, and put what else it does into statements"
        )


def _bound(rule: PlasticityRule, text: str) -> float:
    dimension = _dimension(text, {n: p.dimension for n, p in rule.parameters.items()} | {"inf": DIMENSIONLESS}, rule.name, "the bounds")
    if dimension != DIMENSIONLESS:
        raise UnitError(f"bound '{text}' of rule '{rule.name}' has unit {dimension}; weights are numbers in the projection's unit")
    return float(evaluate(text, {**rule.values, "inf": math.inf}))


def _check_reads(rule: PlasticityRule, text: str, what: str, known: Mapping[str, Dimension], allowed: set[str]) -> Dimension:
    """The dimension of an expression that may read some names only, and draws nothing."""
    if not text:
        return DIMENSIONLESS
    found = _dimension(text, known, rule.name, what)
    if DRAW.search(text):
        raise SpecError(f"{what} of rule '{rule.name}' draws a random number; draw in on_pre, on_post or every_step")
    if strange := sorted(identifiers(text) - allowed):
        raise SpecError(f"{what} of rule '{rule.name}' reads '{strange[0]}'; it may read {', '.join(sorted(allowed))}")
    return found


def _check_statements(
    rule: PlasticityRule, side: str, known: dict[str, Dimension], *, foreign: Collection[str], shared: Collection[str] = ()
) -> None:
    """foreign: traces that these statements must not set. shared: traces of the one neuron whose synapses run them."""
    what, own = "every_step" if side == "every" else f"on_{side}", set(shared) | set(rule.parameters)
    for s in rule.statements[side]:
        if s.target in foreign:
            if side == "every":
                raise SpecError(
                    f"every_step of rule '{rule.name}' sets the trace '{s.target}'; traces change with spikes, in on_pre or on_post"
                )
            other = "post" if side == "pre" else "pre"
            raise SpecError(
                f"{what} of rule '{rule.name}' sets '{s.target}', a trace of the {other}synaptic neuron; it must be set in on_{other}, or "
                f"be declared among the {side}_traces"
            )
        kept = s.target in rule.parameters or s.target in RESERVED | set(UNITS) | FUNCTIONS | OURS
        if kept or s.target.endswith(("_pre", "_post")):
            raise SpecError(f"{what} of rule '{rule.name}' sets '{s.target}', which is a constant or belongs to Brian2; use another name")
        if "randn" in {w.split("(")[0] for w in s.expression.replace("(", "( ").split()}:
            raise SpecError(
                f"{what} of rule '{rule.name}' draws normal numbers, which engines could not draw alike; build them from rand()"
            )
        found = _dimension(s.expression, known, rule.name, what)
        expected = known.setdefault(s.target, found)
        if found != expected and s.expression.strip() not in ("0", "0.0"):
            raise UnitError(f"{what} of rule '{rule.name}' gives '{s.target}' unit {found}, but {expected} is needed: '{s.expression}'")
        random = {"a random number"} if "rand(" in s.expression else set()
        reads = identifiers(s.expression) | ({s.target} if s.operator != "=" else set())
        if s.target in shared and (strange := sorted(reads - own) or sorted(random)):
            raise SpecError(
                f"{what} of rule '{rule.name}' sets the trace '{s.target}' from '{strange[0]}'; a trace belongs to one neuron, "
                f"all its synapses share it, so that it may be set from {side}synaptic traces and parameters alone"
            )
        if s.target not in (WEIGHT, *rule.memory) and reads <= own and not random:
            own.add(s.target)
        else:
            own.discard(s.target)


__all__ = ["Normalisation", "PlasticityRule"]
