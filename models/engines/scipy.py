"""The adaptive, grid-free truth: scipy's integrators between events, for small networks.

Reads the declared equations directly and shares no code with the derived steps. Between events (a threshold
crossed, a spike that arrives, the end of a refractory period, a drive that changes) the whole network is one
smooth ODE, integrated with a tolerance near machine precision; events are located on the dense output.

What `dt_ms` still means here: an input spike labelled n takes effect at (n+1)·dt, then its delay; a drive holds
its value for a step; states are sampled at n·dt. Everything in between is continuous: a spike at t leaves its
neuron refractory until t + tau_ref and reaches its targets at t + delay.
"""

from __future__ import annotations

import ast
import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count

import numpy as np
import scipy.integrate
from scipy.optimize import brentq
from scipy.special import exprel

from spiketwin.models.engines.base import Inputs, Run, plasticity_reasons, prepare, require_finite, require_supported
from spiketwin.models.network import Network, Population
from spiketwin.models.recording import Record, Recording
from spiketwin.models.spec import NeuronSpec
from spiketwin.models.spikes import Spikes, timestep
from spiketwin.models.units import UNITS, identifiers

METHODS = {"DOP853": scipy.integrate.DOP853, "Radau": scipy.integrate.Radau, "LSODA": scipy.integrate.LSODA}
FUNCTIONS = {name: getattr(np, name) for name in ("exp", "log", "log10", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arctan")}
FUNCTIONS |= {name: getattr(np, name) for name in ("expm1", "log1p", "abs", "clip", "floor", "ceil", "minimum", "maximum")}
FUNCTIONS |= {"exprel": exprel, "int": np.asarray}
# below these sizes (SI) a state's error is counted absolutely, not relatively
SMALL = {"volt": 1e-3, "amp": 1e-12, "siemens": 1e-12}
SCAN = 6  # points of each integrator step at which thresholds are looked at
CASCADE = 1000


@dataclass(frozen=True)
class ScipyEngine:
    """method: 'DOP853', or 'Radau' and 'LSODA' for stiff models.  rtol: relative tolerance of a step.

    A crossing that rises above threshold and falls back within a sixth of an integrator step is missed.
    """

    method: str = "DOP853"
    rtol: float = 1e-11
    max_neurons: int = 64
    name: str = "scipy"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method = '{self.method}' is not one of {', '.join(METHODS)}")

    def unsupported(self, network: Network, scheme: str = "adaptive") -> list[str]:
        reasons = plasticity_reasons(network, "the adaptive solution")
        for spec in {p.neuron.name: p.neuron for p in network.populations}.values():
            if spec.every_step:
                reasons.append(f"'{spec.name}' does something at every step, and an adaptive solution has none; use another engine")
            if spec.is_noisy or spec.has_random_threshold:
                reasons.append(
                    f"'{spec.name}' is stochastic, and an adaptive solution has no steps to draw at; use the brian, torch or compiled engine"
                )
                continue
            for text in filter(None, (spec.threshold, spec.refractory if spec.refractory_kind == "condition" else "")):
                if _margin(text) is None or "dt" in identifiers(text):
                    reasons.append(f"'{text}' of '{spec.name}' is not one comparison of continuous quantities such as 'v > v_threshold'")
        if (size := sum(p.size for p in network.populations)) > self.max_neurons:
            reasons.append(
                f"{size} neurons would be integrated as one ODE from event to event, meant for at most {self.max_neurons}; take a part of the network, "
                f"or ScipyEngine(max_neurons={size}) if time does not matter"
            )
        return reasons

    def run(
        self,
        network: Network,
        inputs: Inputs | None = None,
        *,
        dt_ms: float,
        scheme: str = "adaptive",
        duration_ms: float | None = None,
        trials: int = 1,
        record: Record | None = None,
        noise: Mapping[str, np.ndarray] | None = None,
        seed: int = 0,
        progress: Callable[[float], None] | None = None,
    ) -> Recording:
        """As the protocol says; `scheme` is of no effect, and the recording's is 'adaptive'.

        Spikes carry their exact time_ms; their step is the grid interval that the time lies in.
        """
        require_supported(self, network, scheme)
        run = prepare(
            network,
            inputs,
            dt_ms=dt_ms,
            scheme="adaptive",
            duration_ms=duration_ms,
            trials=trials,
            record=record,
            noise=noise,
            seed=seed,
            check_stability=False,
        )
        populations = _laid_out(run)
        outcomes = []
        for trial in range(run.trials):
            outcomes.append(_Trial(self, run, populations, trial).run())
            if progress is not None:
                progress((trial + 1) / run.trials)
        return _recording(run, populations, outcomes)


ENGINE = ScipyEngine()


# -- a model as functions of arrays ----------------------------------------------------------------


def _margin(condition: str) -> tuple[str, bool] | None:
    """'a > b' as ('a - b', strict); None when it is not one comparison."""
    tree = ast.parse(condition.strip(), mode="eval").body
    if not isinstance(tree, ast.Compare) or len(tree.ops) != 1:
        return None
    sides = [f"({ast.unparse(tree.left)})", f"({ast.unparse(tree.comparators[0])})"]
    if isinstance(tree.ops[0], ast.Lt | ast.LtE):
        sides.reverse()
    return " - ".join(sides), isinstance(tree.ops[0], ast.Gt | ast.Lt)


def _function(spec: NeuronSpec, expressions: list[str]) -> Callable[..., tuple]:
    """f(*states, *drives, *parameters) -> the expressions' values, subexpressions worked out first."""
    lines: list[str] = []

    def need(expression: str) -> None:
        for name in sorted(identifiers(expression) & set(spec.subexpressions)):
            need(spec.subexpressions[name])
            line = f"    {name} = {spec.subexpressions[name]}"
            if line not in lines:
                lines.append(line)

    for expression in expressions:
        need(expression)
    names = ", ".join((*spec.states, *spec.drives, *spec.parameters))
    source = f"def f({names}):\n" + "\n".join([*lines, f"    return ({', '.join(f'({e})' for e in expressions)},)"])
    namespace: dict = {**{name: factor for name, (factor, _) in UNITS.items()}, **FUNCTIONS}
    exec(compile(source, f"<{spec.name}>", "exec"), namespace)  # validated by NeuronSpec
    return namespace["f"]


@dataclass(frozen=True, eq=False)
class _Layout:
    """A population's place in the joint state vector, and its functions."""

    population: Population
    start: int
    parameters: Mapping[str, np.ndarray]
    rates: Callable[..., tuple]
    margin: Callable[..., tuple] | None
    strict: bool
    condition: Callable[..., tuple] | None
    resets: tuple[tuple[str, str, Callable[..., tuple]], ...]
    outgoing: tuple[tuple[str, str, list], ...]  # target population, receptor, [source neuron] -> (targets, weights, delays)

    @property
    def size(self) -> int:
        return self.population.size

    @property
    def stop(self) -> int:
        return self.start + self.size * len(self.population.neuron.states)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where each state lies in the joint vector."""
        states = self.population.neuron.states
        return {s: slice(self.start + k * self.size, self.start + (k + 1) * self.size) for k, s in enumerate(states)}


def _laid_out(run: Run) -> dict[str, _Layout]:
    layouts, start = {}, 0
    for p in run.network.populations:
        spec = p.neuron
        margin = _margin(spec.threshold) if spec.threshold else None
        condition = _margin(spec.refractory) if spec.refractory_kind == "condition" else None
        layouts[p.name] = _Layout(
            p,
            start,
            {name: np.broadcast_to(value, (p.size,)).copy() for name, value in p.parameter_values().items()},
            _function(spec, [spec.rates[s] for s in spec.states]),
            _function(spec, [margin[0]]) if margin else None,
            margin[1] if margin else True,
            _function(spec, [condition[0]]) if condition else None,
            tuple((s.target, s.operator, _function(spec, [s.expression])) for s in spec.reset_statements),
            _outgoing(run.network, p.name),
        )
        start = layouts[p.name].stop
    return layouts


def _outgoing(network: Network, source: str) -> tuple[tuple[str, str, list], ...]:
    out = []
    for projection in network.projections:
        if projection.source == source:
            pre, post, weight, delay_ms = projection.synapses()
            ends = np.searchsorted(pre, np.arange(network.size_of(source) + 1))
            fans = [(post[a:b], weight[a:b], delay_ms[a:b] * 1e-3) for a, b in zip(ends[:-1], ends[1:], strict=True)]
            out.append((projection.target, projection.receptor, fans))
    return tuple(out)


# -- one trial -------------------------------------------------------------------------------------


@dataclass
class _Outcome:
    spikes: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    states: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    final: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)


class _Trial:
    """Integrates from event to event. Times in seconds."""

    def __init__(self, engine: ScipyEngine, run: Run, layouts: Mapping[str, _Layout], trial: int) -> None:
        self.engine, self.run_, self.layouts, self.trial = engine, run, layouts, trial
        self.end = run.steps * run.dt_s
        self.tolerance = 1e-9 * run.dt_s  # events closer than this are one
        self.y = np.concatenate([v for q in layouts.values() for v in q.population.initial_values().values()])
        self.atol = engine.rtol * np.concatenate(
            [np.full(q.size, SMALL.get(q.population.neuron.si_unit(s), 1e-3)) for q in layouts.values() for s in q.population.neuron.states]
        )
        self.active = {name: np.ones(q.size, dtype=bool) for name, q in layouts.items()}
        self.fixed: dict[str, list[np.ndarray]] = {}  # drives and parameters, in the order of the functions' arguments
        self.events: list = []
        self.order = count()
        self.out = _Outcome({n: [] for n in layouts})
        self.out.states = {n: {s: np.zeros((run.steps, layouts[n].size)) for s in states} for n, states in run.record.items()}
        self.sampled = 0

    def run(self) -> _Outcome:
        self._set_drives(0)
        self._schedule_inputs()
        t = 0.0
        self._settle(t)
        while t < self.end:
            until = min(self.events[0][0], self.end) if self.events else self.end
            t = self._integrate(t, until) if until > t else until
            self._receive_due(t)
            self._settle(t)
        for name, q in self.layouts.items():
            self.out.final[name] = {s: self.y[where].copy() for s, where in q.slices.items()}
        return self.out

    # -- events --

    def _push(self, t: float, action: Callable[[], None], *, ends_period: bool = False) -> None:
        heapq.heappush(self.events, (t, next(self.order), ends_period, action))

    def _receive_due(self, t: float) -> None:
        due = []
        while self.events and self.events[0][0] <= t + self.tolerance:
            due.append(heapq.heappop(self.events))
        # a spike that arrives as a refractory period ends is still lost, as in the reference schedule
        for _, _, _, action in sorted(due, key=lambda event: event[2]):
            action()

    def _schedule_inputs(self) -> None:
        dt = self.run_.dt_s
        for source, spikes in self.run_.spikes.items():
            mine = spikes.batch == self.trial
            pairs = sorted(set(zip(spikes.step[mine].tolist(), spikes.neuron[mine].tolist(), strict=True)))
            for target, receptor, fans in _outgoing(self.run_.network, source):
                for step, neuron in pairs:
                    self._send((step + 1) * dt, target, receptor, fans[neuron])
        changes: set[int] = set()
        for drives in self.run_.drives.values():
            for value in drives.values():
                if value.ndim == 3 and len(value) > 1:
                    changes |= set((np.flatnonzero(np.any(np.diff(value, axis=0) != 0, axis=(1, 2))) + 1).tolist())
        for step in changes:
            self._push(step * dt, lambda step=step: self._set_drives(step))

    def _send(self, t: float, target: str, receptor: str, fan: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        post, weight, delay = fan
        for d in np.unique(delay):
            which = delay == d
            self._push(t + d, lambda p=post[which], w=weight[which]: self._receive(target, receptor, p, w))

    def _receive(self, target: str, receptor: str, post: np.ndarray, weight: np.ndarray) -> None:
        q = self.layouts[target]
        if receptor in q.population.neuron.gated:
            weight = weight * self.active[target][post]
        np.add.at(self.y[q.slices[receptor]], post, weight)

    def _set_drives(self, step: int) -> None:
        for name, drives in self.run_.drives.items():
            size = self.layouts[name].size
            now = {k: v if v.ndim < 3 else v[min(step, len(v) - 1), min(self.trial, v.shape[1] - 1)] for k, v in drives.items()}
            self.fixed[name] = [
                *(np.broadcast_to(now[k], (size,)) for k in self.layouts[name].population.neuron.drives),
                *self.layouts[name].parameters.values(),
            ]

    # -- spikes --

    def _arguments(self, q: _Layout, y: np.ndarray) -> list[np.ndarray]:
        """States, drives and parameters, [N] or [N, times]."""
        fixed = self.fixed[q.population.name]
        return [*(y[where] for where in q.slices.values()), *(fixed if y.ndim == 1 else (v[:, None] for v in fixed))]

    def _watch(self, y: np.ndarray) -> np.ndarray:
        """Per neuron of the network what must not become positive: threshold margin if active, else how far its refractory condition has ceased to hold."""
        rows = []
        for name, q in self.layouts.items():
            active = self.active[name].reshape(-1, *(1,) * (y.ndim - 1))
            row = np.full((q.size, *y.shape[1:]), -np.inf)
            values = self._arguments(q, y)
            if q.margin:
                row = np.where(active, q.margin(*values)[0], row)
            if q.condition:
                row = np.where(active, row, -q.condition(*values)[0])
            rows.append(row)
        return np.concatenate(rows)

    def _settle(self, t: float) -> None:
        """Spikes that are due now, and those that they cause at once through jumps of the membrane."""
        for _ in range(CASCADE):
            for name, q in self.layouts.items():
                if q.condition:
                    self.active[name] |= ~(q.condition(*self._arguments(q, self.y))[0] > 0)
            spiking = {name: which for name, q in self.layouts.items() if len(which := self._above(name, q))}
            if not spiking or t >= self.end:
                return
            self._fire(t, spiking)
        where = ", ".join(f"neuron {which[0]} of '{name}'" for name, which in spiking.items())
        raise RuntimeError(
            f"{CASCADE} spikes at once at {t * 1e3:.6f} ms ({where}): lower the reset below threshold, or add a refractory period"
        )

    def _above(self, name: str, q: _Layout) -> np.ndarray:
        if q.margin is None:
            return np.zeros(0, dtype=int)
        margin = q.margin(*self._arguments(q, self.y))[0]
        return np.flatnonzero(self.active[name] & ((margin > 0) if q.strict else (margin >= 0)))

    def _fire(self, t: float, spiking: Mapping[str, np.ndarray]) -> None:
        """All spikes of one instant: the neurons become refractory, spikes without delay arrive, then the resets."""
        for name, which in spiking.items():
            self.out.spikes[name] += [(t, int(n)) for n in which]
            if self.layouts[name].population.neuron.refractory:
                self.active[name][which] = False
        for name, which in spiking.items():
            for target, receptor, fans in self.layouts[name].outgoing:
                for n in which:
                    self._send(t, target, receptor, fans[n])
        self._receive_due(t)
        for name, which in spiking.items():
            q = self.layouts[name]
            for target, operator, expression in q.resets:
                change = np.broadcast_to(expression(*self._arguments(q, self.y))[0], (q.size,))[which]
                old = self.y[q.slices[target]][which]
                self.y[q.slices[target]][which] = {"=": change, "+=": old + change, "-=": old - change}[operator]
            if q.population.neuron.refractory_kind == "time":
                for n in which:
                    period = q.parameters[q.population.neuron.refractory][n]
                    self._push(t + period, lambda active=self.active[name], n=n: active.__setitem__(n, True), ends_period=True)

    # -- between events --

    def _slope(self, t: float, y: np.ndarray) -> np.ndarray:
        out = np.empty_like(y)
        for name, q in self.layouts.items():
            rates, gated = q.rates(*self._arguments(q, y)), q.population.neuron.gated
            for (state, where), rate in zip(q.slices.items(), rates, strict=True):
                out[where] = rate * self.active[name] if state in gated else rate
        return out

    def _integrate(self, t: float, until: float) -> float:
        """Advance to `until` or to the first neuron that needs attention; returns the time reached."""
        solver = METHODS[self.engine.method](self._slope, t, self.y, until, rtol=self.engine.rtol, atol=self.atol)
        while solver.status == "running":
            # a trial step may overflow; it is rejected and made shorter
            with np.errstate(all="ignore"):
                message = solver.step()
            if solver.status == "failed":
                raise RuntimeError(f"the adaptive solution stops at {solver.t * 1e3:.6f} ms: {message}; try ScipyEngine(method='Radau')")
            dense = solver.dense_output()
            times = np.linspace(solver.t_old, solver.t, SCAN + 1)[1:]
            above = self._watch(dense(times)) > 0
            if above.any():
                first = int(np.argmax(above.any(axis=0)))
                low = times[first - 1] if first else solver.t_old
                reached = min(self._crossing(dense, k, low, times[first]) for k in np.flatnonzero(above[:, first]))
                self._sample(dense, reached)
                self.y = dense(reached)
                return reached
            self._sample(dense, solver.t)
        self.y = solver.y.copy()
        return until

    def _crossing(self, dense: Callable, k: int, low: float, high: float) -> float:
        """Time at which neuron k's watched quantity becomes positive, on the positive side."""

        def watched(time: float) -> float:
            return float(self._watch(dense(time))[k])

        if watched(low) > 0:
            return low
        if watched(high) <= 0:  # positive by rounding only
            return high
        root, nudge = float(brentq(watched, low, high, xtol=1e-15, rtol=1e-14)), 1e-15
        while watched(root) <= 0 and root < high:
            root, nudge = min(root + nudge, high), 2 * nudge
        return root

    def _sample(self, dense: Callable, before: float) -> None:
        """States at the grid points up to `before`; a point at an event itself has the value after it."""
        while self.sampled < self.run_.steps and self.sampled * self.run_.dt_s < before - self.tolerance:
            if self.out.states:
                y = dense(self.sampled * self.run_.dt_s)
                for name, states in self.out.states.items():
                    for state, rows in states.items():
                        rows[self.sampled] = y[self.layouts[name].slices[state]]
            self.sampled += 1


def _recording(run: Run, layouts: Mapping[str, _Layout], outcomes: list[_Outcome]) -> Recording:
    spikes, states, final = {}, {}, {}
    for name, q in layouts.items():
        events = [(t * 1e3, b, n) for b, o in enumerate(outcomes) for t, n in o.spikes[name]]
        time_ms, batch, neuron = (np.array(column) for column in zip(*events, strict=True)) if events else (np.zeros(0),) * 3
        step = np.minimum(timestep(time_ms, run.dt_ms), run.steps - 1)
        spikes[name] = Spikes(step, batch, neuron, (run.steps, run.trials, q.size), run.dt_ms, time_ms)
        states[name] = {s: np.stack([o.states[name][s] for o in outcomes], axis=1) for s in run.record.get(name, ())}
        final[name] = {s: np.stack([o.final[name][s] for o in outcomes]) for s in q.population.neuron.states}
        require_finite(q.population, final[name], "adaptive", run.dt_ms)
    return Recording("scipy", "adaptive", run.dt_ms, spikes, states, final, run.seed)
