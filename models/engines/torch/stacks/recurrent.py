"""A population whose neurons send their spikes to each other, as a layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from spiketwin.models.engines.torch.layer import SpikingLayer
from spiketwin.models.engines.torch.module import TorchNetwork
from spiketwin.models.network import Network, Population, Projection

RECURRENT = "recurrent"


class RecurrentLayer(SpikingLayer):
    """A SpikingLayer with a trainable Projection onto itself: a spike acts from the next step on.

    weights: [N, N] in `unit`; by default drawn by torch's generator as those of a Linear layer, ±1/sqrt(N).
    """

    def __init__(
        self,
        population: Population,
        *,
        dt_ms: float,
        unit: str = "",
        weights: np.ndarray | None = None,
        trainable_parameters: tuple[str, ...] = (),
        **options: Any,
    ) -> None:
        super().__init__(population, dt_ms=dt_ms, unit=unit, trainable_parameters=trainable_parameters, **options)
        if weights is None:
            weights = torch.nn.Linear(population.size, population.size, bias=False).weight.detach().numpy()
        back = Projection(population.name, population.name, weights, self._only_receptor(), unit, name=RECURRENT)
        trainable = {population.name: tuple(trainable_parameters)}
        self.network = TorchNetwork(Network([population], [back]), dt_ms=dt_ms, trainable_parameters=trainable, **options)

    @property
    def weight(self) -> torch.nn.Parameter:
        """[N_post, N_pre] in the layer's unit."""
        return self.network.projections[RECURRENT].get_parameter("weight")
