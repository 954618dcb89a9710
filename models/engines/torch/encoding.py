"""A trainable encoder: a gain and a bias per neuron, then spiking neurons. What it encodes is a current, not a spike.

    i = gain · x + bias,    into a drive of the model, constant while x is

    encode = EncodingLayer(neuron("lif"), 64, dt_ms=1, unit="nA", gain=0.3, bias=0.1, surrogate=fast_sigmoid(10))
    spikes = encode(image, steps=100)    # [B, 64] -> [100, B, 64]

It is put in front of any network of layers and trained with it: bias decides from which intensity on a neuron fires, gain how
fast its rate grows. Because the current is in nA and not per step, gain and bias hold at any other dt. For a leaky neuron the
rate in closed form is models/theory.py's lif_rate_hz of r (gain x + bias).

Source: Eliasmith & Anderson 2003, Neural Engineering, chapter 2, for gain and bias as what makes a neuron an encoder;
Rathi & Roy 2021, DIET-SNN, and Rathi et al. 2023 for a first layer that is trained to encode.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from spiketwin.models.engines.torch.layer import LayerActivity, SpikingLayer
from spiketwin.models.network import Population
from spiketwin.models.spec import NeuronSpec, unknown
from spiketwin.models.units import UnitError
from spiketwin.models.units import unit as unit_of


class EncodingLayer(nn.Module):
    """Intensities or signals in, spikes [T, B, *shape] out; `gain` and `bias` [*shape] are parameters in `unit`.

    neuron, shape, dt_ms, options: as for SpikingLayer.  unit: of gain and bias, e.g. 'nA'.
    gain, bias: start values, a number or a tensor [*shape].  drive: of the model; None: its only one.
    Raises ValueError for a drive that the model lacks, and for start values that do not fit or are not finite; UnitError for a wrong unit.
    """

    def __init__(
        self,
        neuron: NeuronSpec | Population,
        shape: int | tuple[int, ...] | None = None,
        *,
        dt_ms: float,
        unit: str,
        gain: float | Tensor,
        bias: float | Tensor = 0.0,
        drive: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.layer = SpikingLayer(neuron, shape, dt_ms=dt_ms, **options)
        spec, self.unit = self.layer.spec, unit
        if drive is None and len(spec.drives) != 1:
            raise ValueError(f"'{spec.name}' has the drives {', '.join(spec.drives) or '(none)'}; name one: drive=…")
        self.drive = drive or spec.drives[0]
        if self.drive not in spec.drives:
            raise ValueError(unknown(self.drive, "drive", spec.name, spec.drives))
        self.factor, dimension = unit_of(unit)
        if dimension != spec.dimension(self.drive):
            raise UnitError(f"gain in {unit} does not fit drive '{self.drive}' of '{spec.name}', which is in {spec.si_unit(self.drive)}")
        self.gain, self.bias = (nn.Parameter(self._start(name, value)) for name, value in (("gain", gain), ("bias", bias)))

    def forward(self, x: Tensor, steps: int | None = None) -> Tensor:
        """Spikes [T, B, *shape].  x: intensities [B, *shape], shown for `steps` steps, or signals [T, B, *shape]."""
        return self.run(x, steps).spikes

    def run(self, x: Tensor, steps: int | None = None, **options: Any) -> LayerActivity:
        """As forward, with the states named in record=(…,); options as for SpikingLayer.run."""
        return self.layer.run({self.drive: self.current(x, steps) * self.factor}, steps, **options)

    def current(self, x: Tensor, steps: int | None = None) -> Tensor:
        """gain · x + bias in `unit`, [T, B, *shape]; T is 1 for intensities.

        Raises ValueError for another shape, and when intensities come without `steps`.
        """
        places = len(self.layer.shape)
        if x.ndim not in (places + 1, places + 2) or tuple(x.shape[-places:]) != self.layer.shape:
            raise ValueError(f"x has shape {tuple(x.shape)}; give [B, *{self.layer.shape}] with steps=…, or [T, B, *{self.layer.shape}]")
        if x.ndim == places + 1:
            if steps is None:
                raise ValueError("intensities [B, …] do not say how long they last; add steps=…")
            x = x[None]
        return self.gain * x.to(self.gain.dtype) + self.bias

    def _start(self, name: str, value: float | Tensor) -> Tensor:
        value = torch.as_tensor(value, dtype=self.layer.network.like.dtype)
        if value.ndim and tuple(value.shape) != self.layer.shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)}; give a number or a tensor of shape {self.layer.shape}")
        if not value.isfinite().all():
            raise ValueError(f"{name} = {value.tolist()} must be finite")
        return value.expand(self.layer.shape).clone()

    def extra_repr(self) -> str:
        return f"gain and bias in {self.unit} into {self.drive}"
