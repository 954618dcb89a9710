"""What a run leaves behind for the next one to go on from: states, refractory periods, spikes on their way.

    first = module({"input": x[:50]})
    second = module({"input": x[50:]}, start=first.state)     # both together are module({"input": x})

Time is counted in steps from the end of the run, so a state goes on under the dt it was left with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from spiketwin.models.network import Network
from spiketwin.models.plasticity import WEIGHT
from spiketwin.models.spec import unknown


@dataclass(frozen=True, eq=False)
class PopulationState:
    """One population after the last step of a run.

    states: name -> [B, N] in SI; what is missing starts as the model says.
    wait: steps until a neuron is active again, int [B, N], at most 0 where it is; None without a refractory time that holds anything.
    active: bool [B, N], where a condition ends the refractory period.
    spiked, just_spiked: bool [B, N], who fired in the last step, for orders of events in which that acts in the next one.
    """

    states: Mapping[str, Tensor] = field(default_factory=dict)
    wait: Tensor | None = None
    active: Tensor | None = None
    spiked: Tensor | None = None
    just_spiked: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        own = {"wait": self.wait, "active": self.active, "spiked": self.spiked, "just_spiked": self.just_spiked}
        return {**self.states, **{name: value for name, value in own.items() if value is not None}}


@dataclass(frozen=True, eq=False)
class LearningState:
    """A projection that learns, after the last step of a run.

    values: 'w', in the projection's unit, and states of synapses [B, S], presynaptic traces [D, B, N_pre] by distinct delay,
    postsynaptic ones [B, N_post].  step: how many steps it has run for.  key: of the random numbers that its rule draws.
    """

    values: Mapping[str, Tensor] = field(default_factory=dict)
    step: int = 0
    key: int = 0


@dataclass(frozen=True, eq=False)
class NetworkState:
    """A network after the last step of a run. spikes: source or population -> those of the last steps [D, B, N] that some projection
    has still to deliver, D its longest delay; what is missing was silent.  learning: of each projection that learns; what is missing
    starts from the module's weights."""

    populations: Mapping[str, PopulationState] = field(default_factory=dict)
    spikes: Mapping[str, Tensor] = field(default_factory=dict)
    learning: Mapping[str, LearningState] = field(default_factory=dict)

    @property
    def trials(self) -> int | None:
        """B, or None where nothing is given."""
        rows = [t.shape[0] for p in self.populations.values() for t in p.tensors().values()] + [t.shape[1] for t in self.spikes.values()]
        rows += [kept.values[WEIGHT].shape[0] for kept in self.learning.values() if WEIGHT in kept.values]
        return rows[0] if rows else None


def fitted(past: Tensor | None, depth: int, like: Tensor, shape: tuple[int, int]) -> Tensor:
    """Exactly `depth` rows of past spikes [depth, B, N]: the latest ones, before them silence."""
    rows = like.new_zeros(0, *shape) if past is None else past[max(len(past) - depth, 0) :]
    return rows if len(rows) == depth else torch.cat([like.new_zeros(depth - len(rows), *shape), rows])


def depths(
    network: Network, order: tuple[str, ...], groups: Sequence[tuple[str, ...]], delays: Mapping[str, tuple[int, ...]]
) -> dict[str, int]:
    """Source or population -> for how many steps its spikes are on their way at most; those that act in their own step are left out.

    groups: of populations that advance together.  delays: projection -> its delays in steps.
    """
    when = {event: k for k, event in enumerate(order)}

    def precedes(first: str, second: str) -> bool:
        return first in when and second in when and when[first] < when[second]

    # a reset before the threshold acts on the spike of the step before
    found = {p.name: int(precedes("reset", "threshold")) for p in network.populations if p.neuron.threshold}
    for p in network.projections:
        # inside a group that receives before the threshold, the newest spikes are those of the step before
        is_late = any(p.source in g and p.target in g for g in groups) and precedes("receive", "threshold")
        found[p.source] = max(found.get(p.source, 0), max(delays[p.name], default=0) + int(is_late))
    return {name: depth for name, depth in found.items() if depth}


def check_inputs(x: Tensor, size: int) -> None:
    """Raises ValueError unless x is [T, B, size]."""
    if x.ndim != 3 or x.shape[2] != size:
        raise ValueError(f"x has shape {tuple(x.shape)}; this layer takes [T, B, {size}]")


def check(
    start: NetworkState,
    network: Network,
    sizes: Mapping[str, int],
    learning: Mapping[str, Mapping[str, tuple[int, ...]]],
    trials: int,
    fits: Callable[[str, Tensor], object],
) -> None:
    """Raises ValueError for a name, a shape or a value in `start` that a run of so many trials cannot start from.

    sizes: source or population -> N.  learning: projection -> shapes of what its LearningState holds.  fits: raises for a tensor of
    another dtype or device.
    """

    def check_tensor(what: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f"{what} has shape {tuple(tensor.shape)}, but this run needs {shape}; take the state of a run of the same trials"
            )
        if tensor.is_floating_point():
            fits(what, tensor)
            if not torch.isfinite(tensor.detach().sum()):
                raise ValueError(f"{what} holds NaN or infinite values; repair them first")

    names = [p.name for p in network.populations]
    for name, population in start.populations.items():
        if name not in names:
            raise ValueError(unknown(name, "population", "start", names))
        known = network.population(name).neuron.states
        if strange := [s for s in population.states if s not in known]:
            raise ValueError(unknown(strange[0], "state", f"start of '{name}'", known))
        for what, tensor in population.tensors().items():
            check_tensor(f"'{what}' of '{name}' in start", tensor, (trials, sizes[name]))
    for name, tensor in start.spikes.items():
        if name not in sizes:
            raise ValueError(unknown(name, "source or population", "start", sizes))
        check_tensor(f"spikes of '{name}' in start", tensor, (len(tensor), trials, sizes[name]))
    for name, kept in start.learning.items():
        if name not in learning:
            raise ValueError(unknown(name, "projection", "start", learning))
        for value, tensor in kept.values.items():
            if value not in learning[name]:
                raise ValueError(unknown(value, "value", f"start of '{name}'", learning[name]))
            check_tensor(f"'{value}' of '{name}' in start", tensor, learning[name][value])
