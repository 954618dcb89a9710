"""Populations on a GPU: all steps in one Triton kernel, as one operation of torch's autograd.

The kernel is generated from the same derived step as everything else (models/engines/fused/triton_source.py). It takes
a population whose inputs are known beforehand. Where spikes travel inside a group, or triton is missing, the derived
step in torch runs under CUDA graphs (graphs.py); where that does not go either, it is launched step by step.

With TRITON_INTERPRET=1, set before triton is imported, Triton runs the kernels on the CPU, slowly; that is how they are
tested where there is no GPU.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spiketwin.models.discretisation.program import unsupported_order
from spiketwin.models.engines.compiled.cache import load
from spiketwin.models.engines.fused import triton_source
from spiketwin.models.engines.fused.structure import Cell
from spiketwin.models.engines.torch.kernels.cells import cell_of
from spiketwin.models.engines.torch.kernels.graphs import Graphs, Loop
from spiketwin.models.engines.torch.kernels.graphs import refusal as graph_refusal
from spiketwin.models.engines.torch.population import RunningPopulation
from spiketwin.models.engines.torch.projections import WeightedProjection

GOES_ON = "refractory periods or spikes on their way go on from an earlier run"
BLOCK = 128  # elements of [B, N] that a program takes through time: one for each thread of four warps
_DTYPES = {torch.float32: "float32", torch.float64: "float64"}


@cache
def triton_missing() -> str:
    """'' or what is wrong with triton here."""
    if find_spec("triton") is None:
        return "triton is not installed: pip install triton (Linux; torch for CUDA brings it along)"
    return ""


def is_interpreted() -> bool:
    """Whether Triton runs kernels on the CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


Inside = Sequence[tuple[WeightedProjection, str, str]]  # (projection, source, target) of those within a group


def run(group: Mapping[str, RunningPopulation], order: tuple[str, ...], inside: Inside, graphs: Graphs, loop: Loop) -> str:
    """Run all steps of a group, whose inputs from outside have been added to it, and leave the results in it.

    graphs: of the module.  loop: runs all steps of some populations in torch.
    Returns '' or why the group has to be run step by step; then nothing has been done.
    """
    if not refusal(group, order, inside):
        for population in group.values():
            advance(population, order)
        return ""
    return _graph_refusal(group, inside) or graphs.advance(group, inside, loop)


def path(group: Mapping[str, RunningPopulation], order: tuple[str, ...], inside: Inside) -> tuple[str, str]:
    """How run() would take this group, and why; for a plan."""
    reason = refusal(group, order, inside)
    if not reason:
        return "Triton kernel", ""
    further = _graph_refusal(group, inside)
    return ("step by step in torch", f"{reason}; {further}") if further else ("CUDA graph of the step in torch", reason)


def _graph_refusal(group: Mapping[str, RunningPopulation], inside: Inside) -> str:
    # a graph is captured with those as they were in its first run
    if any(p.stopped or p.past is not None for p in group.values()):
        return GOES_ON
    return graph_refusal(group, inside)


def refusal(group: Mapping[str, RunningPopulation], order: tuple[str, ...], inside: Inside = ()) -> str:
    """'' or why no Triton kernel can run this group."""
    if reason := triton_missing():
        return reason
    if inside or len(group) > 1:
        return "spikes travel inside the group at every step"
    for population in group.values():
        if population.stopped:
            return GOES_ON
        like = population.values[population.spec.states[0]]
        if like.device.type != "cuda" and not is_interpreted():
            return f"the module is on {like.device}; Triton kernels run on a CUDA device"
        if like.dtype not in _DTYPES:
            return f"{like.dtype} has no kernel; use float32 or float64"
        if torch._C._functorch.is_functorch_wrapped_tensor(like):
            return "a transformation of torch.func is at work"
        if reason := unsupported_order(population.spec, order, population.active is not None):
            return reason
        surrogate = population.setting.surrogate
        if population.spec.threshold and surrogate is not None and not hasattr(surrogate, "derivative"):
            return "the surrogate does not say its derivative; make it with rules.surrogate.surrogate"
    return ""


def advance(population: RunningPopulation, order: tuple[str, ...]) -> None:
    """Run all steps of a population that refusal() accepts, and leave the results in it."""
    run = _Run(population, order)
    names, tensors = list(run.inputs), list(run.inputs.values())
    run.inputs = {}  # what stays with the graph must not refer back to tensors that know the graph
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        results = _Kernel.apply(run, names, *tensors)
    else:
        results = run.forward(dict(zip(names, tensors)), keep=False)
    given = dict(zip(run.outputs, results, strict=True))
    states = {s: given[f"_rec_{s}"] for s in run.cell.record}
    population.finish(given.get("_spikes"), states, {s: given[f"_y_{s}"] for s in run.cell.spec.states})


class _Kernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx, run, names, *tensors):
        ctx.run, ctx.names = run, names
        # saved through torch, so that it notices if one is changed before the backward pass
        ctx.save_for_backward(*(t if run.is_read_again(n) else None for n, t in zip(names, tensors)))
        ctx.set_materialize_grads(False)
        return tuple(run.forward(dict(zip(names, tensors)), keep=True))

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        given = dict(zip(ctx.names, ctx.saved_tensors, strict=True))
        found = ctx.run.backward(given, dict(zip(ctx.run.outputs, gradients, strict=True)))
        return None, None, *(found.get(n) if needed else None for n, needed in zip(ctx.names, ctx.needs_input_grad[2:]))


class _Run:
    """One forward pass of a population and what its backward pass needs.

    inputs: name -> tensor, with or without a gradient: constants 'c:NAME', initial states 'x:NAME', signals 'in:NAME',
    arrivals 'dense:NAME'.
    """

    def __init__(self, population: RunningPopulation, order: tuple[str, ...]) -> None:
        self.T, self.B = population.setting.steps, population.setting.trials
        like = population.values[population.spec.states[0]].detach()
        self.N, self.like = like.shape[1], like.new_zeros(())
        self.inputs: dict[str, Tensor] = {}
        self.cell = self._cell(population, tuple(order))
        self.shapes = {name: tensor.shape for name, tensor in self.inputs.items()}
        self.surrogate = population.setting.surrogate
        self.gain = population.per_spike_scale if self.cell.spiking else 1.0
        if self.cell.timed:
            self.hold = torch.as_tensor(population.hold, device=like.device).to(torch.int32).expand(self.N).contiguous()
        self.outputs = ["_spikes"] * self.cell.spiking
        self.outputs += [f"_rec_{s}" for s in self.cell.record] + [f"_y_{s}" for s in self.cell.spec.states]

    def _cell(self, population: RunningPopulation, order: tuple[str, ...]) -> Cell:
        cell, constants, arrays = cell_of(population, order)
        # a constant of constants alone, such as a root of the equations, is computed on the CPU
        values = {c: v.to(self.like.device) if torch.is_tensor(v) else self.like.new_full((), float(v)) for c, v in constants.items()}
        self.inputs |= {f"c:{c}": value for c, value in values.items()}
        self.inputs |= {f"{kind}:{what}": tensor for (kind, what), tensor in arrays.items()}
        return cell

    def is_read_again(self, name: str) -> bool:
        """Whether the backward pass reads this input."""
        return name.startswith(("c:", "in:"))

    # -- the kernels -----------------------------------------------------------------------------------

    def _shared(self, given: Mapping[str, Tensor]) -> dict[str, Any]:
        """Arguments of both kernels."""
        cell, size = self.cell, self.B * self.N
        made: dict[str, Any] = {"_size": size, "_steps": self.T, "_neurons": self.N, "_last": (self.T - 1) * size}
        if cell.scalars:
            made["_scalars"] = torch.stack([given[f"c:{c}"].reshape(()) for c in cell.scalars])
        if cell.vectors:
            made["_vectors"] = torch.stack([given[f"c:{c}"].expand(self.N) for c in cell.vectors])
        return made | {f"_in_{s}": given[f"in:{s}"].contiguous() for s in cell.signals}

    def forward(self, given: Mapping[str, Tensor], keep: bool) -> list[Tensor]:
        """Run all steps; the outputs in their order. keep: whether a backward pass will follow."""
        cell, arrays = self.cell, self._shared({n: t.detach() for n, t in given.items()})
        arrays |= {f"_dense_{r}": given[f"dense:{r}"].detach().contiguous() for r in cell.dense}
        arrays |= {f"_x_{s}": given[f"x:{s}"].detach().contiguous() for s in cell.spec.states}
        arrays |= {"_hold": self.hold} if cell.timed else {}
        # a kernel that keeps nothing still names the arrays
        rows = (self.T, self.B, self.N) if keep else (1,)
        self.kept = {f"_keep_{n}": self._empty(*rows) for n in cell.kept}
        self.kept |= {"_flags": self._empty(*rows, dtype=torch.uint8)} if triton_source.has_flags(cell) else {}
        shapes = {name: (self.B, self.N) if name.startswith("_y_") else (self.T, self.B, self.N) for name in self.outputs}
        results = {name: self._empty(*shape) for name, shape in shapes.items()}
        self._launch(cell, "forward", arrays | self.kept | results, KEEP=keep)
        return list(results.values())

    def backward(self, given: Mapping[str, Tensor], gradients: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
        """Gradients of the inputs, by name. gradients: of the outputs, None for zero."""
        # what the loss does not depend on is not even read
        record = tuple(s for s in self.cell.record if gradients[f"_rec_{s}"] is not None)
        cell = replace(self.cell, heard=self.cell.spiking and gradients["_spikes"] is not None, record=record)
        arrays = self._shared(given) | self.kept
        for s in cell.spec.states:
            final = gradients[f"_y_{s}"]
            arrays[f"_g_{s}"] = self._empty(self.B, self.N).zero_() if final is None else final.clone(memory_format=torch.contiguous_format)
        arrays |= {f"_grec_{s}": gradients[f"_rec_{s}"].contiguous() for s in record}
        arrays |= {"_gspikes": gradients["_spikes"].contiguous()} if cell.heard else {}
        if cell.slope == "given" and cell.spiking:
            margin = arrays["_keep__margin"]
            arrays["_slopes"] = self.surrogate.derivative(margin * self.gain).to(margin).expand_as(margin).contiguous()
        found = {f"dense:{r}": f"_gdense_{r}" for r in triton_source.wanted_arrivals(cell)}
        found |= {f"in:{s}": f"_gin_{s}" for s in cell.signals if s in cell.wrt}
        arrays |= {array: self._empty(*self.shapes[name]) for name, array in found.items()}
        sums = {f"c:{c}": f"_gconst_{c}" for c in triton_source.wanted_constants(cell)}
        arrays |= {array: self._empty(self.B, self.N) for array in sums.values()}
        self._launch(cell, "backward", arrays)
        found |= {f"x:{s}": f"_g_{s}" for s in cell.spec.states}
        totals = {name: arrays[array].sum(0) if name[2:] in cell.vectors else arrays[array].sum() for name, array in sums.items()}
        return {name: arrays[array] for name, array in found.items()} | {n: t.reshape(self.shapes[n]) for n, t in totals.items()}

    def _empty(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        return self.like.new_empty(shape, dtype=dtype)

    def _launch(self, cell: Cell, direction: str, arrays: Mapping[str, Any], **options) -> None:
        kernel, names = _kernel(cell, _DTYPES[self.like.dtype], direction)
        programs = -(-self.B * self.N // BLOCK)
        with torch.cuda.device(self.like.device) if self.like.is_cuda else nullcontext():
            # each operation rounded by itself, as in torch: the kernel waits for memory, not for arithmetic
            kernel[(programs,)](*(arrays[n] for n in names), BLOCK=BLOCK, enable_fp_fusion=False, **options)


@lru_cache(maxsize=512)
def _kernel(cell: Cell, dtype: str, direction: str) -> tuple[Any, list[str]]:
    names = triton_source.forward_arguments(cell) if direction == "forward" else triton_source.backward_arguments(cell)
    return getattr(load(triton_source.source(cell, dtype)), direction), names
