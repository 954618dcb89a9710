"""The spiking network of the study, and what its convolutions start from. All else is the same for every start.

    random      torch's own initial weights
    same_norm   these, each kernel scaled to the norm of the pre-trained one in its place; no biases
    shuffled    the pre-trained kernels with the weights of each in another order: same norm, same values, no shape; no biases
    stdp        the pre-trained kernels; no biases

Pre-trained kernels k, strengths of 0 … 1, become s (k - mean of k), where s, one for a layer, gives them the mean norm of the random kernels:
what size they start with is no result of learning. Without its mean a patch that is bright everywhere counts as little as one that is dark:
with it all maps answer to much the same. Both were chosen on validation images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from spiketwin.models import stack
from spiketwin.models.stacks import leaky, leaky_integrator
from spiketwin.rules.surrogate import fast_sigmoid

if TYPE_CHECKING:
    from spiketwin.experiments.studies.semi_supervised.stdp_pretraining import Config
    from spiketwin.models.engines.torch.stacks import Stack

# (torch's kernels, the pre-trained in their place, seed) -> kernels to start from
Start = Callable[[Tensor, Tensor, int], Tensor]


def centred(kernels: Sequence[np.ndarray]) -> list[Tensor]:
    """Pre-trained kernels [M, C, K, K] of each layer, each less its mean."""
    return [torch.from_numpy((k - k.mean(axis=(1, 2, 3), keepdims=True)).astype(np.float32)) for k in kernels]


def of_mean_norm(kernels: Tensor, like: Tensor) -> Tensor:
    """Kernels [M, …], all scaled by one factor to the mean norm of the others."""
    norm, wanted = (k.flatten(1).norm(dim=1).mean() for k in (kernels, like))
    return kernels * (wanted / norm)


def of_norm(kernels: Tensor, like: Tensor) -> Tensor:
    """Kernels [M, …], each scaled to the norm of its like."""
    norm, wanted = (k.flatten(1).norm(dim=1) for k in (kernels, like))
    return kernels * (wanted / norm).view(-1, *[1] * (kernels.ndim - 1))


def shuffled(kernels: Tensor, seed: int) -> Tensor:
    """Kernels [M, …], the weights of each in another order."""
    rng = np.random.default_rng([seed, 7])
    return torch.stack([k.flatten()[torch.from_numpy(rng.permutation(k.numel()))].view_as(k) for k in kernels])


STARTS: Mapping[str, Start | None] = MappingProxyType(
    {
        "random": None,
        "same_norm": lambda own, learnt, seed: of_norm(own, learnt),
        "shuffled": lambda own, learnt, seed: shuffled(learnt, seed),
        "stdp": lambda own, learnt, seed: learnt,
    }
)


def network(config: Config, start: str, learnt: Sequence[Tensor], seed: int, side: int = 28, classes: int = 10) -> Stack:
    """The network with these first weights. learnt: kernels of each convolution, as centred() makes them."""
    first, second = config.maps
    net = stack(
        f"{first}C{config.kernel}-MP2-{second}C{config.kernel}-MP2-FC{classes}",
        neuron=leaky(config.tau_mem_ms),
        readout=leaky_integrator(config.tau_readout_ms),
        dt_ms=config.dt_ms,
        input_shape=(2, side, side),
        surrogate=fast_sigmoid(config.slope),
        steps=config.steps,
        seed=seed,
    )
    make = STARTS[start]
    if make:
        with torch.no_grad():
            for layer, kernels in zip(convolutions(net), learnt, strict=True):
                layer.weight.copy_(make(layer.weight, of_mean_norm(kernels, layer.weight), seed))
                assert layer.bias is not None
                layer.bias.zero_()
    return net


def convolutions(net: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
