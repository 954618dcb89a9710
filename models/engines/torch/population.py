"""A population as a torch module (its parameters), and the same during a run (its states)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spiketwin.models.discretisation import Step, derive, margin
from spiketwin.models.discretisation.conditions import elementwise, written_out
from spiketwin.models.discretisation.functions import torch_namespace
from spiketwin.models.discretisation.program import without_gate
from spiketwin.models.engines.torch.projections import Transmit
from spiketwin.models.engines.torch.state import PopulationState
from spiketwin.models.network import Population
from spiketwin.models.spec import NeuronSpec, SpecError, _interval, unknown
from spiketwin.models.spikes import timestep
from spiketwin.models.units import BASE, DIMENSIONLESS, dimension_of, unit

MILLIVOLT = 1e-3


class PopulationModule(nn.Module):
    """Parameters, constant drives and given initial states of one population, under their own names.

    Buffers are in SI. A trainable parameter is an nn.Parameter in its declared unit (20 for 20 ms), so that
    one learning rate suits all, and is kept within its declared bounds by `project_`.
    """

    def __init__(self, population: Population, trainable: tuple[str, ...], dtype: torch.dtype) -> None:
        super().__init__()
        spec = population.neuron
        self.population, self.trainable = population, tuple(trainable)
        self._kept: tuple[tuple, list, Start] | None = None
        for name in trainable:
            if name not in spec.parameters:
                raise SpecError(unknown(name, "parameter", spec.name, spec.parameters))
            if name == spec.refractory:
                raise ValueError(
                    f"'{name}' of '{population.name}' acts as a whole number of steps and has no gradient; leave it out of trainable_parameters"
                )
        given = {n: v for n, v in population.drive_values().items()}
        given |= {n: v for n, v in population.initial_values().items() if n in population.initial}
        for name, value in population.parameter_values().items():
            if name in trainable:
                declared = torch.tensor(np.array(value) / unit(spec.parameters[name].unit)[0], dtype=dtype)
                self.register_parameter(name, nn.Parameter(declared))
            else:
                given[name] = value
        for name, value in given.items():
            self.register_buffer(name, torch.tensor(np.array(value), dtype=dtype))
        self.limits = {name: _closed_interval(population, name) for name in trainable}

    def values(self) -> dict[str, Tensor]:
        """Parameters, constant drives and given initial states in SI."""
        spec = self.population.neuron
        names = [*spec.parameters, *spec.drives, *self.population.initial]
        return {n: getattr(self, n) * unit(spec.parameters[n].unit)[0] if n in self.trainable else getattr(self, n) for n in names}

    def start(self, setting: Setting) -> Start:
        """The population before its first step. Kept for the next run, unless a parameter is trained or has changed."""
        tensors = [*self.buffers(), *self.parameters()]
        now = [(t, t._version) for t in tensors]
        key = (setting.scheme, setting.dt_s, setting.trials)
        if self._kept is not None:
            kept_key, seen, start = self._kept
            if kept_key == key and len(seen) == len(now) and all(a is b and m == n for (a, m), (b, n) in zip(seen, now)):
                return start
        start = _start(self, setting)
        self._kept = None if self.trainable else (key, now, start)
        return start

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_kept": None}

    @torch.no_grad()
    def project_(self) -> None:
        """Put trainable parameters that an optimiser moved out of their bounds back on the nearest allowed value."""
        for name, (low, high) in self.limits.items():
            parameter = getattr(self, name)
            inside = parameter.clamp(low, high)
            if not torch.equal(inside, parameter):
                parameter.copy_(inside)

    def extra_repr(self) -> str:
        trained = f", trains {', '.join(self.trainable)}" if self.trainable else ""
        return f"{self.population.size} × {self.population.neuron.name}{trained}"


def _closed_interval(population: Population, name: str) -> tuple[float, float]:
    """Bounds of a trainable parameter in its unit. An open end is kept away from by 1e-3 of the least distance at the start."""
    parameter = population.neuron.parameters[name]
    low, high, closed_low, closed_high = _interval(parameter.bounds)
    start = population.parameter_values()[name] / unit(parameter.unit)[0]
    low = low if closed_low or low == float("-inf") else low + 1e-3 * float((start - low).min())
    high = high if closed_high or high == float("inf") else high - 1e-3 * float((high - start).min())
    return low, high


def check_surrogate(spike: Callable[..., Tensor], *arguments: Tensor) -> None:
    """Raises ValueError unless `spike` makes a tensor of such arguments, as it will have to in a run."""
    try:
        made = spike(*arguments)
        why = "" if isinstance(made, Tensor) else f"it gives a {type(made).__name__}"
    except (TypeError, ValueError) as error:
        why = str(error)
    if why:
        raise ValueError(f"surrogate = {spike!r} makes no spikes ({why}); give what a call makes, e.g. rules.surrogate.fast_sigmoid(25)")


@lru_cache(maxsize=512)
def _advance(step: Step) -> Callable[..., tuple[Tensor, ...]]:
    return step.function("torch")


@lru_cache(maxsize=2048)
def _compiled(expression: str, spec: NeuronSpec):
    return compile(elementwise(written_out(expression, spec.subexpressions)), f"<{spec.name}: {expression}>", "eval")


@lru_cache(maxsize=256)
def _margin(spec: NeuronSpec) -> tuple[str, bool]:
    return margin(spec)


@lru_cache(maxsize=256)
def _margin_dimension(spec: NeuronSpec):
    known = {n: spec.dimension(n) for n in [*spec.parameters, *(e.name for e in spec.lines)]}
    return dimension_of(margin(spec)[0], {**known, "uniform": DIMENSIONLESS, "dt": BASE["second"]})


@lru_cache(maxsize=256)
def _ruler(spec: NeuronSpec) -> str:
    """The spike_scale where it measures what the threshold does, else ''."""
    known = {n: spec.dimension(n) for n in [*spec.parameters, *(e.name for e in spec.lines)]}
    return spec.spike_scale if spec.spike_scale and dimension_of(spec.spike_scale, known) == _margin_dimension(spec) else ""


def _evaluate(expression: str, spec: NeuronSpec, values: Mapping):
    return eval(_compiled(expression, spec), torch_namespace(), values)  # validated by NeuronSpec


@dataclass(frozen=True, eq=False)
class Start:
    """A population before its first step: states, parameters and constants by name; the derived step and what it takes.

    active: neurons that integrate and may spike; None where a period of at most one step never holds any.
    hold: steps from a spike's label to the first active step.  per_spike_scale: turns a margin into a surrogate's argument.
    """

    values: Mapping[str, Any]
    advance: Callable[..., tuple[Tensor, ...]]
    arguments: tuple[str, ...]
    per_spike_scale: Tensor | float
    active: Tensor | None = None
    hold: Tensor | int = 0
    last_spike: Tensor | None = None


def _start(module: PopulationModule, setting: Setting) -> Start:
    spec, shape = module.population.neuron, (setting.trials, module.population.size)
    values = module.values()
    states = dict(values)
    for name in [*spec.initial, *spec.states]:
        if name not in states:
            like = next(iter(values.values()))
            states[name] = torch.as_tensor(_evaluate(spec.initial.get(name, "0"), spec, states), dtype=like.dtype, device=like.device)
    states |= {name: states[name].expand(shape) for name in spec.states}
    held = _refractoriness(spec, values, setting.dt_s, shape, states[spec.states[0]].device)
    step = derive(spec if "active" in held or not spec.refractory else without_gate(spec), setting.scheme)
    states |= step.constant_values(values, setting.dt_s, backend="torch") | {"dt": setting.dt_s}
    scale = 1 / _spike_scale(spec, states) if spec.threshold else 1.0
    return Start(states, _advance(step), step.arguments, scale, **held)


def _refractoriness(spec: NeuronSpec, values: Mapping[str, Tensor], dt_s: float, shape: tuple[int, int], device) -> dict:
    """The fields of Start that a refractory period needs."""
    if spec.refractory_kind == "none":
        return {}
    everyone = torch.ones(shape, dtype=torch.bool, device=device)
    if spec.refractory_kind == "condition":
        return {"active": everyone}
    # Brian2 counts the spike's own step: active again tau_ref/dt steps after the spike's label
    hold = torch.as_tensor(timestep(values[spec.refractory].detach().double().cpu().numpy(), dt_s))
    if not bool((hold > 1).any()):
        return {}
    never = torch.full(shape, -(2**30), dtype=torch.int32, device=device)
    return {"active": everyone, "hold": hold.to(device) if hold.ndim else int(hold), "last_spike": never}


def _spike_scale(spec: NeuronSpec, values: Mapping) -> Tensor | float:
    """The ruler of the surrogate, evaluated once; without a spike_scale 1 mV for a voltage, else 1 SI unit."""
    if ruler := _ruler(spec):
        return torch.as_tensor(_evaluate(ruler, spec, values)).detach()
    return MILLIVOLT if _margin_dimension(spec) == BASE["volt"] else 1.0


@dataclass(eq=False)
class Rows:
    """Spikes as events, for each row t·B + b of [T, B]: neurons[first … first + many] fired."""

    neurons: np.ndarray
    first: np.ndarray
    many: np.ndarray

    def after(self, past: Tensor) -> Rows:
        """The same behind the rows of earlier steps, [D, B, N]."""
        earlier = past.detach().flatten(0, 1).numpy() != 0
        neurons, many = np.nonzero(earlier)[1].astype(np.uint32), earlier.sum(1).astype(np.int32)
        first = np.concatenate([np.cumsum(many) - many, self.first + len(neurons)]).astype(np.int64)
        return Rows(np.concatenate([neurons, self.neurons]), first, np.concatenate([many, self.many]))

    def density(self, size: int) -> float:
        """Spikes per neuron and step, of `size` neurons."""
        return float(self.many.sum()) / (self.many.size * size)


@dataclass(eq=False)
class Recurrent:
    """A projection inside a group: past spikes of `source`, `delays` steps old, become increments of `receptor`."""

    source: RunningPopulation
    receptor: str
    delays: tuple[int, ...]
    transmit: Transmit

    def increments(self) -> Tensor | None:
        """[B, N_post] from the newest spikes back; None while all of them lie before the start."""
        past = [self.source.spikes[-1 - d] if d < len(self.source.spikes) else None for d in self.delays]
        if all(s is None for s in past):
            return None
        silence = torch.zeros_like(self.source.spikes[0])
        return self.transmit(torch.cat([silence if s is None else s for s in past], dim=1) if len(past) > 1 else past[0])


@dataclass(eq=False)
class Setting:
    """What all populations of a run share."""

    scheme: str
    dt_s: float
    steps: int
    trials: int
    surrogate: Callable[..., Tensor] | None
    detach_reset: bool


class RunningPopulation:
    """One population during a forward pass. Each event of the schedule is a method.

    drives: name -> [T], [T, 1 or B, 1 or N].
    noise: 'noise' or 'uniform' -> [T, B, N].
    """

    def __init__(
        self,
        module: PopulationModule,
        setting: Setting,
        record: tuple[str, ...],
        drives: Mapping[str, Tensor],
        noise: Mapping[str, Tensor],
    ) -> None:
        self.spec, self.size, self.setting = module.population.neuron, module.population.size, setting
        self.spikes: list[Tensor] = []
        self.recorded: dict[str, list[Tensor]] = {name: [] for name in record}
        self.recurrent: list[Recurrent] = []
        self.done: tuple[Tensor | None, dict[str, Tensor]] | None = None
        self.fired: Rows | None = None
        self.incoming: dict[str, Tensor] = {}
        self.signals = {**drives, **noise}

        start = module.start(setting)
        self.advance, self.arguments, self.per_spike_scale = start.advance, start.arguments, start.per_spike_scale
        self.values, self.active, self.hold, self.last_spike = dict(start.values), start.active, start.hold, start.last_spike
        if self.spec.threshold:
            self.margin, self.is_strict = _margin(self.spec)
        # spiked keeps its value until the next threshold; just_spiked until the refractory count of the next step
        self.spiked: Tensor | None = None
        self.just_spiked: Tensor | None = None
        # of earlier runs; `spikes` begins with them
        self.past: Tensor | None = None
        self.resumed = False
        self.until: Tensor | None = None
        self.kept_active = False

    def resume(self, state: PopulationState | None, past: Tensor | None) -> None:
        """Go on from where an earlier run ended. past: its last spikes [D, B, N]."""
        if state is not None:
            self.resumed = True
            self.values |= state.states
            if state.wait is not None and self.last_spike is not None:
                self.last_spike, self.active = state.wait - self.hold, state.wait <= 0
            if state.active is not None and self.active is not None:
                self.active = state.active
            self.spiked, self.just_spiked = state.spiked, state.just_spiked
        if past is not None and len(past):
            self.past, self.spikes = past, list(past.unbind(0))

    @property
    def stopped(self) -> bool:
        """Whether refractory periods of an earlier run go on."""
        return self.resumed and self.active is not None

    def _evaluate(self, expression: str):
        return _evaluate(expression, self.spec, self.values)

    def add_increments(self, receptor: str, increments: Tensor) -> None:
        """Increments of a receptor [T, B, N] (or [1, B, N], the same at every step) that are known beforehand."""
        known = self.incoming.get(receptor)
        self.incoming[receptor] = increments if known is None else known + increments

    # -- the events of a step ------------------------------------------------------------------------

    def begin(self) -> None:
        """Lay the inputs out step by step: unbind, not indexing, so that the gradient of T views is one stack."""
        steps = self.setting.steps
        self.arrivals = {name: a.expand(steps, *a.shape[1:]).unbind(0) for name, a in self.incoming.items()}
        self.varying = {name: a.expand(steps, *a.shape[1:]).unbind(0) for name, a in self.signals.items()}

    def note(self, n: int) -> None:
        """Keep the states at the start of step n."""
        for name, rows in self.recorded.items():
            rows.append(self.values[name])

    def count_down(self, n: int) -> None:
        self.just_spiked = None
        if self.active is None:
            return
        if self.spec.refractory_kind == "time":
            self.active = self.last_spike <= n - self.hold
        else:
            self.active = self.active | ~self._evaluate(self.spec.refractory)

    def integrate(self, n: int) -> None:
        for name, rows in self.varying.items():
            self.values[name] = rows[n]
        if self.active is not None:
            self.values["active"] = self.active
        new = self.advance(*[self.values[name] for name in self.arguments])
        self.values.update(zip(self.spec.states, new, strict=True))

    def threshold(self, n: int) -> None:
        if not self.spec.threshold:
            return
        distance = self._evaluate(self.margin)
        over = distance > 0 if self.is_strict else distance >= 0
        spiked = over if self.active is None else over & self.active
        if self.setting.surrogate is None:
            self.spikes.append(spiked.to(distance.dtype))
        else:
            spikes = self.setting.surrogate(distance * self.per_spike_scale, over)
            self.spikes.append(spikes if self.active is None else spikes * self.active)
        if self.active is not None and self.spec.refractory_kind == "condition":
            self.active = self.active & ~spiked
        elif self.active is not None:
            self.last_spike = torch.where(spiked, n, self.last_spike)
        self.spiked = self.just_spiked = spiked

    def receive(self, n: int) -> None:
        for receptor, rows in self.arrivals.items():
            self.add(receptor, rows[n])
        for projection in self.recurrent:
            if (increments := projection.increments()) is not None:
                self.add(projection.receptor, increments)

    def add(self, receptor: str, increments: Tensor) -> None:
        """Let increments [B, N] arrive at a receptor now."""
        if receptor in self.spec.gated:
            # a refractory neuron, and one that has just spiked, does not listen
            for deaf in (self.just_spiked, None if self.active is None else ~self.active):
                increments = increments if deaf is None else increments.masked_fill(deaf, 0)
        self.values[receptor] = self.values[receptor] + increments

    def reset(self, n: int) -> None:
        if self.spiked is None:
            return
        for statement in self.spec.reset_statements:
            old, new = self.values[statement.target], self._evaluate(statement.expression)
            if statement.operator != "=" and self.setting.detach_reset and torch.is_tensor(new):
                # added times 0 or 1: unlike a choice between two tensors, this costs nothing on the way back
                sign = 1 if statement.operator == "+=" else -1
                self.values[statement.target] = torch.addcmul(old, self.spikes[-1].detach(), new, value=sign)
                continue
            if statement.operator != "=":
                new = old + new if statement.operator == "+=" else old - new
            if self.setting.detach_reset:
                self.values[statement.target] = torch.where(self.spiked, new, old)
            else:
                # lerp is exact at 0 and 1, and lets the gradient through the spike
                # new_full: a copy from the host would break the capture of a CUDA graph
                new = new.to(old) if torch.is_tensor(new) else old.new_full((), new)
                self.values[statement.target] = torch.lerp(old, new.expand_as(old), self.spikes[-1])

    # -- what is left ----------------------------------------------------------------------------------

    def finish(
        self,
        spikes: Tensor | None,
        states: Mapping[str, Tensor],
        final: Mapping[str, Tensor],
        fired: Rows | None = None,
        until: Tensor | None = None,
        active: Tensor | None = None,
    ) -> None:
        """Take the results of a kernel that has run all steps: spikes and recorded states [T, B, N], final states [B, N].

        until: the first step in which a neuron is active again.  active: whether it is, by a condition.
        """
        self.done, self.fired, self.until = (spikes, dict(states)), fired, until
        self.active, self.kept_active = (self.active, False) if active is None else (active, True)
        self.values |= final

    def all_spikes(self) -> Tensor:
        """[T, B, N] of 0 and 1."""
        if self.done and self.done[0] is not None:
            return self.done[0]
        if self.spikes:
            return torch.stack(self.spikes[0 if self.past is None else len(self.past) :])
        state = self.values[self.spec.states[0]]
        return state.new_zeros(()).expand(self.setting.steps, *state.shape)

    def all_states(self) -> dict[str, Tensor]:
        return self.done[1] if self.done else {name: torch.stack(rows) for name, rows in self.recorded.items()}

    def final(self) -> dict[str, Tensor]:
        return {name: self.values[name] for name in self.spec.states}

    def end(self) -> PopulationState:
        """What the next run goes on from."""
        wait, active = None, self.active
        if self.last_spike is not None:
            until = self.until
            if until is None:
                last = self.last_spike if self.done is None else _last_spike(self.all_spikes().detach(), self.last_spike)
                until = last + self.hold
            wait = (until - self.setting.steps).to(torch.int32)
            # kernels count down before all that asks who is active
            active = self.active if self.done is None else None
        elif self.done and self.active is not None and not self.kept_active:
            # of a kernel that does not tell: so it is where a neuron fires as soon as the condition holds
            active = ~self._evaluate(self.spec.refractory)
        return PopulationState(self.final(), wait, active, self.spiked, self.just_spiked)


def _last_spike(spikes: Tensor, before: Tensor) -> Tensor:
    """The step of the last of the spikes [T, B, N], int [B, N]; `before` where there is none."""
    backward = (spikes != 0).flip(0)
    last = (len(spikes) - 1 - backward.to(torch.uint8).argmax(0)).to(before.dtype)
    return torch.where(backward.any(0), last, before)
