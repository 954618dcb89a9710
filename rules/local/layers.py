"""A stack, layer by layer: weights with the neurons behind them, and the synapses that a rule gives gradients for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spiketwin.models.engines.torch.layer import SpikingLayer
from spiketwin.models.engines.torch.over_time import OverTime
from spiketwin.models.engines.torch.population import PopulationModule, Setting, Start
from spiketwin.models.engines.torch.stacks import Stack
from spiketwin.models.engines.torch.stacks.chain import Block, Chain, Pass, StackState
from spiketwin.models.engines.torch.stacks.recurrent import RECURRENT, RecurrentLayer


@dataclass(frozen=True, eq=False)
class Stage:
    """Weights and the neurons behind them. name: of the neuron layer.  parts: in order, the last one the neurons."""

    name: str
    parts: Chain

    @property
    def layer(self) -> SpikingLayer:
        return self.parts.neuron_layers()[self.name]

    @property
    def cells(self) -> PopulationModule:
        made = self.layer.network.populations[self.layer.name]
        assert isinstance(made, PopulationModule)
        return made

    @property
    def is_readout(self) -> bool:
        """Whether its membranes are read, because they never spike."""
        return not self.layer.spec.threshold

    @property
    def size(self) -> int:
        return self.cells.population.size

    def run(self, x: Tensor, record: tuple[str, ...] = (), start: StackState | None = None) -> tuple[Tensor, Pass]:
        """What comes out [T, B, …], spikes or the membrane of a read-out, and what the run leaves behind."""
        made = Pass(len(x), {self.name: record} if record else {}, start or StackState())
        return self.parts(x, made), made

    def begin(self, trials: int) -> Start:
        """States, parameters and constants of the neurons before a first step."""
        network = self.layer.network
        return self.cells.start(Setting(network.scheme, network.dt_ms * 1e-3, 1, trials, network.surrogate, network.detach_reset))


def stages(net: Stack) -> list[Stage]:
    """The layers of a stack, in order. Raises ValueError for residual blocks and LSTMs, which are not one layer behind the other."""
    found: list[Stage] = []
    parts: dict[str, nn.Module] = {}
    for name, part in net.parts.items():
        if isinstance(part, Block):
            raise ValueError(
                f"'{name}' has two ways side by side, and local rules go from layer to layer; take a stack of C, MP, AP and FC layers"
            )
        parts[name] = part
        if isinstance(part, SpikingLayer):
            found.append(Stage(name, Chain(parts)))
            parts = {}
    if parts:
        raise ValueError(f"'{list(parts)[-1]}' has no neurons of this library behind it; local rules need a stack that ends with neurons")
    return found


def check_batch(net: Stack, x: Tensor, labels: Tensor) -> None:
    """Raises ValueError unless x is [T, B, *input_shape] with a step at least, of the network's dtype, and there are B labels."""
    shape = net.declaration.input_shape
    if x.ndim < 2 or not len(x) or tuple(x.shape[2:]) != shape or x.shape[1] != len(labels):
        raise ValueError(
            f"x has shape {tuple(x.shape)} and there are {len(labels)} labels; give [T, B, *{shape}] with a step at least, and int [B]"
        )
    if x.dtype != net.like.dtype:
        raise ValueError(f"x is of {x.dtype}, the network of {net.like.dtype}; give torch.as_tensor(x).to(net.like)")


def check_surrogates(spiking: Iterable[Stage]) -> None:
    """Raises ValueError for a layer without surrogate: an error that came back through its spikes would be 0 everywhere."""
    for stage in spiking:
        if not stage.is_readout and stage.layer.network.surrogate is None:
            raise ValueError(
                f"'{stage.name}' has no surrogate gradient to tell how near a spike was; give stack(…, surrogate=fast_sigmoid())"
            )


def hidden_and_readout(net: Stack) -> tuple[list[Stage], Stage]:
    """The hidden layers, and the read-out. Raises ValueError where that spikes: its error must reach the synapses in a straight line."""
    *hidden, last = stages(net)
    if not last.is_readout:
        raise ValueError(
            f"the last layer '{last.name}', of '{last.layer.spec.name}', spikes; this rule reads membranes, so give stack(…, readout=leaky_integrator())"
        )
    if not hidden:
        raise ValueError(f"'{net.declaration.text}' has no hidden layer; add one, such as FC100-{net.declaration.text}")
    return hidden, last


@dataclass(frozen=True, eq=False)
class Synapses:
    """All synapses onto one layer as the columns of one matrix [N, M]: from the layer before, a bias, from the layer itself.

    names: of the parameters, in that order.  factor: from their unit to SI.
    """

    linear: nn.Linear
    recurrent: nn.Parameter | None
    names: tuple[str, ...]
    factor: float

    def signals(self, x: Tensor, back: Tensor) -> Tensor:
        """What comes in at each column [T, B, M]. x: of the layer before [T, B, …].  back: own spikes that arrive in these steps [T, B, N]."""
        columns = [x.flatten(2)]
        if self.linear.bias is not None:
            columns.append(columns[0].new_ones(1, 1, 1).expand(*x.shape[:2], 1))
        if self.recurrent is not None:
            columns.append(back)
        return torch.cat(columns, dim=2) * self.factor

    def matrix(self) -> Tensor:
        """[N, M]."""
        bias = [] if self.linear.bias is None else [self.linear.bias[:, None]]
        return torch.cat([self.linear.weight, *bias, *([] if self.recurrent is None else [self.recurrent])], dim=1).detach()

    def split(self, gradient: Tensor) -> Iterator[tuple[str, Tensor]]:
        """[N, M] as name and gradient of each parameter."""
        sizes = [self.linear.in_features, *([] if self.linear.bias is None else [1])]
        sizes += [] if self.recurrent is None else [self.recurrent.shape[1]]
        for name, part in zip(self.names, gradient.split(sizes, dim=1)):
            yield name, part[:, 0] if name.endswith("bias") else part


def synapses(net: Stack, stage: Stage) -> Synapses:
    """The synapses of a fully connected layer.

    Raises ValueError for other layers: traces are kept for each synapse of its own, not for weights that are shared.
    """
    *before, layer = stage.parts.values()
    modules = [m for part in before for m in part.modules() if not isinstance(m, OverTime | nn.Sequential | nn.Flatten)]
    if len(modules) != 1 or not isinstance(modules[0], nn.Linear):
        kinds = ", ".join(type(m).__name__ for m in modules) or "nothing"
        raise ValueError(
            f"before '{stage.name}' stands {kinds}; rules with traces work on one fully connected layer, FC or FCR: "
            "take bptt, feedback alignment or direct feedback alignment here"
        )
    if stage.cells.trainable:
        raise ValueError(
            f"'{stage.name}' trains {', '.join(stage.cells.trainable)}, and rules with traces only weights; leave trainable_parameters out"
        )
    recurrent = layer.weight if isinstance(layer, RecurrentLayer) else None
    owned = [p for p in (modules[0].weight, modules[0].bias, recurrent) if p is not None]
    called = {id(p): name for name, p in net.named_parameters()}
    if recurrent is not None and stage.layer.network.projections[RECURRENT].delays != (0,):
        raise ValueError(f"the recurrent projection of '{stage.name}' has delays; rules with traces take spikes that act in the next step")
    return Synapses(modules[0], recurrent, tuple(called[id(p)] for p in owned), stage.layer.factor)
