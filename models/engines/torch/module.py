"""A network as a torch module: batched, differentiable, on CPU or GPU.

Populations that feed each other in a circle form a group and advance together, step by step. Groups follow one
another: all steps of the first, then one product for its projections to the next over all steps, and so on. The
result is that of advancing everything together, because a spike never acts on the past.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from spiketwin.models.discretisation import derive
from spiketwin.models.engines.poisson import poisson
from spiketwin.models.engines.synapse_draws import synapse_stream
from spiketwin.models.engines.torch.kernels import cuda, fused
from spiketwin.models.engines.torch.kernels.graphs import Graphs
from spiketwin.models.engines.torch.plastic import Learning, PlasticProjection
from spiketwin.models.engines.torch.population import PopulationModule, Recurrent, RunningPopulation, Setting, check_surrogate
from spiketwin.models.engines.torch.projections import arrivals, dense, module_of
from spiketwin.models.engines.torch.state import LearningState, NetworkState, check, depths, fitted
from spiketwin.models.network import Convolution, Network, PoissonSource, Projection
from spiketwin.models.plasticity import WEIGHT
from spiketwin.models.recording import Record
from spiketwin.models.semantics import REFERENCE
from spiketwin.models.spec import unknown
from spiketwin.models.spikes import Spikes
from spiketwin.models.units import unit

if TYPE_CHECKING:
    from spiketwin.models.engines.torch.plan import Plan


@dataclass(frozen=True, eq=False)
class Activity:
    """What a forward pass gives. spikes: population -> [T, B, N].  states: population -> state -> [T, B, N] in SI, at
    the start of each step, and of projections that learn 'w' [T, B, S].  final: population -> state -> [B, N] in SI, after the last
    step.  state: what a run that goes on starts from: those and all else that the last steps leave behind.
    weights: projection that learns -> its weights [B, S] after the last step, in its unit and the order of Projection.synapses();
    the module's own are as they were."""

    spikes: Mapping[str, Tensor]
    states: Mapping[str, Mapping[str, Tensor]]
    final: Mapping[str, Mapping[str, Tensor]]
    state: NetworkState
    weights: Mapping[str, Tensor]


@dataclass(eq=False)
class Block:
    """Groups of populations that run together. refusal: '' where a fused kernel does, else why none can."""

    groups: list[dict[str, RunningPopulation]]
    refusal: str

    @property
    def populations(self) -> dict[str, RunningPopulation]:
        return {name: population for group in self.groups for name, population in group.items()}


class TorchNetwork(nn.Module):
    """A network with the step of `scheme` derived from its equations, as a torch module.

    Projections with a rule learn as it says, in each trial on its own (plastic.py); such a network keeps the order of the reference.
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
    Raises SchemeError when the scheme cannot integrate a population, ValueError for sizes and names that do not fit and for a
    surrogate that is no spike function.
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
        if tuple(order) != REFERENCE.order and (learning := [p for p in network.projections if p.rule]):
            raise ValueError(
                f"'{learning[0].name}' learns, which takes place between threshold and reset: leave order as it is, {', '.join(REFERENCE.order)}"
            )
        if kernels not in ("auto", "torch", "fused"):
            raise ValueError(f"kernels = '{kernels}' is unknown; choose 'auto', 'torch' or 'fused'")
        if checkpoint_steps is not None and checkpoint_steps < 1:
            raise ValueError(f"checkpoint_steps = {checkpoint_steps} must be at least 1, or None to keep every step")
        if surrogate is not None:
            check_surrogate(surrogate, torch.zeros(1, dtype=dtype), torch.zeros(1, dtype=torch.bool))
        for population in network.populations:
            derive(population.neuron, scheme)  # so that a scheme is refused here, and not in a run
        self.kernels, self.checkpoint_steps = kernels, checkpoint_steps
        self.density: dict[str, float] = {}  # spikes per neuron and step in the last run
        trainable = dict(trainable_parameters or {})
        names = [p.name for p in network.populations]
        if strange := [n for n in (*names, *(p.name for p in network.projections)) if "." in n or hasattr(nn.ModuleDict, n)]:
            raise ValueError(
                f"torch modules cannot be called '{strange[0]}'; rename the population or projection, e.g. '{strange[0].replace('.', '_')}_1'"
            )
        if strange := [name for name in trainable if name not in names]:
            raise ValueError(unknown(strange[0], "population", "trainable_parameters", names))
        self.network, self.dt_ms, self.scheme = network, dt_ms, scheme
        self.surrogate, self.detach_reset, self.order = surrogate, detach_reset, tuple(order)
        self.populations = nn.ModuleDict({p.name: PopulationModule(p, trainable.get(p.name, ()), dtype) for p in network.populations})
        self.projections = nn.ModuleDict(
            {p.name: (PlasticProjection if p.rule else module_of)(p, dt_ms, dtype) for p in network.projections}
        )
        self.groups = groups(network)
        self.depths = depths(network, self.order, self.groups, {p.name: self.projections[p.name].delays for p in network.projections})
        self.graphs = Graphs()  # CUDA graphs of the step in torch, by shape
        # follows .to() and .double(), and so tells the dtype and device of the module
        self.register_buffer("like", torch.zeros((), dtype=dtype), persistent=False)

    def forward(
        self,
        inputs: Mapping[str, Tensor | Spikes] | None = None,
        *,
        record: Record | None = None,
        start: NetworkState | None = None,
        steps: int | None = None,
        trials: int | None = None,
        noise: Mapping[str, Tensor] | None = None,
        generator: torch.Generator | None = None,
        synapse_seed: int | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Activity:
        """Run all steps.

        inputs: source -> Spikes or tensor [T, B, N]; 'population.drive' -> tensor in SI, [T], [T, N] or [T, B, N];
        'population.receptor' -> increments in SI, the same shapes. [1, B, N] is the same at every step of `steps`.
        steps, trials: T and B where no input has them.  record: population -> states to return; projection that learns -> ('w',).
        start: `state` of an earlier run with the same trials, from which this one goes on; gradients pass through what it holds
        unless it is detached. Runs in pieces equal the run in one, bit for bit where the same sums are formed: a matrix product over many
        steps, or one where many fire, may round otherwise than one over few.
        noise: 'population.xi' (standard normal) or 'population.rand' (uniform) -> [T, B, N]; what is missing is drawn
        from `generator`, as are the spikes of Poisson sources. synapse_seed: of the numbers that learning rules draw, the same as in
        other engines with this seed; by default it is drawn, too.
        Raises ValueError for a missing, misshapen or NaN input.
        """
        given = dict(inputs or {})
        T, B = self._extent(given, steps, trials)
        if start is not None:
            B = start.trials or 1 if B == 1 else B
            learning_shapes = {n: p.shapes(B) for n, p in self.projections.items() if isinstance(p, PlasticProjection)}
            check(start, self.network, self.sizes, learning_shapes, B, self._fits)
        past = self._past(start, B)
        record = self._checked_record(record)
        spikes: dict[str, Tensor | Spikes] = {
            s.name: self._source(s, given.pop(s.name, None), T, B, generator) for s in self.network.sources
        }
        drives, increments = (
            {
                p.name: {
                    d: self._drive(f"{p.name}.{d}", given.pop(f"{p.name}.{d}"), T, B, p.size)
                    for d in getattr(p.neuron, kind)
                    if f"{p.name}.{d}" in given
                }
                for p in self.network.populations
            }
            for kind in ("drives", "inputs")
        )
        if given:
            known = [*spikes, *(f"{p.name}.{d}" for p in self.network.populations for d in (*p.neuron.drives, *p.neuron.inputs))]
            raise ValueError(unknown(next(iter(given)), "input", "network", known))
        draws = self._noise(dict(noise or {}), T, B, generator)

        learnt = self._learnt(start, synapse_seed, generator)
        setting = Setting(self.scheme, self.dt_ms * 1e-3, T, B, self.surrogate, self.detach_reset)
        done: dict[str, RunningPopulation] = {}
        learning: dict[str, Learning] = {}
        for index, block in enumerate(self._blocks(setting, record, drives, draws, start, past)):
            for name, population in block.populations.items():
                for receptor, tensor in increments[name].items():
                    population.add_increments(receptor, tensor)
            learning |= self._learning(block, spikes, past, learnt, record)
            self._advance(
                block, spikes, past, done, learning, progress and (lambda share, i=index: progress((i + share) / len(self.groups)))
            )
            spikes |= {name: population.all_spikes() for name, population in block.populations.items()}
            done |= block.populations
        self.density |= {name: population.fired.density(population.size) for name, population in done.items() if population.fired}
        return Activity(
            {p.name: spikes[p.name] for p in self.network.populations},
            {name: learning[name].all_weights() if name in learning else done[name].all_states() for name in record},
            {p.name: done[p.name].final() for p in self.network.populations},
            NetworkState(
                {name: population.end() for name, population in done.items()},
                self._on_their_way(spikes, past),
                {name: projection.end() for name, projection in learning.items()},
            ),
            {name: projection.values[WEIGHT] for name, projection in learning.items()},
        )

    def _blocks(self, setting: Setting, record, drives, draws, start: NetworkState | None, past: Mapping[str, Tensor]) -> list[Block]:
        """The groups, made ready to run: those that one kernel can run together in one block."""
        blocks: list[Block] = []
        for names in self.groups:
            group = {}
            for name in names:
                self.populations[name].project_()
                group[name] = RunningPopulation(self.populations[name], setting, record.get(name, ()), drives[name], draws[name])
                if start is not None:
                    group[name].resume(start.populations.get(name), past.get(name))
            block = Block([group], self._refusal(group))
            if blocks and not block.refusal and not blocks[-1].refusal and self._flows(blocks[-1], block):
                blocks[-1].groups.append(group)
            else:
                blocks.append(block)
        return blocks

    def _refusal(self, group: Mapping[str, RunningPopulation]) -> str:
        """'' or why no kernel runs this group. Raises ValueError if one was asked for."""
        if self.kernels == "torch":
            return "kernels='torch'"
        if learning := [p for p in self.network.projections if p.rule and p.target in group]:
            reason = f"'{learning[0].name}' learns"
            if self.kernels == "fused":
                raise ValueError(f"no kernel for {', '.join(group)}: {reason}; use kernels='auto'")
            return reason
        inside = self._inside(group)
        reason = fused.refusal(group, self.order, [projection for projection, _, _ in inside])
        refused = cuda.refusal(group, self.order, inside) if self.on_gpu else reason
        if refused and self.kernels == "fused":
            raise ValueError(f"no kernel for {', '.join(group)}: {refused}; use kernels='auto'")
        return reason

    @property
    def on_gpu(self) -> bool:
        """Whether groups take the paths of a GPU (kernels/cuda.py)."""
        return bool(self.like.is_cuda) and self.kernels != "torch"

    def _inside(self, group: Mapping[str, RunningPopulation]) -> list:
        """The projections within a group, each with its source and target."""
        projections = [p for p in self.network.projections if p.source in group and p.target in group]
        return [(self.projections[p.name], p.source, p.target) for p in projections]

    def _flows(self, first: Block, second: Block) -> bool:
        """Whether all that `first` sends to `second` can be sent inside one kernel."""
        between = [p for p in self.network.projections if p.source in first.populations and p.target in second.populations]
        return all(fused.takes_events(self.projections[p.name]) for p in between)

    def _learning(self, block: Block, spikes, past, learnt: Mapping[str, LearningState], record) -> dict[str, Learning]:
        """The projections to a block that learn, made ready to run."""
        found, populations = {}, block.populations
        for p in self.network.projections:
            if not p.rule or p.target not in populations:
                continue
            module, source = self.projections[p.name], populations.get(p.source)
            if source is None:
                given, depth = spikes[p.source], max(module.delays)
                given = dense(given, module.weight) if isinstance(given, Spikes) else given
                source = self._finite(p, torch.cat([fitted(past.get(p.source), depth, given, tuple(given.shape[1:])), given]))
            found[p.name] = Learning(module, source, populations[p.target], learnt[p.name], p.name in record)
            self._finite(p, module.weight)
        return found

    def _advance(
        self, block: Block, spikes, past, done, learning: Mapping[str, Learning], progress: Callable[[float], None] | None
    ) -> None:
        """Run all steps of a block. spikes, done: of sources and of blocks that have run.  past: last spikes of the run before."""
        populations = block.populations
        standing = [p for p in self.network.projections if not p.rule]
        inside = [p for p in standing if p.source in populations and p.target in populations]
        outside = [p for p in standing if p.source not in populations and p.target in populations]
        links = []
        for p in outside:
            module, given = self.projections[p.name], spikes[p.source]
            events = None if block.refusal else fused.events(module, given, done[p.source].fired if p.source in done else None)
            if events is None:
                populations[p.target].add_increments(p.receptor, self._finite(p, arrivals(module, given, past.get(p.source))))
            else:
                self._finite(p, module.weight)
                links.append(fused.Link(module, p.target, events, given if torch.is_tensor(given) else None, past.get(p.source)))
        if not block.refusal:
            for p in inside:
                self._finite(p, self.projections[p.name].weight)
                links.append(fused.Link(self.projections[p.name], p.target, p.source))
            fused.advance(block.groups, self.order, links, self._is_listed, self.checkpoint_steps)
            return
        here = [projection for projection in learning.values() if projection.target in populations.values()]
        if self.on_gpu and not here:
            pairs = self._inside(populations)
            if not cuda.run(populations, self.order, pairs, self.graphs, partial(step_by_step, order=self.order)):
                return
        for p in inside:
            module = self.projections[p.name]
            populations[p.target].recurrent.append(Recurrent(populations[p.source], p.receptor, module.delays, module.transmit_stacked()))
        step_by_step(tuple(populations.values()), self.order, progress, here)

    def _is_listed(self, name: str) -> bool:
        """Whether a projection can take the spikes of a population as events."""
        return any(p.source == name and not isinstance(p.weights, Convolution) for p in self.network.projections)

    def _finite(self, projection: Projection, values: Tensor) -> Tensor:
        # one sum finds a NaN of the weights as well as one of the input
        if not torch.isfinite(values.detach().sum()):
            is_input = torch.isfinite(self.projections[projection.name].weight).all()
            culprit = f"spikes of '{projection.source}'" if is_input else f"weights of '{projection.name}'"
            raise ValueError(f"{culprit} hold NaN or infinite values; repair them first (a learning rate too high can be the cause)")
        return values

    # -- states of an earlier run -------------------------------------------------------------------------

    @cached_property
    def sizes(self) -> dict[str, int]:
        return {p.name: p.size for p in (*self.network.sources, *self.network.populations)}

    def _past(self, start: NetworkState | None, B: int) -> dict[str, Tensor]:
        """Source or population -> the spikes of the steps before the first that are still on their way."""
        if start is None:
            return {}
        return {name: fitted(start.spikes.get(name), depth, self.like, (B, self.sizes[name])) for name, depth in self.depths.items()}

    def _on_their_way(self, spikes: Mapping[str, Tensor | Spikes], past: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same after the last step."""
        found = {}
        for name, depth in self.depths.items():
            given, first = spikes[name], max(spikes[name].shape[0] - depth, 0)
            late = dense(given.during(first, given.shape[0]), self.like) if isinstance(given, Spikes) else given[first:]
            found[name] = (
                late if len(late) == depth else torch.cat([fitted(past.get(name), depth - len(late), late, tuple(late.shape[1:])), late])
            )
        return found

    def _learnt(self, start: NetworkState | None, seed: int | None, generator: torch.Generator | None) -> dict[str, LearningState]:
        """Where each projection that learns starts from."""
        kept = start.learning if start else {}
        new = [(w, p) for w, p in enumerate(self.network.projections) if p.rule and p.name not in kept]
        if seed is None and any(p.rule.draws for _, p in new if p.rule):
            seed = int(torch.randint(1 << 62, (), generator=generator, device=generator.device if generator else "cpu"))
        return {**kept, **{p.name: LearningState(key=int(synapse_stream(seed or 0, w))) for w, p in new}}

    # -- inputs -----------------------------------------------------------------------------------------

    def _extent(self, given: Mapping[str, Tensor | Spikes], steps: int | None, trials: int | None) -> tuple[int, int]:
        for key, value in given.items():
            if not isinstance(value, Tensor | Spikes):
                raise TypeError(f"input '{key}' is a {type(value).__name__}; give a torch tensor (torch.as_tensor), or Spikes")
            shape = tuple(value.shape)
            if not shape:
                raise ValueError(f"input '{key}' is one number; give [T], [T, N] or [T, B, N]")
            if len(shape) == 3 and not shape[1]:
                raise ValueError(f"input '{key}' has no trials, its shape is {shape}; give one at least")
            is_constant = len(shape) == 3 and shape[0] == 1 and "." in key
            if not is_constant and steps not in (None, shape[0]):
                raise ValueError(f"input '{key}' has {shape[0]} steps, but another input or `steps` says {steps}; make them equal")
            steps = steps if is_constant else shape[0]
            if len(shape) == 3 and shape[1] != 1:
                if trials not in (None, shape[1]):
                    raise ValueError(f"input '{key}' has {shape[1]} trials, but another input or `trials` says {trials}; make them equal")
                trials = shape[1]
        if steps is None and given:
            steps = 1
        if not steps:
            raise ValueError("the run has no steps: give an input that lasts, or steps=…")
        return steps, trials or 1

    def _checked_record(self, record: Record | None) -> dict[str, tuple[str, ...]]:
        learning = [p.name for p in self.network.projections if p.rule]
        for name, states in (record or {}).items():
            known = (WEIGHT,) if name in learning else self.network.population(name).neuron.states
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

    def plan(self, start: NetworkState | None = None) -> Plan:
        """Which path each population and projection takes, and why, in a run that starts from `start`; shows itself as a table."""
        from spiketwin.models.engines.torch.plan import plan

        return plan(self, start)

    def extra_repr(self) -> str:
        return f"dt_ms={self.dt_ms}, scheme='{self.scheme}', groups={' -> '.join('{' + ', '.join(g) + '}' for g in self.groups)}"


def step_by_step(
    group: tuple[RunningPopulation, ...],
    order: tuple[str, ...],
    progress: Callable[[float], None] | None = None,
    learning: Sequence[Learning] = (),
) -> None:
    """The schedule: at each step each event in order, each for all populations of the group. learning: projections to them that learn."""
    steps = group[0].setting.steps
    for population in group:
        population.begin()
    for n in range(steps):
        for population in group:
            population.note(n)
        for projection in learning:
            projection.begin_step()
        for event in order:
            if event == "receive":
                for projection in learning:
                    projection.go_on()
                for projection in learning:
                    projection.arrive(n)
            for population in group:
                getattr(population, event)(n)
            if event == "receive":
                for projection in learning:
                    projection.learn()
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
