"""What diagnostics do to a liquid: inputs at controlled distances, other starting states, and how its answers are read.

x_n(t) = Σ_k exp(-(t - t_k)/tau)   state of neuron n: its spikes through an exponential filter (Maass et al. 2002, section 3)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from spiketwin.models.encoders.rate import poisson
from spiketwin.models.encoders.shared import positive, whole_steps
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.network import Network, Population
from spiketwin.models.recording import Recording
from spiketwin.models.reservoirs import INPUT, Liquid
from spiketwin.models.reservoirs.response import threshold_distance
from spiketwin.models.spikes import Spikes, timestep
from spiketwin.rules.readouts.features import filtered


@dataclass(frozen=True)
class Probe:
    """How a liquid is probed.

    rate_hz: of each input channel, Poisson.  duration_ms: of a trial.  tau_ms: of the filter that makes states of spikes.
    dt_ms, scheme, engine: of the simulation; float64, since small differences are followed.  seed: of inputs and starting states.
    """

    rate_hz: float = 20.0
    duration_ms: float = 300.0
    tau_ms: float = 30.0
    dt_ms: float = 1.0
    scheme: str = "exact"
    engine: CompiledEngine = field(default_factory=CompiledEngine)
    seed: int = 0

    def __post_init__(self) -> None:
        positive(rate_hz=self.rate_hz, tau_ms=self.tau_ms, dt_ms=self.dt_ms)
        whole_steps(self.duration_ms, self.dt_ms, "duration_ms")

    @property
    def steps(self) -> int:
        return int(timestep(self.duration_ms, self.dt_ms))

    def poisson(self, inputs: int, trials: int, *, share: float = 1.0, stream: int = 0) -> Spikes:
        """Poisson trains [T, trials, inputs] of share · rate_hz, others for each stream."""
        seed = np.random.SeedSequence([self.seed, stream]).generate_state(1)[0]
        return poisson(
            np.full((trials, inputs), share), rate_hz=self.rate_hz, duration_ms=self.duration_ms, dt_ms=self.dt_ms, seed=int(seed)
        )

    def run(self, liquid: Liquid, spikes: Spikes, *, record: str = "") -> Recording:
        """The liquid's answer. record: a state to keep of the neurons that are read."""
        kept = {name: (record,) for name in liquid.read} if record else None
        return self.engine.run(liquid.network, {INPUT: spikes}, dt_ms=self.dt_ms, scheme=self.scheme, record=kept)

    def states(self, liquid: Liquid, spikes: Spikes) -> np.ndarray:
        """States at the end of each trial [B, N]."""
        return filtered_every(read_spikes(self.run(liquid, spikes), liquid), spikes.shape[0], self.tau_ms)[-1]

    def rng(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, stream])


def read_spikes(recording: Recording, liquid: Liquid) -> Spikes:
    """The spikes of all neurons that are read, numbered in the order of liquid.read."""
    parts = [recording.spikes[name] for name in liquid.read]
    first = np.cumsum([0, *(p.shape[2] for p in parts)])
    step, batch = (np.concatenate([getattr(p, name) for p in parts]) for name in ("step", "batch"))
    neuron = np.concatenate([p.neuron + at for p, at in zip(parts, first)])
    return Spikes(step, batch, neuron, (*parts[0].shape[:2], int(first[-1])), parts[0].dt_ms)


def membranes(recording: Recording, liquid: Liquid) -> np.ndarray:
    """v [T, B, N] of the neurons that are read, as a share of their distance from rest to threshold."""
    scale = [threshold_distance(liquid.network.population(name).neuron) for name in liquid.read]
    return np.concatenate([recording.states[name]["v"] / of for name, of in zip(liquid.read, scale)], axis=2)


def filtered_every(spikes: Spikes, every: int, tau_ms: float) -> np.ndarray:
    """States x_n [R, B, N] after every, 2 · every, … steps.

    Raises ValueError when `every` does not lie within the run.
    """
    steps, trials, _ = spikes.shape
    if not 1 <= every <= steps:
        raise ValueError(f"states are read every {every} steps, but the run has {steps}; give 1 … {steps}")
    at = np.arange(every, steps + 1, every)
    return filtered(spikes, np.tile(at, (trials, 1)), tau_ms).transpose(1, 0, 2)


def jittered(spikes: Spikes, sd_ms: float, rng: np.random.Generator) -> Spikes:
    """Each spike moved by a normal deviate; those that would leave the run stay at its edge."""
    moved = np.rint(spikes.step + rng.normal(0, sd_ms / spikes.dt_ms, len(spikes))).astype(int)
    return once(np.clip(moved, 0, spikes.shape[0] - 1), spikes.batch, spikes.neuron, spikes)


def mixed(spikes: Spikes, fresh: Spikes, share: float, rng: np.random.Generator) -> Spikes:
    """A share of the spikes left out, and all of `fresh` put in: Poisson trains stay Poisson trains of the same rate if fresh has that share."""
    keep = rng.random(len(spikes)) >= share
    step, batch, neuron = (np.concatenate([getattr(spikes, n)[keep], getattr(fresh, n)]) for n in ("step", "batch", "neuron"))
    return once(step, batch, neuron, spikes)


def toggled(spikes: Spikes, step: int, channels: np.ndarray) -> Spikes:
    """One spike more in each trial, at `step` of channel channels[b]; or one less, where there is one."""
    trials = np.arange(spikes.shape[1])
    key, at = _key(spikes.step, spikes.batch, spikes.neuron, spikes.shape), _key(step, trials, channels, spikes.shape)
    return _from_key(np.setxor1d(key, at), spikes)


def repeated(spikes: Spikes, times: int) -> Spikes:
    """One trial, `times` over."""
    return together([spikes.trial(0)] * times)


def together(parts: Sequence[Spikes]) -> Spikes:
    """Trials one after the other."""
    first = np.cumsum([0, *(p.shape[1] for p in parts)])
    step, neuron = (np.concatenate([getattr(p, n) for p in parts]) for n in ("step", "neuron"))
    batch = np.concatenate([p.batch + at for p, at in zip(parts, first)])
    return Spikes(step, batch, neuron, (parts[0].shape[0], int(first[-1]), parts[0].shape[2]), parts[0].dt_ms)


def once(step, batch, neuron, like: Spikes) -> Spikes:
    """Events of the shape of `like`; several of a channel in one step are one."""
    return _from_key(np.unique(_key(step, batch, neuron, like.shape)), like)


def restarted(liquid: Liquid, seed: int) -> Liquid:
    """The same liquid from another state: each v drawn uniformly from rest to 95 % of the way to threshold.

    Raises ValueError for a model without v.
    """
    rng = np.random.default_rng([seed, 7])
    return replace(
        liquid,
        network=Network([_elsewhere(p, rng) for p in liquid.network.populations], liquid.network.projections, liquid.network.sources),
    )


def _elsewhere(population: Population, rng: np.random.Generator) -> Population:
    spec = population.neuron
    if "v" not in spec.states:
        raise ValueError(f"'{spec.name}' has no state 'v' to start elsewhere; its states are {', '.join(spec.states)}")
    parameters = population.parameter_values()
    rest = parameters.get("v_rest", parameters.get("e_leak", population.initial_values()["v"]))
    return replace(population, initial={**population.initial, "v": rest + threshold_distance(spec) * rng.uniform(0, 0.95, population.size)})


def _key(step, batch, neuron, shape: tuple[int, int, int]) -> np.ndarray:
    return (np.asarray(step, np.int64) * shape[1] + batch) * shape[2] + neuron


def _from_key(key: np.ndarray, like: Spikes) -> Spikes:
    return Spikes(*np.unravel_index(key, like.shape), shape=like.shape, dt_ms=like.dt_ms)
