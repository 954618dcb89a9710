"""What every engine shares: the protocol, and a run's inputs checked and brought to one form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol

import numpy as np

from spiketwin.models.discretisation import stability_limit, unsupported_reason
from spiketwin.models.discretisation.stability import REAL_STABILITY
from spiketwin.models.network import Network, PoissonSource, Population
from spiketwin.models.recording import Record, Recording
from spiketwin.models.spec import unknown
from spiketwin.models.spikes import Spikes, timestep

ENGINES = ("brian", "torch", "compiled", "scipy")
Inputs = Mapping[str, "Spikes | np.ndarray"]


class Engine(Protocol):
    """Runs a network. All engines give the same spikes for the same scheme and dt; scipy is grid-free."""

    name: str

    def unsupported(self, network: Network, scheme: str) -> list[str]:
        """Reasons why this engine cannot run `network` with `scheme`, each with what to do; [] when it can."""
        ...

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
        """Simulate `duration_ms` in steps of `dt_ms`.

        inputs: source name -> Spikes [T, B, size]; 'population.drive' -> array in SI, [T], [T, N] or [T, B, N].
        record: population -> states to keep, plastic projection -> ("w",). noise: 'population.xi' (standard normal) or
        'population.rand' (uniform) -> [T, B, N]; what is not given is drawn from `seed`, alike in all engines.
        progress: called with the share done, 0 … 1.
        Raises ValueError for bad input or when unsupported() is not empty.
        """
        ...


class UnsupportedError(ValueError):
    """The engine cannot run this network; the message lists the reasons."""


class UnstableError(ValueError):
    """The time step is too large for the scheme; the message says what is stable."""


def get_engine(name: str) -> Engine:
    """The engine called `name`; imports its library only now. Raises ValueError for an unknown name."""
    if name not in ENGINES:
        raise ValueError(unknown(name, "engine", "spiketwin", ENGINES))
    return import_module(f"spiketwin.models.engines.{name}").ENGINE


@dataclass(frozen=True)
class Run:
    """A run made ready: sizes, spikes of all sources, drives and noise as arrays."""

    network: Network
    scheme: str
    dt_ms: float
    steps: int
    trials: int
    seed: int
    spikes: Mapping[str, Spikes]  # of every source, but of Poisson sources that the engine draws itself
    drives: Mapping[str, Mapping[str, np.ndarray]]  # 0-d or [N] if constant, else [T, 1 or B, 1 or N]
    noise: Mapping[str, np.ndarray]  # 'population.xi' or 'population.rand' -> [T, B, N]
    record: Record = field(default_factory=dict)

    @property
    def dt_s(self) -> float:
        # 1e-3 as Brian2's ms has it, so that every engine sees the same number
        return self.dt_ms * 1e-3


def prepare(
    network: Network,
    inputs: Inputs | None = None,
    *,
    dt_ms: float,
    scheme: str,
    duration_ms: float | None = None,
    trials: int = 1,
    record: Record | None = None,
    noise: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
    check_stability: bool = True,
    draw_poisson: bool = True,
) -> Run:
    """Check a run's inputs and bring them to one form; all engines begin here.

    draw_poisson: whether the spikes of Poisson sources are drawn here. An engine that draws them step by step
    with poisson.draw_step(), the same ones, finds no entry in Run.spikes.
    """
    inputs = dict(inputs or {})
    if not np.isfinite(dt_ms) or dt_ms <= 0:
        raise ValueError(f"dt_ms = {dt_ms} must be positive and finite")
    steps, trials = _extent(inputs, dt_ms, duration_ms, trials)
    populations = {p.name: p for p in network.populations}
    record = {name: tuple(states) for name, states in (record or {}).items()}
    plastic = {p.name for p in network.projections if p.rule}
    for name, states in record.items():
        known = ("w",) if name in plastic else network.population(name).neuron.states
        for state in states:
            if state not in known:
                raise ValueError(unknown(state, "state to record", name, known))

    spikes = {}
    for index, source in enumerate(network.sources):
        given = inputs.pop(source.name, None)
        if given is None and isinstance(source, PoissonSource):
            if not draw_poisson:
                continue
            from spiketwin.models.engines.poisson import poisson, stream

            given = poisson(source.rate_hz, steps, trials, source.size, dt_ms, stream(seed, index))
        spikes[source.name] = _check_spikes(given, source.name, (steps, trials, source.size), dt_ms)

    drives = {name: p.drive_values() for name, p in populations.items()}
    for key in list(inputs):
        name, _, drive = key.partition(".")
        if name in populations and drive in populations[name].neuron.drives:
            drives[name][drive] = _check_drive(inputs.pop(key), key, steps, trials, populations[name].size)
    if inputs:
        known = [*(s.name for s in network.sources), *(f"{n}.{d}" for n, p in populations.items() for d in p.neuron.drives)]
        raise ValueError(unknown(next(iter(inputs)), "input", "network", known))

    if check_stability:
        for population in network.populations:
            _check_stable(population, scheme, dt_ms)
    made = {}
    for index, population in enumerate(network.populations):
        for key, needed in (
            (f"{population.name}.xi", population.neuron.is_noisy),
            (f"{population.name}.rand", population.neuron.has_random_threshold),
        ):
            if needed:
                made[key] = _noise((noise or {}).get(key), key, (steps, trials, population.size), np.random.default_rng([seed, 2, index]))
    if stray := set(noise or {}) - set(made):
        raise ValueError(unknown(sorted(stray)[0], "noise", "network", made))
    return Run(network, scheme, dt_ms, steps, trials, seed, spikes, drives, made, record)


def require_supported(engine: Engine, network: Network, scheme: str) -> None:
    """Raise UnsupportedError when the engine gives reasons."""
    if reasons := engine.unsupported(network, scheme):
        raise UnsupportedError(f"the {engine.name} engine cannot run this network: " + " · ".join(reasons))


def scheme_reasons(network: Network, scheme: str) -> list[str]:
    """Why a scheme cannot integrate one of the populations, one sentence each."""
    specs = {p.neuron.name: p.neuron for p in network.populations}
    return [reason for spec in specs.values() if (reason := unsupported_reason(spec, scheme))]


def plasticity_reasons(network: Network, engine: str) -> list[str]:
    """For an engine whose weights stand still: which projections it cannot run."""
    return [
        f"rule '{p.rule.name}' changes the weights of '{p.name}' with every spike, which {engine} cannot; use the brian, torch or compiled engine"
        for p in network.projections
        if p.rule
    ]


def delay_steps(delay_ms, dt_ms: float) -> np.ndarray:
    """Delays in whole steps, rounded as Brian2 rounds: floor(delay/dt + 1/2)."""
    return np.floor(np.asarray(delay_ms, dtype=float) / dt_ms + 0.5).astype(np.int64)


def refractory_steps(population: Population, dt_ms: float) -> np.ndarray:
    """Steps from a spike to the first step in which the neuron is active again, [N]; 0 without a period.

    Brian2 counts the spike's own step: a neuron is clamped for tau_ref/dt - 1 further steps.
    """
    spec = population.neuron
    if spec.refractory_kind != "time":
        return np.zeros(population.size, dtype=np.int64)
    period_s = population.parameter(spec.refractory)
    return np.broadcast_to(timestep(period_s, dt_ms * 1e-3), (population.size,)).astype(np.int64)


def require_finite(population: Population, states: Mapping[str, np.ndarray], scheme: str, dt_ms: float) -> None:
    """Raise UnstableError when a state of the run is not finite any more."""
    for name, value in states.items():
        if not np.isfinite(value).all():
            raise UnstableError(
                f"'{name}' of population '{population.name}' ({population.neuron.name}) became infinite or NaN with {scheme} at dt = {dt_ms:g} ms; "
                f"use a smaller dt (try {dt_ms / 4:g} ms) or exponential_euler"
            )


def _extent(inputs: Inputs, dt_ms: float, duration_ms: float | None, trials: int) -> tuple[int, int]:
    steps = None if duration_ms is None else int(timestep(duration_ms, dt_ms))
    if trials < 1:
        raise ValueError(f"trials = {trials} must be at least 1")
    for key, value in inputs.items():
        shape = value.shape
        if isinstance(value, Spikes) or np.ndim(value) == 3:
            if shape[1] < 1:
                raise ValueError(f"input '{key}' has no trials, its shape is {tuple(shape)}; give one at least")
            if trials not in (1, shape[1]) and shape[1] != 1:
                raise ValueError(f"input '{key}' has {shape[1]} trials, but {trials} were asked for")
            trials = max(trials, shape[1])
        if steps is None and len(shape):
            steps = shape[0]
        elif len(shape) and shape[0] != steps:
            raise ValueError(f"input '{key}' has {shape[0]} steps, but the run has {steps}; make them equal")
    if steps is None:
        raise ValueError("the run has no end: give duration_ms, or an input that lasts")
    if steps < 1:
        raise ValueError(f"the run has {steps} steps of {dt_ms} ms; lengthen duration_ms = {duration_ms}")
    return steps, trials


def _check_spikes(given, name: str, shape: tuple[int, int, int], dt_ms: float) -> Spikes:
    if given is None:
        raise ValueError(f"no spikes given for source '{name}'; pass inputs={{'{name}': Spikes(…)}} of shape [T, B, N] = {shape}")
    if not isinstance(given, Spikes):
        raise ValueError(f"input '{name}' is a {type(given).__name__}; pass Spikes, e.g. Spikes.from_dense(array, dt_ms={dt_ms})")
    if given.shape != shape:
        raise ValueError(f"spikes of '{name}' have shape [T, B, N] = {given.shape}, but the run needs {shape}")
    if not np.isclose(given.dt_ms, dt_ms, rtol=1e-9):
        raise ValueError(
            f"spikes of '{name}' are on a grid of {given.dt_ms} ms, but the run has dt_ms = {dt_ms}; use Spikes.refined or re-encode"
        )
    return given


def _check_drive(given, key: str, steps: int, trials: int, size: int) -> np.ndarray:
    array = np.asarray(given, dtype=float)
    if np.isnan(array).any() or np.isinf(array).any():
        raise ValueError(f"input '{key}' holds NaN or infinite values; repair them first")
    shaped = {1: lambda a: a[:, None, None], 2: lambda a: a[:, None, :], 3: lambda a: a}.get(array.ndim, lambda a: a)(array)
    if shaped.ndim != 3 or any(have not in (1, want) for have, want in zip(shaped.shape, (steps, trials, size), strict=True)):
        raise ValueError(f"input '{key}' has shape {array.shape}; give [T], [T, N] or [T, B, N] with T, B, N = {steps}, {trials}, {size}")
    return shaped


def _check_stable(population: Population, scheme: str, dt_ms: float) -> None:
    if scheme not in REAL_STABILITY:
        return
    values = {**population.parameter_values(), **population.drive_values(), **population.initial_values()}
    limit_ms = stability_limit(population.neuron, scheme, values) * 1e3
    if dt_ms > limit_ms:
        raise UnstableError(
            f"dt = {dt_ms:g} ms is too large for {scheme} of '{population.neuron.name}' (population '{population.name}'): "
            f"it is stable below {limit_ms:.4g} ms; use a smaller dt, exponential_euler or exact"
        )


def _noise(given, key: str, shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    if given is None:
        return rng.standard_normal(shape) if key.endswith(".xi") else rng.random(shape)
    array = np.asarray(given, dtype=float)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"noise '{key}' must be finite and of shape [T, B, N] = {shape}, got {array.shape}")
    return array
