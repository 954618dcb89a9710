"""A trained stack as a network for any engine, with what turns a batch of its input into that of the engine, and a recording back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from spiketwin.models.engines.torch.stacks.signals import Front
from spiketwin.models.engines.torch.stacks.stack import Stack, StackActivity
from spiketwin.models.network import Network
from spiketwin.models.recording import Recording
from spiketwin.models.spikes import Spikes
from spiketwin.models.stacks.arrivals import GAIN, INFLOW, gained_of, places_of
from spiketwin.models.stacks.lags import hears_at_once, in_reference_order
from spiketwin.models.stacks.layers import Shape

INPUT, BIAS = "input", "bias"


@dataclass(frozen=True, eq=False)
class Exported:
    """A stack as a network, and the way in and out.

    written: the network in the stack's order of events.  lags: population -> by how many steps engines have its spikes later.
    dt_ms, scheme: those of the stack.  fronts: population -> what makes its current of the input.
    gains: population -> [T, N] of each of its receptors that have a gain for each step.
    shapes: population -> its places, in the order of a run.
    """

    written: Network
    order: tuple[str, ...]
    lags: Mapping[str, int]
    dt_ms: float
    scheme: str
    analog: bool
    input_shape: Shape
    fronts: Mapping[str, Front]
    gains: Mapping[str, Sequence[np.ndarray]]
    shapes: Mapping[str, Shape]

    @cached_property
    def network(self) -> Network:
        """For any engine, at the stack's time step."""
        return self.at(1)

    def at(self, factor: int) -> Network:
        """The same for a step that is `factor` times finer: another network where the stack hears at once, since lags are steps."""
        return in_reference_order(self.written, self.order, self.scheme, self.dt_ms / factor)

    @property
    def lag(self) -> int:
        """By how many steps a run is longer than that of the stack."""
        return max(self.lags.values())

    @property
    def stateless(self) -> tuple[str, ...]:
        """Populations whose states are not the stack's between two steps: the engine adds what has arrived at another moment of the step.

        They hear at once, and get it before a decay; or they pool, or multiply, what has arrived, and get it when the next step begins.
        """
        heard = {p.target for p in self.written.projections if hears_at_once(self.written.population(p.target).neuron, self.order)}
        return tuple(p.name for p in self.written.populations if p.name in heard or places_of(p.neuron) or gained_of(p.neuron))

    def inputs(self, x: Tensor, steps: int | None = None, *, factor: int = 1) -> dict[str, Spikes | np.ndarray]:
        """What an engine is given for a batch x, as the stack takes it: [T, B, …], or [B, …] and `steps`.

        factor: how many times finer than the stack's the engine's step is; spikes then arrive, and currents change, at the same times.
        """
        x = x.detach().cpu().double()
        if x.ndim == 1 + len(self.input_shape):
            x = x[None]
        steps = steps or len(x)
        given: dict[str, Spikes | np.ndarray] = {}
        if not self.analog:
            given[INPUT] = self._longer(Spikes.from_dense(x.expand(steps, *x.shape[1:]).flatten(2).numpy(), self.dt_ms), factor)
        if any(s.name == BIAS for s in self.written.sources):
            given[BIAS] = self._longer(Spikes.from_dense(np.ones((steps, x.shape[1], 1)), self.dt_ms), factor)
        for name, gains in self.gains.items():
            # what arrives in a step is multiplied when the next one begins; what is heard at once arrives a step before its own
            first = self.lags[name] + (not hears_at_once(self.written.population(name).neuron, self.order))
            for k, gain in enumerate(gains, start=1):
                if len(gain) < steps:
                    raise ValueError(
                        f"the norm before '{name}' has statistics of {len(gain)} steps, but {steps} are asked for; build the stack with steps={steps}"
                    )
                given[f"{name}.{GAIN}{k}"] = self._shifted(gain[:steps, None], factor, first)
        for name, front in self.fronts.items():
            given[f"{name}.{INFLOW}"] = self._shifted(front.current(x, steps), factor, self.lags[name] + front.late * factor)
        return given

    def _shifted(self, values: np.ndarray, factor: int, first: int) -> np.ndarray:
        """[T, B, N] in as many times finer steps, from step `first` on, for as long as a run lasts; 0 before."""
        values = np.repeat(values, factor, axis=0)
        shifted = np.zeros((len(values) + self.lag, *values.shape[1:]))
        shifted[first : first + len(values)] = values[: len(shifted) - first]
        return shifted

    def aligned(self, recording: Recording) -> Recording:
        """A recording of the network with every population in the stack's own steps; for a factor, in as many times finer ones.

        Without the states of populations that are `stateless`.
        """
        if not (self.lag or self.stateless):
            return recording
        steps = next(iter(recording.spikes.values())).shape[0] - self.lag
        spikes, states, final = {}, {}, {}
        for name, events in recording.spikes.items():
            first = self.lags[name]
            spikes[name] = events.during(first, first + steps)
            kept = recording.states.get(name, {})
            last = {s: v[first + steps] for s, v in kept.items()} if first < self.lag else recording.final.get(name, {})
            is_kept = name not in self.stateless
            states[name] = {s: v[first : first + steps] for s, v in kept.items()} if is_kept else {}
            final[name] = last if is_kept else {}
        return replace(recording, spikes=spikes, states=states, final=final)

    def activity(self, recording: Recording) -> StackActivity:
        """A recording, aligned, as the stack would return it: its output, spikes of the last layer, and what was recorded of states."""
        last = list(self.shapes)[-1]
        states, final = (
            {name: {s: self._shaped(name, v) for s, v in of.items()} for name, of in both.items() if name in self.shapes}
            for both in (recording.states, recording.final)
        )
        if self.written.population(last).neuron.threshold:
            spikes = {last: self._shaped(last, recording.spikes[last].dense(np.float64))}
            return StackActivity(spikes[last], spikes, states, final)
        membrane = self.written.population(last).neuron.states[0]
        return StackActivity(torch.cat([states[last][membrane][1:], final[last][membrane][None]]), {}, states, final)

    def record(self) -> dict[str, tuple[str, ...]]:
        """What an engine has to record so that `activity` has an output."""
        last = self.written.population(list(self.shapes)[-1])
        return {} if last.neuron.threshold else {last.name: last.neuron.states[:1]}

    def _longer(self, spikes: Spikes, factor: int) -> Spikes:
        """As many times finer, and until the last lag is over."""
        events = spikes.refined(factor) if factor > 1 else spikes
        T, B, N = events.shape
        return replace(events, shape=(T + self.lag, B, N))

    def _shaped(self, name: str, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values).unflatten(-1, self.shapes[name])


def recording_of(stack: Stack, activity: StackActivity) -> Recording:
    """What a stack did, as an engine would have recorded it of the network that it is written down as."""

    def flat(of: Mapping[str, Mapping[str, Tensor]], begin: int) -> dict[str, dict[str, np.ndarray]]:
        return {name_of(layer): {s: v.detach().flatten(begin).cpu().numpy() for s, v in states.items()} for layer, states in of.items()}

    spikes = {name_of(layer): Spikes.from_dense(s.detach().flatten(2).cpu().numpy(), stack.dt_ms) for layer, s in activity.spikes.items()}
    scheme = next(iter(stack.neuron_layers().values())).network.scheme
    return Recording("torch", scheme, stack.dt_ms, spikes, flat(activity.states, 2), flat(activity.final, 1))


def name_of(label: str) -> str:
    """Of the population of a neuron layer: names of torch modules hold no dots."""
    return label.replace(".", "_")
