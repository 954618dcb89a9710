"""Which path each population and projection of a TorchNetwork takes, and why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from spiketwin.models.engines.torch.kernels import cuda, fused
from spiketwin.models.engines.torch.kernels.event_convolution import EVENT_DENSITY
from spiketwin.models.engines.torch.population import Rows, Setting
from spiketwin.models.engines.torch.state import NetworkState
from spiketwin.models.network import SpikeSource
from spiketwin.models.spec import unknown


@dataclass(frozen=True)
class Step:
    """name: of a population or projection.  path: how it runs.  why: the reason, or what it keeps for the backward pass.
    kept_bytes: what a kernel keeps of a neuron and step."""

    name: str
    path: str
    why: str
    kept_bytes: int = 0


@dataclass(frozen=True)
class Plan:
    """Shows itself as a table; `steps` holds the rows."""

    steps: tuple[Step, ...]

    def __repr__(self) -> str:
        width = [max(len(getattr(s, column)) for s in self.steps) for column in ("name", "path")]
        return "\n".join(f"{s.name:{width[0]}}  {s.path:{width[1]}}  {s.why}".rstrip() for s in self.steps)

    def __getitem__(self, name: str) -> Step:
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(unknown(name, "population or projection", "plan", [step.name for step in self.steps]))


def plan(module, start: NetworkState | None = None) -> Plan:
    """The plan of a TorchNetwork, as it would run on spikes given as events, from `start`."""
    network, trials = module.network, 1 if start is None else start.trials or 1
    setting = Setting(module.scheme, module.dt_ms * 1e-3, 1, trials, module.surrogate, module.detach_reset)
    draws = {p.name: {name: torch.zeros(1, trials, p.size).to(module.like) for name in _draws(p.neuron)} for p in network.populations}
    past = module._past(start, trials)
    blocks = module._blocks(setting, {}, {p.name: {} for p in network.populations}, draws, start, past)
    steps: list[Step] = []
    for number, block in enumerate(blocks, start=1):
        names = list(block.populations)
        if block.refusal:
            inside = module._inside(block.populations)
            is_learning = any(p.rule for p in network.projections if p.target in block.populations)
            on_gpu = module.on_gpu and not is_learning
            how = cuda.path(block.populations, module.order, inside) if on_gpu else ("step by step in torch", block.refusal)
            steps += [Step(name, *how) for name in names]
        else:
            group = _structure(module, block, trials, past)
            steps += [Step(name, f"fused kernel {number}", *_kept(group, p, module)) for p, name in enumerate(names)]
    where = {name: k for k, block in enumerate(blocks) for name in block.populations}
    sources = {s.name: s for s in network.sources}
    for p in network.projections:
        block = blocks[where[p.target]]
        steps.append(Step(p.name, *_projection(module, p, block, where.get(p.source) == where[p.target], sources)))
    return Plan(tuple(steps))


def _projection(module, p, block, is_inside: bool, sources) -> tuple[str, str]:
    if p.rule:
        return "event by event", f"{p.rule.name} changes its weights"
    if block.refusal:
        return ("a product per step", "the group runs step by step") if is_inside else ("one product for all steps", "")
    if not fused.takes_events(module.projections[p.name]):
        return "convolution", f"by events up to a density of {100 * EVENT_DENSITY:g} %, else as many steps at a time as the cache holds"
    limit = f"{100 * fused.CROSSOVER:g} %"
    if is_inside:
        return "events inside the kernel", f"a product in steps where more than {limit} of the neurons fire"
    if p.source in sources and isinstance(sources[p.source], SpikeSource):
        return "events", f"if given as Spikes with a density of at most {limit}, else one product for all steps"
    return (
        "one product for all steps" if p.source in sources else "events",
        f"up to a density of {limit}" if p.source not in sources else "",
    )


def _structure(module, block, trials: int, past):
    """That of a block's kernel, for one silent step."""
    nothing = Rows(np.zeros(0, np.uint32), np.zeros(trials, np.int64), np.zeros(trials, np.int32))
    links = []
    for p in module.network.projections:
        if p.target in block.populations:
            if p.source not in block.populations and not fused.takes_events(module.projections[p.name]):
                block.populations[p.target].add_increments(p.receptor, torch.zeros(1, 1, p.shape[0]).to(module.like))
            else:
                is_inside = p.source in block.populations
                source, earlier = (p.source, None) if is_inside else (nothing, past.get(p.source))
                links.append(fused.Link(module.projections[p.name], p.target, source, past=earlier))
    return fused.structure(block.groups, module.order, links, module._is_listed)


def _kept(group, p: int, module) -> tuple[str, int]:
    cell = group.cells[p]
    names = [name.removeprefix("_") for name in cell.kept]
    size = torch.finfo(module.like.dtype).bits // 8 * len(names)
    if cell.flagged(group.is_split(p)):
        names, size = [*names, "flags"], size + 1
    again = f"; {len(cell.again)} quantities computed again" if cell.again else ""
    return f"keeps {', '.join(names) or 'nothing'} of each step, {size} bytes a neuron{again}", size


def _draws(spec) -> list[str]:
    return ["noise"] * spec.is_noisy + ["uniform"] * spec.has_random_threshold
