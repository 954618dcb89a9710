"""The torch module behind the engines' protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spiketwin.models.engines.base import Inputs, prepare, require_finite, require_supported, scheme_reasons
from spiketwin.models.engines.torch.module import TorchNetwork
from spiketwin.models.engines.torch.projections import convolution_reason
from spiketwin.models.network import Network
from spiketwin.models.recording import Record, Recording
from spiketwin.models.spikes import Spikes


@dataclass(frozen=True)
class TorchEngine:
    """The torch module behind the engines' protocol: no gradients, float64 for cross-checks.

    kernels: as in TorchNetwork. By default the derived step in torch, which shares no code with the compiled engine.
    """

    dtype: torch.dtype = torch.float64
    device: str = "cpu"
    kernels: str = "torch"
    name: str = "torch"

    def unsupported(self, network: Network, scheme: str) -> list[str]:
        return [*scheme_reasons(network, scheme), *(r for p in network.projections if (r := convolution_reason(p)))]

    def run(
        self,
        network: Network,
        inputs: Inputs | None = None,
        *,
        dt_ms: float,
        scheme: str = "exact",
        duration_ms: float | None = None,
        trials: int = 1,
        record: Record | None = None,
        noise: Mapping[str, np.ndarray] | None = None,
        seed: int = 0,
        progress: Callable[[float], None] | None = None,
    ) -> Recording:
        require_supported(self, network, scheme)
        run = prepare(
            network, inputs, dt_ms=dt_ms, scheme=scheme, duration_ms=duration_ms, trials=trials, record=record, noise=noise, seed=seed
        )
        module = TorchNetwork(network, dt_ms=dt_ms, scheme=scheme, dtype=self.dtype, kernels=self.kernels).to(self.device)
        varying = {f"{p}.{d}": self._tensor(a) for p, drives in run.drives.items() for d, a in drives.items() if np.ndim(a) == 3}
        with torch.no_grad():
            activity = module(
                {**run.spikes, **varying},
                record=run.record,
                steps=run.steps,
                trials=run.trials,
                noise={key: self._tensor(a) for key, a in run.noise.items()},
                synapse_seed=run.seed,
                progress=progress,
            )
        final = {p: {s: v.cpu().numpy() for s, v in states.items()} for p, states in activity.final.items()}
        for population in network.populations:
            require_finite(population, final[population.name], scheme, dt_ms)
        return Recording(
            engine=self.name,
            scheme=scheme,
            dt_ms=dt_ms,
            spikes={p: _events(s, dt_ms) for p, s in activity.spikes.items()},
            states={p: {s: v.cpu().numpy() for s, v in states.items()} for p, states in activity.states.items()},
            final=final,
            seed=seed,
            weights={name: w.cpu().numpy() for name, w in activity.weights.items()},
        )

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=self.dtype, device=self.device)


def _events(spikes: Tensor, dt_ms: float) -> Spikes:
    step, batch, neuron = spikes.nonzero(as_tuple=True)
    return Spikes(step.cpu().numpy(), batch.cpu().numpy(), neuron.cpu().numpy(), tuple(spikes.shape), dt_ms)


ENGINE = TorchEngine()
