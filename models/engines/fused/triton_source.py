"""From a population to the source of its Triton kernels: all steps forward, and the adjoint backward in time.

A program of the kernel takes BLOCK elements of [B, N] through all steps, its states in registers, so that a step
moves only inputs and outputs. What arrives at its receptors is known beforehand. Arrays are flat; in the generated code
_i is where an element lies in [B, N], _o where in [T, B, N]. Names with '_' in front are ours, the others are the model's.
Gradients of constants are summed over time for each element; torch adds the elements up, always in the same order.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path

import sympy

from spiketwin.models.discretisation.adjoint import SLOPE, bar
from spiketwin.models.discretisation.printing import code
from spiketwin.models.discretisation.program import Crossing, Let, Release, arrival
from spiketwin.models.discretisation.symbols import symbol, to_sympy
from spiketwin.models.engines.fused.structure import GAIN, Cell

FUNCTIONS = tuple(
    "exp expm1 exprel exprel_slope log log1p sqrt sin cos tan sinh cosh tanh atan power sign floor ceil clip minimum maximum".split()
)
FLAGS = {"active": 1, "_spiked": 2, "_listens": 4}

HEADER = '''"""Written by spiketwin: {name}, {scheme}. Functions {version}."""

import triton
import triton.language as tl
{functions}
REAL = tl.constexpr(tl.{dtype})


@triton.jit
def real(value: tl.constexpr):
    return tl.full([], value, REAL)
'''


@lru_cache(maxsize=256)
def source(cell: Cell, dtype: str) -> str:
    """A module with the kernels `forward` and `backward`, whose arguments forward_arguments() and backward_arguments() list.

    dtype: 'float32' or 'float64'. Not for a cell with wires.
    """
    body = _forward(cell) + _backward(cell)
    called = [f for f in FUNCTIONS if re.search(rf"(?<![\w.]){f}\(", body)]
    imports = f"\nfrom spiketwin.models.engines.fused.triton_functions import {', '.join(called)}\n" if called else ""
    version = hashlib.sha256(Path(__file__).with_name("triton_functions.py").read_bytes()).hexdigest()[:16]
    return HEADER.format(name=cell.spec.name, scheme=cell.scheme, version=version, functions=imports, dtype=dtype) + body


# -- arguments -------------------------------------------------------------------------------------

COMMON = ("_size", "_steps", "_neurons", "_last")


def _constants(cell: Cell) -> list[str]:
    return ["_scalars"] * bool(cell.scalars) + ["_vectors"] * bool(cell.vectors)


def forward_arguments(cell: Cell) -> list[str]:
    """Names of forward()'s arguments before KEEP, whether to write down what backward() needs, and BLOCK.

    _size: B·N.  _neurons: N.  _last: where the last step begins in [T, B, N].  _scalars, _vectors: constants, [K] and [K, N].
    _hold: steps that a spike holds a neuron, [N].  _x_S, _y_S: states before and after the run.  _rec_S: at the start of each step.
    """
    names = [*COMMON, *_constants(cell), *(f"_in_{s}" for s in cell.signals), *(f"_dense_{r}" for r in cell.dense)]
    names += ["_hold"] * cell.timed
    names += [f"_{a}_{s}" for a in "xy" for s in cell.spec.states] + ["_spikes"] * cell.spiking + ["_flags"] * has_flags(cell)
    return names + [f"_keep_{n}" for n in cell.kept] + [f"_rec_{s}" for s in cell.record]


def backward_arguments(cell: Cell) -> list[str]:
    """Names of backward()'s arguments before BLOCK. _g_S: gradients of the states after the run, in place those before it.
    _gspikes, _grec_S: of the outputs.  _gin_S, _gdense_R, _gconst_C: those that come out."""
    read = _read_again(cell)
    names = [*COMMON, *_constants(cell), *(f"_in_{s}" for s in cell.signals if s in read), *(f"_g_{s}" for s in cell.spec.states)]
    names += ["_gspikes"] * (cell.spiking and cell.heard) + ["_flags"] * (has_flags(cell) and not read.isdisjoint(FLAGS))
    names += ["_slopes"] * (cell.spiking and cell.slope == "given")
    names += [f"_keep_{n}" for n in cell.kept] + [f"_grec_{s}" for s in cell.record]
    names += [f"_gdense_{r}" for r in wanted_arrivals(cell)] + [f"_gin_{s}" for s in cell.signals if s in cell.wrt]
    return names + [f"_gconst_{c}" for c in wanted_constants(cell)]


def has_flags(cell: Cell) -> bool:
    """Whether it is written down who was active, spiked and listened."""
    return cell.spiking or cell.held


def _read_again(cell: Cell) -> set[str]:
    """Quantities of the forward step that its gradients mention."""
    again = [let for let in cell.program.lets if str(let.name) in cell.again]
    return {str(s) for s in cell.reverse(cell.order).needs.union(*(let.value.free_symbols for let in again))}


def wanted_constants(cell: Cell) -> list[str]:
    return [c for c in cell.constants if c in cell.wrt]


def wanted_arrivals(cell: Cell) -> list[str]:
    return [r for r in cell.dense if str(arrival(r)) in cell.wrt]


# -- the kernels -----------------------------------------------------------------------------------


def _load(array: str, where: str) -> str:
    return f"tl.load({array} + {where}, mask=_inside, other=0)"


def _store(array: str, where: str, value: object) -> str:
    return f"tl.store({array} + {where}, {value}, mask=_inside)"


def _assign(name: object, value: sympy.Expr) -> str:
    return f"{name} = {code(value, 'triton')}"


def _opening(cell: Cell) -> list[str]:
    """Where the elements lie, and the constants."""
    lines = ["_i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)", "_inside = _i < _size"]
    lines += [f"{c} = tl.load(_scalars + {k})" for k, c in enumerate(cell.scalars)]
    return lines + [f"{c} = {_load('_vectors', f'{k} * _neurons + _i % _neurons')}" for k, c in enumerate(cell.vectors)]


def _signals(cell: Cell, names: set[str], fixed: bool) -> list[str]:
    """Loads of the drives and draws that change in time, or of those that do not."""
    chosen = [s for s in cell.signals if s in names and (s in cell.fixed) == fixed]
    return [f"{s} = {_load(f'_in_{s}', '_i' if fixed else '_o')}" for s in chosen]


def _arrivals(cell: Cell, fixed: bool) -> list[str]:
    chosen = [r for r in cell.dense if (str(arrival(r)) in cell.fixed) == fixed]
    return [f"{arrival(r)} = {_load(f'_dense_{r}', '_i' if fixed else '_o')}" for r in chosen]


def _forward(cell: Cell) -> str:
    states = {s: symbol(s) for s in cell.spec.states}
    before = _opening(cell) + _signals(cell, set(cell.signals), fixed=True) + _arrivals(cell, fixed=True)
    before += [f"{s} = {_load(f'_x_{s}', '_i')}" for s in states]
    before += [f"_pause = {_load('_hold', '_i % _neurons')}", "_until = tl.full([BLOCK], -1073741824, tl.int32)"] * cell.timed
    before += ["active = tl.full([BLOCK], 1, tl.int1)"] * (cell.held and not cell.timed)
    step = [_store(f"_rec_{s}", "_o", s) for s in cell.record]
    step += _signals(cell, set(cell.signals), fixed=False) + _arrivals(cell, fixed=False)
    for _, operations in cell.program.events:
        for op in operations:
            match op:
                case Release(condition=None):
                    step += ["active = _until <= _t"]
                case Release(condition=condition):
                    step += [f"active = active | (({code(condition, 'triton')}) == 0)"]
                case Crossing(strict=strict, gated=gated):
                    step += [f"_spiked = {'active & ' if gated else ''}(_margin {'>' if strict else '>='} real(0.0))"]
                    step += [f"_listens = {'active & ' if gated else ''}(_spiked == 0)"]
                case Let(name=name, value=value):
                    step += [_assign(name, value)]
                    states |= {x: name} if (x := cell.program.state_of(name)) else {}
    step += [_store("_spikes", "_o", "tl.where(_spiked, real(1.0), real(0.0))")] * cell.spiking
    keeping = [_store(f"_keep_{n}", "_o", n) for n in cell.kept]
    if has_flags(cell):
        parts = [f"tl.where({name}, {bit}, 0)" for name, bit in FLAGS.items() if (cell.held if name == "active" else cell.spiking)]
        keeping += [_store("_flags", "_o", f"({' | '.join(parts)}).to(tl.uint8)")]
    step += ["if KEEP:", *(f"    {line}" for line in keeping)] if keeping else []
    if cell.spiking and cell.held:
        step += ["_until = tl.where(_spiked, _t + _pause, _until)"] if cell.timed else ["active = active & (_spiked == 0)"]
    step += [f"{s} = {name}" for s, name in states.items() if str(name) != s] + ["_o += _size"]
    after = [_store(f"_y_{s}", "_i", s) for s in states]
    return _kernel(
        "forward", [*forward_arguments(cell), "KEEP: tl.constexpr"], [*before, "_o = _i"], "for _t in range(_steps):", step, after
    )


def _backward(cell: Cell) -> str:
    reverse = cell.reverse(cell.order)
    again = [let for let in cell.program.lets if str(let.name) in cell.again]
    names = _read_again(cell)
    sums = {f"_gconst_{c}": c for c in wanted_constants(cell)}
    sums |= {f"_gdense_{r}": str(arrival(r)) for r in wanted_arrivals(cell) if str(arrival(r)) in cell.fixed}
    sums |= {f"_gin_{s}": s for s in cell.signals if s in cell.wrt and s in cell.fixed}
    rows = {f"_gdense_{r}": str(arrival(r)) for r in wanted_arrivals(cell) if str(arrival(r)) not in cell.fixed}
    rows |= {f"_gin_{s}": s for s in cell.signals if s in cell.wrt and s not in cell.fixed}

    before = _opening(cell) + _signals(cell, names, fixed=True)
    before += ["_zero = tl.full([BLOCK], 0.0, REAL)"] + [f"_sum{array} = _zero" for array in sums]
    before += [f"{bar(s)} = {_load(f'_g_{s}', '_i')}" for s in cell.spec.states]
    step = [f"{bar('_spike')} = {_load('_gspikes', '_o') if cell.heard else '_zero'}"] * cell.spiking
    step += [f"{n} = {_load(f'_keep_{n}', '_o')}" for n in cell.kept] + _signals(cell, names, fixed=False)
    flags = [f"{name} = (_bits & {bit}) != 0" for name, bit in FLAGS.items() if name in names]
    step += [f"_bits = {_load('_flags', '_o')}", *flags] if flags else []
    step += [_assign(let.name, let.value) for let in again]
    step += _slope_lines(cell) if SLOPE in reverse.needs else []
    step += [_assign(let.name, let.value) for let in reverse.lets]
    results = {name: code(value, "triton") for name, value in reverse.results.items()}
    step += [f"_sum{array} += {results[name]}" for array, name in sums.items() if name in results]
    step += [_store(array, "_o", results.get(name, "_zero")) for array, name in rows.items()]
    # all at once: the gradient of one state may need the old ones of the others
    for s in cell.spec.states:
        parts = [results.get(s, "_zero")] + [_load(f"_grec_{s}", "_o")] * (s in cell.record)
        step += [f"_next_{s} = {' + '.join(parts)}"]
    step += [f"{bar(s)} = _next_{s}" for s in cell.spec.states] + ["_o -= _size"]
    after = [_store(f"_g_{s}", "_i", bar(s)) for s in cell.spec.states] + [_store(array, "_i", f"_sum{array}") for array in sums]
    return _kernel("backward", backward_arguments(cell), [*before, "_o = _i + _last"], "for _t in range(_steps):", step, after)


def _slope_lines(cell: Cell) -> list[str]:
    if not cell.slope:
        return [f"{SLOPE} = _zero"]
    if cell.slope == "given":
        return [f"{SLOPE} = {_load('_slopes', '_o')} * {GAIN}"]
    x = symbol("_distance")
    return [f"{x} = _margin * {GAIN}", f"{SLOPE} = ({code(to_sympy(cell.slope).xreplace({symbol('x'): x}), 'triton')}) * {GAIN}"]


def _kernel(name: str, arguments: list[str], before: list[str], loop: str, step: list[str], after: list[str]) -> str:
    head = f"def {name}({', '.join(arguments)}, BLOCK: tl.constexpr):"
    lines = [*(f"    {line}" for line in [*before, loop]), *(f"        {line}" for line in step), *(f"    {line}" for line in after)]
    return "\n\n@triton.jit\n" + "\n".join([head, *lines]) + "\n"
