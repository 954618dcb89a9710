"""A trained stack as a Network, for any engine: what lies between two layers of neurons becomes a Projection.

Convolutions, mean poolings and fully connected layers are sums of weighted spikes, and so is any chain of them; delays go along,
dropout is gone. What is not such a sum (maximum pooling, norms, residual blocks, the LSTM) has no Projection, and is named.
A bias is the weight of a source of one neuron that spikes at every step.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from math import prod

import numpy as np
import torch
from torch import nn

from spiketwin.models.engines.torch.layer import SpikingLayer
from spiketwin.models.engines.torch.over_time import OverTime
from spiketwin.models.engines.torch.stacks.delays import DelayedLinear
from spiketwin.models.engines.torch.stacks.dropout import HeldDropout
from spiketwin.models.engines.torch.stacks.stack import Stack
from spiketwin.models.network import Convolution, Network, Projection, SpikeSource
from spiketwin.models.stacks.layers import Shape

INPUT, BIAS = "input", "bias"
SUMS = (nn.Conv2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Linear, nn.Flatten)
SPARSE = 0.25  # share of weights that are not zero up to which a matrix is stored as sparse


def to_network(stack: Stack) -> Network:
    """The stack in evaluation: populations by the names of its neuron layers, the sources 'input', and 'bias' where there are biases.

    Give 'bias' a spike at every step. Engines run their usual order of events: spikes agree with those of a stack that has it, too.
    Raises ValueError for a part that is no sum of weighted spikes.
    """
    sources = [SpikeSource(INPUT, prod(stack.declaration.input_shape))]
    populations, projections, between = [], [], []
    came_from, shape = INPUT, stack.declaration.input_shape
    for name, part in stack.parts.items():
        if isinstance(part, SpikingLayer):
            inside = part.network.to_network()
            populations.append(replace(inside.populations[0], name=name))
            projections += _projections(came_from, shape, between, name, part)
            projections += [replace(p, source=name, target=name, name=f"{name}_{p.name}") for p in inside.projections]
            came_from, shape, between = name, part.shape, []
        elif isinstance(part, OverTime | DelayedLinear):
            between += _steps(name, part)
        elif not isinstance(part, HeldDropout):
            raise ValueError(_refused(name, part))
    if any(p.source == BIAS for p in projections):
        sources.append(SpikeSource(BIAS, 1))
    return Network(populations, projections, sources)


def _steps(name: str, part: nn.Module) -> list[nn.Module]:
    """The innermost modules of a part, each a sum of weighted inputs."""
    if isinstance(part, DelayedLinear):
        return [part]
    steps = [m for m in part.modules() if not any(m.children())]
    if strange := [m for m in steps if not isinstance(m, SUMS)]:
        raise ValueError(_refused(name, strange[0]))
    return steps


def _refused(name: str, part: nn.Module) -> str:
    return (
        f"'{name}', a {type(part).__name__}, is no sum of weighted spikes and has no projection; "
        "train with mean pooling (AP2) and without BN, residual blocks or LSTM to run the network in other engines"
    )


def _projections(source: str, shape: Shape, between: list[nn.Module], target: str, layer: SpikingLayer) -> list[Projection]:
    """From `source`, whose neurons have `shape`, to a layer: weights and, if there is one, the bias."""
    receptor, work = layer.spec.inputs[0], [m for m in between if not isinstance(m, nn.Flatten)]
    delayed = [m for m in work if isinstance(m, DelayedLinear)]
    if delayed and len(work) > 1:
        raise ValueError(f"delays into '{target}' belong to pooled inputs, not to single synapses; put neurons, N, before that FC")
    if delayed:
        return [delayed[0].to_projection(source, target, receptor, unit=layer.unit)]
    is_convolution = len(work) == 1 and isinstance(work[0], nn.Conv2d)
    weights, bias = _convolution(work[0], shape) if is_convolution else _product(nn.Sequential(*between), shape)
    found = [Projection(source, target, weights, receptor, layer.unit)]
    return found + [Projection(BIAS, target, bias[:, None], receptor, layer.unit)] * bool(bias.any())


def _convolution(module: nn.Conv2d, shape: Shape) -> tuple[Convolution, np.ndarray]:
    """Weights and bias [N_post] of a lone convolution."""
    weights = Convolution(_numpy(module.weight), *shape[1:], stride=module.stride[0], padding=int(module.padding[0]))
    each = np.zeros(len(module.weight)) if module.bias is None else _numpy(module.bias)
    return weights, np.repeat(each, prod(weights.out_size))


@torch.no_grad()
def _product(modules: nn.Sequential, shape: Shape):
    """Weights [N_post, N_pre] and bias [N_post] of a chain: what it makes of one spike of each neuron, and of none."""
    import scipy.sparse

    chain = deepcopy(modules).cpu().double().eval()
    bias = _numpy(chain(torch.zeros(1, *shape, dtype=torch.float64)).flatten())
    for module in chain:
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)
    weights = _numpy(chain(torch.eye(prod(shape), dtype=torch.float64).view(-1, *shape)).flatten(1).t())
    is_sparse = np.count_nonzero(weights) < SPARSE * weights.size
    return (scipy.sparse.csr_array(weights) if is_sparse else weights), bias


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()
