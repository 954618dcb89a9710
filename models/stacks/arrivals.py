"""How input reaches the neurons of an exported stack where it is no weighted spike: as a current, or as the maximum over a window.

    with_inflow          dv/dt = … + inflow                  what flows into a receptor per second
    with_max_pooling     place1, …, one receptor for each place of the window; at the start of each step v += max(place1, …),
                         and the places are emptied
    with_gains           gained1, …, one receptor for each kind of arrivals; at the start of each step v += gain1 gained1 + …, with
                         gains of that step, and they are emptied

A stack adds its input at the end of a step, after the threshold; it moves v in the next one. A current that flows through that next
step and brings v to the same value at its end gives the same spikes, if nothing but v takes part: see `inflow_reason`.
Maximum pooling of spikes is an operation on what arrives within one step, in any library. Its model is one of steps, too: spikes that
a finer step tells apart pass one by one, where the coarse step let the strongest pass.

A stack also fires at most once a step. Where trained neurons do so step after step, the equations alone would fire more often at a finer
step; `once_per_step` keeps that limit as what it is in continuous time, a refractory period.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spiketwin.models.network import Network, Population
from spiketwin.models.spec import Equation, NeuronSpec, Parameter
from spiketwin.models.units import BASE, identifiers

INFLOW, PLACE, GAINED, GAIN = "inflow", "place", "gained", "gain"


def with_inflow(spec: NeuronSpec) -> NeuronSpec:
    """The model with the drive 'inflow' into its first receptor, in the receptor's unit per second."""
    receptor = spec.inputs[0]
    per_second = str(spec.dimension(receptor).times(BASE["second"].power(-1)))
    lines = [replace(e, expression=f"{e.expression} + {INFLOW}") if e.name == receptor else e for e in spec.lines]
    return replace(spec, equations=_text([*lines, Equation("drive", INFLOW, "", per_second)]))


def with_max_pooling(spec: NeuronSpec, places: int) -> NeuronSpec:
    """The model with a receptor for each of the `places` of a window, the largest of which reaches its first receptor."""
    receptor = spec.inputs[0]
    unit = spec.si_unit(receptor)
    names = [f"{PLACE}{k}" for k in range(1, places + 1)]
    still = [_still(name, unit) for name in names]
    # a running maximum in the first place: one comparison a statement
    largest = [f"{names[0]} = maximum({names[0]}, {name})" for name in names[1:]]
    emptied = [f"{name} = {_nothing(unit)}" for name in names]
    return replace(
        spec,
        equations=_text([*spec.lines, *still]),
        inputs=(*spec.inputs, *names),
        every_step="\n".join([*largest, f"{receptor} += {names[0]}", *emptied]),
    )


def with_gains(spec: NeuronSpec, kinds: int) -> NeuronSpec:
    """The model with the receptors gained1, …, each of which reaches its first receptor times the drive gain1, … of the next step."""
    receptor = spec.inputs[0]
    unit = spec.si_unit(receptor)
    names = [(f"{GAINED}{k}", f"{GAIN}{k}") for k in range(1, kinds + 1)]
    lines = [line for name, gain in names for line in (_still(name, unit), Equation("drive", gain, "", "1"))]
    said = [f"{receptor} += {gain}*{name}\n{name} = {_nothing(unit)}" for name, gain in names]
    every_step = "\n".join(filter(None, [spec.every_step, *said]))
    return replace(spec, equations=_text([*spec.lines, *lines]), inputs=(*spec.inputs, *(n for n, _ in names)), every_step=every_step)


def once_per_step(network: Network, dt_ms: float) -> Network:
    """The network with a refractory period of dt_ms in which neurons integrate but do not fire: nothing changes at that step.

    Raises ValueError for a model that has a refractory period.
    """

    def held(population: Population) -> Population:
        spec = population.neuron
        if spec.refractory:
            raise ValueError(f"'{spec.name}' has a refractory period, '{spec.refractory}'; set that one")
        if not spec.threshold:
            return population
        period = Parameter(dt_ms, "ms", "[0, inf)", "refractory period: a step of training")
        return replace(population, neuron=replace(spec, refractory="tau_ref", parameters={**spec.parameters, "tau_ref": period}))

    return replace(network, populations=tuple(held(p) for p in network.populations))


def places_of(spec: NeuronSpec) -> tuple[str, ...]:
    """The receptors that with_max_pooling added."""
    return tuple(name for name in spec.inputs if name.startswith(PLACE))


def gained_of(spec: NeuronSpec) -> tuple[str, ...]:
    """The receptors that with_gains added."""
    return tuple(name for name in spec.inputs if name.startswith(GAINED))


def late_reason(spec: NeuronSpec) -> str:
    """'' or why input that acts at the start of the next step is not what input at the end of this step is."""
    receptor = spec.inputs[0]
    if not spec.threshold:
        return f"'{spec.name}' is read out at the end of each step"
    if spec.refractory:
        return f"'{spec.name}' has a refractory period, in which '{receptor}' may be closed"
    for statement in spec.reset_statements:
        if statement.target == receptor and (statement.operator == "=" or receptor in identifiers(statement.expression)):
            return f"the reset '{receptor} {statement.operator} {statement.expression}' of '{spec.name}' wipes what has just arrived"
    return ""


def inflow_reason(spec: NeuronSpec) -> str:
    """'' or why no current of one step can stand for what jumps into the first receptor of `spec` at the end of the step before."""
    if followers := followers_of(spec):
        return f"'{followers[0]}' of '{spec.name}' follows '{spec.inputs[0]}' within a step, and tells a current from a jump"
    return late_reason(spec) if spec.threshold else ""


def followers_of(spec: NeuronSpec) -> list[str]:
    """States whose rates depend on the first receptor, itself left out."""
    receptor = spec.inputs[0]
    return [x for x, rate in spec.rates.items() if x != receptor and receptor in names_in(spec, rate)]


def left_of_one(population: Population, scheme: str, dt_ms: float) -> np.ndarray:
    """What a step leaves of 1 in the first receptor, [N] or []. Raises ValueError where that depends on how much is there."""
    return _step_of(population, scheme, dt_ms)[0]


def is_leakless(population: Population, scheme: str, dt_ms: float) -> bool:
    """Whether a step takes next to nothing from the first receptor of some neuron, but not nothing."""
    left = left_of_one(population, scheme, dt_ms)
    return bool(((left < 1) & (left > 1 - 1e-6)).any())


def inflow_of_one(population: Population, scheme: str, dt_ms: float) -> np.ndarray:
    """The inflow [N] or [] that brings the first receptor from 0 to 1 in a step. Raises ValueError as left_of_one."""
    return 1 / _step_of(population, scheme, dt_ms)[1]


def _step_of(population: Population, scheme: str, dt_ms: float) -> tuple[np.ndarray, np.ndarray]:
    """What a step makes of 1 in the first receptor, and of an inflow of 1: read off the derived step, which is affine in both."""
    from spiketwin.models.discretisation import derive  # sympy takes half a second to import

    spec, step = population.neuron, derive(population.neuron, scheme)
    advance = step.function("numpy")
    values = {**population.parameter_values(), **{d: np.zeros(1) for d in spec.drives}, "dt": dt_ms * 1e-3}
    values |= step.constant_values(values, dt_ms * 1e-3)
    k = spec.states.index(spec.inputs[0])

    def after(receptor: float, inflow: float) -> np.ndarray:
        given = values | {s: np.zeros(population.size) for s in spec.states}
        given |= {spec.inputs[0]: np.full(population.size, receptor), INFLOW: np.full(population.size, inflow)}
        return np.asarray(advance(*(given[a] for a in step.arguments))[k])

    still = after(0.0, 0.0)
    left, flown = after(1.0, 0.0) - still, after(0.0, 1.0) - still
    if not np.allclose(after(2.0, 0.0) - still, 2 * left, rtol=1e-9, atol=0):
        raise ValueError(f"'{spec.inputs[0]}' of '{spec.name}' does not decay linearly, so no other input stands for what jumps into it")
    return left, flown


def _still(name: str, unit: str) -> Equation:
    """A state that changes where it is told to, and nowhere else."""
    return Equation("differential", name, "0*hertz" if unit == "1" else f"0*{unit}/second", unit)


def _nothing(unit: str) -> str:
    return "0" + f"*{unit}" * (unit != "1")


def names_in(spec: NeuronSpec, expression: str) -> set[str]:
    """Names in an expression, and in the subexpressions that it uses."""
    found = set(identifiers(expression))
    return found | {n for name in found & set(spec.subexpressions) for n in names_in(spec, spec.subexpressions[name])}


def _text(lines: list[Equation]) -> str:
    def line(e: Equation) -> str:
        head = {"differential": f"d{e.name}/dt = {e.expression}", "subexpression": f"{e.name} = {e.expression}"}.get(e.kind, e.name)
        return f"{head} : {e.unit}" + " (unless refractory)" * e.gated

    return "\n".join(line(e) for e in lines)
