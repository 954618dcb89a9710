"""What a rule makes of a batch, and what a synapse must know for it. Each rule here is called alike:

    lesson = rule(net, x, labels)        # x: [T, B, …] of input;  labels: int [B]
    lesson.gradients                     # parameter name -> what an optimiser is to descend
    lesson.objective(net).backward()     # adds them to .grad, so that a rule fits wherever a loss does

A rule of one's own is a function or a dataclass with __call__ that returns a Lesson; online.py and layers.py hold the common work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from spiketwin.models.engines.torch.stacks import Stack

# (outputs [T, B, K], labels [B]) -> a mean over steps, so that it can be taken in pieces of time
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Locality:
    """What the synapse from neuron i to neuron j must know.

    pre: of neuron i.  post: of neuron j.  third: what else, and from where.  transport: whether weights of other synapses are among it
    (the weight transport problem).  is_online: whether all of it is known at the time, going forward.
    waits: what must have happened before a layer can learn: 'nothing', its own step; 'output', the answer; 'layers', those behind it.
    """

    pre: str
    post: str
    third: str
    transport: bool
    is_online: bool
    waits: str


@dataclass(frozen=True, eq=False)
class Lesson:
    """gradients: parameter name -> tensor.  loss: of the read-out, a number.  output: [T, B, K].
    counts: hidden layer -> spikes in the trial [B, N]."""

    gradients: Mapping[str, Tensor]
    loss: Tensor
    output: Tensor
    counts: Mapping[str, Tensor]

    def objective(self, net: nn.Module) -> Tensor:
        """The loss as a number whose backward pass adds the rule's gradients to the parameters of `net`. Parameters without one are left alone."""
        known = dict(net.named_parameters())
        if strange := [name for name in self.gradients if name not in known]:
            raise ValueError(
                f"the lesson has a gradient for '{strange[0]}', which is no parameter of this network; give the network it was made for"
            )
        pairs = [(known[name], g) for name, g in self.gradients.items() if known[name].requires_grad]
        return _Given.apply(self.loss.detach(), tuple(g for _, g in pairs), *(p for p, _ in pairs))


class LearningRule(Protocol):
    """name: as in tables.  source: where it was published."""

    @property
    def name(self) -> str: ...

    @property
    def source(self) -> str: ...

    @property
    def locality(self) -> Locality: ...

    def __call__(self, net: Stack, x: Tensor, labels: Tensor) -> Lesson: ...


class _Given(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value, gradients, *parameters):
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return None, None, *(gradient * g for g in ctx.gradients)
