"""Parts of a stack one after the other, and what a run through them leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from spiketwin.models.engines.torch.layer import SpikingLayer
from spiketwin.models.engines.torch.over_time import OverTime
from spiketwin.models.engines.torch.plan import Step
from spiketwin.models.engines.torch.stacks.dropout import HeldDropout
from spiketwin.models.engines.torch.stacks.lstm import SpikingLSTM


@dataclass(eq=False)
class Pass:
    """One run. record: neuron layer -> states to keep.  The rest fills as layers run, by their names:
    spikes [T, B, …], states at the start of each step [T, B, …] and after the last one [B, …]."""

    steps: int
    record: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    spikes: dict[str, Tensor] = field(default_factory=dict)
    states: dict[str, Mapping[str, Tensor]] = field(default_factory=dict)
    final: dict[str, Mapping[str, Tensor]] = field(default_factory=dict)


class Chain(nn.ModuleDict):
    """Parts by name, in order. prefix: goes before the names of its neuron layers."""

    def __init__(self, parts: Mapping[str, nn.Module] | None = None, prefix: str = "") -> None:
        super().__init__(dict(parts or {}))
        self.prefix = prefix

    def forward(self, x: Tensor, run: Pass) -> Tensor:
        """x [T, B, …], or [1, B, …] where it is the same at every step: then parts that treat all steps alike are run once."""
        for name, part in self.items():
            if isinstance(part, SpikingLayer):
                x = self._spikes(self.prefix + name, part, x, run)
            elif isinstance(part, Block):
                x = part(x, run)
            elif isinstance(part, OverTime | HeldDropout):
                x = part(x)
            else:
                x = part(x.expand(run.steps, *x.shape[1:]))
            if isinstance(part, SpikingLSTM):
                run.spikes[self.prefix + name] = x
        return x

    def _spikes(self, name: str, layer: SpikingLayer, x: Tensor, run: Pass) -> Tensor:
        """Spikes [T, B, …], or the first state at the end of each step where the model has no threshold."""
        spec, wanted = layer.spec, run.record.get(name, ())
        membrane = spec.states[0]
        # under torch.autocast weights are multiplied in 16 bits; neurons add up over time in their own precision
        done = layer.run(
            x.to(layer.network.get_buffer("like").dtype), run.steps, record=wanted if spec.threshold else tuple({*wanted, membrane})
        )
        run.states[name], run.final[name] = {s: done.states[s] for s in wanted}, done.final
        if spec.threshold:
            run.spikes[name] = done.spikes
            return done.spikes
        return torch.cat([done.states[membrane][1:], done.final[membrane][None]])

    def neuron_layers(self) -> dict[str, SpikingLayer]:
        """By name, in the order of a run."""
        found = {}
        for name, part in self.items():
            if isinstance(part, SpikingLayer):
                found[self.prefix + name] = part
            elif isinstance(part, Block):
                found |= part.neuron_layers()
        return found

    def plan(self) -> list[Step]:
        """A row per part: how it runs, and why."""
        rows = []
        for name, part in self.items():
            name = self.prefix + name
            if isinstance(part, SpikingLayer):
                rows += [Step(f"{name}.{s.name}" if k else name, s.path, s.why, s.kept_bytes) for k, s in enumerate(part.plan().steps)]
            elif isinstance(part, Block):
                rows += part.plan()
            elif isinstance(part, OverTime):
                rows.append(Step(name, "over time", " ".join(part.plan().split())))
            else:
                rows.append(Step(name, "over time" if isinstance(part, HeldDropout) else "all steps at once", " ".join(str(part).split())))
        return rows


class Block(nn.Module):
    """Chains side by side whose results are added up."""

    def __init__(self, residual: Chain, shortcut: Chain) -> None:
        super().__init__()
        self.residual, self.shortcut = residual, shortcut

    def forward(self, x: Tensor, run: Pass) -> Tensor:
        return self.residual(x, run) + self.shortcut(x, run)

    def neuron_layers(self) -> dict[str, SpikingLayer]:
        return self.residual.neuron_layers() | self.shortcut.neuron_layers()

    def plan(self) -> list[Step]:
        return self.residual.plan() + self.shortcut.plan()
