"""From a line of text to a torch module.

net = stack("12C5-MP2-64C5-MP2-1024FC10", neuron=leaky(tau_mem_ms=1.44), dt_ms=1, surrogate=fast_sigmoid(25), input_shape=(1, 28, 28))
counts = net(images, steps=50).output.sum(0)      # [B, 10]
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import groupby
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spiketwin.models.engines.torch.layer import SpikingLayer
from spiketwin.models.engines.torch.over_time import OverTime
from spiketwin.models.engines.torch.stacks.chain import Block, Chain
from spiketwin.models.engines.torch.stacks.delays import DelayedLinear
from spiketwin.models.engines.torch.stacks.dropout import HeldDropout
from spiketwin.models.engines.torch.stacks.lstm import SpikingLSTM
from spiketwin.models.engines.torch.stacks.norm import NormThroughTime
from spiketwin.models.engines.torch.stacks.recurrent import RecurrentLayer
from spiketwin.models.engines.torch.stacks.stack import Stack
from spiketwin.models.network import Population
from spiketwin.models.neurons import neuron as named
from spiketwin.models.spec import NeuronSpec, SpecError, unknown
from spiketwin.models.stacks.heterogeneity import Sampler
from spiketwin.models.stacks.layers import (
    LSTM,
    Conv,
    Dropout,
    Full,
    Layer,
    MembraneShortcut,
    Neurons,
    Norm,
    Pool,
    Residual,
    Shape,
    SpikeShortcut,
)
from spiketwin.models.stacks.text import Placed, StackError, parse
from spiketwin.models.units import BASE, DIMENSIONLESS, unit

CELLS = "cells"
# in which weights are written where the text does not say: of the order of one threshold
NATURAL = {DIMENSIONLESS: "", BASE["volt"]: "mV", BASE["amp"]: "nA", unit("siemens")[1]: "nS"}

Value = float | str | np.ndarray | Sampler


def stack(
    text: str,
    *,
    neuron: NeuronSpec | str,
    dt_ms: float,
    input_shape: Shape,
    surrogate: Callable[..., Tensor] | None = None,
    readout: NeuronSpec | str | None = None,
    steps: int | None = None,
    norm: Callable[[int, int], nn.Module] = NormThroughTime,
    unit: str | None = None,
    parameters: Mapping[str, Value | Mapping[str, Value]] | None = None,
    trainable_parameters: tuple[str, ...] = (),
    seed: int | None = None,
    dtype: torch.dtype = torch.float32,
    **options: Any,
) -> Stack:
    """The network that `text` describes (models/stacks/text.py), with one receptor per neuron.

    neuron: a model or its name.  readout: the model of the last layer, by default the same; one without threshold is read by its membrane.
    steps: the most that a run has; needed by batch norm through time.  norm: (channels, steps) -> module for BN and residual blocks.
    unit: of weights and currents; by default the receptor's of nA, mV, nS, or none.
    parameters: name -> value in the parameter's unit for all layers, or neuron layer -> value.  A value is a number, text such as
    '20 ms', an array with one entry per neuron, or a function that draws one (models/stacks/heterogeneity.py).
    trainable_parameters: those of every layer that has them; one value per layer, or per neuron where they differ by neuron.
    seed: of weights, and of parameters that are drawn; torch's generator then stays as it was. None draws all from torch's generator.
    options: those of TorchNetwork: scheme, order, …
    Raises StackError for the text, SpecError for parameters, SchemeError where the scheme cannot integrate the model,
    ValueError for a surrogate that is no spike function.
    """
    declaration = parse(text, input_shape)
    last = declaration.names(Neurons)[-1:] if isinstance(declaration.layers[-1].layer, Neurons) else ()
    specs = {"": _spec(neuron)} | {name: _spec(readout) for name in last if readout is not None}
    if readout is not None and not last:
        raise StackError(f"'{text}' ends with spikes of its own, so a readout has no place; add a layer such as FC10, or leave readout out")
    for name in (*trainable_parameters, *(parameters or {})):
        if not any(name in spec.parameters for spec in specs.values()):
            raise SpecError(unknown(name, "parameter", specs[""].name, specs[""].parameters))
    options |= {"dt_ms": dt_ms, "surrogate": surrogate, "dtype": dtype}
    with torch.random.fork_rng(devices=(), enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        builder = Builder(specs, steps, norm, unit, dict(parameters or {}), tuple(trainable_parameters), seed, options)
        made = Stack(declaration, builder.chain(declaration.layers), dt_ms, dtype)
    layers = made.neuron_layers()
    if silent := [layer for layer in list(layers.values())[:-1] if not layer.spec.threshold]:
        raise SpecError(f"'{silent[0].spec.name}' never spikes, so the layers behind it would hear nothing; give it as readout=…")
    for name, given in (parameters or {}).items():
        if isinstance(given, Mapping) and (strange := [layer for layer in given if layer not in layers]):
            raise ValueError(f"parameter '{name}': " + unknown(strange[0], "neuron layer", text, layers))
    return made.to(dtype)


class Builder:
    """Makes the parts. specs: the model of each neuron layer by name, '' for all others."""

    def __init__(self, specs, steps, norm, unit, parameters, trainable, seed, options) -> None:
        self.specs, self.steps, self.norm, self.unit = specs, steps, norm, unit
        self.parameters, self.trainable, self.seed, self.options = parameters, trainable, seed, options

    @cached_property
    def rng(self) -> np.random.Generator:
        """Of parameters that are drawn."""
        return np.random.default_rng(int(torch.randint(2**62, ())) if self.seed is None else self.seed)

    def chain(self, layers: tuple[Placed, ...], prefix: str = "") -> Chain:
        """The layers in order. What treats every step alike stands in one OverTime, named after its first layer."""
        parts: dict[str, nn.Module] = {}
        for is_alike, group in groupby(layers, key=lambda place: _is_alike(place.layer)):
            group = list(group)
            if is_alike:
                behind = layers.index(group[-1]) + 1
                bias = not (behind < len(layers) and isinstance(layers[behind].layer, Norm))
                plain = OrderedDict(part for place in group for part in _plain(place, bias).items())
                parts[group[0].name] = OverTime(nn.Sequential(plain))
            else:
                for place in group:
                    parts |= self.part(place, place.layer, prefix)
        return Chain(parts, prefix)

    def part(self, place: Placed, layer: Layer, prefix: str) -> dict[str, nn.Module]:
        """Layers that look at more than one step."""
        name, inputs = place.name, prod(place.input_shape)
        match layer:
            case Neurons():
                return {name: self.neurons(prefix + name, place.shape, layer.is_recurrent)}
            case Dropout():
                return {name: HeldDropout(layer.probability)}
            case Norm():
                return {name: self.norm_of(place.shape[0])}
            case Full():
                flat = _flatten(place)
                delayed = DelayedLinear(inputs, layer.outputs, max_delay_ms=layer.max_delay_ms, dt_ms=self.options["dt_ms"])
                return flat | {name: delayed}
            case LSTM():
                return _flatten(place) | {name: SpikingLSTM(inputs, layer.size, self.options["surrogate"])}
            case MembraneShortcut() | SpikeShortcut():
                return {name: self.block(place, layer, f"{prefix}{name}.")}
        raise StackError(f"no module for layer '{name}', a {type(layer).__name__}")

    def block(self, place: Placed, layer: Residual, prefix: str) -> Block:
        """Two convolutions with norms and neurons; a shortcut of 1 × 1 where stride or channels change.

        MS: neurons before each convolution, and x + residual(x) are currents (Hu et al. 2024). SEW: neurons behind each norm, and
        x + residual(x) are spikes, 0, 1, 2, … (Fang et al. 2021, with ADD).
        """
        padding, middle = layer.kernel // 2, place.shape
        first = (Conv(layer.channels, layer.kernel, layer.stride, padding), Norm())
        second = (Conv(layer.channels, layer.kernel, 1, padding), Norm())
        bridge = () if place.input_shape == middle else (Conv(layer.channels, 1, layer.stride), Norm())
        if isinstance(layer, MembraneShortcut):
            residual: tuple[Layer, ...] = (Neurons(), *first, Neurons(), *second)
        else:
            residual = (*first, Neurons(), *second, Neurons())
            bridge = (*bridge, Neurons()) if bridge else ()
        return Block(
            self.chain(_placed(residual, place.input_shape, ""), prefix), self.chain(_placed(bridge, place.input_shape, "_short"), prefix)
        )

    def neurons(self, name: str, shape: Shape, is_recurrent: bool) -> SpikingLayer:
        spec, size = self.specs.get(name, self.specs[""]), prod(shape)
        values = {p: self.value(v, name, size) for p, v in self.parameters.items() if p in spec.parameters}
        try:
            population = Population(CELLS, spec, size, {p: v for p, v in values.items() if v is not None})
        except ValueError as error:
            raise type(error)(f"layer '{name}': {error}") from None
        trainable = tuple(p for p in self.trainable if p in spec.parameters)
        how = {"unit": self.unit_of(spec), "trainable_parameters": trainable, **self.options}
        return RecurrentLayer(population, **how) if is_recurrent else SpikingLayer(population, shape, **how)

    def value(self, given: Value | Mapping[str, Value], name: str, size: int):
        """A parameter of one layer; None where it keeps the model's."""
        value = given.get(name) if isinstance(given, Mapping) else given
        return value(size, self.rng) if callable(value) else value

    def unit_of(self, spec: NeuronSpec) -> str:
        if len(spec.inputs) != 1:
            raise SpecError(
                f"'{spec.name}' has {len(spec.inputs)} receptors ({', '.join(spec.inputs) or 'none'}), but layers of a stack give one kind of current; "
                "take a model with one, such as rnn_lif"
            )
        return NATURAL.get(spec.dimension(spec.inputs[0]), "") if self.unit is None else self.unit

    def norm_of(self, channels: int) -> nn.Module:
        if self.steps is None and self.norm is NormThroughTime:
            raise ValueError("batch norm through time keeps statistics of each step: say how many there are at most, steps=…")
        return self.norm(channels, self.steps)


def _spec(model: NeuronSpec | str) -> NeuronSpec:
    return named(model) if isinstance(model, str) else model


def _is_alike(layer: Layer) -> bool:
    """Whether a layer treats every step alike."""
    return isinstance(layer, Conv | Pool) or (isinstance(layer, Full) and not layer.max_delay_ms)


def _placed(layers: tuple[Layer, ...], shape: Shape, suffix: str) -> tuple[Placed, ...]:
    """Layers of a block, numbered by kind: 'neurons1', 'conv1', …"""
    placed: list[Placed] = []
    for layer in layers:
        number = 1 + sum(type(p.layer) is type(layer) for p in placed)
        placed.append(Placed(f"{layer.kind}{number}{suffix}", layer, shape, layer.out(shape)))
        shape = placed[-1].shape
    return tuple(placed)


def _plain(place: Placed, bias: bool) -> dict[str, nn.Module]:
    """A layer for one step, [B, …]. bias: none before a norm, which would take it away again."""
    match place.layer:
        case Conv(channels, kernel, stride, padding):
            made = nn.Conv2d(place.input_shape[0], channels, kernel, stride, padding, bias=bias)
        case Pool("max", size):
            made = nn.MaxPool2d(size)
        case Pool(_, 0):
            made = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case Pool(_, size):
            made = nn.AvgPool2d(size)
        case Full(outputs=outputs):
            parts: dict[str, nn.Module] = {f"flat_{place.name}": nn.Flatten()} if len(place.input_shape) > 1 else {}
            return parts | {place.name: nn.Linear(prod(place.input_shape), outputs, bias=bias)}
        case other:
            raise StackError(f"'{place.name}', a {type(other).__name__}, is no layer of one step")
    return {place.name: made}


def _flatten(place: Placed) -> dict[str, nn.Module]:
    return {f"flat_{place.name}": OverTime(nn.Flatten())} if len(place.input_shape) > 1 else {}
