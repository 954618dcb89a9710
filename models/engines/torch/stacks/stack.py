"""A stack of layers as a torch module: an input shown over time in, what every layer did out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from spiketwin.models.engines.torch.layer import SpikingLayer
from spiketwin.models.engines.torch.plan import Plan
from spiketwin.models.engines.torch.stacks.chain import Chain, Pass, StackState
from spiketwin.models.engines.torch.stacks.delays import DelayedLinear
from spiketwin.models.network import Network
from spiketwin.models.spec import unknown
from spiketwin.models.stacks.text import StackText


@dataclass(frozen=True, eq=False)
class StackActivity:
    """What a run gives. output: [T, B, …], the spikes of the last layer, or where its model never spikes its membrane in SI at the end
    of each step.  spikes: layer -> [T, B, …], 0 or 1.  states: layer -> state -> [T, B, …] in SI, at the start of each step.
    final: layer -> state -> [B, …] in SI, after the last step.  state: what a run that goes on starts from."""

    output: Tensor
    spikes: Mapping[str, Tensor]
    states: Mapping[str, Mapping[str, Tensor]]
    final: Mapping[str, Mapping[str, Tensor]]
    state: StackState = field(default_factory=StackState)


class Stack(nn.Module):
    """The layers of a line of text; made by build.stack.

    State dict: 'parts.NAME.…', with the names that `declaration` shows.
    """

    like: Tensor

    def __init__(self, declaration: StackText, parts: Chain, dt_ms: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.declaration, self.parts, self.dt_ms = declaration, parts, dt_ms
        # follows .to() and .double(), and so tells the dtype of the module
        self.register_buffer("like", torch.zeros((), dtype=dtype), persistent=False)

    def forward(
        self,
        x: Tensor,
        steps: int | None = None,
        *,
        record: Mapping[str, tuple[str, ...]] | None = None,
        start: StackState | None = None,
    ) -> StackActivity:
        """Run all steps.

        x: [T, B, *input_shape], or with `steps` [B, *input_shape]: the same at every step, so that the first layer works on it once.
        record: neuron layer -> states to keep.  start: `state` of an earlier run of the same trials, from which this one goes on.
        Batch norm over time sees one run at a time: in training its statistics are those of each piece.  Raises ValueError for a shape, a layer or a state that does not fit.
        """
        x, steps = self._over_time(x, steps)
        layers = self.neuron_layers()
        for name, states in (record or {}).items():
            if name not in layers:
                raise ValueError(unknown(name, "neuron layer", self.declaration.text, layers))
            if strange := [s for s in states if s not in layers[name].spec.states]:
                raise ValueError(unknown(strange[0], "state to record", name, layers[name].spec.states))
        run = Pass(steps, {name: tuple(states) for name, states in (record or {}).items()}, start or StackState())
        output = self.parts(x, run)
        return StackActivity(output, run.spikes, run.states, run.final, run.end())

    def neuron_layers(self) -> dict[str, SpikingLayer]:
        """By name, in the order of a run."""
        return self.parts.neuron_layers()

    def delayed_layers(self) -> Iterator[DelayedLinear]:
        return (m for m in self.modules() if isinstance(m, DelayedLinear))

    def anneal_(self, share: float) -> None:
        """Narrow the spread of all learnable delays: share 0 at the start of the annealing, 1 at its end."""
        for layer in self.delayed_layers():
            layer.anneal_(share)

    def to_network(self) -> Network:
        """The trained stack as populations and projections, for any engine (export.py)."""
        from spiketwin.models.engines.torch.stacks.export import to_network

        return to_network(self)

    def plan(self) -> Plan:
        """Which path each part takes, and why; of parts applied over time, what the last run did."""
        return Plan(tuple(self.parts.plan()))

    def _over_time(self, x: Tensor, steps: int | None) -> tuple[Tensor, int]:
        shape = self.declaration.input_shape
        if steps is not None and steps < 1:
            raise ValueError(f"steps = {steps} must be at least 1")
        if tuple(x.shape[-len(shape) :]) != shape or x.ndim not in (1 + len(shape), 2 + len(shape)):
            raise ValueError(f"x has shape {tuple(x.shape)}; give [T, B, *{shape}], or [B, *{shape}] and steps=…")
        if x.ndim == 1 + len(shape):
            if steps is None:
                raise ValueError(f"x of shape {tuple(x.shape)} is one step; say how many there are with steps=…")
            x = x[None]
        steps = steps or len(x)
        if len(x) not in (1, steps) or not len(x):
            raise ValueError(f"x has {len(x)} steps, but steps = {steps}; make them equal, or give one step that is the same at all")
        if len(x) > 1 and x.stride(0) == 0:
            x = x[:1]
        return (x if x.is_floating_point() else x.to(self.like.dtype)), steps

    def extra_repr(self) -> str:
        return f"{self.declaration.text}, {self.declaration.input_shape} -> {self.declaration.layers[-1].shape}, dt_ms={self.dt_ms}"
