"""A trained stack as a Network, for any engine: what lies between two layers of neurons becomes Projections and currents.

Convolutions, mean poolings and fully connected layers are sums of weighted spikes, and so is any chain of them; a batch norm with one
statistic for all steps is part of their weights and biases in evaluation, delays go along, dropout is gone, residual blocks add up what
comes in on their two ways. Maximum pooling of currents, and the gains of a norm with a statistic for each step, are part of the neurons
behind them (models/stacks/arrivals.py).

An input of numbers, such as an image, is no spikes: all that stands before the first neurons is computed here, and flows into them as a
current (`export`). So do biases. A stack that hears its input at once runs in the order of events that engines have, each layer some
steps later (models/stacks/lags.py). What has no such form, such as the LSTM, is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from math import prod

import numpy as np
import torch
from torch import nn

from spiketwin.models.engines.torch.layer import SpikingLayer
from spiketwin.models.engines.torch.over_time import OverTime
from spiketwin.models.engines.torch.stacks.chain import Block, Chain
from spiketwin.models.engines.torch.stacks.delays import DelayedLinear
from spiketwin.models.engines.torch.stacks.dropout import HeldDropout
from spiketwin.models.engines.torch.stacks.exported import BIAS, INPUT, Exported, name_of
from spiketwin.models.engines.torch.stacks.norm import NormOverTime, NormThroughTime
from spiketwin.models.engines.torch.stacks.signals import Branch, Front, Signal, weights_of
from spiketwin.models.engines.torch.stacks.stack import Stack
from spiketwin.models.network import Network, Population, Projection, SpikeSource
from spiketwin.models.stacks.arrivals import (
    gained_of,
    inflow_of_one,
    inflow_reason,
    is_leakless,
    late_reason,
    left_of_one,
    places_of,
    with_gains,
    with_inflow,
    with_max_pooling,
)
from spiketwin.models.stacks.lags import hears_at_once, lags


def to_network(stack: Stack) -> Network:
    """The stack in evaluation: populations by the names of its neuron layers, the sources 'input', and 'bias' where there are biases.

    Give 'bias' a spike at every step. Engines run their usual order of events: spikes agree with those of a stack that has it, too.
    Raises ValueError for a part that is no sum of weighted spikes.
    """
    return _Writer(stack, analog=False, currents=False).network()


def export(stack: Stack, *, analog: bool = False) -> Exported:
    """The stack in evaluation, in double precision, for any engine, with what turns a batch of its input into that of the engine.

    analog: whether the input is numbers rather than spikes; it then is a current, and so are biases in either case, where the
    model of the neurons allows it (models/stacks/arrivals.py). Spikes are those of the stack, step by step, in exact arithmetic: of a
    stack whose order of events is the engines', or models.stacks.AT_ONCE, where `Exported.aligned` gives them their steps.
    Raises ValueError for a part that has no such form, and for another order of events.
    """
    writer = _Writer(stack, analog=analog, currents=True)
    written = writer.network()
    layers = {name_of(name): layer for name, layer in writer.stack.neuron_layers().items()}
    late = lags(written, writer.order)
    for name, layer in layers.items():
        _must_rest(written.population(name), layer, late[name])
    shapes = {name: layer.shape for name, layer in layers.items()}
    return Exported(
        written, writer.order, late, stack.dt_ms, writer.scheme, analog, stack.declaration.input_shape, writer.fronts, writer.gains, shapes
    )


class _Writer:
    """Walks through the parts of a stack and writes populations and projections down.

    analog: whether the input is numbers.  currents: whether biases flow; else they are the weights of a source that always spikes.
    """

    def __init__(self, stack: Stack, *, analog: bool, currents: bool) -> None:
        self.stack = deepcopy(stack).cpu().double().eval()
        self.analog, self.currents = analog, currents
        cells = next(iter(self.stack.neuron_layers().values())).network
        self.order, self.scheme = cells.order, cells.scheme
        self.populations: list[Population] = []
        self.projections: list[Projection] = []
        self.fronts: dict[str, Front] = {}
        self.gains: dict[str, list[np.ndarray]] = {}

    def network(self) -> Network:
        shape = self.stack.declaration.input_shape
        self.walk(self.stack.parts, Signal.of_input(shape) if self.analog else Signal.of_spikes(INPUT, shape))
        sources = [] if self.analog else [SpikeSource(INPUT, prod(shape))]
        if any(p.source == BIAS for p in self.projections):
            sources.append(SpikeSource(BIAS, 1))
        return Network(self.populations, self.projections, sources)

    def walk(self, chain: Chain, signal: Signal) -> Signal:
        """What leaves a chain when `signal` goes in."""
        for name, part in chain.items():
            if isinstance(part, SpikingLayer):
                signal = self.neurons(chain.prefix + name, part, signal)
            elif isinstance(part, Block):
                signal = self.walk(part.residual, signal).plus(self.walk(part.shortcut, signal))
            elif isinstance(part, OverTime | DelayedLinear | NormOverTime | NormThroughTime):
                for module in _innermost(part):
                    signal = signal.through(chain.prefix + name, module)
            elif not isinstance(part, HeldDropout):
                raise ValueError(
                    f"'{chain.prefix}{name}', a {type(part).__name__}, multiplies gates once a step: neither a sum of weighted spikes nor an "
                    "equation in time; train without LSTM to run the network in other engines"
                )
        return signal

    def neurons(self, label: str, layer: SpikingLayer, signal: Signal) -> Signal:
        """A population with all that comes in; its spikes leave."""
        name, inside = name_of(label), layer.network.to_network()
        spec = inside.populations[0].neuron
        receptor = spec.inputs[0]
        if signal.window > 1:
            if reason := late_reason(spec):
                raise ValueError(f"the maximum that reaches '{name}' would act a step late: {reason}; pool the mean (AP{signal.window})")
            spec = with_max_pooling(spec, signal.window**2)
        gains = [b.gain for b in signal.branches if b.gain is not None]
        if gains:
            if not self.currents:
                raise ValueError(
                    f"'{name}' stands behind a norm with a statistic for each step, gains that are given at run time: use export()"
                )
            if reason := late_reason(spec):
                raise ValueError(
                    f"the gains of a NormThroughTime would act on '{name}' a step late: {reason}; train with norm=NormOverTime"
                )
            spec, self.gains[name] = with_gains(spec, len(gains)), [g.flatten(1).numpy() for g in gains]
        receptors = iter(gained_of(spec))
        for branch in signal.branches:
            to = receptor if branch.gain is None else next(receptors)
            self.projections += self._from(branch, signal, name, spec, to, layer.unit)
        constant, flows = signal.pooled_constant.flatten(1).numpy(), signal.analog is not None
        reason = inflow_reason(spec) if flows or self.currents else "biases are spikes"
        if flows and reason:
            raise ValueError(f"the input of '{name}' is numbers and would flow as a current, but {reason}; encode it as spikes")
        population = replace(inside.populations[0], name=name, neuron=spec)
        if not (flows or reason) and is_leakless(population, self.scheme, self.stack.dt_ms):
            reason = "the exact solution divides by the leak and would lose as many digits as it has zeros"
        if flows or (constant.any() and not reason):
            population = replace(population, neuron=with_inflow(spec))
            late = bool(spec.threshold) and not hears_at_once(spec, self.order)
            gain = layer.factor * inflow_of_one(population, self.scheme, self.stack.dt_ms)
            # what is looked at in the step after has decayed by then
            gain = gain * left_of_one(population, self.scheme, self.stack.dt_ms) if late else gain
            self.fronts[name] = Front(signal.analog, signal.pooled_constant, gain, late)
        elif constant.any():
            if len(constant) > 1:
                raise ValueError(f"the biases of '{name}' change from step to step and would flow as a current, but {reason}")
            self.projections.append(Projection(BIAS, name, constant[0][:, None], receptor, layer.unit))
        self.populations.append(population)
        self.projections += [replace(p, source=name, target=name, name=f"{name}_{p.name}") for p in inside.projections]
        return Signal.of_spikes(name, layer.shape)

    def _from(self, branch: Branch, signal: Signal, target: str, spec, receptor: str, unit: str) -> Iterator[Projection]:
        """The projections of a branch: one, or one for each place of the window over which the maximum is taken."""
        work = [m for m in branch.modules if not isinstance(m, nn.Flatten)]
        if delayed := [m for m in work if isinstance(m, DelayedLinear)]:
            if len(work) > 1:
                raise ValueError(f"delays into '{target}' belong to pooled inputs, not to single synapses; put neurons, N, before that FC")
            yield delayed[0].to_projection(branch.source, target, receptor, unit=unit)
            return
        weights = weights_of(branch)
        if signal.window == 1:
            yield Projection(branch.source, target, weights, receptor, unit)
            return
        rows = signal.places()
        matrix = weights.to_sparse() if hasattr(weights, "to_sparse") else weights
        for receptor, place in zip(places_of(spec), rows, strict=True):
            yield Projection(branch.source, target, matrix[place], receptor, unit)


def _innermost(part: nn.Module) -> list[nn.Module]:
    """The parts that do the work, in order."""
    if not isinstance(part, OverTime):
        return [part]
    return [m for m in part.module.modules() if not any(m.children())]


@torch.no_grad()
def _must_rest(population: Population, layer: SpikingLayer, steps: int) -> None:
    """Raises ValueError where neurons to which nothing comes do not stay as they are for so many steps."""
    if not steps:
        return
    layer.network.kernels = "torch"
    done = layer.run(layer.network.get_buffer("like").new_zeros(1, 1, *layer.shape), steps)
    first = population.initial_values()
    moved = [s for s, v in done.final.items() if not np.allclose(v.flatten().numpy(), first[s], rtol=1e-12, atol=1e-15)]
    if moved or done.spikes.any():
        what = f"'{moved[0]}' moves" if moved else "it fires"
        raise ValueError(
            f"'{population.name}' would have to rest for {steps} steps, until its input comes, but {what} without any; "
            f"let '{population.neuron.name}' start from rest, or build the stack without order=…"
        )
