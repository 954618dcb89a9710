"""How the error of the read-outs reaches hidden neurons: matrices B [K, N], one for each hidden layer, in L_j = Σ_k B_kj error_k.

    Symmetric   the weights on the way forward: W_out, and for layers further down the product of the matrices between
    Random      drawn once, fixed
    Adaptive    for the last hidden layer drawn once, then changed by the same updates as W_out: they meet where both decay

Source: Bellec et al. 2020, Nature Communications 11:3625, 'symmetric', 'random' and 'adaptive' e-prop; Lillicrap et al. 2016, Nature
Communications 7:13276, for fixed random weights; Akrout et al. 2019 (Kolen & Pollack 1994) for updates that align.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from spiketwin.models.engines.torch.stacks import Stack
from spiketwin.rules.local.layers import hidden_and_readout, synapses


class Feedback(Protocol):
    """name: as in tables.  transport: whether it needs the weights of the way forward."""

    @property
    def name(self) -> str: ...

    @property
    def transport(self) -> bool: ...

    def matrices(self, net: Stack) -> Mapping[str, Tensor]:
        """Hidden layer -> B [K, N]."""
        ...


def drawn(shape: tuple[int, ...], seed: int, name: str, like: Tensor) -> Tensor:
    """Uniform numbers within ±1/sqrt(N), N the neurons that the error comes to, as torch initialises weights onto as many.

    The same for the same seed and name, whatever else was drawn, so that nothing needs to be kept.
    """
    key = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "big") >> 1
    numbers = torch.rand(shape, generator=torch.Generator().manual_seed(key), dtype=torch.float64)
    return ((2 * numbers - 1) / math.sqrt(math.prod(shape[1:]))).to(like)


@dataclass(frozen=True)
class Symmetric:
    name = "symmetric"
    transport = True

    def matrices(self, net: Stack) -> Mapping[str, Tensor]:
        hidden, last = hidden_and_readout(net)
        found, way = {}, synapses(net, last).linear.weight.detach()
        for stage in reversed(hidden):
            found[stage.name] = way
            way = way @ synapses(net, stage).linear.weight.detach()
        return found


@dataclass(frozen=True)
class Random:
    """seed: of the numbers, one draw for each layer."""

    seed: int = 0
    name = "random"
    transport = False

    def matrices(self, net: Stack) -> Mapping[str, Tensor]:
        hidden, last = hidden_and_readout(net)
        return {stage.name: drawn((last.size, stage.size), self.seed, stage.name, net.like) for stage in hidden}


class Adaptive(nn.Module):
    """A module with B of the last hidden layer as its parameter; give it to the optimiser, too, and step() it after each lesson.

    decay: what B and W_out lose in each update with learning rate 1, per unit: their difference shrinks, and the error comes back as
    it should. Layers further down keep what Random gives them.
    """

    name = "adaptive"
    transport = False

    def __init__(self, net: Stack, seed: int = 0, decay: float = 1e-2) -> None:
        super().__init__()
        if not decay > 0:
            raise ValueError(f"decay = {decay} must be positive: without it the feedback keeps its distance from the weights for ever")
        self.fixed, self.decay = Random(seed), decay
        hidden, last = hidden_and_readout(net)
        self.layer = hidden[-1].name
        self.output = synapses(net, last).names[0]
        self.weight = nn.Parameter(self.fixed.matrices(net)[self.layer])

    def matrices(self, net: Stack) -> Mapping[str, Tensor]:
        return {**self.fixed.matrices(net), self.layer: self.weight.detach()}

    @torch.no_grad()
    def learn(self, net: Stack, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The gradients with the decay of W_out in them; adds those of B to its .grad."""
        update = gradients[self.output]
        own = update + self.decay * self.weight
        self.weight.grad = own if self.weight.grad is None else self.weight.grad + own
        return {**gradients, self.output: update + self.decay * net.get_parameter(self.output)}
