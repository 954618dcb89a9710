"""A trained stack as a Network, for any engine: what lies between two layers of neurons becomes Projections and currents.

Convolutions, mean poolings and fully connected layers are sums of weighted spikes, and so is any chain of them; a batch norm with one
statistic for all steps is part of their weights and biases in evaluation, delays go along, dropout is gone, residual blocks add up what
comes in on their two ways. Maximum pooling of currents is part of the neurons behind it (models/stacks/arrivals.py).

An input of numbers, such as an image, is no spikes: all that stands before the first neurons is computed here, and flows into them as a
current (`export`). So do biases. What has no such form (the LSTM, norms with a statistic for each step) is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from spiketwin.models.discretisation import derive
from spiketwin.models.engines.torch.layer import SpikingLayer
from spiketwin.models.engines.torch.over_time import OverTime
from spiketwin.models.engines.torch.stacks.chain import Block, Chain
from spiketwin.models.engines.torch.stacks.delays import DelayedLinear
from spiketwin.models.engines.torch.stacks.dropout import HeldDropout
from spiketwin.models.engines.torch.stacks.norm import NormOverTime, NormThroughTime
from spiketwin.models.engines.torch.stacks.signals import Branch, Front, Signal, weights_of
from spiketwin.models.engines.torch.stacks.stack import Stack, StackActivity
from spiketwin.models.network import Network, Population, Projection, SpikeSource
from spiketwin.models.recording import Recording
from spiketwin.models.semantics import REFERENCE
from spiketwin.models.spikes import Spikes
from spiketwin.models.stacks.arrivals import INFLOW, inflow_reason, late_reason, places_of, with_inflow, with_max_pooling
from spiketwin.models.stacks.layers import Shape

INPUT, BIAS = "input", "bias"


def to_network(stack: Stack) -> Network:
    """The stack in evaluation: populations by the names of its neuron layers, the sources 'input', and 'bias' where there are biases.

    Give 'bias' a spike at every step. Engines run their usual order of events: spikes agree with those of a stack that has it, too.
    Raises ValueError for a part that is no sum of weighted spikes.
    """
    return _Writer(stack, analog=False, currents=False).network()


def export(stack: Stack, *, analog: bool = False) -> Exported:
    """The stack in evaluation, in double precision, for any engine, with what turns a batch of its input into that of the engine.

    analog: whether the input is numbers rather than spikes; it then is a current, and so are biases in either case, where the
    model of the neurons allows it (models/stacks/arrivals.py). Spikes are those of the stack, step by step, in exact arithmetic.
    Raises ValueError for a part that has no such form, and for another order of events than the engines'.
    """
    writer = _Writer(stack, analog=analog, currents=True)
    network = writer.network()
    layers = {_name(name): layer for name, layer in stack.neuron_layers().items()}
    cells = next(iter(layers.values())).network
    if tuple(cells.order) != REFERENCE.order:
        raise ValueError(
            f"the stack's order of events is {', '.join(cells.order)}, but engines have {', '.join(REFERENCE.order)}; build it so"
        )
    return Exported(
        network, stack.dt_ms, cells.scheme, analog, stack.declaration.input_shape, writer.fronts, {n: p.shape for n, p in layers.items()}
    )


@dataclass(frozen=True, eq=False)
class Exported:
    """A stack as a network, and the way in and out.

    network: for any engine.  dt_ms, scheme: those of the stack.  fronts: population -> what makes its current of the input.
    shapes: population -> its places, in the order of a run.
    """

    network: Network
    dt_ms: float
    scheme: str
    analog: bool
    input_shape: Shape
    fronts: Mapping[str, Front]
    shapes: Mapping[str, Shape]

    def inputs(self, x: Tensor, steps: int | None = None, *, factor: int = 1) -> dict[str, Spikes | np.ndarray]:
        """What an engine is given for a batch x, as the stack takes it: [T, B, …], or [B, …] and `steps`.

        factor: how many times finer than the stack's the engine's step is; spikes then arrive, and currents change, at the same times.
        """
        x = x.detach().cpu().double()
        if x.ndim == 1 + len(self.input_shape):
            x = x[None]
        steps = steps or len(x)
        given: dict[str, Spikes | np.ndarray] = {}
        if not self.analog:
            events = Spikes.from_dense(x.expand(steps, *x.shape[1:]).flatten(2).numpy(), self.dt_ms)
            given[INPUT] = events.refined(factor) if factor > 1 else events
        if any(s.name == BIAS for s in self.network.sources):
            always = Spikes.from_dense(np.ones((steps, x.shape[1], 1)), self.dt_ms)
            given[BIAS] = always.refined(factor) if factor > 1 else always
        for name, front in self.fronts.items():
            given[f"{name}.{INFLOW}"] = np.repeat(front.current(x, steps), factor, axis=0)
        return given

    def activity(self, recording: Recording) -> StackActivity:
        """A recording of the network as the stack would return it: its output, spikes of the last layer, and what was recorded of states."""
        last = list(self.shapes)[-1]
        states, final = (
            {name: {s: self._shaped(name, v) for s, v in of.items()} for name, of in both.items() if name in self.shapes}
            for both in (recording.states, recording.final)
        )
        if self.network.population(last).neuron.threshold:
            spikes = {last: self._shaped(last, recording.spikes[last].dense(np.float64))}
            return StackActivity(spikes[last], spikes, states, final)
        membrane = self.network.population(last).neuron.states[0]
        return StackActivity(torch.cat([states[last][membrane][1:], final[last][membrane][None]]), {}, states, final)

    def record(self) -> dict[str, tuple[str, ...]]:
        """What an engine has to record so that `activity` has an output."""
        last = self.network.population(list(self.shapes)[-1])
        return {} if last.neuron.threshold else {last.name: last.neuron.states[:1]}

    def _shaped(self, name: str, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values).unflatten(-1, self.shapes[name])


def recording_of(stack: Stack, activity: StackActivity) -> Recording:
    """What a stack did, as an engine would have recorded it of the network that it is written down as."""

    def flat(of: Mapping[str, Mapping[str, Tensor]], begin: int) -> dict[str, dict[str, np.ndarray]]:
        return {_name(layer): {s: v.detach().flatten(begin).cpu().numpy() for s, v in states.items()} for layer, states in of.items()}

    spikes = {_name(layer): Spikes.from_dense(s.detach().flatten(2).cpu().numpy(), stack.dt_ms) for layer, s in activity.spikes.items()}
    scheme = next(iter(stack.neuron_layers().values())).network.scheme
    return Recording("torch", scheme, stack.dt_ms, spikes, flat(activity.states, 2), flat(activity.final, 1))


class _Writer:
    """Walks through the parts of a stack and writes populations and projections down.

    analog: whether the input is numbers.  currents: whether biases flow; else they are the weights of a source that always spikes.
    """

    def __init__(self, stack: Stack, *, analog: bool, currents: bool) -> None:
        self.stack = deepcopy(stack).cpu().double().eval()
        self.analog, self.currents = analog, currents
        self.populations: list[Population] = []
        self.projections: list[Projection] = []
        self.fronts: dict[str, Front] = {}

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
                    f"'{chain.prefix}{name}', a {type(part).__name__}, is no sum of weighted spikes and has no projection; "
                    "train without LSTM to run the network in other engines"
                )
        return signal

    def neurons(self, label: str, layer: SpikingLayer, signal: Signal) -> Signal:
        """A population with all that comes in; its spikes leave."""
        name, inside = _name(label), layer.network.to_network()
        spec = inside.populations[0].neuron
        receptor = spec.inputs[0]
        if signal.window > 1:
            if reason := late_reason(spec):
                raise ValueError(f"the maximum that reaches '{name}' would act a step late: {reason}; pool the mean (AP{signal.window})")
            spec = with_max_pooling(spec, signal.window**2)
        for branch in signal.branches:
            self.projections += self._from(branch, signal, name, spec, layer.unit)
        constant, flows = signal.pooled_constant.flatten().numpy(), signal.analog is not None
        reason = inflow_reason(spec) if flows or self.currents else "biases are spikes"
        if flows and reason:
            raise ValueError(f"the input of '{name}' is numbers and would flow as a current, but {reason}; encode it as spikes")
        population = replace(inside.populations[0], name=name, neuron=spec)
        if flows or (constant.any() and not reason):
            population = replace(population, neuron=with_inflow(spec))
            late, factor = bool(spec.threshold), layer.factor
            gain = factor * _gain(population, layer.network.scheme, self.stack.dt_ms, late=late)
            self.fronts[name] = Front(signal.analog, signal.pooled_constant, gain, late)
        elif constant.any():
            self.projections.append(Projection(BIAS, name, constant[:, None], receptor, layer.unit))
        self.populations.append(population)
        self.projections += [replace(p, source=name, target=name, name=f"{name}_{p.name}") for p in inside.projections]
        return Signal.of_spikes(name, layer.shape)

    def _from(self, branch: Branch, signal: Signal, target: str, spec, unit: str) -> Iterator[Projection]:
        """The projections of a branch: one, or one for each place of the window over which the maximum is taken."""
        work = [m for m in branch.modules if not isinstance(m, nn.Flatten)]
        if delayed := [m for m in work if isinstance(m, DelayedLinear)]:
            if len(work) > 1:
                raise ValueError(f"delays into '{target}' belong to pooled inputs, not to single synapses; put neurons, N, before that FC")
            yield delayed[0].to_projection(branch.source, target, spec.inputs[0], unit=unit)
            return
        weights = weights_of(branch)
        if signal.window == 1:
            yield Projection(branch.source, target, weights, spec.inputs[0], unit)
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


def _name(label: str) -> str:
    return label.replace(".", "_")  # names of torch modules hold no dots


def _gain(population: Population, scheme: str, dt_ms: float, *, late: bool) -> np.ndarray:
    """The inflow [N] or [] that one step turns into what an increment of 1 becomes: at its end if it acts late, else at once.

    Read off the derived step, which is affine in the receptor and in the current.
    """
    spec, step = population.neuron, derive(population.neuron, scheme)
    advance = step.function("numpy")
    values = {**population.parameter_values(), **{d: np.zeros(1) for d in spec.drives}, "dt": dt_ms * 1e-3}
    values |= step.constant_values(values, dt_ms * 1e-3)
    k = spec.states.index(spec.inputs[0])

    def after(receptor: float, inflow: float) -> np.ndarray:
        given = values | {s: np.zeros(population.size) for s in spec.states}
        given |= {spec.inputs[0]: np.full(population.size, receptor), INFLOW: np.full(population.size, inflow)}
        return np.asarray(advance(*(given[a] for a in step.arguments))[k])

    still = after(0.0, 0.0)
    left, flown = after(1.0, 0.0) - still, after(0.0, 1.0) - still
    if not np.allclose(after(2.0, 0.0) - still, 2 * left, rtol=1e-9, atol=0):
        raise ValueError(f"'{spec.inputs[0]}' of '{spec.name}' does not decay linearly, so no current stands for what jumps into it")
    return (left if late else 1.0) / flown
