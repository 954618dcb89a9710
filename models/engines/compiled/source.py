"""From a network's structure to the source of one compiled time loop.

Two things are written: for each kind of population the functions `integrate` (refractoriness, the
derived step, the threshold) and `reset`; and a driver `run` that calls them, sends the spikes along
the projections, and loops over steps and trials. Parameters, sizes, weights and delays are arguments:
networks that differ only in those share one compiled program.

A model's names never begin with '_'; here '_all_v' is state v of all neurons and other names with '_' are ours.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from inspect import getsource
from pathlib import Path

from spiketwin.models.discretisation import derive, margin
from spiketwin.models.discretisation.conditions import written_out
from spiketwin.models.discretisation.functions import scalar_functions
from spiketwin.models.discretisation.printing import code
from spiketwin.models.engines.compiled.plastic import arrays, rule_arguments, rule_source
from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.spec import NeuronSpec
from spiketwin.models.units import UNITS

CALM_EVERY = 16  # steps; in so many a state that halves at each falls from what calm() lets pass to the smallest normal number
HEADER = '''"""Written by spiketwin: the time loop of networks of one structure. Kernels {version}."""

from math import atan, cos, cosh, log1p, sin, sinh, sqrt, tan

from numba import njit
from numpy import ceil, floor, int32

from spiketwin.models.engines.compiled.meeting import FIRED, FULL, come, meet, put, take
from spiketwin.models.engines.compiled.intrinsics import borrowed, fetch, wide_vectors
from spiketwin.models.engines.compiled.kernels import (
    calm, collect, deliver, deliver_delayed, deliver_dense, fade, forget, hold_for, hold_on, kernel, normalise, receive,
    receive_gated, record, record_weights, send, warm_up,
)
from spiketwin.models.engines.poisson import draw_step
from spiketwin.models.engines.synapse_draws import draw
from spiketwin.models.engines.vector_math import exp, expm1, exprel, log, tanh

arctan, minimum, maximum = atan, min, max
'''
DRIVER = '''

@njit(cache=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True)
def run(cursor, last, steps, budget, fill, fresh, origin, part, edges, board, {arguments}):
    """Advance from cursor = (trial, step) by at most `budget` steps, or until trial `last` or a full list of spikes.

    fill: how many spikes each population's list holds. fresh: whether nothing has happened before the first step of a trial.
    origin: steps that the trial had behind it when this run began.
    This is thread `part` of those on the board; its neurons of population p are edges[p, part] … edges[p, part + 1].
    """
    wide_vectors()
    parts, meeting = board.shape[0], max(board[part, 0, 0], board[part, 1, 0]) >> 2
'''


@dataclass(frozen=True)
class Cell:
    """What the code of a population depends on. vectors: constants that differ between its neurons;
    signals: drives that vary in time; rings: receptors whose input passes through a ring of future steps."""

    spec: NeuronSpec
    scheme: str
    vectors: tuple[str, ...]
    signals: tuple[str, ...]
    rings: tuple[str, ...]

    @property
    def scalars(self) -> tuple[str, ...]:
        return tuple(n for n in used_names(self.spec, self.scheme) if n not in self.vectors and n not in self.signals)

    @cached_property
    def arrays(self) -> tuple[str, ...]:
        """Arrays that the population needs; numba compiles faster without the others."""
        spec = self.spec
        needed = {
            "states": True,
            "scalars": self.scalars,
            "vectors": self.vectors,
            "signals": self.signals,
            "noise": spec.is_noisy,
            "uniform": spec.has_random_threshold,
            "hold": spec.refractory,
            "fired": spec.threshold,
            "words": spec.threshold,
            "ids": spec.threshold,
            "mail": spec.threshold,
            "counts": spec.threshold,
            "period": spec.threshold and spec.refractory_kind == "time",
            "which": True,
            "trace": True,
        }
        return tuple(name for name, need in needed.items() if need)


@dataclass(frozen=True)
class Wire:
    """What the code of a projection depends on. source: ('population', 'spikes' given or 'poisson' drawn, index); state: index of
    the receptor; ring: its index among the target's rings, -1 to add to the state at once.
    kind: 'dense' or 'sparse' where all delays are equal, 'delayed' where they differ, 'plastic' where weights follow `rule`;
    straight: neuron k reaches neuron k alone, of a population of the same size; normalised: at regular times; recorded: the weights
    of every step are kept."""

    source: tuple[str, int]
    target: int
    state: int
    ring: int
    kind: str
    rule: PlasticityRule | None = None
    straight: bool = False
    normalised: bool = False
    recorded: bool = False


@lru_cache(maxsize=256)
def operations(cell: Cell) -> int:
    """About how many additions a neuron's step takes the time of: a function counts as twenty of them."""
    text = " ".join(code(expression, "numba") for _, expression in derive(cell.spec, cell.scheme).assignments)
    return len(re.findall(r"[-+*/]", text)) + 20 * len(re.findall(r"[a-z0-9]\(", text))


@lru_cache(maxsize=256)
def texts(spec: NeuronSpec) -> tuple[str, ...]:
    """What is evaluated besides the derived step: threshold margin, refractory condition, then the reset's right-hand sides."""
    threshold = margin(spec)[0] if spec.threshold else ""
    condition = spec.refractory if spec.refractory_kind == "condition" else ""
    return tuple(written_out(t, spec.subexpressions) for t in (threshold, condition, *(s.expression for s in spec.reset_statements)))


@lru_cache(maxsize=256)
def used_names(spec: NeuronSpec, scheme: str) -> tuple[str, ...]:
    """Parameters, constants of the step, drives and dt, as far as the functions need them."""
    step = derive(spec, scheme)
    needed = set(step.arguments).union(*map(names_in, texts(spec)))
    return tuple(n for n in (*spec.parameters, *step.constants, *spec.drives, "dt") if n in needed)


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\b[A-Za-z]\w*\b", text))


def structure(cells: Iterable[Cell], wires: Iterable[Wire]) -> str:
    """A hash of the equations, scheme, rules and connections: what a session needs to go on from a saved one, whatever code runs it."""
    parts = [_said(cell.spec) | {"scheme": cell.scheme} for cell in cells]
    for wire in wires:
        parts.append((_said(wire.rule) if wire.rule else {}) | {"source": wire.source, "target": wire.target, "state": wire.state})
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _said(declared: NeuronSpec | PlasticityRule) -> dict[str, object]:
    """The statements of a model or rule, without its names, values and remarks."""
    texts = {f.name: getattr(declared, f.name) for f in fields(declared) if f.name not in ("name", "source")}
    return {name: text for name, text in texts.items() if isinstance(text, str)}


@lru_cache(maxsize=64)
def source(cells: tuple[Cell, ...], wires: tuple[Wire, ...]) -> str:
    """The module that runs networks of this structure; its `run` takes what driver_arguments() lists."""
    functions: dict[str, str] = {}
    # populations of one kind share their functions
    names = [functions.setdefault(_integrate(c) + _reset(c), f"{c.spec.name}_{len(functions)}") for c in cells]
    bodies = [body.replace("@NAME", name) for body, name in functions.items()]
    learning: dict[str, str] = {}  # rules that differ in parameters alone share their functions, too
    rules = [learning.setdefault(rule_source(w.rule), f"{w.rule.name}_{len(learning)}") if w.rule else "" for w in wires]
    bodies += [body.replace("@NAME", name) for body, name in learning.items()]
    # numba does not notice a change of functions that are called from another file: their hash is part of this text
    here = Path(__file__)
    called = b"".join(here.with_name(f"{name}.py").read_bytes() for name in ("intrinsics", "kernels", "meeting"))
    called += b"".join(here.parent.with_name(f"{name}.py").read_bytes() for name in ("vector_math", "poisson", "synapse_draws"))
    version = hashlib.sha256(called).hexdigest()[:16]
    return HEADER.format(version=version) + _helpers(bodies, cells) + "".join(bodies) + _driver(cells, wires, names, rules)


def driver_arguments(cells: Iterable[Cell], wires: Iterable[Wire]) -> list[str]:
    """Names of run()'s arguments after cursor, last, steps, budget, fill, fresh, origin, part, edges and board."""
    names = []
    for p, cell in enumerate(cells):
        names += [f"{array}{p}" for array in cell.arrays]
        names += [f"ring{p}_{r}" for r in range(len(cell.rings))]
    for w, wire in enumerate(wires):
        if wire.rule:
            names += [f"{array}{w}" for array in arrays(wire.rule)]
            names += [f"step{w}"] * bool(wire.rule.every_step)
            names += [f"total{w}", f"every{w}"] * wire.normalised + [f"weight_trace{w}"] * wire.recorded
            continue
        names += [f"weight{w}"] if wire.kind == "dense" else [f"begin{w}", f"end{w}", f"post{w}", f"weight{w}"]
        names += [f"delay{w}"] if wire.ring >= 0 else []
    for s in sorted({wire.source[1] for wire in wires if wire.source[0] == "spikes"}):
        names += [f"events{s}", f"offsets{s}"]
    for s in poisson_sources(wires):
        names += [f"ends{s}", f"marks{s}", f"key{s}", f"drawn{s}"]
    return names


def reaching_out(wires: Iterable[Wire]) -> set[int]:
    """Populations whose spikes reach neurons of other threads; of the others each thread lists its own."""
    return {wire.source[1] for wire in wires if wire.source[0] == "population" and not wire.straight}


def poisson_sources(wires: Iterable[Wire]) -> list[int]:
    """Indices of the sources that the loop draws itself."""
    return sorted({wire.source[1] for wire in wires if wire.source[0] == "poisson"})


# -- functions of a population ---------------------------------------------------------------------


def _helpers(bodies: Iterable[str], cells: Iterable[Cell]) -> str:
    """Functions and units that the bodies mention, as code."""
    used = set().union(*map(names_in, bodies))
    own = set().union(*({*c.spec.states, *c.spec.parameters, *c.spec.drives} for c in cells))
    out = [f"{name} = {factor!r}\n" for name, (factor, _) in UNITS.items() if name in used - own]
    for name, function in vars(scalar_functions).items():
        if name in used:
            out.append(f"\n\n@kernel\n{getsource(function)}\n\n{name} = {function.__name__}\n")
    return "".join(out)


def _arguments(cell: Cell, wanted: Iterable[str]) -> list[str]:
    return [a for a in cell.arrays if a in wanted]


INTEGRATE = ("states", "scalars", "vectors", "signals", "noise", "uniform", "hold", "fired")
RESET = ("states", "scalars", "vectors", "signals")


def _integrate(cell: Cell) -> str:
    """Refractoriness, the derived step and the threshold, for neurons _low … _high of trial _b at step _now, the run's step _t.

    Conditions are data, not branches, and nothing is called that LLVM cannot inline: the loop is vectorised.
    """
    spec, step = cell.spec, derive(cell.spec, cell.scheme)
    threshold, condition, *_ = texts(spec)
    arguments = ", ".join(["_now", "_t", "_b", "_low", "_high", *(f"_{a}" for a in _arguments(cell, INTEGRATE))])
    lines = ["", "", "@kernel", f"def integrate_@NAME({arguments}):", "    wide_vectors()"]
    # as wide as what it is compared with: in 64 bits the loop's vectors would hold half as many neurons
    lines += ["    _step = int32(_now)"] if spec.refractory_kind == "time" else []
    lines += _loads(cell, cell.scalars, cell.vectors, cell.signals)
    # numba computes in double precision where a whole number meets a single one
    lines += ["    real = _states.dtype.type"]
    lines += ["    _all_noise = _noise[_t, _b]"] if spec.is_noisy else []
    lines += ["    _all_uniform = _uniform[_t, _b]"] if spec.has_random_threshold else []
    lines += ["    for _n in range(_low, _high):"]
    per_neuron = (*spec.states, *cell.vectors, *cell.signals, *["noise"] * spec.is_noisy, *["uniform"] * spec.has_random_threshold)
    lines += [f"        {name} = _all_{name}[_n]" for name in per_neuron]
    match spec.refractory_kind:
        case "time":
            lines += ["        active = _hold[_n] <= _step"]
        case "condition":
            lines += [f"        active = (_hold[_n] == 0) | (not ({condition}))", "        _hold[_n] = not active"]
    lines += [f"        {name} = {code(expression, 'kernel')}" for name, expression in step.assignments]
    lines += [f"        _all_{s}[_n] = {s} = {s}_new" for s in spec.states]
    if spec.threshold:
        spike = f"({threshold}) {'>' if margin(spec)[1] else '>='} 0"
        lines += [f"        _fired[_n] = {f'active & ({spike})' if spec.refractory else spike}"]
    return "\n".join(lines) + "\n"


def _reset(cell: Cell) -> str:
    """The reset statements, for the neurons that fired."""
    statements, right = cell.spec.reset_statements, texts(cell.spec)[2:]
    if not statements:
        return ""
    used = set().union(*map(names_in, right))
    scalars, vectors, signals = (tuple(n for n in names if n in used) for names in (cell.scalars, cell.vectors, cell.signals))
    lines = ["", "", "@kernel", f"def reset_@NAME(_t, _b, {', '.join(f'_{a}' for a in _arguments(cell, RESET))}, _ids, _first, _last):"]
    lines += _loads(cell, scalars, vectors, signals)
    lines += ["    for _k in range(_first, _last):", "        _n = _ids[_k]"]
    lines += [f"        {name} = _all_{name}[_n]" for name in (*cell.spec.states, *vectors, *signals)]
    for statement, text in zip(statements, right):
        lines += [f"        {statement.target} {statement.operator} {text}", f"        _all_{statement.target}[_n] = {statement.target}"]
    return "\n".join(lines) + "\n"


def _loads(cell: Cell, scalars: Iterable[str], vectors: Iterable[str], signals: Iterable[str]) -> list[str]:
    """Lines that give scalars their names, and rows over the neurons theirs."""
    lines = [f"    {name} = _scalars[{cell.scalars.index(name)}]" for name in scalars]
    lines += [f"    _all_{name} = _states[_b, {k}]" for k, name in enumerate(cell.spec.states)]
    lines += [f"    _all_{name} = _vectors[{cell.vectors.index(name)}]" for name in vectors]
    lines += [f"    _all_{name} = _signals[{cell.signals.index(name)}, _t, _b % _signals.shape[2]]" for name in signals]
    return lines


# -- the loop over steps and trials ----------------------------------------------------------------


def _driver(cells: tuple[Cell, ...], wires: tuple[Wire, ...], names: list[str], rules: list[str]) -> str:
    cell_of = list(enumerate(cells))
    spiking = [(p, cell) for p, cell in cell_of if cell.spec.threshold]
    out = [f"{name} = borrowed({name})" for name in driver_arguments(cells, wires)]
    out += ["b, t = cursor[0], cursor[1]"]
    out += [f"k{p} = m{p} = fill[{p}]" for p, _ in cell_of]
    out += [f"low{p}, high{p} = edges[{p}, part], edges[{p}, part + 1]" for p, _ in cell_of]
    out += ["said = 0", "for _ in range(budget):"]
    step = ["if b == last or said & FULL:", "    break"]
    begin = [f"hold{p}[low{p}:high{p}] = 0" for p, cell in cell_of if "hold" in cell.arrays]
    begin += [f"ring{p}_{r}[:, low{p}:high{p}] = 0" for p, cell in cell_of for r in range(len(cell.rings))]
    plastic = [(w, wire) for w, wire in enumerate(wires) if wire.rule]
    begin += [f"forget({_bounds(wire)}, {rule_arguments('forget', w)})" for w, wire in plastic]
    step += ["now = origin + t", "if fresh and t == 0:", *_indented(begin or ["pass"])]
    for w, wire in plastic:
        if wire.normalised:
            step += [f"if now % every{w} == 0:", f"    normalise(now, total{w}, b, {_bounds(wire)}, {rule_arguments('normalise', w)})"]
        step += [f"if hot_n{w}[0] > 0:", f"    fade(now, {rule_arguments('fade', w)})"]
        step += [f"record_weights(t, b, weight{w}, begin{w}, end{w}, weight_trace{w})"] * wire.recorded
    step += [f"if now % {CALM_EVERY} == 0:", *(f"    calm(states{p}[b], low{p}, high{p})" for p, _ in cell_of)]
    # a call costs some 100 ns for its arrays: none is made in vain
    for p, _ in cell_of:
        step += [f"if which{p}.size > 0:", f"    record(t, b, states{p}, low{p}, high{p}, which{p}, trace{p})"]
    reach = [p for p, _ in spiking if p in reaching_out(wires)]
    if spiking:
        full = " or ".join(f"m{p} + 2*states{p}.shape[2] > ids{p}.size" for p, _ in spiking)
        step += [f"said = FULL if {full} else 0"]
    for p in reach:
        step += _stepped(p, cells[p], names[p])
    if spiking:
        step += ["if parts > 1:", "    meeting += 1"]
        if reach:
            step += [f"    if {' or '.join(f'm{p} > k{p}' for p in reach)}:", "        said |= FIRED"]
            step += [f"        put(board, mail{p}, part, meeting & 1, {p}, ids{p}, k{p}, m{p})" for p in reach]
        step += ["    come(board, part, meeting, said)"]
    for p, cell in cell_of:
        step += [] if p in reach else _stepped(p, cell, names[p])
    for w, wire in plastic:
        if wire.rule and wire.rule.every_step:
            given = ["now, b", f"step{w}", _bounds(wire), rule_arguments("go_on", w, wire.rule), *_post_states(wire, cells)]
            step += [f"go_on_{rules[w]}({', '.join(given)})"]
    step += [f"q{s} = draw_step(ends{s}, marks{s}, key{s}, b, now, drawn{s})" for s in poisson_sources(wires)]
    # what is known in this part need not wait for what the others have to say
    waits = next((w for w, wire in enumerate(wires) if wire.source[0] == "population" and not wire.straight), len(wires))
    for w, wire in enumerate(wires[:waits]):
        step += _sent(w, wire, cells, rules[w])
    early = [w for w, wire in plastic if w < waits and not (wire.rule and wire.rule.post_states)]
    for w in early:
        step += _learnt(w, wires[w], cells, rules[w])
    if spiking:
        step += ["if parts > 1:", "    said = meet(board, part, meeting)"]
        if reach:
            step += ["    if said & FIRED:"]
            step += [f"        first{p}, last{p}, m{p} = take(board, mail{p}, part, meeting & 1, {p}, ids{p}, k{p})" for p in reach]
            step += ["if part == 0:", *(f"    counts{p}[0, b, t] = m{p} - k{p}" for p in reach)]
        step += [f"counts{p}[part, b, t] = m{p} - k{p}" for p, _ in spiking if p not in reach]
    # ids[first:last] are this part's neurons, ids[k:m] all that fired, where they reach other parts
    for w, wire in enumerate(wires[waits:], waits):
        step += _sent(w, wire, cells, rules[w])
    for w, wire in plastic:
        step += [] if w in early else _learnt(w, wire, cells, rules[w])
    step += [_reception(p, cell, receptor, f"ring{p}_{r}") for p, cell in cell_of for r, receptor in enumerate(cell.rings)]
    for p, cell in spiking:
        if cell.spec.reset_statements:
            arguments = ", ".join(f"{a}{p}" for a in _arguments(cell, RESET))
            step += [f"if last{p} > first{p}:", f"    reset_{names[p]}(t, b, {arguments}, ids{p}, first{p}, last{p})"]
    step += ["t += 1", "if t == steps:", "    b, t = b + 1, 0"]
    out += _indented(step)
    out += [f"fill[{p}] = m{p}" for p, _ in cell_of]
    out += ["cursor[0], cursor[1] = b, t"]
    return DRIVER.format(arguments=", ".join(driver_arguments(cells, wires))) + "\n".join(_indented(out)) + "\n"


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _bounds(wire: Wire) -> str:
    """First of the thread's neurons that a projection reaches, and the one after the last."""
    return f"low{wire.target}, high{wire.target}"


def _fired(wire: Wire) -> str:
    """The spikes of this step that a projection sends: a list, first and last."""
    kind, index = wire.source
    if kind == "spikes":
        return f"events{index}, offsets{index}[b * steps + t], offsets{index}[b * steps + t + 1]"
    if kind == "poisson":
        return f"drawn{index}, 0, q{index}"
    return f"ids{index}, k{index}, m{index}"


def _stepped(p: int, cell: Cell, name: str) -> list[str]:
    """Lines that step this part's neurons of a population, and list those that fired."""
    arguments = ", ".join(f"{a}{p}" for a in _arguments(cell, INTEGRATE))
    lines = [f"integrate_{name}(now, t, b, low{p}, high{p}, {arguments})"]
    if not cell.spec.threshold:
        return lines
    lines += [f"k{p}, m{p} = m{p}, collect(words{p}, low{p}, high{p}, ids{p}, m{p})", f"first{p}, last{p} = k{p}, m{p}"]
    match cell.spec.refractory_kind:
        case "time":
            lines += [f"if last{p} > first{p}:", f"    hold_for(hold{p}, period{p}, ids{p}, first{p}, last{p}, now)"]
        case "condition":
            lines += [f"if last{p} > first{p}:", f"    hold_on(hold{p}, ids{p}, first{p}, last{p})"]
    return lines


def _sent(w: int, wire: Wire, cells: tuple[Cell, ...], rule: str) -> list[str]:
    """Lines that send the spikes of this step through a projection; a population without threshold has none."""
    kind, index = wire.source
    if kind == "population" and not cells[index].spec.threshold:
        return []
    _, first, beyond = _fired(wire).split(", ")
    sent = [f"if {beyond} > {first}:"]
    return [*sent, *_plastic_delivery(w, wire, cells, rule)] if wire.rule else [*sent, f"    {_delivery(w, wire)}"]


def _learnt(w: int, wire: Wire, cells: tuple[Cell, ...], rule: str) -> list[str]:
    """Lines by which the synapses to the neurons that fired learn."""
    p = wire.target
    if not cells[p].spec.threshold:
        return []
    given = ["now, b", f"ids{p}, first{p}, last{p}", rule_arguments("learn", w, wire.rule), *_post_states(wire, cells)]
    return [f"if last{p} > first{p}:", f"    learn_{rule}({', '.join(given)})"]


def _plastic_delivery(w: int, wire: Wire, cells: tuple[Cell, ...], rule: str) -> list[str]:
    """Lines for a projection that learns: its spikes set out; those that arrive act, then their synapses learn."""
    return [
        f"    emit_{rule}(now, {_fired(wire)}, {rule_arguments('emit', w)})",
        f"    send(now, b, {_fired(wire)}, {rule_arguments('send', w)})",
        _reception(wire.target, cells[wire.target], cells[wire.target].spec.states[wire.state], f"flight{w}"),
        f"if due_n{w}[now % due_n{w}.size] > 0:",
        f"    arrive_{rule}({', '.join(['now, b', rule_arguments('arrive', w, wire.rule), *_post_states(wire, cells)])})",
    ]


def _post_states(wire: Wire, cells: tuple[Cell, ...]) -> list[str]:
    states = cells[wire.target].spec.states
    return [f"states{wire.target}[b, {states.index(state)}]" for state in (wire.rule.post_states if wire.rule else ())]


def _delivery(w: int, wire: Wire) -> str:
    ids = _fired(wire)
    ring = f"ring{wire.target}_{wire.ring}"
    if wire.kind == "delayed":
        return f"deliver_delayed({ids}, begin{w}, end{w}, post{w}, weight{w}, delay{w}, {ring}, now)"
    target = f"{ring}[(now + delay{w}) % {ring}.shape[0]]" if wire.ring >= 0 else f"states{wire.target}[b, {wire.state}]"
    if wire.kind == "dense":
        return f"deliver_dense({ids}, weight{w}, {target}, {_bounds(wire)})"
    return f"deliver({ids}, begin{w}, end{w}, post{w}, weight{w}, {target})"


def _reception(p: int, cell: Cell, receptor: str, ring: str) -> str:
    spec = cell.spec
    state = f"states{p}[b, {spec.states.index(receptor)}]"
    if receptor in spec.gated:
        return f"receive_gated({ring}, now, {state}, low{p}, high{p}, hold{p}, {'now' if spec.refractory_kind == 'time' else '0'})"
    return f"receive({ring}, now, {state}, low{p}, high{p})"
