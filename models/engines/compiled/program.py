"""A run of the compiled engine: its arrays, its generated loop, and the threads that share its trials."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

import numpy as np

from spiketwin.models.discretisation import derive
from spiketwin.models.engines import base
from spiketwin.models.engines.compiled.cache import load
from spiketwin.models.engines.compiled.plastic import PlasticSynapses
from spiketwin.models.engines.compiled.source import (
    Cell,
    Wire,
    driver_arguments,
    source,
    used_names,
)
from spiketwin.models.engines.poisson import line, stream
from spiketwin.models.engines.threads import run_parts
from spiketwin.models.network import Convolution, PoissonSource, Population, Projection
from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.recording import Recording
from spiketwin.models.spikes import Spikes
from spiketwin.models.units import unit

CALL_SECONDS = 0.1  # a call into compiled code lasts at most about this long, so that Ctrl-C and progress get through
LIST_SIZE = 1 << 16  # spikes of a population that are collected, at least, before they are copied out


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


def aligned(array: np.ndarray, dtype) -> np.ndarray:
    """A copy that begins at a multiple of 64 bytes: a vector that straddles two cache lines costs twice."""
    array = np.asarray(array, dtype)
    room = np.empty(array.nbytes + 64, np.uint8)
    first = -room.ctypes.data % 64
    out = room[first : first + array.nbytes].view(dtype).reshape(array.shape)
    out[...] = array
    return out


@dataclass
class Block:
    """Trials first … last - 1, run by one thread. done: steps of all its trials together; ids: neurons that fired, per population."""

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
            f"counts{p}": np.zeros((B, T), np.int32),
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
            self.shared[f"ends{index}"] = line(source.rate_hz, source.size, self.run.dt_ms)
            self.shared[f"key{index}"] = stream(self.run.seed, index)
            self.drawn[f"drawn{index}"] = source.size
        if projection.rule:
            return self._add_plastic(w, projection, projection.rule, origin)
        assert s
        gated = projection.receptor in network.population(projection.target).neuron.gated
        ring = list(rings[projection.target]).index(projection.receptor) if gated or s.furthest else -1
        self.shared |= {f"{name}{w}": getattr(s, name) for name in ("start", "post", "weight", "delay")}
        target = populations.index(projection.target)
        return Wire(origin, target, network.populations[target].neuron.states.index(projection.receptor), ring, s.kind)

    def _add_plastic(self, w: int, projection: Projection, rule: PlasticityRule, origin: tuple[str, int]) -> Wire:
        run, populations = self.run, self.run.network.populations
        self.plastic[w] = synapses = PlasticSynapses(projection, rule, run.dt_ms, run.trials, self.dtype)
        self.shared |= {f"{name}{w}": value for name, value in synapses.fixed.items()}
        normalisation, recorded = projection.normalisation, bool(run.record.get(projection.name))
        if regular := bool(normalisation and normalisation.every_ms):
            self.shared |= {f"total{w}": normalisation.total, f"every{w}": max(int(base.delay_steps(normalisation.every_ms, run.dt_ms)), 1)}
        if recorded:
            self.shared[f"weight_trace{w}"] = np.empty((run.steps, *synapses.fixed["weight"].shape), self.dtype)
        target = [p.name for p in populations].index(projection.target)
        state = populations[target].neuron.states.index(projection.receptor)
        return Wire(origin, target, state, -1, "plastic", rule, regular, recorded)

    def execute(self, threads: int, progress: Callable[[float], None] | None = None, stop: Event | None = None) -> None:
        """Run all trials, in at most `threads` blocks side by side. stop: ends the run early once it is set."""
        driver = load(source(self.cells, self.wires)).run
        edges = np.linspace(0, self.run.trials, min(threads, self.run.trials) + 1).astype(int)
        blocks = [Block(int(a), int(b), [[] for _ in self.cells]) for a, b in zip(edges, edges[1:], strict=False)]
        total, stop = self.run.trials * self.run.steps, stop or Event()

        def report() -> None:
            if progress:
                progress(sum(b.done for b in blocks) / total)

        def advance(k: int) -> None:
            try:
                self._advance(driver, blocks[k], stop, report)
            except BaseException:
                stop.set()  # after Ctrl-C the other threads end with their current call
                raise

        run_parts(advance, len(blocks))
        self.ids = [np.concatenate([part for block in blocks for part in block.ids[p]]) for p in range(len(self.cells))]

    def _advance(self, driver: Callable, block: Block, stop: Event, report: Callable[[], None]) -> None:
        own = self.workspace()
        arguments = [own[n] if n in own else self.shared[n] for n in driver_arguments(self.cells, self.wires)]
        cursor, fill = np.array([block.first, 0]), np.zeros(len(self.cells), np.int64)
        budget, steps = 256, self.run.steps
        total = steps * self.run.trials
        while cursor[0] < block.last and not stop.is_set():
            started = time.perf_counter()
            driver(cursor, block.last, steps, budget, fill, 0, *arguments)
            for p, count in enumerate(fill):
                block.ids[p].append(own[f"ids{p}"][:count].copy())
            fill[:] = 0
            block.done = int((cursor[0] - block.first) * steps + cursor[1])
            if time.perf_counter() - started < CALL_SECONDS / 4:
                budget = min(4 * budget, total)
            report()

    def workspace(self) -> dict[str, np.ndarray]:
        """Arrays that one thread uses for one trial after the other."""
        own = {name: aligned(np.zeros(shape), self.dtype) for name, shape in self.slots.items()}
        own |= {name: np.empty(size, np.uint32) for name, size in self.drawn.items()}
        for p, size in enumerate(self.sizes):
            fired = aligned(np.zeros((size + 7) // 8 * 8), np.uint8)
            own |= {f"fired{p}": fired, f"words{p}": fired.view(np.uint64), f"hold{p}": aligned(np.zeros(size), np.int32)}
            own[f"ids{p}"] = np.empty(LIST_SIZE + size + 8, np.uint32)
        for w, plastic in self.plastic.items():
            own |= {f"{name}{w}": array for name, array in plastic.moving().items()}
        return own

    def recording(self) -> Recording:
        """What execute() left, checked to be finite."""
        run, spikes, states, final = self.run, {}, {}, {}
        for p, population in enumerate(run.network.populations):
            names = population.neuron.states
            final[population.name] = {s: self.shared[f"states{p}"][:, k].copy() for k, s in enumerate(names)}
            base.require_finite(population, final[population.name], run.scheme, run.dt_ms)
            cell = np.repeat(np.arange(run.trials * run.steps), self.shared[f"counts{p}"].ravel())
            batch, step = np.divmod(cell, run.steps)
            spikes[population.name] = Spikes(step, batch, self.ids[p], (run.steps, run.trials, population.size), run.dt_ms)
            if kept := run.record.get(population.name, ()):
                states[population.name] = dict(zip(kept, self.shared[f"trace{p}"], strict=True))
        weights = {}
        for w in self.plastic:
            name = run.network.projections[w].name
            weights[name] = self.shared[f"weight{w}"]
            if run.record.get(name):
                states[name] = {"w": self.shared[f"weight_trace{w}"]}
        return Recording("compiled", run.scheme, run.dt_ms, spikes, states, final, run.seed, weights)
