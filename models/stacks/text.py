"""A network as a line of text, as papers write it: 12C5-MP2-64C5-MP2-1024FC10.

Layers stand between dashes or spaces; capital and small letters are alike.

    12C5  64C3s2p1     convolution: channels C kernel, then stride s (1) and padding p (0)
    MP2  AP2  GAP      pooling: the largest value, or the mean, of 2 × 2 windows; the mean of the whole image
    FC10  1024FC10     fully connected: outputs, or inputs FC outputs; stated inputs are checked
    FC256d25           … with a learnable delay of 0 to 25 ms at each synapse
    FC256R  256FCR     … whose neurons also send their spikes to each other; 256R is the same
    LSTM128            spiking LSTM
    64MS3s2  64SEW3    residual block of two convolutions: channels, shortcut of currents (MS) or spikes (SEW), kernel, stride
    BN                 batch norm through time
    D0.2               dropout of spikes with probability .2, the same at all steps of a trial
    N                  neurons, where the rule below would put them later

A convolution or FC makes currents, and poolings and norms behind it work on these. Neurons stand where currents meet a
layer that takes spikes (C, FC, LSTM, SEW, D), and at the end: after each pooling and the last layer of 12C5-MP2-64C5-MP2-1024FC10.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

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
    Shape,
    ShapeError,
    SpikeShortcut,
)

WHOLE, NUMBER = r"[1-9]\d*", r"\d*\.?\d+"
STEPS = rf"(?:s(?P<stride>{WHOLE}))?"

# What a token looks like, and the layer it names. Tried in turn.
GRAMMAR: tuple[tuple[str, Callable[[dict[str, str]], Layer]], ...] = (
    (
        rf"(?P<channels>{WHOLE})c(?P<kernel>{WHOLE}){STEPS}(?:p(?P<padding>\d+))?",
        lambda m: Conv(int(m["channels"]), int(m["kernel"]), int(m["stride"] or 1), int(m["padding"] or 0)),
    ),
    (rf"(?P<how>[ma])p(?P<size>{WHOLE})", lambda m: Pool({"m": "max", "a": "mean"}[m["how"]], int(m["size"]))),
    (r"gap", lambda m: Pool("mean", 0)),
    (rf"(?P<outputs>{WHOLE})(?:fc)?r", lambda m: Full(int(m["outputs"]), is_recurrent=True)),
    (
        rf"(?P<inputs>{WHOLE})?fc(?P<outputs>{WHOLE})(?:d(?P<delay>{NUMBER}))?(?P<recurrent>r)?",
        lambda m: Full(int(m["outputs"]), int(m["inputs"] or 0), bool(m["recurrent"]), float(m["delay"] or 0)),
    ),
    (rf"lstm(?P<size>{WHOLE})", lambda m: LSTM(int(m["size"]))),
    (
        rf"(?P<channels>{WHOLE})(?P<shortcut>ms|sew)(?P<kernel>{WHOLE}){STEPS}",
        lambda m: {"ms": MembraneShortcut, "sew": SpikeShortcut}[m["shortcut"]](
            int(m["channels"]), int(m["kernel"]), int(m["stride"] or 1)
        ),
    ),
    (r"bn", lambda m: Norm()),
    (rf"d(?P<probability>{NUMBER})", lambda m: Dropout(float(m["probability"]))),
    (r"n", lambda m: Neurons()),
)
EXAMPLES = "12C5, 64C3s2p1, MP2, AP2, GAP, FC10, 1024FC10, FC256d25, FC256R, LSTM128, 64MS3, 64SEW3, BN, D0.2, N"


class StackError(ValueError):
    """A line of text is no network. The message names the layer, where it stands and the fix."""


@dataclass(frozen=True)
class Placed:
    """A layer in its place. name: its kind and the number of the weight layer it belongs to, as 'conv1', 'neurons1'."""

    name: str
    layer: Layer
    input_shape: Shape
    shape: Shape


@dataclass(frozen=True)
class StackText:
    """The layers in order, the neurons among them. Shows itself as a table."""

    text: str
    input_shape: Shape
    layers: tuple[Placed, ...]

    def names(self, kind: type[Layer]) -> tuple[str, ...]:
        return tuple(p.name for p in self.layers if isinstance(p.layer, kind))

    def __repr__(self) -> str:
        return "\n".join(f"{p.name:10} {p.input_shape!s:15} -> {p.shape}" for p in self.layers)


def parse(text: str, input_shape: Shape) -> StackText:
    """The network that `text` describes, for inputs of `input_shape`, (channels, height, width) or (neurons,).

    Raises StackError for a token that names no layer, and for a layer that does not fit the shape that comes in.
    """
    shape = _checked(input_shape)
    tokens = [(m.group(), m.start() + 1) for m in re.finditer(r"[^\s-]+", text)]
    if not tokens:
        raise StackError(f"the network '{text}' has no layers; write some between dashes, such as 12C5-MP2-FC10")
    placed: list[Placed] = []
    stage, comes_in, weights = 0, "spikes", Layer()

    def place(layer: Layer) -> None:
        nonlocal shape, comes_in, weights, stage
        stage += layer.has_weights
        name = f"{layer.kind}{max(stage, 1)}"
        alike = sum(p.name.partition("_")[0] == name for p in placed)
        placed.append(Placed(f"{name}_{alike + 1}" if alike else name, layer, shape, layer.out(shape)))
        shape, comes_in, weights = placed[-1].shape, layer.gives or comes_in, layer if layer.has_weights else weights

    def place_neurons() -> None:
        place(Neurons(isinstance(weights, Full) and weights.is_recurrent))

    for number, (token, position) in enumerate(tokens, start=1):
        where = f"layer {number}, '{token}' at position {position} of '{text}'"
        try:
            layer = _layer(token)
            if isinstance(layer, Neurons) and comes_in == "spikes":
                raise ShapeError("spikes come in here, not currents; leave this N out")
            if isinstance(layer, Norm) and comes_in == "spikes":
                raise ShapeError("spikes come in here; BN normalises currents, so put it behind a convolution or FC")
            if layer.takes_spikes and comes_in == "currents":
                place_neurons()
            place_neurons() if isinstance(layer, Neurons) else place(layer)
        except (ShapeError, LookupError) as error:
            raise StackError(f"{where}: {error.args[0]}") from None
    if comes_in == "currents":
        place_neurons()
    return StackText(text, placed[0].input_shape, tuple(placed))


def _layer(token: str) -> Layer:
    for pattern, make in GRAMMAR:
        if match := re.fullmatch(pattern, token.lower()):
            layer = make(match.groupdict())
            if isinstance(layer, Dropout) and not layer.probability < 1:
                raise LookupError(f"dropout with probability {layer.probability:g} leaves nothing; give a value below 1, such as D0.2")
            return layer
    raise LookupError(f"no such layer; layers are written like {EXAMPLES}")


def _checked(shape: Shape) -> Shape:
    if len(shape) not in (1, 3) or any(n != int(n) or n < 1 for n in shape):
        raise StackError(f"input_shape = {shape} must be (neurons,) or (channels, height, width), whole numbers of at least 1")
    return tuple(int(n) for n in shape)
