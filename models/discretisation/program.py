"""One whole step of a population as a list of assignments: the events in order, the derived step among them.

What the engines do event by event is written here once more as data, so that kernels can be printed from it
and differentiated (adjoint.py). Names that begin with '_' are ours; a model's never do.

    _arrive_R    what arrives at receptor R in this step
    _margin      distance to threshold;  _spike  1 where it is crossed, else 0
    active       whether the neuron integrates and may spike;  _listens  whether a gated receptor receives
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import sympy

from spiketwin.models.discretisation.conditions import elementwise, margin, written_out
from spiketwin.models.discretisation.step import Step, derive
from spiketwin.models.discretisation.symbols import DT, NOISE, blend, plus, symbol, to_sympy, where
from spiketwin.models.semantics import REFERENCE
from spiketwin.models.spec import NeuronSpec

MARGIN, SPIKE, SPIKED, LISTENS, UNIFORM = (symbol(n) for n in ("_margin", "_spike", "_spiked", "_listens", "uniform"))


@dataclass(frozen=True)
class Let:
    """name := value, a number per neuron."""

    name: sympy.Symbol
    value: sympy.Expr


@dataclass(frozen=True)
class Crossing:
    """_spiked := _margin beyond zero, if active; _spike is the same as a number, with a surrogate gradient."""

    strict: bool
    gated: bool


@dataclass(frozen=True)
class Release:
    """active := the refractory period is over. condition: of the model; None where it lasts a fixed time."""

    condition: sympy.Basic | None


Operation = Let | Crossing | Release


@dataclass(frozen=True, eq=False)
class Program:
    """A step of one population. events: name -> operations.  after: the symbol of each state at the
    end of the step.  held: whether a refractory period ever holds a neuron."""

    spec: NeuronSpec
    step: Step
    order: tuple[str, ...]
    held: bool
    receptors: tuple[str, ...]
    events: tuple[tuple[str, tuple[Operation, ...]], ...]
    after: dict[str, sympy.Symbol]
    renewals: dict[str, str]

    @cached_property
    def lets(self) -> tuple[Let, ...]:
        return tuple(op for _, operations in self.events for op in operations if isinstance(op, Let))

    @cached_property
    def constants(self) -> tuple[str, ...]:
        """Parameters, constants of the step and dt that the operations use, in a fixed order."""
        conditions = (op.condition for _, ops in self.events for op in ops if isinstance(op, Release) and op.condition is not None)
        used = {str(s) for e in (*(let.value for let in self.lets), *conditions) for s in e.free_symbols}
        return tuple(n for n in (*self.spec.parameters, *self.step.constants, str(DT)) if n in used)

    @cached_property
    def signals(self) -> tuple[str, ...]:
        """Drives and draws that the operations use."""
        used = {str(s) for let in self.lets for s in let.value.free_symbols}
        return tuple(n for n in (*self.spec.drives, str(NOISE), str(UNIFORM)) if n in used)

    def state_of(self, name: sympy.Symbol) -> str:
        """The state that an assignment of that name renews, '' for another quantity."""
        return self.renewals.get(str(name), "")

    def around(self, event: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Events before `event`, and from it on."""
        k = self.order.index(event) if event in self.order else len(self.order)
        return self.order[:k], self.order[k:]


def arrival(receptor: str) -> sympy.Symbol:
    return symbol(f"_arrive_{receptor}")


def unsupported_order(spec: NeuronSpec, order: Iterable[str], held: bool = True) -> str:
    """'' or why a step in this order of events cannot be written as one list of assignments."""
    when = {event: k for k, event in enumerate(order)}

    def late(first: str, second: str) -> bool:
        """Whether `second` is in the order and `first` does not come before it."""
        return second in when and when.get(first, len(when)) > when[second]

    if late("threshold", "reset"):
        return "the reset comes before the threshold and acts on the spike of the step before"
    gated = sorted(set(spec.gated) & set(spec.inputs))
    if gated and late("threshold", "receive"):
        return f"'{gated[0]}' is closed while refractory and receives before the threshold"
    if held and spec.refractory and any(late("count_down", event) for event in ("integrate", "threshold", *["receive"] * bool(gated))):
        return "the refractory period is counted down after it has acted"
    return ""


@lru_cache(maxsize=512)
def program(
    spec: NeuronSpec, scheme: str, order: tuple[str, ...] = REFERENCE.order, held: bool = True, receptors: tuple[str, ...] = ()
) -> Program:
    """The step of `spec` under `scheme`.

    held: False where a refractory period of at most one step never holds a neuron.  receptors: those with input.
    Raises SchemeError as derive() does, ValueError for an order that unsupported_order() names.
    """
    if reason := unsupported_order(spec, order, held):
        raise ValueError(f"no program for '{spec.name}': {reason}")
    held = held and bool(spec.refractory)
    renewals: dict[str, str] = {}
    step = derive(spec if held or not spec.refractory else without_gate(spec), scheme)
    now = {symbol(s): symbol(s) for s in spec.states}
    makers = {
        "count_down": lambda: _count_down(spec, held, now),
        "integrate": lambda: _integrate(step, now, renewals),
        "threshold": lambda: _threshold(spec, held, now),
        "receive": lambda: _receive(spec, order, held, receptors, now, renewals),
        "reset": lambda: _reset(spec, order, now, renewals),
    }
    events = tuple((event, tuple(makers[event]())) for event in order)
    return Program(spec, step, tuple(order), held, receptors, events, {str(x): y for x, y in now.items()}, renewals)


@lru_cache(maxsize=256)
def without_gate(spec: NeuronSpec) -> NeuronSpec:
    """The model of a neuron that is never refractory while it is integrated."""
    return replace(spec, refractory="", equations=spec.equations.replace("(unless refractory)", ""))


def _count_down(spec: NeuronSpec, held: bool, now: dict) -> Sequence[Operation]:
    if not held:
        return []
    if spec.refractory_kind == "time":
        return [Release(None)]
    return [Release(to_sympy(elementwise(written_out(spec.refractory, spec.subexpressions))).xreplace(now))]


def _integrate(step: Step, now: dict, renewals: dict) -> Sequence[Operation]:
    out = [Let(name, value.xreplace(now)) for name, value in step.assignments]
    now.update({x: symbol(f"{x}_new") for x in now})
    renewals.update({f"{x}_new": str(x) for x in now})
    return out


def _threshold(spec: NeuronSpec, held: bool, now: dict) -> Sequence[Operation]:
    if not spec.threshold:
        return []
    text, strict = margin(spec)
    return [Let(MARGIN, to_sympy(text).xreplace(now)), Crossing(strict, held)]


def _receive(
    spec: NeuronSpec, order: tuple[str, ...], held: bool, receptors: tuple[str, ...], now: dict, renewals: dict
) -> Sequence[Operation]:
    out: list[Operation] = []
    for receptor in receptors:
        x, name = symbol(receptor), symbol(f"_{receptor}_received")
        closed = receptor in spec.gated and (held or "threshold" in order)
        incoming = where(LISTENS, arrival(receptor), sympy.Integer(0)) if closed else arrival(receptor)
        out.append(Let(name, plus(now[x], incoming)))
        now[x], renewals[str(name)] = name, receptor
    return out


def _reset(spec: NeuronSpec, order: tuple[str, ...], now: dict, renewals: dict) -> Sequence[Operation]:
    if not spec.threshold or "threshold" not in order:
        return []
    out: list[Operation] = []
    for k, statement in enumerate(spec.reset_statements):
        x = symbol(statement.target)
        value = to_sympy(written_out(statement.expression, spec.subexpressions)).xreplace(now)
        new = {"=": value, "+=": plus(now[x], value), "-=": plus(now[x], -value)}[statement.operator]
        name = symbol(f"_{x}_reset_{k}")
        out.append(Let(name, blend(SPIKED, SPIKE, new, now[x])))
        now[x], renewals[str(name)] = name, str(x)
    return out


def gated_receptors(p: Program) -> bool:
    """Whether a receptor of the program ignores what arrives while the neuron is refractory."""
    return any(let.value.has(LISTENS) for let in p.lets)
