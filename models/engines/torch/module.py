"""A network as a torch module: batched, differentiable, on CPU or GPU.

Populations that feed each other in a circle form a group and advance together, step by step. Groups follow one
another: all steps of the first, then one product for its projections to the next over all steps, and so on. The
result is that of advancing everything together, because a spike never acts on the past.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from spiketwin.models.engines.poisson import poisson
from spiketwin.models.engines.torch import fused
from spiketwin.models.engines.torch.population import PopulationModule, Recurrent, RunningPopulation, Setting
from spiketwin.models.engines.torch.projections import arrivals, module_of
from spiketwin.models.network import Convolution, Network, PoissonSource
from spiketwin.models.recording import Record
from spiketwin.models.semantics import REFERENCE
from spiketwin.models.spec import unknown
from spiketwin.models.spikes import Spikes
from spiketwin.models.units import unit


@dataclass(frozen=True, eq=False)
class Activity:
    """What a forward pass gives. spikes: population -> [T, B, N].  states: population -> state -> [T, B, N] in SI, at
    the start of each step.  final: population -> state -> [B, N] in SI, after the last step."""

    spikes: Mapping[str, Tensor]
    states: Mapping[str, Mapping[str, Tensor]]
    final: Mapping[str, Mapping[str, Tensor]]


class TorchNetwork(nn.Module):
    """A network with the step of `scheme` derived from its equations, as a torch module.

    State dict: 'projections.NAME.weight' in the projection's unit, 'populations.NAME.PARAMETER'.
    dt_ms: time step.  surrogate: spike function with a gradient, e.g. rules.surrogate.fast_sigmoid(); None: spikes
    pass no gradient.  detach_reset: whether the reset passes no gradient.
    trainable_parameters: population -> names of neuron parameters to train. They are nn.Parameters in their declared
    unit; each forward pass first puts those outside their bounds back on the nearest allowed value.
    order: events of a step, as in models.semantics; 'receive' first means that an input acts in its own step.
    kernels: 'auto' runs each group of populations in one compiled kernel where one applies (see plan()), else step by
    step in torch; 'torch' never; 'fused' raises where none applies.  checkpoint_steps: kernels keep only the states every so
    many steps for the backward pass and compute the rest again: less memory, one more forward pass.

    Constants such as decays are computed from the parameters once per forward pass, so .double(), .to(device) and
    load_state_dict act on them, and gradients reach tau_mem.
    Raises SchemeError when the scheme cannot integrate a population.
    """

    def __init__(
        self,
        network: Network,
        *,
        dt_ms: float,
        scheme: str = "exact",
        surrogate: Callable[..., Tensor] | None = None,
        dtype: torch.dtype = torch.float32,
        detach_reset: bool = True,
        trainable_parameters: Mapping[str, tuple[str, ...]] | None = None,
        order: tuple[str, ...] = REFERENCE.order,
        kernels: str = "auto",
        checkpoint_steps: int | None = None,
    ) -> None:
        super().__init__()
        if not np.isfinite(dt_ms) or dt_ms <= 0:
            raise ValueError(f"dt_ms = {dt_ms} must be positive and finite")
        if strange := [event for event in order if event not in REFERENCE.order]:
            raise ValueError(f"the torch engine has no event '{strange[0]}'; order the events {', '.join(REFERENCE.order)}")
        if kernels not in ("auto", "torch", "fused"):
            raise ValueError(f"kernels = '{kernels}' is unknown; choose 'auto', 'torch' or 'fused'")
        if checkpoint_steps is not None and checkpoint_steps < 1:
            raise ValueError(f"checkpoint_steps = {checkpoint_steps} must be at least 1, or None to keep every step")
        self.kernels, self.checkpoint_steps = kernels, checkpoint_steps
        trainable = dict(trainable_parameters or {})
        names = [p.name for p in network.populations]
        if strange := [name for name in trainable if name not in names]:
            raise ValueError(unknown(strange[0], "population", "trainable_parameters", names))
        self.network, self.dt_ms, self.scheme = network, dt_ms, scheme
        self.surrogate, self.detach_reset, self.order = surrogate, detach_reset, tuple(order)
        self.populations = nn.ModuleDict({p.name: PopulationModule(p, trainable.get(p.name, ()), dtype) for p in network.populations})
        self.projections = nn.ModuleDict({p.name: module_of(p, dt_ms, dtype) for p in network.projections})
        self.groups = groups(network)
        # follows .to() and .double(), and so tells the dtype and device of the module
        self.register_buffer("like", torch.zeros((), dtype=dtype), persistent=False)

    def forward(
        self,
        inputs: Mapping[str, Tensor | Spikes] | None = None,
        *,
        record: Record | None = None,
        steps: int | None = None,
        trials: int | None = None,
        noise: Mapping[str, Tensor] | None = None,
        generator: torch.Generator | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Activity:
        """Run all steps.

        inputs: source -> Spikes or tensor [T, B, N]; 'population.drive' -> tensor in SI, [T], [T, N] or [T, B, N].
        steps, trials: T and B where no input has them.  record: population -> states to return.
        noise: 'population.xi' (standard normal) or 'population.rand' (uniform) -> [T, B, N]; what is missing is drawn
        from `generator`, as are the spikes of Poisson sources.
        Raises ValueError for a missing, misshapen or NaN input.
        """
        given = dict(inputs or {})
        T, B = self._extent(given, steps, trials)
        record = self._checked_record(record)
        spikes: dict[str, Tensor | Spikes] = {
            s.name: self._source(s, given.pop(s.name, None), T, B, generator) for s in self.network.sources
        }
        drives = {
            p.name: {
                d: self._drive(f"{p.name}.{d}", given.pop(f"{p.name}.{d}"), T, B, p.size)
                for d in p.neuron.drives
                if f"{p.name}.{d}" in given
            }
            for p in self.network.populations
        }
        if given:
            known = [*spikes, *(f"{p.name}.{d}" for p in self.network.populations for d in p.neuron.drives)]
            raise ValueError(unknown(next(iter(given)), "input", "network", known))
        draws = self._noise(dict(noise or {}), T, B, generator)

        setting = Setting(self.scheme, self.dt_ms * 1e-3, T, B, self.surrogate, self.detach_reset)
        done: dict[str, RunningPopulation] = {}
        for index, group in enumerate(self.groups):
            running = {}
            for name in group:
                self.populations[name].project_()
                running[name] = RunningPopulation(self.populations[name], setting, record.get(name, ()), drives[name], draws[name])
            self._advance(running, spikes, done, progress and (lambda share, i=index: progress((i + share) / len(self.groups))))
            spikes |= {name: population.all_spikes() for name, population in running.items()}
            done |= running
        return Activity(
            {p.name: spikes[p.name] for p in self.network.populations},
            {name: done[name].all_states() for name in record},
            {p.name: done[p.name].final() for p in self.network.populations},
        )

    def _advance(self, group: dict[str, RunningPopulation], spikes, done, progress: Callable[[float], None] | None) -> None:
        """Run all steps of a group, in one kernel where that is possible. spikes, done: of sources and of groups that have run."""
        inside = [p for p in self.network.projections if p.source in group and p.target in group]
        outside = [p for p in self.network.projections if p.source not in group and p.target in group]
        reason = (
            "kernels='torch'" if self.kernels == "torch" else fused.refusal(group, self.order, [self.projections[p.name] for p in inside])
        )
        if self.kernels == "fused" and reason:
            raise ValueError(f"no kernel for {', '.join(group)}: {reason}; use kernels='auto'")
        links = []
        for p in outside:
            module, fired = self.projections[p.name], done[p.source].fired if p.source in done else None
            events = None if reason else fused.carries_events(module, spikes[p.source], fired)
            if events is None:
                group[p.target].add_increments(p.receptor, self._finite(p, arrivals(module, spikes[p.source]), spikes[p.source]))
            else:
                self._finite(p, module.weight, spikes[p.source])
                links.append(fused.Link(module, p.target, events, spikes[p.source] if torch.is_tensor(spikes[p.source]) else None))
        if not reason:
            links += [fused.Link(self.projections[p.name], p.target, p.source) for p in inside]
            fused.advance(group, self.order, links, self._is_listed, self.checkpoint_steps)
            return
        for p in inside:
            module = self.projections[p.name]
            group[p.target].recurrent.append(Recurrent(group[p.source], p.receptor, module.delays, module.transmit_stacked()))
        step_by_step(tuple(group.values()), self.order, progress)

    def _is_listed(self, name: str) -> bool:
        """Whether a projection can take the spikes of a population as events."""
        return any(p.source == name and not isinstance(p.weights, Convolution) for p in self.network.projections)

    def _finite(self, projection, values: Tensor, spikes: Tensor | Spikes) -> Tensor:
        # one sum finds a NaN of the weights as well as one of the input
        if not torch.isfinite(values.detach().sum()):
            is_input = torch.isfinite(self.projections[projection.name].weight).all()
            culprit = f"spikes of '{projection.source}'" if is_input else f"weights of '{projection.name}'"
            raise ValueError(f"{culprit} hold NaN or infinite values; repair them first (a learning rate too high can be the cause)")
        return values

    # -- inputs -----------------------------------------------------------------------------------------

    def _extent(self, given: Mapping[str, Tensor | Spikes], steps: int | None, trials: int | None) -> tuple[int, int]:
        for key, value in given.items():
            if not isinstance(value, Tensor | Spikes):
                raise TypeError(f"input '{key}' is a {type(value).__name__}; give a torch tensor (torch.as_tensor), or Spikes")
            shape = tuple(value.shape)
            if not shape:
                raise ValueError(f"input '{key}' is one number; give [T], [T, N] or [T, B, N]")
            if steps not in (None, shape[0]):
                raise ValueError(f"input '{key}' has {shape[0]} steps, but another input or `steps` says {steps}; make them equal")
            steps = shape[0]
            if len(shape) == 3 and shape[1] != 1:
                if trials not in (None, shape[1]):
                    raise ValueError(f"input '{key}' has {shape[1]} trials, but another input or `trials` says {trials}; make them equal")
                trials = shape[1]
        if not steps:
            raise ValueError("the run has no steps: give an input that lasts, or steps=…")
        return steps, trials or 1

    def _checked_record(self, record: Record | None) -> dict[str, tuple[str, ...]]:
        for name, states in (record or {}).items():
            known = self.network.population(name).neuron.states
            if strange := [s for s in states if s not in known]:
                raise ValueError(unknown(strange[0], "state to record", name, known))
        return {name: tuple(states) for name, states in (record or {}).items()}

    def _source(self, source, given, T: int, B: int, generator) -> Tensor | Spikes:
        name, shape = source.name, (T, B, source.size)
        if given is None and isinstance(source, PoissonSource):
            key = torch.randint(1 << 62, (), generator=generator, device=generator.device if generator else "cpu")
            return poisson(source.rate_hz, T, B, source.size, self.dt_ms, np.uint64(key.item()))
        if given is None:
            raise ValueError(f"no spikes given for source '{name}'; pass inputs={{'{name}': …}}, Spikes or a tensor [T, B, N] = {shape}")
        if tuple(given.shape) != shape:
            raise ValueError(f"spikes of '{name}' have shape {tuple(given.shape)}, but [T, B, N] is {shape}")
        if isinstance(given, Spikes):
            if not np.isclose(given.dt_ms, self.dt_ms, rtol=1e-9):
                raise ValueError(
                    f"spikes of '{name}' are on a grid of {given.dt_ms} ms, but the module has dt_ms = {self.dt_ms}; use Spikes.refined or re-encode"
                )
            return given
        return self._fits(f"spikes of '{name}'", given)

    def _drive(self, key: str, given: Tensor | Spikes, T: int, B: int, size: int) -> Tensor:
        if isinstance(given, Spikes):
            raise TypeError(f"input '{key}' is an analogue drive, but Spikes were given; pass a tensor in SI")
        shaped = {1: lambda a: a[:, None, None], 2: lambda a: a[:, None, :]}.get(given.ndim, lambda a: a)(given)
        if shaped.ndim != 3 or any(have not in (1, want) for have, want in zip(shaped.shape, (T, B, size), strict=True)):
            raise ValueError(f"input '{key}' has shape {tuple(given.shape)}; give [T], [T, N] or [T, B, N] with T, B, N = {T}, {B}, {size}")
        if not torch.isfinite(shaped.detach().sum()):
            raise ValueError(f"input '{key}' holds NaN or infinite values; repair them first")
        return self._fits(f"input '{key}'", shaped)

    def _fits(self, what: str, tensor: Tensor) -> Tensor:
        if tensor.device != self.like.device:
            raise ValueError(f"{what} is on {tensor.device}, the module on {self.like.device}; move one with .to()")
        if tensor.is_floating_point() and tensor.dtype != self.like.dtype:
            raise TypeError(
                f"{what} is {tensor.dtype}, the module {self.like.dtype}; convert it with .to({self.like.dtype}), or the module with .double() or .float()"
            )
        if tensor.is_complex():
            raise TypeError(f"{what} is complex; give real values")
        return tensor.to(self.like.dtype)

    def _noise(self, given: dict[str, Tensor], T: int, B: int, generator) -> dict[str, dict[str, Tensor]]:
        """Population -> {'noise' or 'uniform': [T, B, N]} for those that need it."""
        made: dict[str, dict[str, Tensor]] = {}
        for p in self.network.populations:
            made[p.name] = {}
            kinds = (("xi", "noise", torch.randn, p.neuron.is_noisy), ("rand", "uniform", torch.rand, p.neuron.has_random_threshold))
            for kind, name, draw, needed in kinds:
                if not needed:
                    continue
                key, shape = f"{p.name}.{kind}", (T, B, p.size)
                if key not in given:
                    made[p.name][name] = draw(shape, generator=generator, device=self.like.device, dtype=self.like.dtype)
                    continue
                tensor = given.pop(key)
                if tuple(tensor.shape) != shape or not torch.isfinite(tensor).all():
                    raise ValueError(f"noise '{key}' must be finite and of shape [T, B, N] = {shape}, got {tuple(tensor.shape)}")
                made[p.name][name] = self._fits(f"noise '{key}'", tensor)
        if given:
            raise ValueError(unknown(next(iter(given)), "noise", "network", [f"{p}.{n}" for p, names in made.items() for n in names]))
        return made

    # -- back to a network ---------------------------------------------------------------------------------

    def to_network(self) -> Network:
        """The network with the module's present weights and parameters, for any engine."""
        projections = tuple(replace(p, weights=self.projections[p.name].weights()) for p in self.network.projections)
        return replace(self.network, populations=tuple(self._population(p) for p in self.network.populations), projections=projections)

    def _population(self, population):
        module = self.populations[population.name]
        values = {
            n: v.detach().double().cpu().numpy() / unit(population.neuron.parameters[n].unit)[0]
            for n, v in module.values().items()
            if n in population.neuron.parameters
        }
        return replace(population, parameters=values)

    def extra_repr(self) -> str:
        return f"dt_ms={self.dt_ms}, scheme='{self.scheme}', groups={' -> '.join('{' + ', '.join(g) + '}' for g in self.groups)}"


def step_by_step(group: tuple[RunningPopulation, ...], order: tuple[str, ...], progress: Callable[[float], None] | None = None) -> None:
    """The schedule: at each step each event in order, each for all populations of the group."""
    steps = group[0].setting.steps
    for population in group:
        population.begin()
    for n in range(steps):
        for population in group:
            population.note(n)
        for event in order:
            for population in group:
                getattr(population, event)(n)
        if progress and (n + 1) % 100 == 0:
            progress((n + 1) / steps)


def groups(network: Network) -> tuple[tuple[str, ...], ...]:
    """Populations that reach each other, as groups in an order in which spikes only flow forward."""
    names = [p.name for p in network.populations]
    reaches = np.eye(len(names), dtype=bool)
    for p in network.projections:
        if p.source in names:
            reaches[names.index(p.source), names.index(p.target)] = True
    for _ in names:
        reaches = reaches | (reaches @ reaches)
    mutual = reaches & reaches.T
    # a population further down has strictly more ancestors; members of a group have the same ones
    found = {tuple(np.flatnonzero(row)): int(reaches[:, i].sum()) for i, row in enumerate(mutual)}
    return tuple(tuple(names[i] for i in members) for members in sorted(found, key=lambda members: (found[members], members)))
