"""A run of the compiled engine: its arrays, its generated loop, and the threads that share its trials or its neurons."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from threading import Event

import numpy as np

from spiketwin.models.discretisation import derive
from spiketwin.models.engines import base
from spiketwin.models.engines.compiled.cache import load
from spiketwin.models.engines.compiled.meeting import CAN_MEET, edges, new_board, together
from spiketwin.models.engines.compiled.memory import aligned, unshared
from spiketwin.models.engines.compiled.plastic import PlasticSynapses
from spiketwin.models.engines.compiled.source import (
    Cell,
    Wire,
    driver_arguments,
    operations,
    reaching_out,
    source,
    used_names,
)
from spiketwin.models.engines.poisson import line, mark, stream
from spiketwin.models.engines.synapse_draws import synapse_stream
from spiketwin.models.engines.threads import run_parts
from spiketwin.models.network import Convolution, PoissonSource, Population, Projection
from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.recording import Recording
from spiketwin.models.spikes import Spikes
from spiketwin.models.units import unit

CALL_SECONDS = 0.1  # a call into compiled code lasts at most about this long, so that Ctrl-C and progress get through
LIST_SIZE = 1 << 16  # spikes of a population that are collected, at least, before they are copied out
WORTH_MEETING = 10_000  # operations of a step, for each thread: fewer take less time than the meeting after them
DRIVE_HZ, PLASTIC_OPERATIONS = 10, 6  # spikes that a learning synapse is taken to carry, and what one of them takes
OPERATION_S = 1e-9  # what an operation takes at most, roughly
WORTH_WAKING = 1e7  # operations of a run, for each thread; to wake a thread takes a tenth of a millisecond


class Synapses:
    """Synapses of a projection by presynaptic neuron: those of neuron j are start[j] … start[j+1], in the order of their targets.

    weight: in SI [S], or [N_pre, N_post] where kind is 'dense'.  delay: steps, one number or [S].
    kind: 'dense' or 'sparse' where all delays are equal, 'delayed' where they differ.
    Arrays of the projection are used as they are where possible: ten million synapses are not copied in vain.
    """

    def __init__(self, projection: Projection, dt_ms: float, dtype: np.dtype) -> None:
        n_post, n_pre = projection.shape
        self.delay: int | np.ndarray = 0
        if np.ndim(projection.delay_ms) == 0 and not hasattr(projection.delay_ms, "tocsc"):
            self.delay = int(base.delay_steps(projection.delay_ms, dt_ms))
            start, self.post, weight = by_source(projection)
        else:
            pre, self.post, weight, delay_ms = projection.synapses()
            start = np.searchsorted(pre, np.arange(n_pre + 1))
            steps = base.delay_steps(delay_ms, dt_ms)
            self.delay = steps.astype(np.uint32) if len(steps) and np.ptp(steps) else int(steps.max(initial=0))
        self.start, self.post = start.astype(np.uint64), self.post.astype(np.uint32, copy=False)
        self.kind = "delayed" if np.ndim(self.delay) else "dense" if len(weight) == n_post * n_pre else "sparse"
        self.weight = weight.reshape(n_pre, n_post) if self.kind == "dense" else weight
        self.weight = self.weight.astype(dtype, copy=False)

    @property
    def furthest(self) -> int:
        """The longest delay in steps."""
        return int(np.max(self.delay, initial=0))


def by_source(projection: Projection) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """start [N_pre + 1], targets [S] and weights in SI [S] of a projection, ordered by (source, target)."""
    scale, weights = unit(projection.unit or "1")[0], projection.weights
    if isinstance(weights, Convolution):
        weights = weights.to_sparse()
    if not projection.is_sparse and not hasattr(weights, "tocsc"):
        n_post, n_pre = projection.shape
        dense = np.asarray(weights, dtype=float).T.ravel() * scale
        return np.arange(n_pre + 1) * n_post, np.tile(np.arange(n_post, dtype=np.uint32), n_pre), dense
    matrix = weights.tocsc()
    if not matrix.has_sorted_indices:
        matrix = matrix.sorted_indices()
    post = matrix.indices.view(np.uint32) if matrix.indices.dtype == np.int32 else matrix.indices
    return matrix.indptr, post, matrix.data if scale == 1 else matrix.data * scale


def is_straight(start: np.ndarray, post: np.ndarray, targets: int) -> bool:
    """Whether each presynaptic neuron k reaches neuron k alone, of as many targets."""
    return len(post) == len(start) - 1 == targets and bool((start[:-1] == post).all() and (post == np.arange(targets)).all())


def by_trial(spikes: Spikes) -> tuple[np.ndarray, np.ndarray]:
    """Neurons [events] ordered by (trial, step, neuron), and where each (trial, step) begins [B*T + 1].

    Two events of one neuron in one step count once, as in Spikes.dense().
    """
    T, B, N = spikes.shape
    key = (spikes.batch * T + spikes.step) * N + spikes.neuron
    if B > 1:
        key.sort()
    if (twice := key[1:] == key[:-1]).any():
        key = key[np.concatenate(([True], ~twice))]
    return (key % N).astype(np.uint32), np.searchsorted(key, np.arange(B * T + 1) * N)


def stretches(start: np.ndarray, post: np.ndarray, edges: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each part of the targets, where the synapses of each presynaptic neuron that reach it begin and end, [N_pre] each."""
    if len(edges) == 2:
        return [(start[:-1], start[1:])]
    below = [np.concatenate(([np.uint64(0)], np.cumsum(post < edge, dtype=np.uint64))) for edge in edges[1:-1]]
    cuts = [start[:-1], *(start[:-1] + b[start[1:]] - b[start[:-1]] for b in below), start[1:]]
    return [(np.ascontiguousarray(a), np.ascontiguousarray(b)) for a, b in zip(cuts, cuts[1:])]


@dataclass
class Block:
    """Trials first … last - 1, run by one team. done: steps of all its trials together; ids: neurons that fired, per population."""

    first: int
    last: int
    ids: list[list[np.ndarray]]
    done: int = 0


class Program:
    """A run as arrays, and the compiled loop that works on them."""

    def __init__(self, run: base.Run, dtype: np.dtype) -> None:
        self.run, self.dtype = run, dtype
        populations, projections = run.network.populations, run.network.projections
        order = [p.name for p in populations]
        synapses = [None if projection.rule else Synapses(projection, run.dt_ms, dtype) for projection in projections]
        rings: dict[str, dict[str, int]] = {name: {} for name in order}  # receptor -> slots
        for projection, s in zip(projections, synapses, strict=True):
            if s is None:  # a plastic projection has a ring of its own
                continue
            if s.furthest > 0 or projection.receptor in run.network.population(projection.target).neuron.gated:
                slots = rings[projection.target]
                slots[projection.receptor] = max(slots.get(projection.receptor, 1), s.furthest + 1)

        self.drawn: dict[str, int] = {}  # Poisson sources that the loop draws: room for the spikes of a step
        self.shared: dict[str, object] = {}  # read by all threads, or written by each for its own trials
        self.plastic: dict[int, PlasticSynapses] = {}
        self.static = sum(len(s.post) for s in synapses if s)  # synapses
        self.reaching: dict[int, tuple[int, np.ndarray, np.ndarray]] = {}  # sparse projections: target population, start and post
        self.slots = {f"ring{p}_{r}": (n, populations[p].size) for p, name in enumerate(order) for r, n in enumerate(rings[name].values())}
        self.cells = tuple(self._add_population(p, population, tuple(rings[population.name])) for p, population in enumerate(populations))
        self.wires = tuple(self._add_projection(w, projection, s, rings) for w, (projection, s) in enumerate(zip(projections, synapses)))
        self.sizes = [p.size for p in populations]

    def _add_population(self, p: int, population: Population, rings: tuple[str, ...]) -> Cell:
        run, spec = self.run, population.neuron
        T, B, N = run.steps, run.trials, population.size
        parameters, drives = population.parameter_values(), run.drives[population.name]
        step = derive(spec, run.scheme)
        values = {**parameters, **step.constant_values(parameters, run.dt_s), **drives, "dt": np.asarray(run.dt_s)}
        values = {name: np.asarray(value) for name, value in values.items()}
        vectors, signals = (tuple(n for n in used_names(spec, run.scheme) if values[n].ndim == k) for k in (1, 3))
        cell = Cell(spec, run.scheme, vectors, signals, rings)

        initial = population.initial_values()
        kept = run.record.get(population.name, ())
        trials = max((drives[d].shape[1] for d in cell.signals), default=1)
        arrays = {
            "states": aligned(np.stack([np.broadcast_to(initial[s], (B, N)) for s in spec.states], axis=1), self.dtype),
            "scalars": np.array([values[n] for n in cell.scalars]),
            "vectors": aligned(np.array([values[n] for n in cell.vectors]), self.dtype),
            "signals": np.array([np.broadcast_to(drives[d], (T, trials, N)) for d in cell.signals]),
            "noise": run.noise.get(f"{population.name}.xi", np.empty(0)),
            "uniform": run.noise.get(f"{population.name}.rand", np.empty(0)),
            "trace": np.empty((len(kept), T, B, N), self.dtype),
        }
        self.shared |= {f"{name}{p}": np.require(a, self.dtype, "CW") for name, a in arrays.items()}
        self.shared |= {
            f"which{p}": np.array([spec.states.index(s) for s in kept], np.int64),
            f"period{p}": base.refractory_steps(population, run.dt_ms).astype(np.int32),
        }
        return cell

    def _add_projection(self, w: int, projection: Projection, s: Synapses | None, rings: dict[str, dict[str, int]]) -> Wire:
        network = self.run.network
        populations, sources = [p.name for p in network.populations], [q.name for q in network.sources]
        if projection.source in populations:
            origin = ("population", populations.index(projection.source))
        elif projection.source in self.run.spikes:
            origin = ("spikes", sources.index(projection.source))
            if f"events{origin[1]}" not in self.shared:
                self.shared[f"events{origin[1]}"], self.shared[f"offsets{origin[1]}"] = by_trial(self.run.spikes[projection.source])
        else:
            origin = ("poisson", index := sources.index(projection.source))
            source = network.sources[index]
            assert isinstance(source, PoissonSource)
            self.shared[f"ends{index}"] = ends = line(source.rate_hz, source.size, self.run.dt_ms)
            self.shared[f"marks{index}"] = mark(ends)
            self.shared[f"key{index}"] = stream(self.run.seed, index)
            self.drawn[f"drawn{index}"] = source.size
        if projection.rule:
            return self._add_plastic(w, projection, projection.rule, origin)
        assert s
        gated = projection.receptor in network.population(projection.target).neuron.gated
        ring = list(rings[projection.target]).index(projection.receptor) if gated or s.furthest else -1
        self.shared |= {f"{name}{w}": getattr(s, name) for name in ("post", "weight", "delay")}
        target = populations.index(projection.target)
        if s.kind != "dense":
            self.reaching[w] = target, s.start, s.post
        state = network.populations[target].neuron.states.index(projection.receptor)
        return Wire(origin, target, state, ring, s.kind, straight=is_straight(s.start, s.post, network.populations[target].size))

    def _add_plastic(self, w: int, projection: Projection, rule: PlasticityRule, origin: tuple[str, int]) -> Wire:
        run, populations = self.run, self.run.network.populations
        self.plastic[w] = synapses = PlasticSynapses(projection, rule, run.dt_ms, run.trials, self.dtype)
        self.shared |= {f"{name}{w}": value for name, value in synapses.fixed.items()}
        self.shared |= {f"step{w}": run.dt_s, f"draw_key{w}": synapse_stream(run.seed, w), f"draws{w}": rule.draws}
        normalisation, recorded = projection.normalisation, bool(run.record.get(projection.name))
        if regular := bool(normalisation and normalisation.every_ms):
            self.shared |= {f"total{w}": normalisation.total, f"every{w}": max(int(base.delay_steps(normalisation.every_ms, run.dt_ms)), 1)}
        if recorded:
            self.shared[f"weight_trace{w}"] = np.empty((run.steps, *synapses.fixed["weight"].shape), self.dtype)
        target = [p.name for p in populations].index(projection.target)
        self.reaching[w] = target, synapses.fixed["start"], synapses.post
        state = populations[target].neuron.states.index(projection.receptor)
        return Wire(origin, target, state, -1, "plastic", rule, normalised=regular, recorded=recorded)

    @property
    def work(self) -> float:
        """About how many operations a step takes, but for the spikes that pass synapses which do not learn."""
        learning = sum(len(s.post) for s in self.plastic.values()) * DRIVE_HZ * self.run.dt_s * PLASTIC_OPERATIONS
        return sum(size * operations(cell) for size, cell in zip(self.sizes, self.cells)) + learning

    def parts(self, threads: int, steps: int = 1 << 40) -> int:
        """Into how many parts it pays to cut the neurons, each stepped by a thread of its own, for a run of so many steps."""
        work = self.work
        most = min(work / WORTH_MEETING, steps * work / WORTH_WAKING)
        return max(1, min(threads, int(most))) if CAN_MEET else 1

    def execute(self, threads: int, progress: Callable[[float], None] | None = None) -> None:
        """Run all trials on at most `threads` threads: each takes some of the trials, or where they are too few some of the neurons."""
        driver, trials = load(source(self.cells, self.wires)).run, self.run.trials
        parts = self.parts(threads // trials, trials * self.run.steps)
        self.shared |= {f"counts{p}": np.zeros((parts, trials, self.run.steps), np.int32) for p in range(len(self.cells))}
        limits = np.linspace(0, trials, (1 if parts > 1 else min(threads, trials)) + 1).astype(int)
        blocks = [Block(int(a), int(b), [[] for _ in self.cells]) for a, b in zip(limits, limits[1:], strict=False)]
        total, stop = trials * self.run.steps, Event()

        def report() -> None:
            if progress:
                progress(sum(b.done for b in blocks) / total)

        def advance(k: int) -> None:
            try:
                self._advance(Team(self, driver, parts), blocks[k], stop, report)
            except BaseException:
                stop.set()  # after Ctrl-C the other threads end with their current call
                raise

        run_parts(advance, len(blocks))
        self.ids = [np.concatenate([some for block in blocks for some in block.ids[p]]) for p in range(len(self.cells))]

    def _advance(self, team: Team, block: Block, stop: Event, report: Callable[[], None]) -> None:
        steps = self.run.steps
        busy_s = (self.work + self.static * DRIVE_HZ * self.run.dt_s) * OPERATION_S
        budget = max(int(CALL_SECONDS / 4 / busy_s), 1)
        total, position = steps * self.run.trials, (block.first, 0)
        while position[0] < block.last and not stop.is_set():
            started = time.perf_counter()
            position, fired = team.advance(position, block.last, steps, budget)
            for ids, some in zip(block.ids, fired):
                ids.append(some)
            block.done = (position[0] - block.first) * steps + position[1]
            if time.perf_counter() - started < CALL_SECONDS / 4:
                budget = min(4 * budget, total)
            report()
        self.shared |= {f"weight{w}": team.weights(w) for w in self.plastic}

    def recording(self) -> Recording:
        """What execute() left, checked to be finite."""
        run, spikes, states, final = self.run, {}, {}, {}
        for p, population in enumerate(run.network.populations):
            names = population.neuron.states
            final[population.name] = {s: self.shared[f"states{p}"][:, k].copy() for k, s in enumerate(names)}
            base.require_finite(population, final[population.name], run.scheme, run.dt_ms)
            counts = self.shared[f"counts{p}"].sum(axis=0)
            batch = np.repeat(np.arange(run.trials), counts.sum(axis=1))
            step = np.repeat(np.tile(np.arange(run.steps), run.trials), counts.ravel())
            made = Spikes.in_order if run.trials == 1 else Spikes  # of several trials step comes before trial
            spikes[population.name] = made(step, batch, self.ids[p], (run.steps, run.trials, population.size), run.dt_ms)
            if kept := run.record.get(population.name, ()):
                states[population.name] = dict(zip(kept, self.shared[f"trace{p}"], strict=True))
        weights = {}
        for w in self.plastic:
            name = run.network.projections[w].name
            weights[name] = self.shared[f"weight{w}"]
            if run.record.get(name):
                states[name] = {"w": self.shared[f"weight_trace{w}"]}
        return Recording("compiled", run.scheme, run.dt_ms, spikes, states, final, run.seed, weights)


class Team:
    """Threads that run one trial after the other, each its part of the neurons, and the arrays that they write to.

    Each has arrays of its own, of full size but used for its neurons alone: memory that one thread reads ahead of its neurons,
    as processors do, and another writes would cost both more than the step.
    """

    def __init__(self, program: Program, driver: Callable, parts: int) -> None:
        self.program, self.driver, self.parts = program, driver, parts
        self.edges = np.array([edges(size, parts) for size in program.sizes])
        self.board = new_board(len(program.sizes), parts)
        mail = {f"mail{p}": np.empty((2, parts, size if parts > 1 else 0), np.uint32) for p, size in enumerate(program.sizes)}
        self.own = [mail | self._arrays() for _ in range(parts)]
        for w, (target, start, post) in program.reaching.items():
            for own, (begin, end) in zip(self.own, stretches(start, post, self.edges[target])):
                own |= {f"begin{w}": begin, f"end{w}": end}
        self.reach = reaching_out(program.wires)  # of these populations each part lists all that fire, of others its own
        self.names = driver_arguments(program.cells, program.wires)
        self.arguments = [[self.array(n, k) for n in self.names] for k in range(parts)]
        self.cursors, self.fills = np.zeros((parts, 2), np.int64), np.zeros((parts, len(program.sizes)), np.int64)

    def _arrays(self) -> dict[str, np.ndarray]:
        program = self.program
        own = {name: unshared(shape, program.dtype) for name, shape in program.slots.items()}
        own |= {name: np.empty(size, np.uint32) for name, size in program.drawn.items()}
        for p, size in enumerate(program.sizes):
            fired = unshared(((size + 7) // 8 * 8,), np.dtype(np.uint8))
            own |= {f"fired{p}": fired, f"words{p}": fired.view(np.uint64), f"hold{p}": unshared((size,), np.dtype(np.int32))}
            own[f"ids{p}"] = np.empty(LIST_SIZE + 3 * size + 8, np.uint32)  # what is collected takes some room beyond it
            if self.parts > 1:
                states = program.shared[f"states{p}"]
                own[f"states{p}"] = unshared(states.shape, states.dtype)
        for w, plastic in program.plastic.items():
            own |= {f"{name}{w}": array for name, array in plastic.moving().items()}
            if self.parts > 1:
                own[f"weight{w}"] = aligned(program.shared[f"weight{w}"].copy(), program.dtype)
        return own

    def array(self, name: str, part: int = 0):
        """What the driver of a part takes under this name; None where that comes with the run."""
        return self.own[part].get(name, self.program.shared.get(name))

    def gathered(self, name: str, population: int) -> np.ndarray:
        """An array [..., neurons of a population], each thread's neurons from its own."""
        whole = self.own[0][name].copy()
        for own, low, high in zip(self.own[1:], self.edges[population, 1:], self.edges[population, 2:]):
            whole[..., low:high] = own[name][..., low:high]
        return whole[..., : self.edges[population, -1]]

    def weights(self, w: int) -> np.ndarray:
        """Weights [trials, synapses] of a plastic projection, each as the thread has it whose neuron it reaches."""
        target, post = self.program.wires[w].target, self.program.plastic[w].post
        whole = np.asarray(self.array(f"weight{w}"))
        for part in range(1, self.parts):
            its = post >= self.edges[target, part]
            whole = np.where(its, self.array(f"weight{w}", part), whole)
        return whole

    def advance(self, position: tuple[int, int], last: int, steps: int, budget: int, origin: int | None = None, **given: np.ndarray):
        """From (trial, step) on by at most `budget` steps: the new (trial, step), and the neurons that fired, per population.

        origin: how many steps the one trial has behind it when step 0 begins; without it all trials begin with nothing behind them.

        After Ctrl-C the position is in self.position, and what fired before is lost to the caller."""
        self.fills[:], self.cursors[:] = 0, position

        def task(k: int) -> Callable[[], None]:
            arguments = [given.get(n, a) for n, a in zip(self.names, self.arguments[k])]
            past = (origin is None, origin or 0)
            return lambda: self.driver(self.cursors[k], last, steps, budget, self.fills[k], *past, k, self.edges, self.board, *arguments)

        if self.parts == 1:
            task(0)()
        else:
            names = [f"states{p}" for p in range(len(self.program.sizes))]
            for own, name in product(self.own, names):
                own[name][...] = self.program.shared[name]
            try:
                together([task(k) for k in range(self.parts)], lambda: self.position != tuple(position))
            finally:
                for p, name in enumerate(names):
                    self.program.shared[name][...] = self.gathered(name, p)
        return self.position, [self._fired(p, position, steps, given) for p in range(len(self.program.sizes))]

    def _fired(self, p: int, begin: tuple[int, int], steps: int, given: Mapping[str, np.ndarray]) -> np.ndarray:
        """The neurons of population p that fired since `begin`, in order of steps."""
        lists = [own[f"ids{p}"][:count] for own, count in zip(self.own, self.fills[:, p])]
        if p in self.reach or not any(map(len, lists[1:])):
            return lists[0].copy()
        window = slice(*(trial * steps + step for trial, step in (begin, self.position)))
        counts = np.asarray((self.program.shared | given)[f"counts{p}"])
        when = [np.repeat(np.arange(window.stop - window.start), some.reshape(-1)[window]) for some in counts]
        return np.concatenate(lists)[np.argsort(np.concatenate(when), kind="stable")]

    @property
    def position(self) -> tuple[int, int]:
        return int(self.cursors[0, 0]), int(self.cursors[0, 1])
