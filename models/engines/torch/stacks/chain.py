"""Parts of a stack one after the other, and what a run through them leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from spiketwin.models.engines.torch.layer import SpikingLayer
from spiketwin.models.engines.torch.over_time import OverTime
from spiketwin.models.engines.torch.plan import Step
from spiketwin.models.engines.torch.stacks.delays import DelayedLinear
from spiketwin.models.engines.torch.stacks.dropout import HeldDropout
from spiketwin.models.engines.torch.stacks.lstm import SpikingLSTM
from spiketwin.models.engines.torch.stacks.norm import NormThroughTime
from spiketwin.models.engines.torch.state import NetworkState


@dataclass(frozen=True, eq=False)
class StackState:
    """A stack after the last step of a run. step: steps run so far.  layers: neuron layer -> its state.
    parts: what other parts keep: the latest inputs of delays, the mask of a dropout, the cell of an LSTM."""

    step: int = 0
    layers: Mapping[str, NetworkState] = field(default_factory=dict)
    parts: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(eq=False)
class Pass:
    """One run. record: neuron layer -> states to keep.  start: what the run goes on from.  The rest fills as layers run, by their names:
    spikes [T, B, …], states at the start of each step [T, B, …] and after the last one [B, …], and what a run that goes on needs."""

    steps: int
    record: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    start: StackState = field(default_factory=StackState)
    spikes: dict[str, Tensor] = field(default_factory=dict)
    states: dict[str, Mapping[str, Tensor]] = field(default_factory=dict)
    final: dict[str, Mapping[str, Tensor]] = field(default_factory=dict)
    layers: dict[str, NetworkState] = field(default_factory=dict)
    parts: dict[str, Tensor] = field(default_factory=dict)

    def end(self) -> StackState:
        return StackState(self.start.step + self.steps, self.layers, self.parts)


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
            elif isinstance(part, OverTime):
                x = part(x)
            elif isinstance(part, HeldDropout):
                x = self._dropped(self.prefix + name, part, x, run)
            else:
                x = self._all_steps(self.prefix + name, part, x.expand(run.steps, *x.shape[1:]), run)
        return x

    @staticmethod
    def _dropped(name: str, part: HeldDropout, x: Tensor, run: Pass) -> Tensor:
        mask = run.start.parts.get(name)
        mask = part.mask(x) if mask is None else mask
        if mask is None:
            return x
        run.parts[name] = mask
        return part.held(x, mask)

    @staticmethod
    def _all_steps(name: str, part: nn.Module, x: Tensor, run: Pass) -> Tensor:
        earlier = run.start.parts.get(name)
        if isinstance(part, DelayedLinear):
            x, run.parts[name] = part.carry(x, earlier)
        elif isinstance(part, SpikingLSTM):
            x, run.parts[name] = part.carry(x, earlier)
            run.spikes[name] = x
        elif isinstance(part, NormThroughTime):
            x = part(x, run.start.step)
        else:
            x = part(x)
        return x

    def _spikes(self, name: str, layer: SpikingLayer, x: Tensor, run: Pass) -> Tensor:
        """Spikes [T, B, …], or the first state at the end of each step where the model has no threshold."""
        spec, wanted = layer.spec, run.record.get(name, ())
        membrane = spec.states[0]
        # under torch.autocast weights are multiplied in 16 bits; neurons add up over time in their own precision
        done = layer.run(
            x.to(layer.network.get_buffer("like").dtype),
            run.steps,
            record=wanted if spec.threshold else tuple({*wanted, membrane}),
            start=run.start.layers.get(name),
        )
        run.states[name], run.final[name], run.layers[name] = {s: done.states[s] for s in wanted}, done.final, done.state
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
