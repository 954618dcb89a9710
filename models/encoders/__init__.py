"""From numbers to spikes. A code is three functions, side by side in one file:

    spikes = NAME(x, **settings)             encodes: intensities [B, N] in 0 … 1 -> Spikes [T, B, N]
    NAME_rate_hz(x, …) or NAME_ms(x, …)      what to expect: the rate or the time in closed form
    x = NAME_value(spikes, **settings)       reads the values back, with a decoder of models/decoders.py

Settings are keywords with their units. Every code states time in ms and takes dt_ms, so it is the same code on every grid.
Codes of single times have a cut-off tmax_ms, others a duration_ms; those that draw have a seed and draw the same for the
same one. Where the times are exact, Spikes keeps them beside the step that holds them. No dense [T, B, N] is made.

Four codes differ in what the numbers or the spikes are:
  delta            takes signals [T, B, N] and gives an "on" and an "off" neuron for each, [T, B, 2 N]; bsa takes signals, too;
  temporal_switch  gives two neurons for each value, [T, B, 2 N], population several, [T, B, N · fields];
  direct_current   gives an analogue input [T, B, N], from which the first layer makes its spikes.

All raise ValueError that names the thing, the value and the fix. An encoder that is trained is a layer:
`EncodingLayer` of models/engines/torch/encoding.py.

A new code is its file and one line here. Tests run over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from spiketwin.models.encoders.bsa import bsa, bsa_rate_hz, bsa_value
from spiketwin.models.encoders.burst import burst, burst_count, burst_interval_ms, burst_value
from spiketwin.models.encoders.delta import delta, delta_rate_hz, delta_value
from spiketwin.models.encoders.direct_current import direct_current, direct_current_rate_hz, direct_current_value
from spiketwin.models.encoders.latency import (
    log_temporal,
    log_temporal_ms,
    log_temporal_value,
    time_to_first_spike,
    time_to_first_spike_ms,
    time_to_first_spike_value,
)
from spiketwin.models.encoders.phase import phase, phase_rate_hz, phase_value
from spiketwin.models.encoders.population import population, population_ms, population_value
from spiketwin.models.encoders.rank_order import rank_order, rank_order_ms, rank_order_value
from spiketwin.models.encoders.rate import (
    bernoulli,
    bernoulli_rate_hz,
    bernoulli_value,
    poisson,
    poisson_rate_hz,
    poisson_value,
    regular,
    regular_rate_hz,
)
from spiketwin.models.encoders.temporal_switch import temporal_switch, temporal_switch_ms, temporal_switch_value
from spiketwin.models.spec import unknown


@dataclass(frozen=True)
class Encoder:
    """A code: encode(x, **settings), expected(x, …), value(spikes, …).

    takes: "intensities" [B, N] or "signals" [T, B, N].  gives: "spikes", or "current" for an analogue input in SI.
    """

    encode: Callable[..., Any]
    expected: Callable[..., np.ndarray]
    value: Callable[..., np.ndarray]
    takes: str = "intensities"
    gives: str = "spikes"

    def __call__(self, x, **settings) -> Any:
        return self.encode(x, **settings)


ENCODERS: Mapping[str, Encoder] = MappingProxyType(
    {
        "bernoulli": Encoder(bernoulli, bernoulli_rate_hz, bernoulli_value),
        "poisson": Encoder(poisson, poisson_rate_hz, poisson_value),
        "regular": Encoder(regular, regular_rate_hz, bernoulli_value),
        "time_to_first_spike": Encoder(time_to_first_spike, time_to_first_spike_ms, time_to_first_spike_value),
        "log_temporal": Encoder(log_temporal, log_temporal_ms, log_temporal_value),
        "rank_order": Encoder(rank_order, rank_order_ms, rank_order_value),
        "temporal_switch": Encoder(temporal_switch, temporal_switch_ms, temporal_switch_value),
        "phase": Encoder(phase, phase_rate_hz, phase_value),
        "burst": Encoder(burst, burst_interval_ms, burst_value),
        "bsa": Encoder(bsa, bsa_rate_hz, bsa_value, takes="signals"),
        "delta": Encoder(delta, delta_rate_hz, delta_value, takes="signals"),
        "population": Encoder(population, population_ms, population_value),
        "direct_current": Encoder(direct_current, direct_current_rate_hz, direct_current_value, gives="current"),
    }
)

__all__ = [
    "ENCODERS",
    "Encoder",
    "bernoulli",
    "bernoulli_rate_hz",
    "bernoulli_value",
    "bsa",
    "bsa_rate_hz",
    "bsa_value",
    "burst",
    "burst_count",
    "burst_interval_ms",
    "burst_value",
    "delta",
    "delta_rate_hz",
    "delta_value",
    "direct_current",
    "direct_current_rate_hz",
    "direct_current_value",
    "encoder",
    "log_temporal",
    "log_temporal_ms",
    "log_temporal_value",
    "phase",
    "phase_rate_hz",
    "phase_value",
    "poisson",
    "poisson_rate_hz",
    "poisson_value",
    "population",
    "population_ms",
    "population_value",
    "rank_order",
    "rank_order_ms",
    "rank_order_value",
    "regular",
    "regular_rate_hz",
    "temporal_switch",
    "temporal_switch_ms",
    "temporal_switch_value",
    "time_to_first_spike",
    "time_to_first_spike_ms",
    "time_to_first_spike_value",
]


def encoder(name: str) -> Encoder:
    """The code of that name. Raises ValueError that suggests the closest name."""
    if name not in ENCODERS:
        raise ValueError(unknown(name, "encoder", "spiketwin", ENCODERS))
    return ENCODERS[name]
