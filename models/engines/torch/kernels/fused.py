"""Groups of populations advanced by one compiled kernel, as one operation of torch's autograd (CPU).

The kernel is generated from the same derived step as everything else (models/engines/fused). It runs all steps of
a group, takes spikes known beforehand as events, and keeps of each step only what the gradients need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spiketwin.models.discretisation.program import arrival, unsupported_order
from spiketwin.models.engines.fused.kernels import CROSSOVER
from spiketwin.models.engines.fused.structure import GAIN, Cell, Structure, Wire
from spiketwin.models.engines.threads import run_parts
from spiketwin.models.engines.torch.kernels.buffers import POOL
from spiketwin.models.engines.torch.kernels.cells import cell_of
from spiketwin.models.engines.torch.population import Rows, RunningPopulation
from spiketwin.models.engines.torch.projections import DenseProjection, SparseProjection, WeightedProjection
from spiketwin.models.engines.torch.state import fitted
from spiketwin.models.spikes import Spikes

CHUNK = 768  # neurons of a chunk: enough to vectorise, few enough to stay in the first cache
_DTYPES = {torch.float32: "float32", torch.float64: "float64"}


@dataclass(eq=False)
class Link:
    """A projection into the group. source: name of a population of the group, or the spikes as events."""

    module: WeightedProjection
    target: str
    source: str | Rows
    spikes: Tensor | None = None  # the same spikes as a tensor, where they may need a gradient
    past: Tensor | None = None  # those of the steps before, [D, B, N_pre]


def refusal(group: Mapping[str, RunningPopulation], order: tuple[str, ...], links: list[WeightedProjection]) -> str:
    """'' or why no kernel can run this group. links: the projections inside it."""
    for name, population in group.items():
        if population.past is not None and population.past.requires_grad and torch.is_grad_enabled():
            return f"spikes of '{name}' on their way from an earlier run ask for a gradient; detach its state"
        like = next(iter(population.values[s] for s in population.spec.states))
        if like.device.type != "cpu":
            return f"the module is on {like.device}; fused kernels run on the CPU"
        if like.dtype not in _DTYPES:
            return f"{like.dtype} has no kernel; use float32 or float64"
        if torch._C._functorch.is_functorch_wrapped_tensor(like):
            return "a transformation of torch.func is at work"
        if reason := unsupported_order(population.spec, order, population.active is not None):
            return reason
        surrogate = population.setting.surrogate
        if population.spec.threshold and surrogate is not None and not hasattr(surrogate, "derivative"):
            return "the surrogate does not say its derivative; make it with rules.surrogate.surrogate"
    if strange := [m for m in links if not isinstance(m, DenseProjection | SparseProjection)]:
        return f"projection '{strange[0].projection.name}' inside the group is convolutional"
    return ""


def takes_events(module: WeightedProjection) -> bool:
    """Whether spikes can pass a projection one by one."""
    return isinstance(module, DenseProjection | SparseProjection)


def events(module: WeightedProjection, spikes: Tensor | Spikes, fired: Rows | None) -> Rows | None:
    """The spikes as events if the kernel should gather them one by one; None where a matrix product is faster or needed.

    fired: what a kernel has written down of the spikes of an earlier population."""
    if not takes_events(module):
        return None
    if isinstance(spikes, Spikes):
        fired = Rows(*spikes.rows())
    return fired if fired is not None and fired.density(spikes.shape[2]) <= CROSSOVER else None


def advance(
    stages: Sequence[Mapping[str, RunningPopulation]],
    order: tuple[str, ...],
    links: list[Link],
    listed: Callable[[str], bool],
    checkpoint_steps: int | None = None,
) -> None:
    """Run all steps of some groups of populations, in one kernel, and leave the results in them.

    stages: groups, in an order in which spikes only flow forward.  listed: whether the spikes of a population will be wanted as events.  checkpoint_steps: keep only the states
    every so many steps, and compute the steps between them a second time on the way back.
    """
    run = _Run(stages, order, links, listed, checkpoint_steps)
    names, tensors = list(run.inputs), list(run.inputs.values())
    # what stays with the graph must not refer back to tensors that know the graph: nobody would ever free them
    run.inputs = {}
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        results = _Fused.apply(run, names, *tensors)
    else:
        run.forward({n: _array(t) for n, t in zip(names, tensors)}, keep=False)
        results = run.results()
    given = dict(zip(run.outputs, results, strict=True))
    for p, population in enumerate(population for group in stages for population in group.values()):
        cell = run.structure.cells[p]
        states = {s: given[f"_rec_{s}{p}"] for s in cell.record}
        final = {s: given[f"_x_{s}{p}"] for s in cell.spec.states}
        population.finish(given.get(f"_spikes{p}"), states, final, run.fired(p) if cell.lists else None, *run.held(p))


def structure(
    stages: Sequence[Mapping[str, RunningPopulation]], order: tuple[str, ...], links: list[Link], listed: Callable[[str], bool]
) -> Structure:
    """What the kernel of these groups is generated from."""
    return _Run(stages, order, links, listed, None).structure


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, run, names, *tensors):
        run.forward({n: _array(t) for n, t in zip(names, tensors)}, keep=True)
        ctx.run, ctx.names = run, names
        # saved through torch, so that it notices if one is changed before the backward pass
        ctx.save_for_backward(*(t if run.needs_again(n) else None for n, t in zip(names, tensors)))
        ctx.set_materialize_grads(False)
        return tuple(run.results())

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        tensors = dict(zip(ctx.names, ctx.saved_tensors, strict=True))
        found = ctx.run.backward(
            {n: _array(t) for n, t in tensors.items() if t is not None}, dict(zip(ctx.run.outputs, gradients, strict=True))
        )
        return None, None, *(found.get(n) if needed else None for n, needed in zip(ctx.names, ctx.needs_input_grad[2:]))


class _Run:
    """One forward pass of a group and what its backward pass needs.

    inputs: name -> tensor with or without a gradient: constants 'c:P:NAME', initial states 'x:P:NAME', signals
    'in:P:NAME', dense arrivals 'dense:P:NAME', weights 'w:W', spikes of earlier groups 'spikes:W'.
    """

    def __init__(self, stages, order, links, listed, checkpoint_steps) -> None:
        group = {name: population for members in stages for name, population in members.items()}
        populations = list(group.values())
        setting = populations[0].setting
        self.T, self.B = setting.steps, setting.trials
        self.sizes = [p.values[p.spec.states[0]].shape[1] for p in populations]
        like = populations[0].values[populations[0].spec.states[0]]
        self.dtype = np.dtype(_DTYPES[like.dtype])
        self.index = {name: p for p, name in enumerate(group)}
        self.segment = min(checkpoint_steps or self.T, self.T)
        # spikes of an earlier run that arrive in this one: as many rows for each source, silent where it has fewer
        self.past = max(
            [len(p.past) for p in populations if p.past is not None] + [len(k.past) for k in links if k.past is not None], default=0
        )
        self.earlier = {p: population.past for p, population in enumerate(populations) if population.past is not None}
        self.going_on = {p: population for p, population in enumerate(populations) if population.stopped}
        self.inputs: dict[str, Tensor] = {}
        self._values: list[dict[str, Any]] = []
        cells = tuple(self._cell(p, name, population, order, links, listed(name)) for p, (name, population) in enumerate(group.items()))
        wires = tuple(self._wire(w, link) for w, link in enumerate(links))
        where = tuple(k for k, members in enumerate(stages) for _ in members)
        self.structure = _interned(Structure(cells, wires, where, str(self.dtype), resumed=self.past > 0))
        self.outputs = [f"_spikes{p}" for p, cell in enumerate(cells) if cell.spiking]
        self.outputs += [f"_rec_{s}{p}" for p, cell in enumerate(cells) for s in cell.record]
        self.outputs += [f"_x_{s}{p}" for p, cell in enumerate(cells) for s in cell.spec.states]
        self.shapes = {name: tensor.shape for name, tensor in self.inputs.items()}
        self.delays = [link.module.delays for link in links]
        self.surrogates = [(p.setting.surrogate, values.get(GAIN, 0.0)) for p, values in zip(populations, self._values, strict=True)]
        self._share_out()
        self.arrays: dict[str, Any] = self._constants(populations) | self._events(links)
        self.start = {p: _held(population) for p, population in self.going_on.items()}
        del self._values, self.going_on

    # -- structure -----------------------------------------------------------------------------------

    def _cell(self, p: int, name: str, population: RunningPopulation, order, links, listed: bool) -> Cell:
        wired = tuple(sorted({link.module.projection.receptor for link in links if link.target == name}))
        cell, constants, arrays = cell_of(population, order, wired, listed)
        self.inputs |= {f"c:{p}:{c}": constants[c] for c in cell.wrt if c in constants}
        self.inputs |= {f"{kind}:{p}:{what}": tensor for (kind, what), tensor in arrays.items()}
        self._values.append(constants)
        return cell

    def _wire(self, w: int, link: Link) -> Wire:
        module = link.module
        kind = "dense" if isinstance(module, DenseProjection) else "sparse"
        matrices = module.matrices() if kind == "dense" else [module.si[self._order(module)]]
        weight = (
            matrices[0].unsqueeze(0)
            if len(matrices) == 1 and kind == "dense"
            else torch.stack(matrices)
            if kind == "dense"
            else matrices[0]
        )
        self.inputs[f"w:{w}"] = weight
        source = self.index[link.source] if isinstance(link.source, str) else -1
        needs_source = link.spikes is not None and link.spikes.requires_grad
        if needs_source:
            self.inputs[f"spikes:{w}"] = link.spikes if not self.past else torch.cat([self._padded(link.past, link.spikes), link.spikes])
        return Wire(source, self.index[link.target], module.projection.receptor, kind, weight.requires_grad, needs_source)

    def _padded(self, past: Tensor | None, like: Tensor) -> Tensor:
        return fitted(past, self.past, like, tuple(like.shape[1:]))

    @staticmethod
    def _order(module: SparseProjection) -> Tensor:
        """Synapses ordered by (delay, presynaptic neuron)."""
        slot = module.slot if module.slot is not None else torch.zeros_like(module.pre)
        return torch.argsort(slot * module.projection.shape[1] + module.pre, stable=True)

    def _share_out(self) -> None:
        """Trials in parts and chunks that follow from the sizes alone, so that results do not depend on the threads."""
        summed = sum(t.numel() for n, t in self.inputs.items() if n.startswith("w:") and t.requires_grad) * self.dtype.itemsize
        parts = 8 if summed <= 1 << 18 else 4 if summed <= 1 << 24 else 2
        self.parts = min(parts, self.B)
        self.edges = np.linspace(0, self.B, self.parts + 1).astype(np.int64)
        # at least eight trials where there are: they share each weight that is loaded
        self.chunk = int(min(max(8, CHUNK // max(self.sizes)), np.diff(self.edges).max()))

    # -- arrays --------------------------------------------------------------------------------------

    def _constants(self, populations: list[RunningPopulation]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for p, (cell, population, values) in enumerate(zip(self.structure.cells, populations, self._values, strict=True)):
            made[f"_n{p}"] = self.sizes[p]
            made[f"_scalars{p}"] = np.array([_number(values[c]) for c in cell.scalars], self.dtype)
            if cell.vectors:
                made[f"_vectors{p}"] = np.stack([np.tile(_array(values[c]).astype(self.dtype), self.chunk) for c in cell.vectors])
            if cell.timed:
                hold = population.hold.numpy() if torch.is_tensor(population.hold) else np.asarray(population.hold)
                made[f"_hold{p}"] = np.tile(np.broadcast_to(hold, self.sizes[p]).astype(np.int32), self.chunk)
        return made

    def _events(self, links: list[Link]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for w, link in enumerate(links):
            module = link.module
            made[f"_delays{w}"] = np.array(module.delays, np.int64)
            if isinstance(link.source, Rows):
                n_pre = module.projection.shape[1]
                rows = link.source.after(fitted(link.past, self.past, module.weight, (self.B, n_pre))) if self.past else link.source
                made |= {f"_events{w}": rows.neurons, f"_first{w}": rows.first, f"_many{w}": rows.many}
            if isinstance(module, SparseProjection):
                order, n_pre = self._order(module), module.projection.shape[1]
                slot = module.slot if module.slot is not None else torch.zeros_like(module.pre)
                key = (slot * n_pre + module.pre)[order].numpy()
                edges = np.searchsorted(key, np.arange(len(module.delays) * n_pre + 1))
                made[f"_start{w}"] = np.stack([edges[d * n_pre : (d + 1) * n_pre + 1] for d in range(len(module.delays))]).astype(np.int64)
                made[f"_post{w}"] = module.post[order].numpy().astype(np.uint32)
        return made

    def _inputs_as_arrays(self, given: Mapping[str, np.ndarray]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in given.items():
            kind, *rest = key.split(":")
            match kind:
                case "in" | "dense":
                    made[f"_{kind}_{rest[1]}{rest[0]}"] = np.ascontiguousarray(value).reshape(-1)
                case "w":
                    is_dense = self.structure.wires[int(rest[0])].kind == "dense"
                    made[f"_weight{rest[0]}"] = _transposed(value) if is_dense else value
                    made[f"_back{rest[0]}"] = np.ascontiguousarray(value)
        return made

    def needs_again(self, name: str) -> bool:
        """Whether the backward pass reads this input; increments only if it runs the steps a second time."""
        return not name.startswith("spikes") and (self.segment < self.T or not name.startswith(("dense", "x")))

    def _empty(self, *shape: int, dtype=None) -> np.ndarray:
        return POOL.array(shape, self.dtype if dtype is None else dtype)

    def forward(self, given: Mapping[str, np.ndarray], keep: bool) -> None:
        """Run all steps. given: the inputs as arrays."""
        T, B = self.T, self.B
        inputs = self._inputs_as_arrays(given)
        arrays, made = self.arrays, dict(inputs)
        whole = keep and self.segment == T
        for p, (cell, n) in enumerate(zip(self.structure.cells, self.sizes, strict=True)):
            for s in cell.spec.states:
                made[f"_x_{s}{p}"] = self._empty(B * n)
                made[f"_x_{s}{p}"].reshape(B, n)[:] = given[f"x:{p}:{s}"]
            made[f"_until{p}"] = np.full(B * n if cell.timed else 0, -(2**30), np.int32)
            made[f"_active{p}"] = np.ones(B * n if cell.held else 0, np.uint8)
            if p in self.start:
                made[f"_until{p}" if cell.timed else f"_active{p}"] = self.start[p].copy()
            rows = T if whole else 1
            made |= self._kept(p, rows)
            made |= {f"_rec_{s}{p}": self._empty(T * B * n) for s in cell.record}
            rows = T + self.past
            if cell.spiking:
                made[f"_spikes{p}"] = self._empty(rows * B * n)
            if cell.lists:
                made |= {f"_ids{p}": self._empty(rows * B * n, dtype=np.uint32), f"_counts{p}": self._empty(rows * B, dtype=np.int32)}
            if self.past and cell.spiking:
                self._lay_out_past(p, n, made, cell.lists)
        arrays.update(made)
        self.starts: list[dict[str, np.ndarray]] = []
        for t0 in range(0, T, self.segment if keep else T):
            if keep and not whole:
                self.starts.append({n: arrays[n].copy() for n in self._carried()})
            self._call("forward", t0, min(t0 + (self.segment if keep else T), T), stride=int(whole))
        # the backward pass gets the inputs anew
        for name in inputs:
            del arrays[name]

    def _lay_out_past(self, p: int, n: int, made: dict[str, Any], listed: bool) -> None:
        """Put the spikes of the earlier run into the first rows."""
        past = fitted(self.earlier.get(p), self.past, torch.from_numpy(made[f"_spikes{p}"][:0]), (self.B, n)).detach().flatten(0, 1).numpy()
        made[f"_spikes{p}"][: past.size] = past.reshape(-1)
        if listed:
            row, neuron = np.nonzero(past)
            counts = np.bincount(row, minlength=len(past))
            made[f"_counts{p}"][: len(past)] = counts
            made[f"_ids{p}"][row * n + np.arange(len(row)) - (np.cumsum(counts) - counts)[row]] = neuron

    def _kept(self, p: int, rows: int) -> dict[str, np.ndarray]:
        cell, size = self.structure.cells[p], rows * self.B * self.sizes[p]
        flags = {f"_flags{p}": self._empty(size, dtype=np.uint8)} if cell.flagged(self.structure.is_split(p)) else {}
        return {f"_keep_{n}{p}": self._empty(size) for n in cell.kept} | flags

    def _carried(self) -> list[str]:
        """Arrays that hold what passes from one step to the next."""
        names = []
        for p, cell in enumerate(self.structure.cells):
            names += [f"_x_{s}{p}" for s in cell.spec.states]
            names += [f"_until{p}"] if cell.timed else [f"_active{p}"] if cell.held else []
        return names

    def _call(self, direction: str, t0: int, t1: int, stride: int = 0, own: Mapping[str, Any] | None = None, structure=None) -> None:
        function, names = _kernel(structure or self.structure, direction)
        values = {**self.arrays, **(own or {}), "_edges": self.edges, "_t0": t0, "_t1": t1, "_steps": self.T, "_trials": self.B}
        values |= {"_chunk": self.chunk, "_stride": stride, "_past": self.past}
        arguments = [values[n] for n in names if n != "_part"]
        run_parts(lambda part: function(part, *arguments), self.parts)

    def results(self) -> list[Tensor]:
        """The outputs as tensors, in the order of `outputs`."""
        shapes = {}
        for p, n in enumerate(self.sizes):
            shapes |= {
                name: (self.B, n) if name.startswith("_x_") else (self.T, self.B, n) for name in self.outputs if name.endswith(str(p))
            }
        # rows of an earlier run stand before the spikes
        return [torch.from_numpy(self.arrays[name][-prod(shapes[name]) or None :].reshape(shapes[name])) for name in self.outputs]

    def fired(self, p: int) -> Rows:
        """Who spiked, as events."""
        n, before = self.sizes[p], self.past * self.B
        first = np.arange(before, (self.past + self.T) * self.B, dtype=np.int64) * n
        return Rows(self.arrays[f"_ids{p}"], first, self.arrays[f"_counts{p}"][before:])

    def held(self, p: int) -> tuple[Tensor | None, Tensor | None]:
        """After the last step: the first step in which a neuron is active again, or, by a condition, whether it is; None where nothing holds it."""
        cell, shape = self.structure.cells[p], (self.B, self.sizes[p])
        until = torch.from_numpy(self.arrays[f"_until{p}"].reshape(shape)) if cell.timed else None
        active = torch.from_numpy(self.arrays[f"_active{p}"].reshape(shape)).bool() if cell.held and not cell.timed else None
        return until, active

    # -- the way back --------------------------------------------------------------------------------

    def backward(self, given: Mapping[str, np.ndarray], gradients: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
        """Gradients of the inputs, by name. gradients: of the outputs, None for zero."""
        T, B = self.T, self.B
        own: dict[str, Any] = self._inputs_as_arrays(given)
        # what the loss does not depend on is not even read
        structure = replace(
            self.structure,
            cells=tuple(
                replace(
                    cell,
                    heard=cell.spiking and gradients[f"_spikes{p}"] is not None,
                    record=tuple(s for s in cell.record if gradients[f"_rec_{s}{p}"] is not None),
                )
                for p, cell in enumerate(self.structure.cells)
            ),
        )
        structure = _interned(structure)
        for p, (cell, n) in enumerate(zip(structure.cells, self.sizes, strict=True)):
            own |= {f"_g_{s}{p}": self._gradient(gradients[f"_x_{s}{p}"], B * n).copy() for s in cell.spec.states}
            own |= {f"_grec_{s}{p}": self._gradient(gradients[f"_rec_{s}{p}"], T * B * n) for s in cell.record}
            if cell.heard:
                own[f"_gspikes{p}"] = self._gradient(gradients[f"_spikes{p}"], T * B * n)
            own |= {f"_gin_{s}{p}": self._zeros((1 if s in cell.fixed else T) * B * n) for s in cell.signals if s in cell.wrt}
            own |= {
                f"_gdense_{r}{p}": self._zeros(B * n) if str(arrival(r)) in cell.fixed else self._empty(T * B * n)
                for r in cell.dense
                if str(arrival(r)) in cell.wrt
            }
            own[f"_gconst{p}"] = self._empty(self.parts, sum(c in cell.wrt for c in cell.constants), self.chunk * n)
        for w, wire in enumerate(self.structure.wires):
            weight = given[f"w:{w}"]
            if wire.wrt_weight:
                own[f"_gweight{w}"] = self._empty(self.parts, *(_swapped(weight.shape) if wire.kind == "dense" else weight.shape))
            if wire.wrt_source:
                once = len(self.delays[w]) == 1 and not self.past  # then each row is written once, but for the last, which arrive too late
                source = (self._empty if once else self._zeros)((T + self.past) * B, self.shapes[f"spikes:{w}"][2])
                source[max(T - self.delays[w][0], 0) * B :] = 0
                own[f"_gsource{w}"] = source
            if wire.source >= 0:
                ring = f"_ring_{wire.receptor}{wire.target}"
                slots = max(self.delays[w]) + self.structure.lag(wire) + 1
                if ring not in own or own[ring].shape[0] < slots:
                    own[ring] = self._zeros(slots, B * self.sizes[wire.target])
        if self.starts:
            for k in reversed(range(len(self.starts))):
                t0, t1 = k * self.segment, min((k + 1) * self.segment, T)
                again = {n: a.copy() for n, a in self.starts[k].items()}
                for p in range(len(self.sizes)):
                    again |= self._kept(p, t1 - t0)
                self._call("forward", t0, t1, stride=1, own=own | again)
                self._call("backward", t0, t1, own=own | again | self._slopes(own | again), structure=structure)
        else:
            self._call("backward", 0, T, own=own | self._slopes(self.arrays), structure=structure)
        return self._collected(own)

    def _slopes(self, arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The derivative of a surrogate that only torch can evaluate, at all margins that were kept."""
        made = {}
        for p, (cell, (surrogate, gain)) in enumerate(zip(self.structure.cells, self.surrogates, strict=True)):
            if cell.slope == "given" and cell.spiking:
                margin = torch.from_numpy(arrays[f"_keep__margin{p}"].reshape(-1, self.B, self.sizes[p]))
                slope = surrogate.derivative(margin * gain)
                made[f"_slopes{p}"] = slope.to(margin.dtype).expand_as(margin).contiguous().numpy().reshape(-1)
        return made

    def _gradient(self, gradient: Tensor | None, size: int) -> np.ndarray:
        return self._zeros(size) if gradient is None else _array(gradient.contiguous()).reshape(-1)

    def _zeros(self, *shape: int) -> np.ndarray:
        array = self._empty(*shape)
        array.fill(0)
        return array

    def _collected(self, own: Mapping[str, Any]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for p, (cell, n) in enumerate(zip(self.structure.cells, self.sizes, strict=True)):
            found |= {f"x:{p}:{s}": torch.from_numpy(own[f"_g_{s}{p}"].reshape(self.B, n)) for s in cell.spec.states}
            for key, names in (("in", cell.signals), ("dense", cell.dense)):
                arrays = {s: own[f"_g{key}_{s}{p}"] for s in names if f"_g{key}_{s}{p}" in own}
                found |= {f"{key}:{p}:{s}": torch.from_numpy(a.reshape(-1, self.B, n)) for s, a in arrays.items()}
            sums = torch.from_numpy(own[f"_gconst{p}"].reshape(self.parts, -1, self.chunk, n)).sum((0, 2))
            for k, c in enumerate(c for c in cell.constants if c in cell.wrt):
                found[f"c:{p}:{c}"] = (sums[k] if c in cell.vectors else sums[k].sum()).reshape(self.shapes[f"c:{p}:{c}"])
        for w, wire in enumerate(self.structure.wires):
            if wire.wrt_weight:
                total = torch.from_numpy(own[f"_gweight{w}"]).sum(0)
                found[f"w:{w}"] = total.transpose(1, 2) if wire.kind == "dense" else total
            if wire.wrt_source:
                found[f"spikes:{w}"] = torch.from_numpy(own[f"_gsource{w}"].reshape(self.T + self.past, self.B, -1))
        return found


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def _held(population: RunningPopulation) -> np.ndarray:
    """What a refractory period of an earlier run leaves: the first active step int32 [B·N], or, by a condition, who is active."""
    if population.last_spike is None:
        return population.active.numpy().astype(np.uint8).reshape(-1)
    return (population.last_spike + population.hold).numpy().astype(np.int32).reshape(-1)


def _swapped(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[0], shape[2], shape[1]


def _transposed(weight: np.ndarray) -> np.ndarray:
    """[D, N_post, N_pre] as [D, N_pre, N_post]; torch copies in blocks, several times as fast as numpy."""
    return torch.from_numpy(weight).transpose(1, 2).contiguous().numpy()


@lru_cache(maxsize=256)
def _interned(structure: Structure) -> Structure:
    """The same structure as always: what was derived for it once is at hand."""
    return structure


@lru_cache(maxsize=512)
def _kernel(structure: Structure, direction: str) -> tuple[Callable, list[str]]:
    from spiketwin.models.engines.compiled.cache import load
    from spiketwin.models.engines.fused.source import backward_arguments, forward_arguments, source

    names = forward_arguments(structure) if direction == "forward" else backward_arguments(structure)
    return getattr(load(source(structure)), direction), names


def _number(value: Tensor | float) -> float:
    return value.item() if torch.is_tensor(value) else float(value)
