"""From the structure of a group of populations to the source of its time loop, forward and backward.

The loop goes step by step, in each step chunk by chunk: as many trials as make a row worth vectorising. In a chunk
come the spikes known beforehand, the events of the step for all neurons, and, where spikes travel inside the group,
their arrival between two passes over the neurons. Each thread has its own trials.

In the generated code names with '_' in front are ours, followed by the index of the cell or wire; the others are
the model's. Arrays over neurons are flat: _s, _o and _k are where a chunk begins in [B, N], in [T, B, N] and in what is kept.
Of a run that goes on from an earlier one, _past rows of that one stand before the rows of events and spikes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import sympy

from spiketwin.models.discretisation.adjoint import SLOPE, Backward, bar
from spiketwin.models.discretisation.printing import code
from spiketwin.models.discretisation.program import Crossing, Let, Release, arrival
from spiketwin.models.discretisation.symbols import symbol, to_sympy
from spiketwin.models.engines.fused.functions import FUNCTIONS
from spiketwin.models.engines.fused.structure import GAIN, Cell, Structure

HEADER = '''"""Written by spiketwin: the training kernel of groups of one structure. Kernels {version}."""

import numpy as np
from numba import njit

from spiketwin.models.engines.fused.kernels import (
    gather, gather_sparse, is_busy, list_fired, product, product_sparse, scatter, scatter_sparse, wide_vectors,
)
from spiketwin.models.engines.fused.functions import {functions}

real = np.{dtype}
'''
ENTRY = '\n\n@njit(cache=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True)\n'


@lru_cache(maxsize=256)
def source(group: Structure) -> str:
    """The module of a group; its `forward` and `backward` take what forward_arguments() and backward_arguments() list."""
    body = "".join(_forward_pass(cell, p, k, events, group) for cell, p, k, events in _passes(group))
    body += "".join(_backward_pass(cell, p, k, events, group) for cell, p, k, events in _passes(group))
    body += _forward(group) + _backward(group)
    here = Path(__file__).parent
    # numba does not notice a change of functions that are called from another file: their hash is part of this text
    text = b"".join(
        path.read_bytes() for path in (here / "kernels.py", here / "tile.py", here / "functions.py", here.parent / "vector_math.py")
    )
    head = HEADER.format(version=hashlib.sha256(text).hexdigest()[:16], functions=", ".join(_called(body)), dtype=group.dtype)
    return head + body


# numba asks of a signed index whether it counts from the end, which keeps LLVM from vectorising the loop
UNSIGNED = ("_o, _k, _s = np.uint64(_o), np.uint64(_k), np.uint64(_s)",)


def _called(body: str) -> list[str]:
    """The functions that the code mentions."""
    used = set(re.findall(r"\b[A-Za-z]\w*(?=\()", body))
    return ["inlined", *(f for f in FUNCTIONS if f in used)]


def _passes(group: Structure) -> list[tuple[Cell, int, int, tuple[str, ...]]]:
    return [(cell, p, k, events) for p, cell in enumerate(group.cells) for k, events in enumerate(cell.passes(group.is_split(p)))]


# -- arguments -------------------------------------------------------------------------------------

COMMON = ("_part", "_edges", "_t0", "_t1", "_steps", "_trials", "_chunk")


def forward_arguments(group: Structure) -> list[str]:
    """Names of forward()'s arguments, in order."""
    names = [*COMMON, *_past_argument(group), "_stride"]
    for p, cell in enumerate(group.cells):
        names += [f"_n{p}", *(f"{a}{p}" for a in _forward_arrays(cell, group.is_split(p)) if a not in _local(cell))]
        names += [f"_ids{p}", f"_counts{p}"] if cell.lists else []
    return names + _wire_arguments(group)


def backward_arguments(group: Structure) -> list[str]:
    """Names of backward()'s arguments, in order."""
    names = [*COMMON, *_past_argument(group)]
    for p, cell in enumerate(group.cells):
        names += [f"_n{p}", *(f"{a}{p}" for a in _backward_arrays(cell, group, p) if a not in (*_local(cell), "_gs"))]
        names += [f"_ids{p}", f"_counts{p}"] if group.sends(p) else []
        names += [f"_ring_{r}{p}" for r in group.awaited(p)]
    names += _wire_arguments(group, backward=True)
    return names


def _past_argument(group: Structure) -> list[str]:
    return ["_past"] * group.resumed


def _wire_arguments(group: Structure, backward: bool = False) -> list[str]:
    names = []
    for w, wire in enumerate(group.wires):
        names += [f"_delays{w}"]
        if wire.source < 0:
            names += [f"_events{w}", f"_first{w}", f"_many{w}"]
        if wire.kind == "sparse":
            names += [f"_start{w}", f"_post{w}"]
        if not backward or (wire.kind == "sparse" and (wire.source >= 0 or wire.wrt_source)):
            names += [f"_weight{w}"]
        if backward:
            names += [f"_gweight{w}"] if wire.wrt_weight else []
            names += [f"_back{w}"] if wire.kind == "dense" and (wire.source >= 0 or wire.wrt_source) else []
            names += [f"_gsource{w}"] if wire.wrt_source else []
    return names


def _local(cell: Cell) -> set[str]:
    """Arrays of one chunk, made inside the kernel."""
    return {"_fired", *(f"_acc_{r}" for r in cell.wired), *(f"_garr_{r}" for r in cell.wired)}


def _forward_arrays(cell: Cell, split: bool) -> list[str]:
    spec, names = cell.spec, [f"_x_{s}" for s in cell.spec.states]
    names += ["_scalars"] * bool(cell.scalars) + ["_vectors"] * bool(cell.vectors)
    names += (["_until", "_hold"] if cell.timed else ["_active"]) if cell.held else []
    names += [f"_in_{s}" for s in cell.signals] + [f"_dense_{r}" for r in cell.dense] + [f"_acc_{r}" for r in cell.wired]
    names += ["_spikes", "_fired"] * cell.spiking + ["_flags"] * cell.flagged(split)
    return names + [f"_keep_{n}" for n in cell.kept] + [f"_rec_{s}" for s in cell.record if s in spec.states]


def _backward_arrays(cell: Cell, group: Structure, p: int) -> list[str]:
    names = [f"_g_{s}" for s in cell.spec.states]
    names += ["_scalars"] * bool(cell.scalars) + ["_vectors"] * bool(cell.vectors)
    names += [f"_in_{s}" for s in cell.signals]
    names += (
        ["_gspikes"] * (cell.spiking and cell.heard)
        + ["_flags"] * cell.flagged(group.is_split(p))
        + ["_slopes"] * (cell.spiking and cell.slope == "given")
    )
    names += [f"_keep_{n}" for n in cell.kept] + [f"_grec_{s}" for s in cell.record]
    names += [f"_garr_{r}" for r in cell.wired] + [f"_gdense_{r}" for r in cell.dense if str(arrival(r)) in cell.wrt]
    names += [f"_gin_{s}" for s in cell.signals if s in cell.wrt] + ["_gconst"] * bool(_wrt_constants(cell))
    return names + ["_gs"] * group.sends(p)


def _wrt_constants(cell: Cell) -> list[str]:
    return [c for c in cell.constants if c in cell.wrt]


# -- one pass over the neurons of a chunk ----------------------------------------------------------


def _constant_lines(cell: Cell) -> tuple[list[str], list[str]]:
    """What gives constants their names: before the loop, and in it."""
    before = [f"{c} = _scalars[{k}]" for k, c in enumerate(cell.scalars)] + [
        f"_all_{c} = _vectors[{k}]" for k, c in enumerate(cell.vectors)
    ]
    return before, [f"{c} = _all_{c}[_i]" for c in cell.vectors]


def _input_lines(cell: Cell, names: Iterable[str]) -> list[str]:
    return [f"{s} = _in_{s}[{'_s' if s in cell.fixed else '_o'} + _i]" for s in names]


def _arrival_lines(cell: Cell) -> list[str]:
    lines = []
    for r in cell.program.receptors:
        parts = [f"_acc_{r}[_i]"] * (r in cell.wired)
        parts += [f"_dense_{r}[{'_s' if str(arrival(r)) in cell.fixed else '_o'} + _i]"] * (r in cell.dense)
        lines.append(f"{arrival(r)} = {' + '.join(parts)}")
    return lines


def _flag_lines(cell: Cell, wanted: set[str]) -> list[str]:
    bits = {"active": 1, "_spiked": 2, "_listens": 4}
    lines = [f"{name} = (_bits & np.uint8({bit})) != 0" for name, bit in bits.items() if name in wanted]
    return ["_bits = _flags[_k + _i]", *lines] if lines else []


def _assign(name: object, value: sympy.Expr) -> str:
    return f"{name} = {code(value, 'kernel')}"


def _forward_pass(cell: Cell, p: int, k: int, events: tuple[str, ...], group: Structure) -> str:
    """The events of one pass, forward: states in place, spikes, flags and what is kept written."""
    is_first, lines = k == 0, []
    before, constants = _constant_lines(cell)
    states = {s: symbol(s) for s in cell.spec.states}
    for event, operations in cell.program.events:  # the symbols of the states where this pass begins
        if event in events or not events:
            break
        states |= {x: op.name for op in operations if isinstance(op, Let) and (x := cell.program.state_of(op.name))}
    lines += [f"{name} = _x_{s}[_s + _i]" for s, name in states.items()]
    lines += [f"_rec_{s}[_o + _i] = {s}" for s in cell.record] if is_first else []
    lines += [f"_keep_{s}[_k + _i] = {s}" for s in cell.kept if s in cell.spec.states] if is_first else []
    lines += constants + _input_lines(cell, cell.signals)
    lines += _arrival_lines(cell) if "receive" in events else []
    if not is_first and cell.flagged(group.is_split(p)):
        lines += _flag_lines(cell, {"active", "_spiked", "_listens"} if cell.held else {"_spiked", "_listens"})
    releases = cell.held and "count_down" in events
    for event, operations in cell.program.events:
        if event not in events:
            continue
        for op in operations:
            match op:
                case Release(condition=None):
                    lines += ["active = _until[_s + _i] <= _now"]
                case Release(condition=condition):
                    lines += [f"active = (_active[_s + _i] != 0) | (not ({code(condition, 'kernel')}))"]
                case Crossing(strict=strict, gated=gated):
                    lines += [f"_spiked = {'active & ' if gated else ''}(_margin {'>' if strict else '>='} real(0.0))"]
                    lines += [f"_listens = {'active & ' if gated else ''}(not _spiked)"]
                case Let(name=name, value=value):
                    lines += [_assign(name, value)]
                    states |= {x: name} if (x := cell.program.state_of(name)) else {}
                    lines += [f"_keep_{name}[_k + _i] = {name}"] if str(name) in cell.kept else []
    lines += [f"_keep_{n}[_k + _i] = {n}" for n in cell.kept if n.startswith("_arrive_") and "receive" in events]
    fires = cell.spiking and "threshold" in events
    if fires:
        lines += ["_spikes[_o + _i] = real(1.0) if _spiked else real(0.0)", "_fired[_i] = np.uint8(1) if _spiked else np.uint8(0)"]
    if cell.held and cell.timed and fires:
        lines += ["_until[_s + _i] = _now + _hold[_i] if _spiked else _until[_s + _i]"]
    elif cell.held and not cell.timed and (fires or releases):
        lines += [f"_active[_s + _i] = np.uint8(1) if active{' & (not _spiked)' if fires else ''} else np.uint8(0)"]
    if (fires or releases) and cell.flagged(group.is_split(p)):
        parts = [("active", 1)] * cell.held + [("_spiked", 2), ("_listens", 4)] * fires
        lines += ["_flags[_k + _i] = " + " | ".join(f"(np.uint8({bit}) if {name} else np.uint8(0))" for name, bit in parts)]
    lines += [f"_x_{s}[_s + _i] = {name}" for s, name in states.items() if str(name) != s]
    arguments = ", ".join(["_now", "_o", "_k", "_s", "_size", *_forward_arrays(cell, group.is_split(p))])
    return _function(f"_forward_{p}_{k}({arguments})", [*before, *UNSIGNED, "for _i in range(np.uint64(_size)):", *_indented(lines)])


def _backward_pass(cell: Cell, p: int, k: int, events: tuple[str, ...], group: Structure) -> str:
    """The events of one pass, backward: gradients of the states in place, those of arrivals and parameters written."""
    is_first, reverse = k == 0, cell.reverse(events)
    before, constants = _constant_lines(cell)
    again = [let for let in cell.program.lets if str(let.name) in cell.again]
    used = reverse.needs.union(*(let.value.free_symbols for let in again)) | (
        {symbol(GAIN), symbol("_margin")} if SLOPE in reverse.needs else set()
    )
    names = {str(s) for s in used}
    lines = [f"{bar(s)} = _g_{s}[_s + _i]" for s in cell.spec.states]
    fires = cell.spiking and "threshold" in events
    if fires:
        parts = ["_gspikes[_o + _i]"] * cell.heard + ["_gs[_i]"] * group.sends(p)
        lines += [f"{bar('_spike')} = {' + '.join(parts) or 'real(0.0)'}"]
    lines += constants + [f"{n} = _keep_{n}[_k + _i]" for n in cell.kept]
    lines += _input_lines(cell, (s for s in cell.signals if s in names))
    if cell.flagged(group.is_split(p)):
        lines += _flag_lines(cell, names)
    elif "_spiked" in names:
        strict = next(op.strict for _, operations in cell.program.events for op in operations if isinstance(op, Crossing))
        lines += [f"_spiked = _margin {'>' if strict else '>='} real(0.0)", "_listens = not _spiked"]
    lines += [_assign(let.name, let.value) for let in again]
    if SLOPE in reverse.needs:
        lines += _slope_lines(cell)
    lines += [_assign(let.name, let.value) for let in reverse.lets]
    lines += _result_lines(cell, reverse, is_first, group, p, fires)
    arguments = ", ".join(["_o", "_k", "_s", "_size", *_backward_arrays(cell, group, p)])
    return _function(f"_backward_{p}_{k}({arguments})", [*before, *UNSIGNED, "for _i in range(np.uint64(_size)):", *_indented(lines)])


def _slope_lines(cell: Cell) -> list[str]:
    if not cell.slope:
        return [f"{SLOPE} = real(0.0)"]
    if cell.slope == "given":
        return [f"{SLOPE} = _slopes[_k + _i]*{GAIN}"]
    x = symbol("_distance")
    return [f"{x} = _margin*{GAIN}", f"{SLOPE} = ({code(to_sympy(cell.slope).xreplace({symbol('x'): x}), 'kernel')})*{GAIN}"]


def _result_lines(cell: Cell, reverse: Backward, is_first: bool, group: Structure, p: int, fires: bool) -> list[str]:
    lines = []
    for s in cell.spec.states:
        value = code(reverse.results[s], "kernel") if s in reverse.results else "real(0.0)"
        value += f" + _grec_{s}[_o + _i]" if is_first and s in cell.record else ""
        lines.append(f"_g_{s}[_s + _i] = {value}")
    for r in cell.program.receptors:
        name = str(arrival(r))
        if name in reverse.results:
            value = code(reverse.results[name], "kernel")
            lines += [f"_garr_{r}[_i] = {value}"] if r in cell.wired else []
            if r in cell.dense and name in cell.wrt:
                lines += [f"_gdense_{r}[_s + _i] += {value}" if name in cell.fixed else f"_gdense_{r}[_o + _i] = {value}"]
    for s in cell.signals:
        if s in cell.wrt and s in reverse.results:
            # two passes may both use a signal, and a fixed one is used in every step: the array begins as zeros
            lines.append(f"_gin_{s}[{'_s' if s in cell.fixed else '_o'} + _i] += {code(reverse.results[s], 'kernel')}")
    for k, c in enumerate(_wrt_constants(cell)):
        if c in reverse.results:
            lines.append(f"_gconst[{k}, _i] += {code(reverse.results[c], 'kernel')}")
    if group.sends(p) and not fires and cell.spiking:
        lines.append(f"_gs[_i] = {code(reverse.results['_spike'], 'kernel') if '_spike' in reverse.results else 'real(0.0)'}")
    return lines


# -- the loop over steps and chunks ----------------------------------------------------------------


def _forward(group: Structure) -> str:
    out = ["wide_vectors()", "_begin, _end = _edges[_part], _edges[_part + 1]"]
    for p, cell in enumerate(group.cells):
        out += [f"_acc_{r}{p} = np.zeros(_chunk*_n{p}, real)" for r in cell.wired]
        out += [f"_fired{p} = np.zeros((_chunk*_n{p} + 7)//8*8, np.uint8)"] * cell.spiking
        out += [f"_words{p} = _fired{p}.view(np.uint64)"] * cell.lists
        out += [f"_now_spikes{p} = _spikes{p}[_past*_trials*_n{p}:]"] * (cell.spiking and group.resumed)
    step = ["_rows = min(_chunk, _end - _b)"]
    for stage in sorted(set(group.stages)):
        step += _forward_stage(stage, group)
    loop = ["_now = np.int32(_t)", "for _b in range(_begin, _end, _chunk):", *_indented(step)]
    out += ["for _t in range(_t0, _t1):", *_indented(loop)]
    return ENTRY + _function(f"forward({', '.join(forward_arguments(group))})", out, decorate=False)


def _forward_stage(stage: int, group: Structure) -> list[str]:
    """What arrives, a pass over the neurons; where spikes travel inside the stage, what they bring and a second pass."""
    members = [(p, cell) for p, cell in enumerate(group.cells) if group.stages[p] == stage]
    wires = [(w, wire) for w, wire in enumerate(group.wires) if group.stages[wire.target] == stage]
    lines = [f"_acc_{r}{p}[:] = real(0.0)" for p, cell in members for r in cell.wired]
    lines += [line for w, wire in wires if not group.is_cyclic(wire) for line in _gathering(w, group)]
    for k in (0, 1):
        lines += [line for w, wire in wires if k and group.is_cyclic(wire) for line in _gathering(w, group)]
        for p, cell in members:
            passes = cell.passes(group.is_split(p))
            if k < len(passes):
                lines.append(_call("forward", p, k, _forward_arrays(cell, group.is_split(p)), group.resumed))
                lines += [_listing(p, group.resumed)] * (cell.lists and "threshold" in passes[k])
    return lines


def _listing(p: int, resumed: bool) -> str:
    step = "(_t + _past)" if resumed else "_t"
    return f"list_fired(_fired{p}, _words{p}, _rows, _n{p}, {step}*_trials + _b, _ids{p}, _counts{p})"


def _backward(group: Structure) -> str:
    out = ["wide_vectors()", "_begin, _end = _edges[_part], _edges[_part + 1]", "_stride = 1"]
    for p, cell in enumerate(group.cells):
        out += [f"_garr_{r}{p} = np.zeros(_chunk*_n{p}, real)" for r in cell.wired]
        out += [f"_gs{p} = np.zeros(_chunk*_n{p}, real)"] * group.sends(p)
        out += [f"_gconst_{p} = _gconst{p}[_part]"] * bool(_wrt_constants(cell))
    out += [f"_gweight_{w} = _gweight{w}[_part]" for w, wire in enumerate(group.wires) if wire.wrt_weight]
    sums = [f"_gconst_{p}" for p, cell in enumerate(group.cells) if _wrt_constants(cell)]
    sums += [f"_gweight_{w}" for w, wire in enumerate(group.wires) if wire.wrt_weight]
    out += ["if _t1 == _steps:", *(f"    {name}[:] = real(0.0)" for name in sums)] if sums else []
    step = ["_rows = min(_chunk, _end - _b)"]
    for stage in sorted(set(group.stages), reverse=True):
        step += _backward_stage(stage, group)
    step += [line for w in range(len(group.wires)) for line in _scattering(w, group)]
    loop = ["for _b in range(_begin, _end, _chunk):", *_indented(step)]
    out += ["for _t in range(_t1 - 1, _t0 - 1, -1):", *_indented(loop)]
    return ENTRY + _function(f"backward({', '.join(backward_arguments(group))})", out, decorate=False)


def _backward_stage(stage: int, group: Structure) -> list[str]:
    """The passes in reverse; before the one with the threshold, what its spikes are to the steps in which they arrive."""
    members = [(p, cell) for p, cell in enumerate(group.cells) if group.stages[p] == stage]
    lines: list[str] = []
    for k in (1, 0):
        for p, cell in members:
            passes = cell.passes(group.is_split(p))
            if k < len(passes) and cell.spiking and "threshold" in passes[k]:
                lines += _returning(p, group, fresh=k == len(passes) - 1)
        lines += [
            _call("backward", p, k, _backward_arrays(cell, group, p)) for p, cell in members if k < len(cell.passes(group.is_split(p)))
        ]
        for p, cell in members:
            if k == len(cell.passes(group.is_split(p))) - 1:  # the last pass is the one that receives
                lines += [
                    f"_ring_{r}{p}[_t % _ring_{r}{p}.shape[0], _b*_n{p}:(_b + _rows)*_n{p}] = _garr_{r}{p}[:_rows*_n{p}]"
                    for r in group.awaited(p)
                ]
    return lines


def _call(direction: str, p: int, k: int, arrays: list[str], resumed: bool = False) -> str:
    own = {"_gconst": f"_gconst_{p}"} if direction == "backward" else {"_spikes": f"_now_spikes{p}"} if resumed else {}
    where = [f"(_t*_trials + _b)*_n{p}", f"((_t - _t0)*_stride*_trials + _b)*_n{p}", f"_b*_n{p}", f"_rows*_n{p}"]
    first = ["_now"] if direction == "forward" else []
    return f"_{direction}_{p}_{k}({', '.join([*first, *where, *(own.get(a, f'{a}{p}') for a in arrays)])})"


def _source_row(w: int, group: Structure) -> tuple[list[str], str]:
    """Lines that set _r to the row (step and trial) whose spikes arrive now, and (ids, first, last) of its events."""
    wire = group.wires[w]
    lines = [
        f"_u = _t - _delays{w}[_d]{' - 1' if group.lag(wire) else ''}{' + _past' if group.resumed else ''}",
        "if _u < 0:",
        "    continue",
    ]
    if wire.source < 0:
        return lines, f"_events{w}, _first{w}[_r], _first{w}[_r] + _many{w}[_r]"
    return lines, f"_ids{wire.source}, _r*_n{wire.source}, _r*_n{wire.source} + _counts{wire.source}[_r]"


def _gathering(w: int, group: Structure) -> list[str]:
    """Lines that add the spikes arriving now to the receptor's increments of this chunk."""
    wire = group.wires[w]
    lines, events = _source_row(w, group)
    n, to = f"_n{wire.target}", f"_acc_{wire.receptor}{wire.target}"
    if wire.kind == "dense":
        lines, call = [*lines, f"_w = _weight{w}[_d]"], f"gather({events}, _w, {to}, _j*{n})"
    else:
        lines, call = [*lines, f"_w = _start{w}[_d]"], f"gather_sparse({events}, _w, _post{w}, _weight{w}, {to}, _j*{n})"
    one_by_one = ["for _j in range(_rows):", *_indented(["_r = _u*_trials + _b + _j", call])]
    if wire.kind == "dense" and wire.source >= 0:
        p, row = wire.source, "_u*_trials + _b"
        spikes = f"_spikes{p}[({row})*_n{p}:({row} + _rows)*_n{p}].reshape(_rows, _n{p})"
        at_once = f"product({spikes}, _weight{w}[_d], _rows, {to}[:_rows*{n}].reshape(_rows, {n}), False)"
        one_by_one = [f"if is_busy(_counts{p}, {row}, _rows, _n{p}):", f"    {at_once}", "else:", *_indented(one_by_one)]
    inner = [*lines, *one_by_one]
    return [f"for _d in range(_delays{w}.size):", *_indented(inner)]


def _scattering(w: int, group: Structure) -> list[str]:
    """Lines that give the gradients of this chunk's arrivals to the weights, and to the spikes they came from."""
    wire = group.wires[w]
    lines, events = _source_row(w, group)
    n, gradient = f"_n{wire.target}", f"_garr_{wire.receptor}{wire.target}"
    inner = []
    if wire.wrt_weight:
        if wire.kind == "dense":
            inner, call = [f"_w = _gweight_{w}[_d]"], f"scatter({events}, {gradient}, _j*{n}, _w)"
        else:
            inner, call = [f"_w = _start{w}[_d]"], f"scatter_sparse({events}, _w, _post{w}, {gradient}, _j*{n}, _gweight_{w})"
        inner += ["for _j in range(_rows):", *_indented(["_r = _u*_trials + _b + _j", call])]
    if wire.wrt_source:
        inner += [
            _project(w, wire.kind, f"{gradient}[:_rows*{n}].reshape(_rows, {n})", f"_gsource{w}[_u*_trials + _b:_u*_trials + _b + _rows]")
        ]
    return [f"for _d in range(_delays{w}.size):", *_indented([*lines, *inner])] if inner else []


def _returning(p: int, group: Structure, fresh: bool) -> list[str]:
    """Lines that put into _gs the gradient of the spikes of cell p at this step from all steps in which they arrive.

    fresh: whether _gs holds nothing yet; else the second pass has left there what a reset asks of the spike."""
    lines = [f"_gs{p}[:] = real(0.0)"] if fresh and group.sends(p) else []
    for w, wire in enumerate(group.wires):
        if wire.source != p:
            continue
        ring, n = f"_ring_{wire.receptor}{wire.target}", f"_n{wire.target}"
        gradient = f"{ring}[_u % {ring}.shape[0], _b*{n}:(_b + _rows)*{n}].reshape(_rows, {n})"
        inner = [f"_u = _t + _delays{w}[_d]{' + 1' if group.lag(wire) else ''}", "if _u >= _steps:", "    continue"]
        inner += [_project(w, wire.kind, gradient, f"_gs{p}[:_rows*_n{p}].reshape(_rows, _n{p})", "False")]
        lines += [f"for _d in range(_delays{w}.size):", *_indented(inner)]
    return lines


def _project(w: int, kind: str, gradient: str, out: str, fresh: str) -> str:
    if kind == "dense":
        return f"product({gradient}, _back{w}[_d], _rows, {out}, {fresh})"
    return f"product_sparse({gradient}, _start{w}[_d], _post{w}, _weight{w}, _rows, {out}, {fresh})"


def _function(signature: str, lines: list[str], decorate: bool = True) -> str:
    return ("\n\n@inlined\n" if decorate else "") + "\n".join([f"def {signature}:", *_indented(lines or ["pass"])]) + "\n"


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]
