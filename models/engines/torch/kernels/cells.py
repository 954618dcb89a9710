"""From a population that is ready to run to what its kernel is generated from, and the tensors that go in."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from spiketwin.models.discretisation.program import arrival
from spiketwin.models.engines.fused.structure import GAIN, Cell
from spiketwin.models.engines.torch.population import RunningPopulation

Key = tuple[str, str]


def cell_of(
    population: RunningPopulation, order: tuple[str, ...], wired: tuple[str, ...] = (), lists: bool = False
) -> tuple[Cell, dict[str, Tensor | float], dict[Key, Tensor]]:
    """The cell; its constants by name; its arrays: ('x', state) [B, N], ('in', signal) and ('dense', receptor)
    [T, B, N], or [1, B, N] for what does not change in time.

    wired: receptors that spikes reach inside the kernel.  lists: whether the kernel writes down who fires.
    """
    spec, setting, surrogate = population.spec, population.setting, population.setting.surrogate
    slope = "" if surrogate is None else getattr(surrogate, "expression", "") or "given"
    dense = tuple(sorted(population.incoming))
    cell = Cell(
        spec, setting.scheme, tuple(order), population.active is not None, setting.detach_reset, slope,
        tuple(population.signals), (), (), wired, dense, tuple(population.recorded), (), lists,
    )  # fmt: skip
    cell = replace(cell, signals=tuple(s for s in population.signals if s in cell.program.signals))
    constants = {c: _constant(population, c) for c in cell.constants}
    tensors = {c: v for c, v in constants.items() if torch.is_tensor(v)}
    arrays: dict[Key, Tensor] = {("x", s): population.values[s] for s in spec.states}
    given = {("in", s): population.signals[s] for s in cell.signals} | {("dense", r): population.incoming[r] for r in dense}
    fixed, wrt = [], [c for c, v in tensors.items() if v.requires_grad]
    for (kind, name), tensor in given.items():
        what = str(arrival(name)) if kind == "dense" else name
        is_fixed = tensor.shape[0] == 1 and setting.steps > 1
        fixed += [what] * is_fixed
        wrt += [what] * tensor.requires_grad
        arrays[kind, name] = tensor.expand(1 if is_fixed else setting.steps, setting.trials, population.size)
    vectors = tuple(c for c in cell.constants if c in tensors and tensors[c].numel() > 1)
    return replace(cell, vectors=vectors, fixed=tuple(fixed), wrt=tuple(wrt)), constants, arrays


def _constant(population: RunningPopulation, name: str) -> Tensor | float:
    if name != GAIN:
        return population.values[name]
    scale = population.per_spike_scale
    return scale.detach() if torch.is_tensor(scale) else scale
