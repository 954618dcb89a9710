"""A network that goes on: stimulus after stimulus to the same weights, traces and thresholds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spiketwin.models.engines import base
from spiketwin.models.engines.compiled.cache import load
from spiketwin.models.engines.compiled.kernels import PAGE, POST, SYNAPSE, WITHIN, forget_now, normalise_now, replace_weights
from spiketwin.models.engines.compiled.meeting import together
from spiketwin.models.engines.compiled.plastic import BY_TARGET, PAST, TAKES
from spiketwin.models.engines.compiled.program import CALL_SECONDS, Program, Team, by_trial
from spiketwin.models.engines.compiled.source import names_in, source, structure
from spiketwin.models.engines.poisson import line, stream, stretch
from spiketwin.models.engines.synapse_draws import synapse_stream
from spiketwin.models.network import Network, PoissonSource, Projection
from spiketwin.models.recording import Record, Recording
from spiketwin.models.spec import unknown
from spiketwin.models.spikes import Spikes, timestep

MOST_STEPS = 1 << 12  # of one call into compiled code


class Session:
    """One network in the compiled engine whose time goes on from run to run. Made by CompiledEngine.start().

    All that a step leaves to the next is kept: states, refractory periods, spikes on their way, traces, weights.
    Runs of 350 and 150 ms are one run of 500 ms, bit for bit. After Ctrl-C the session stands at the last step that was done.
    """

    def __init__(self, network: Network, *, dt_ms: float, scheme: str, seed: int, dtype: np.dtype, threads: int = 1) -> None:
        for name in (f"{p.name}.{d}" for p in network.populations for d, v in p.drive_values().items() if v.ndim > 1):
            raise ValueError(f"drive '{name}' varies in time; a session takes constant drives, and spikes or rates as inputs")
        silent = {s.name: Spikes([], [], [], (1, 1, s.size), dt_ms) for s in network.sources}
        run = base.prepare(network, silent, dt_ms=dt_ms, scheme=scheme, duration_ms=dt_ms, seed=seed)
        self.network, self.dt_ms, self.scheme, self.seed = network, dt_ms, scheme, seed
        self._program = Program(run, dtype)
        cells, wires = self._program.cells, self._program.wires
        self._structure = structure(cells, wires)
        self._team = Team(self._program, load(source(cells, wires)).run, self._program.parts(threads))
        for w in self._program.plastic:
            for part in range(self._team.parts):
                forget_now(*self._bounds(w, part), *self._arrays(w, TAKES["forget"], part))
        self._seed(seed)
        self._step, self._runs, self._budget = 0, 0, MOST_STEPS

    def __repr__(self) -> str:
        return f"Session({', '.join(p.name for p in self.network.populations)}; at {self.time_ms:g} ms after {self._runs} runs)"

    @property
    def time_ms(self) -> float:
        """How long the network has run."""
        return self._step * self.dt_ms

    def run(
        self,
        inputs: Mapping[str, Spikes | np.ndarray | float] | None = None,
        *,
        duration_ms: float,
        input_ms: float | None = None,
        record: Record | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Recording:
        """Go on for `duration_ms`.

        inputs: source -> Spikes [T, 1, size], T the steps of the input, of the whole run beside a series; or rates in Hz (one, or [size]), from which Poisson trains are drawn. What is
        not given is silent, a PoissonSource fires at its own rate. Rates [K, size] are a series of K stimuli, each of which has a
        K-th of the run: one call for many stimuli costs less than many calls, and does the same bit for bit; weights that are to be
        scaled before each of them need Normalisation(…, every_ms). input_ms: how long inputs last, as a stimulus before a rest,
        in a series each; all of the run by default. record: as in Engine.run, populations only.
        The recording starts at step 0 of this run; weights are read from the session.
        """
        steps = int(timestep(duration_ms, self.dt_ms))
        if not steps >= 1:
            raise ValueError(f"the run has {steps} steps of {self.dt_ms} ms; lengthen duration_ms = {duration_ms}")
        stimuli = _series(inputs or {})
        if steps % stimuli:
            raise ValueError(_uneven(steps, self.dt_ms, stimuli, duration_ms))
        each = steps // stimuli
        shown = each if input_ms is None else int(timestep(input_ms, self.dt_ms))
        if not 1 <= shown <= each:
            raise ValueError(f"input_ms = {input_ms} is {shown} steps of {self.dt_ms} ms; give 1 … {each}, the steps of a stimulus")
        if self._step + steps >= 1 << 31:
            raise ValueError(
                f"the session has run for {self.time_ms:g} ms, 2**31 steps are all it can count; start a new one with its weights"
            )
        arrays: dict[str, Any] = dict(self._chance)
        for s, (events, offsets) in enumerate(self._events(inputs or {}, steps, shown, stimuli)):
            arrays |= {f"events{s}": events, f"offsets{s}": offsets}
        for p, population in enumerate(self.network.populations):
            kept = (record or {}).get(population.name, ())
            if strange := [state for state in kept if state not in population.neuron.states]:
                raise ValueError(unknown(strange[0], "state to record", population.name, population.neuron.states))
            arrays[f"counts{p}"] = np.zeros((self._team.parts, 1, steps), np.int32)
            arrays[f"which{p}"] = np.array([population.neuron.states.index(state) for state in kept], np.int64)
            arrays[f"trace{p}"] = np.empty((len(kept), steps, 1, population.size), self._program.dtype)
            for name in ("noise", "uniform"):
                if f"{name}{p}" in self._team.names:
                    rng = np.random.default_rng([self.seed, 2, p, self._runs])
                    drawn = (rng.standard_normal if name == "noise" else rng.random)((steps, 1, population.size))
                    arrays[f"{name}{p}"] = drawn.astype(self._program.dtype)
        if strange := [name for name in record or {} if name not in [p.name for p in self.network.populations]]:
            raise ValueError(unknown(strange[0], "population to record", "session", [p.name for p in self.network.populations]))
        return self._recording(arrays, self._advance(arrays, steps, progress), steps, record or {})

    def draw(self, inputs: Mapping[str, Spikes | np.ndarray | float], *, duration_ms: float) -> dict[str, Spikes]:
        """The spikes that run(inputs, duration_ms=…) would send now, for another engine or a look at them."""
        steps = int(timestep(duration_ms, self.dt_ms))
        drawn, stimuli = {}, _series(inputs)
        if steps % stimuli:
            raise ValueError(_uneven(steps, self.dt_ms, stimuli, duration_ms))
        for q, (events, offsets) in zip(self.network.sources, self._events(inputs, steps, steps // stimuli, stimuli)):
            step = np.repeat(np.arange(steps), np.diff(offsets))
            drawn[q.name] = Spikes(step, np.zeros_like(step), events, (steps, 1, q.size), self.dt_ms)
        return drawn

    def normalise(self, name: str = "") -> None:
        """Scale the weights of plastic projections, of one or of all that have a normalisation. Unchanged neurons cost nothing."""
        if name and not self._projection(name)[1].normalisation:
            raise ValueError(f"projection '{name}' has no normalisation; declare Projection(…, normalisation=Normalisation(total))")
        for w in self._program.plastic:
            projection = self.network.projections[w]
            if projection.normalisation and name in ("", projection.name):
                for part in range(self._team.parts):
                    bounds, arrays = self._bounds(w, part), self._arrays(w, TAKES["normalise"], part)
                    normalise_now(self._step, projection.normalisation.total, *bounds, *arrays)

    def weights(self, name: str):
        """The weights of a plastic projection now, [N_post, N_pre] dense or sparse as declared, in its unit; a copy."""
        w, projection = self._projection(name)
        return projection.matrix(self._team.weights(w)[0].copy())

    def total(self, name: str, neurons: np.ndarray | None = None) -> np.ndarray:
        """The sum of the weights that reach each target of a plastic projection, or each of `neurons`, in its unit; zero for none."""
        w, _ = self._projection(name)
        start, incoming = self._arrays(w, ("in_start", "incoming"))
        weight = [self._team.array(f"weight{w}", part)[0] for part in range(self._team.parts)]
        neurons = np.arange(len(start) - 1) if neurons is None else np.asarray(neurons, int)
        part = np.searchsorted(self._team.edges[self._program.wires[w].target, 1:-1], neurons, side="right")
        sums = [weight[k][incoming[start[n] : start[n + 1], SYNAPSE]].sum(dtype=float) for n, k in zip(neurons, part)]
        return np.array(sums)

    def set_weights(self, name: str, weights) -> None:
        """Replace the weights of a plastic projection; of the declared form and synapses, within its rule's bounds."""
        w, projection = self._projection(name)
        given = Projection(
            projection.source,
            projection.target,
            weights,
            projection.receptor,
            projection.unit,
            projection.delay_ms,
            name=name,
            rule=projection.rule,
        )
        (pre, post, *_), (pre_new, post_new, *_) = projection.synapses(), given.synapses()
        if given.shape != projection.shape or not (np.array_equal(pre, pre_new) and np.array_equal(post, post_new)):
            raise ValueError(f"the weights given for '{name}' have other synapses than the projection; keep its shape and sparsity")
        values = given.synapse_values().astype(self._program.dtype)
        for part in range(self._team.parts):
            replace_weights(self._step, values, *self._bounds(w, part), *self._arrays(w, TAKES["replace"], part))

    def set_parameters(self, name: str, **values: float) -> None:
        """From now on the rule of a plastic projection has these parameters, in their declared units, such as a learning rate that falls.

        Saving keeps the weights, not these: set them again after load(). Raises ValueError for a parameter that the rule lacks, one
        out of its bounds, and for those of the traces or of the weights' bounds, which stay as they are.
        """
        w, projection = self._projection(name)
        rule, now = projection.rule, self._program.shared[f"constants{w}"]
        assert rule
        traces = (rule.pre_traces, rule.post_traces, rule.synapse_states)
        staying = set().union(*map(names_in, (*traces, *rule.bounds)))
        for parameter, value in values.items():
            if parameter not in rule.parameters:
                raise ValueError(unknown(parameter, "parameter", rule.name, rule.parameters))
            if parameter in staying:
                raise ValueError(f"'{parameter}' of '{rule.name}' is part of its traces or bounds, which a session keeps; start a new one")
            now[list(rule.parameters).index(parameter)] = rule.parameters[parameter].in_si(parameter, value)

    def state(self, population: str, name: str) -> np.ndarray:
        """A state of a population now [size], in SI; a view: writing to it sets the state."""
        names = self.network.population(population).neuron.states
        if name not in names:
            raise ValueError(unknown(name, "state", population, names))
        p = [q.name for q in self.network.populations].index(population)
        return self._program.shared[f"states{p}"][0, names.index(name)]

    def save(self, path: str | Path, **beside: np.ndarray) -> Path:
        """All of the session as an .npz, all or nothing; load() goes on from there bit for bit.

        beside: what belongs to this moment besides, kept in the same file under the names 'beside/…' for np.load().
        """
        path = Path(path)
        partial = path.with_name(f".{path.name}.{os.getpid()}.npz")
        try:
            np.savez(partial, **self._snapshot(), **{f"beside/{name}": array for name, array in beside.items()})
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        return path

    def load(self, path: str | Path) -> Session:
        """Go on from a saved session of the same network. Raises ValueError when the file is of another one."""
        with np.load(path) as saved:
            if str(saved["structure"]) != self._structure or float(saved["dt_ms"]) != self.dt_ms:
                raise ValueError(f"{path} holds a session of another network, scheme or dt; start the network it was saved from")
            for name, array in self._moving().items():
                if name not in saved:
                    raise ValueError(f"{path} was saved by another version of spiketwin, without '{name}'; run that session anew")
                if saved[name].shape != array.shape:
                    raise ValueError(
                        f"'{name}' has shape {saved[name].shape} in {path}, but {array.shape} here; the networks differ in size"
                    )
                for part in range(self._team.parts):
                    self._team.array(name, part)[..., : array.shape[-1]] = saved[name]  # a row may be longer than it has neurons
                if name.startswith("states"):
                    self._program.shared[name][...] = saved[name]
            for w in self._program.plastic:
                self._restore_lists(w, saved[f"due{w}"])
            self._step, self._runs, self.seed = (int(saved[n]) for n in ("step", "runs", "seed"))
        self._seed(self.seed)
        return self

    # -- inside --

    def _seed(self, seed: int) -> None:
        self._keys = [stream(seed, s) for s in range(len(self.network.sources))]
        self._chance = {f"draw_key{w}": synapse_stream(seed, w) for w in self._program.plastic}

    def _projection(self, name: str) -> tuple[int, Projection]:
        known = {self.network.projections[w].name: w for w in self._program.plastic}
        if name not in known:
            raise ValueError(unknown(name, "plastic projection", "session", known))
        return known[name], self.network.projections[known[name]]

    def _arrays(self, w: int, names: tuple[str, ...], part: int = 0) -> list:
        return [self._team.array(f"{n}{w}", part) for n in names]

    def _bounds(self, w: int, part: int) -> np.ndarray:
        """First of a part's neurons that a projection reaches, and the one after the last."""
        return self._team.edges[self._program.wires[w].target, part : part + 2]

    def _moving(self) -> dict[str, np.ndarray]:
        """Every array that a step changes and a later one reads, whatever the number of threads; lists are made anew from these."""
        team, plastic = self._team, self._program.plastic
        kept: dict[str, np.ndarray] = {f"states{p}": np.asarray(team.program.shared[f"states{p}"]) for p in range(len(team.edges))}
        kept |= {name: team.gathered(name, int(name[4:].split("_")[0])) for name in self._program.slots}
        kept |= {f"hold{p}": team.gathered(f"hold{p}", p) for p in range(len(team.edges))}
        for w in plastic:
            kept[f"weight{w}"] = team.weights(w)
            kept |= {f"{n}{w}": np.asarray(team.array(f"{n}{w}")) for n in ("memory", "touched") if self.network.projections[w].rule.memory}
            kept |= {f"{n}{w}": team.gathered(f"{n}{w}", self._program.wires[w].target) for n in BY_TARGET}
            kept |= {f"{n}{w}": np.asarray(team.array(f"{n}{w}")) for n in PAST}  # the same for every thread
        return kept

    def _snapshot(self) -> dict:
        numbers = {"step": self._step, "runs": self._runs, "seed": self.seed, "dt_ms": self.dt_ms, "structure": self._structure}
        due = {}
        for w in self._program.plastic:
            listed = [_listed(*self._arrays(w, ("due", "due_n"), part)) for part in range(self._team.parts)]
            due[f"due{w}"] = np.concatenate(listed, axis=1)
        return {**self._moving(), **due, **numbers}

    def _restore_lists(self, w: int, due: np.ndarray) -> None:
        """Of each thread: which synapses are due, which neurons are hot and warm."""
        (incoming,) = self._arrays(w, ("incoming",))
        for part in range(self._team.parts):
            low, high = self._bounds(w, part)
            lists, counts, *warmth = self._arrays(w, ("due", "due_n", "is_hot", "hot", "hot_n", "warm", "warm_list", "warm_n"), part)
            target = incoming[due[1], POST]
            slot, synapse = due[:, (low <= target) & (target < high)]
            counts[:] = np.bincount(slot, minlength=len(counts))
            for k in np.flatnonzero(counts):
                lists[_places(counts[k], k)] = synapse[slot == k]
            for flags, listed, count in (warmth[:3], warmth[3:]):
                found = np.flatnonzero(flags[low:high]) + int(low)
                listed[: len(found)], count[0] = found, len(found)

    def _events(
        self, inputs: Mapping[str, Spikes | np.ndarray | float], steps: int, shown: int, stimuli: int
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each source: neurons by (step, neuron), and where each step begins. Of given ones all lie in the first `shown` of each stimulus' steps."""
        sources = self.network.sources
        if strange := [name for name in inputs if name not in [s.name for s in sources]]:
            raise ValueError(unknown(strange[0], "source", "session", [s.name for s in sources]))
        made = []
        for s, q in enumerate(sources):
            given = inputs.get(q.name, q.rate_hz if isinstance(q, PoissonSource) else None)
            lasting = shown if q.name in inputs else steps
            if given is None:
                made.append((np.empty(0, np.uint32), np.zeros(steps + 1, np.int64)))
                continue
            if isinstance(given, Spikes):
                given = base._check_spikes(given, q.name, (lasting if stimuli == 1 else steps, 1, q.size), self.dt_ms)
                made.append(_silent_after(*by_trial(given), steps))
                continue
            rate = np.asarray(given, dtype=float)
            if rate.shape not in ((), (q.size,), (stimuli, q.size)) or not rate.min() >= 0 or not rate.max() < np.inf:
                raise ValueError(
                    f"rates of '{q.name}' must be finite, not negative, and one value, {q.size}, or {q.size} for each stimulus, got shape {rate.shape}: {given}"
                )
            ends = line(rate, q.size, self.dt_ms)
            if q.name in inputs:
                ends = np.broadcast_to(ends, (stimuli, q.size))
            made.append(self._draw(np.atleast_2d(ends), self._keys[s], lasting, steps))
        return made

    def _draw(self, ends: np.ndarray, key: np.uint64, shown: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """stretch(), shared out over the threads."""
        each, edges = steps // len(ends), np.linspace(0, len(ends), min(self._team.parts, len(ends)) + 1).astype(int)
        drawn: dict[int, tuple[np.ndarray, np.ndarray]] = {}

        def task(k: int) -> Callable[[], None]:
            def draw() -> None:
                drawn[k] = stretch(ends[edges[k] : edges[k + 1]], key, self._step + edges[k] * each, shown, each)

            return draw

        together([task(k) for k in range(len(edges) - 1)], lambda: 0 in drawn)
        events, offsets = zip(*(drawn[k] for k in range(len(drawn))))
        before = np.cumsum([0, *map(len, events)])
        return np.concatenate(events), np.concatenate([[0], *(some[1:] + n for some, n in zip(offsets, before))])

    def _advance(self, arrays: Mapping[str, np.ndarray], steps: int, progress: Callable[[float], None] | None) -> list[list[np.ndarray]]:
        """Run the loop; the neurons that fired, per population, in order."""
        position, origin = (0, 0), self._step
        ids: list[list[np.ndarray]] = [[] for _ in self.network.populations]
        try:
            while position[0] < 1:
                started = time.perf_counter()
                position, fired = self._team.advance(position, 1, steps, self._budget, origin, **arrays)
                for some, now in zip(ids, fired):
                    some.append(now)
                spent = time.perf_counter() - started
                # a call may be long because others used the processor: what was cut for it grows again
                if spent > CALL_SECONDS:
                    self._budget = max(self._budget // 4, 1)
                elif spent < CALL_SECONDS / 4:
                    self._budget = min(4 * self._budget, MOST_STEPS)
                if progress:
                    progress(float(position[0] or position[1] / steps))
        finally:
            trial, step = self._team.position
            self._step = origin + trial * steps + step
            self._runs += 1
        return ids

    def _recording(self, arrays: Mapping[str, np.ndarray], ids: list[list[np.ndarray]], steps: int, record: Record) -> Recording:
        spikes, states, final = {}, {}, {}
        for p, population in enumerate(self.network.populations):
            name, values = population.name, self._program.shared[f"states{p}"]
            final[name] = {s: values[:, k].copy() for k, s in enumerate(population.neuron.states)}
            base.require_finite(population, final[name], self.scheme, self.dt_ms)
            step = np.repeat(np.arange(steps), arrays[f"counts{p}"].sum(axis=(0, 1)))
            neurons = ids[p][0] if len(ids[p]) == 1 else np.concatenate(ids[p])
            spikes[name] = Spikes.in_order(step, np.zeros_like(step), neurons, (steps, 1, population.size), self.dt_ms)
            if name in record:
                states[name] = dict(zip(record[name], arrays[f"trace{p}"], strict=True))
        return Recording("compiled", self.scheme, self.dt_ms, spikes, states, final, self.seed)


def _series(inputs: Mapping[str, Spikes | np.ndarray | float]) -> int:
    """How many stimuli the rates among the inputs are a series of."""
    lengths = {name: len(given) for name, given in inputs.items() if not isinstance(given, Spikes) and np.ndim(given) == 2}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise ValueError(f"series of rates must have as many stimuli for each source, at least one, but they have {lengths}")
    return next(iter(lengths.values()), 1)


def _uneven(steps: int, dt_ms: float, stimuli: int, duration_ms: float) -> str:
    return f"the run has {steps} steps of {dt_ms} ms, no multiple of the {stimuli} stimuli; change duration_ms = {duration_ms}"


def _silent_after(events: np.ndarray, offsets: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Events of a run that goes on without any for `steps` in all."""
    return events, np.concatenate([offsets, np.full(steps + 1 - len(offsets), offsets[-1])])


def _listed(due: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Slot and synapse [2, K] of all that is due, in order within each slot."""
    slots = np.repeat(np.arange(len(count)), count)
    return np.stack([slots, np.concatenate([due[_places(n, k)] for k, n in enumerate(count)])]).astype(np.int64)


def _places(count: int, slot: int) -> tuple[np.ndarray, int, np.ndarray]:
    """Where the first `count` synapses that are due in a slot stand in `due`."""
    k = np.arange(count)
    return k >> PAGE, slot, k & WITHIN
