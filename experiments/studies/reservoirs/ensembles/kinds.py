"""The liquids of the study of ensembles: equally many neurons in one liquid, in several, or in one that has adapted to its input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from spiketwin.experiments.reservoirs.adaptation import Critical, InhibitoryStdp, IntrinsicPlasticity, Stdp, in_turn
from spiketwin.models.reservoirs import Liquid, deep, liquid, partitioned, several_time_constants
from spiketwin.models.spikes import Spikes
from spiketwin.models.stacks.heterogeneity import uniform

PARTS = 3  # of every ensemble
TAUS_MS = (10.0, 20.0, 60.0)

# Neurons are held at rest to half of the way to threshold: what a liquid does is an answer.
answering = partial(liquid, background=uniform(0, 0.5))

# inputs, size in all, scales and seed -> a liquid
Ensemble = Callable[..., Liquid]
ENSEMBLES: Mapping[str, Ensemble] = {
    "one": answering,
    "partitioned": lambda inputs, size, **of: partitioned(inputs, PARTS, build=answering, size=size // PARTS, **of),
    "several_tau": lambda inputs, size, **of: several_time_constants(inputs, TAUS_MS, build=answering, size=size // PARTS, **of),
    "deep": lambda inputs, size, **of: deep(inputs, [size // PARTS] * PARTS, build=answering, **of),
}
ADAPTATIONS: Mapping[str, Callable[[Liquid, Spikes], Liquid]] = {
    "stdp": Stdp(),
    "inhibitory_stdp": InhibitoryStdp(),
    "intrinsic": IntrinsicPlasticity(),
    "critical": Critical(),
    "all_rules": in_turn(Stdp(), InhibitoryStdp(), IntrinsicPlasticity()),
}
CONTROLS: Mapping[str, Ensemble] = {
    "unconnected": lambda inputs, size, connection_scale, **of: answering(inputs, size, connection_scale=0.0, **of),
    "third": lambda inputs, size, **of: answering(inputs, size // PARTS, **of),
}
KINDS = (*ENSEMBLES, *ADAPTATIONS, *CONTROLS)


def build(kind: str, inputs: int, size: int, heard: Spikes, **options: Any) -> Liquid:
    """The liquid of a kind. heard: what adaptive ones adapt to.  options: connection_scale, input_scale, seed."""
    if kind in ADAPTATIONS:
        return ADAPTATIONS[kind](answering(inputs, size, **options), heard)
    return {**ENSEMBLES, **CONTROLS}[kind](inputs, size, **options)
