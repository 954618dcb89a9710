"""One population as a layer that stands in any torch model.

    lif = NeuronSpec("lif", "dv/dt = -v/tau_mem : 1", {"tau_mem": Parameter(1 / log(2), "ms"), …}, threshold="v > v_threshold", …)
    hidden = SpikingLayer(lif, (12, 12, 12), dt_ms=1, surrogate=fast_sigmoid(25))
    spikes = hidden(currents)          # [T, B, 12, 12, 12] -> [T, B, 12, 12, 12]
    spikes = hidden(image, steps=50)   # [1, B, 12, 12, 12], the same at every step

A convolutional network is such layers and OverTime modules (over_time.py) in turn:

    c1 = OverTime(nn.Sequential(nn.Conv2d(1, 12, 5), nn.MaxPool2d(2)))       # an image [1, B, 1, 28, 28]: convolved once
    l1 = SpikingLayer(lif, (12, 12, 12), dt_ms=1, surrogate=fast_sigmoid(25))
    c2 = OverTime(nn.Sequential(nn.Conv2d(12, 64, 5), nn.MaxPool2d(2)))      # spikes: event-driven
    l2 = SpikingLayer(lif, (64, 4, 4), dt_ms=1, surrogate=fast_sigmoid(25))
    out = l3(OverTime(nn.Linear(1024, 10))(l2(c2(l1(c1(image), steps=50))).flatten(2)))   # spikes [50, B, 10]

Inside is a TorchNetwork of this one population, so the step, the kernels and their plan are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from spiketwin.models.engines.torch.module import TorchNetwork
from spiketwin.models.engines.torch.plan import Plan
from spiketwin.models.engines.torch.state import NetworkState
from spiketwin.models.network import Network, Population
from spiketwin.models.spec import NeuronSpec, unknown
from spiketwin.models.units import UnitError
from spiketwin.models.units import unit as unit_of

NAME = "cells"


@dataclass(frozen=True, eq=False)
class LayerActivity:
    """spikes: [T, B, *shape].  states: name -> [T, B, *shape] in SI, at the start of each step.  final: name -> [B, *shape].
    state: what a run that goes on starts from (state.py)."""

    spikes: Tensor
    states: Mapping[str, Tensor]
    final: Mapping[str, Tensor]
    state: NetworkState


class SpikingLayer(nn.Module):
    """Increments of a receptor in, spikes out, both [T, B, *shape].

    neuron: a model, or a Population with as many neurons as `shape` has places.  shape: an int or a tuple; by default that
    of the Population, (size,).  unit: of the increments, '' for SI.  trainable_parameters: names.
    options: those of TorchNetwork: dt_ms, scheme, surrogate, detach_reset, order, dtype, …
    Raises SchemeError when the scheme cannot integrate the model, ValueError for sizes and names that do not fit and for a
    surrogate that is no spike function.
    """

    def __init__(
        self,
        neuron: NeuronSpec | Population,
        shape: int | tuple[int, ...] | None = None,
        *,
        dt_ms: float,
        unit: str = "",
        trainable_parameters: tuple[str, ...] = (),
        **options: Any,
    ) -> None:
        super().__init__()
        if shape is None:
            if isinstance(neuron, NeuronSpec):
                raise ValueError(f"the layer of '{neuron.name}' has no shape; give a number of neurons or a tuple such as (12, 24, 24)")
            shape = neuron.size
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        population = Population(NAME, neuron, prod(self.shape)) if isinstance(neuron, NeuronSpec) else neuron
        if population.size != prod(self.shape):
            raise ValueError(
                f"population '{population.name}' has {population.size} neurons, but the shape {self.shape} has {prod(self.shape)}"
            )
        self.spec, self.unit = population.neuron, unit
        factor, dimension = unit_of(unit or "1")
        if unit and (strange := [r for r in self.spec.inputs if self.spec.dimension(r) != dimension]):
            raise UnitError(
                f"increments in {unit} do not fit receptor '{strange[0]}' of '{self.spec.name}', which is in {self.spec.si_unit(strange[0])}"
            )
        self.factor = factor
        self.name = population.name
        trainable = {population.name: tuple(trainable_parameters)}
        self.network = TorchNetwork(Network([population]), dt_ms=dt_ms, trainable_parameters=trainable, **options)

    def forward(self, increments: Tensor | Mapping[str, Tensor], steps: int | None = None) -> Tensor:
        """Spikes [T, B, *shape], 0 or 1.

        increments: [T, B, *shape] of the model's only receptor, or receptor or drive -> such a tensor (drives in SI).
        steps: T, where all of them have one step: then they are the same at every step.
        Raises ValueError for shapes that do not fit, TypeError for another dtype than the layer's.
        """
        return self.run(increments, steps).spikes

    def run(
        self,
        increments: Tensor | Mapping[str, Tensor],
        steps: int | None = None,
        *,
        record: tuple[str, ...] = (),
        start: NetworkState | None = None,
        noise: Mapping[str, Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> LayerActivity:
        """As forward, with the states in `record`, from the `state` of an earlier run. noise: 'xi' or 'rand' -> [T, B, *shape], drawn where missing."""
        given = dict(increments) if isinstance(increments, Mapping) else {self._only_receptor(): increments}
        for key, tensor in given.items():
            # expanded along time: its memory holds one step. With a gradient the short form would gain nothing.
            if tensor.ndim and len(tensor) > 1 and tensor.stride(0) == 0 and not tensor.requires_grad and steps in (None, len(tensor)):
                given[key], steps = tensor[:1], len(tensor)
        inputs = {f"{self.name}.{key}": self._flat(key, tensor) for key, tensor in given.items()}
        activity = self.network(
            inputs,
            steps=steps,
            trials=max((t.shape[1] for t in inputs.values()), default=(start and start.trials) or 1),
            record={self.name: record} if record else None,
            start=start,
            noise={f"{self.name}.{key}": self._flat(key, tensor) for key, tensor in (noise or {}).items()},
            generator=generator,
        )
        return LayerActivity(
            activity.spikes[self.name].unflatten(-1, self.shape),
            {s: v.unflatten(-1, self.shape) for s, v in activity.states.get(self.name, {}).items()},
            {s: v.unflatten(-1, self.shape) for s, v in activity.final[self.name].items()},
            activity.state,
        )

    def plan(self, start: NetworkState | None = None) -> Plan:
        """Which path a run takes, and why: as TorchNetwork.plan."""
        return self.network.plan(start)

    def _only_receptor(self) -> str:
        if len(self.spec.inputs) != 1:
            raise ValueError(
                f"'{self.spec.name}' has the receptors {', '.join(self.spec.inputs) or '(none)'}; name them: {{receptor: increments}}"
            )
        return self.spec.inputs[0]

    def _flat(self, key: str, tensor: Tensor) -> Tensor:
        """[T, B, *shape] -> [T, B, N] in SI."""
        known = [*self.spec.inputs, *self.spec.drives, "xi", "rand"]
        if key not in known:
            raise ValueError(unknown(key, "receptor or drive", self.spec.name, known[:-2]))
        if tuple(tensor.shape[2:]) != self.shape or tensor.ndim != 2 + len(self.shape):
            raise ValueError(f"'{key}' has shape {tuple(tensor.shape)}; this layer takes [T, B, *{self.shape}]")
        flat = tensor.flatten(2)
        return flat * self.factor if key in self.spec.inputs and self.factor != 1 else flat

    def extra_repr(self) -> str:
        return f"{self.shape} × {self.spec.name}" + f", increments in {self.unit}" * bool(self.unit)
