"""The layers that a line of text can name: what each takes, what it gives, and the shape that comes out.

Shapes are those of one step of one trial: (channels, height, width) or (neurons,).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

Shape = tuple[int, ...]


class ShapeError(ValueError):
    """A layer does not fit what comes in. The message says why and what to do."""


@dataclass(frozen=True)
class Layer:
    """takes_spikes: whether currents must pass neurons before they come in here.
    gives: 'currents', 'spikes', or '' for whatever came in."""

    kind: ClassVar[str]
    takes_spikes: ClassVar[bool] = False
    gives: ClassVar[str] = ""
    has_weights: ClassVar[bool] = False

    def out(self, shape: Shape) -> Shape:
        """The shape of what this layer gives. Raises ShapeError."""
        return shape


@dataclass(frozen=True)
class Conv(Layer):
    """kernel × kernel windows, square; the same stride and padding along both sides."""

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    kind, takes_spikes, gives, has_weights = "conv", True, "currents", True

    def out(self, shape: Shape) -> Shape:
        _, height, width = _image(shape, "a convolution")
        sides = tuple((n + 2 * self.padding - self.kernel) // self.stride + 1 for n in (height, width))
        if min(sides) < 1:
            raise ShapeError(
                f"a kernel of {self.kernel} × {self.kernel} does not fit into {height} × {width}; take a smaller one, or add padding, p{self.kernel // 2}"
            )
        return (self.channels, *sides)


@dataclass(frozen=True)
class Pool(Layer):
    """The largest value or the mean of size × size windows side by side; size 0: the mean of the whole image."""

    how: str
    size: int
    kind = "pool"

    def out(self, shape: Shape) -> Shape:
        channels, height, width = _image(shape, "a pooling")
        if not self.size:
            return (channels,)
        if min(height, width) < self.size:
            raise ShapeError(f"windows of {self.size} × {self.size} do not fit into {height} × {width}; leave this pooling out")
        return (channels, height // self.size, width // self.size)


@dataclass(frozen=True)
class Full(Layer):
    """Every input to every output. inputs: 0 where the text does not say. max_delay_ms: 0 without learnable delays."""

    outputs: int
    inputs: int = 0
    is_recurrent: bool = False
    max_delay_ms: float = 0.0
    kind, takes_spikes, gives, has_weights = "fc", True, "currents", True

    def out(self, shape: Shape) -> Shape:
        if self.inputs not in (0, prod(shape)):
            raise ShapeError(
                f"{self.inputs} inputs are stated, but {' × '.join(map(str, shape))} = {prod(shape)} come in; write {prod(shape)}FC{self.outputs}"
            )
        return (self.outputs,)


@dataclass(frozen=True)
class LSTM(Layer):
    size: int
    kind, takes_spikes, gives, has_weights = "lstm", True, "spikes", True

    def out(self, shape: Shape) -> Shape:
        return (self.size,)


@dataclass(frozen=True)
class Residual(Layer):
    """Two convolutions beside a shortcut, the first with the stride."""

    channels: int
    kernel: int
    stride: int = 1
    has_weights = True

    def out(self, shape: Shape) -> Shape:
        _image(shape, "a residual block")
        if self.kernel % 2 == 0:
            raise ShapeError(f"the kernel of a residual block must be odd, so that sizes agree with its shortcut's; got {self.kernel}")
        return Conv(self.channels, self.kernel, self.stride, self.kernel // 2).out(shape)


class MembraneShortcut(Residual):
    """Currents are added: neurons, convolution, norm, twice."""

    kind, gives = "ms", "currents"


class SpikeShortcut(Residual):
    """Spikes are added: convolution, norm, neurons, twice."""

    kind, takes_spikes, gives = "sew", True, "spikes"


@dataclass(frozen=True)
class Norm(Layer):
    kind = "norm"


@dataclass(frozen=True)
class Dropout(Layer):
    probability: float
    kind, takes_spikes = "dropout", True


@dataclass(frozen=True)
class Neurons(Layer):
    """is_recurrent: whether their spikes come back to them in the next step."""

    is_recurrent: bool = False
    kind, gives = "neurons", "spikes"


def _image(shape: Shape, what: str) -> Shape:
    if len(shape) != 3:
        raise ShapeError(f"{what} takes an image (channels, height, width), but {shape} comes in; it must stand before the first FC")
    return shape
