"""What one spike does to a neuron at rest, and what a constant current does: the measures by which weights fit any neuron model.

The model is linearised about its resting state. A spike of weight w on a receptor then moves v by w times the (v, receptor)
entry of exp(J t), whose extreme is the height of the postsynaptic potential; a drive moves it by -J⁻¹ of its own column. For
current-based neurons this is exact, for conductance-based ones the limit of small weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.integrate
import scipy.linalg

from spiketwin.models.expressions import evaluate
from spiketwin.models.network import Population
from spiketwin.models.recording import CONVENIENT
from spiketwin.models.spec import NeuronSpec
from spiketwin.models.units import dimension_of, unit

HORIZON_MS, STEP_MS, RELAXATION_S = 500.0, 0.05, 2.0


@dataclass(frozen=True)
class Receptor:
    """name: the state that spikes add to.  unit: of its weights, as a neuroscientist writes it ('nA', 'nS', 'mV').
    weight: what moves v by the distance from rest to threshold, upwards, in that unit; negative if positive weights move it down.
    """

    name: str
    unit: str
    weight: float


@lru_cache(maxsize=64)
def receptors(spec: NeuronSpec) -> tuple[Receptor, Receptor]:
    """The excitatory and the inhibitory receptor: those whose names end in _exc and _inh, else the first input, with both signs.

    Raises ValueError for a model that spikes do not reach, or that does not rest.
    """
    if not spec.inputs:
        raise ValueError(f"'{spec.name}' has no receptor, so spikes cannot reach it; choose a model with inputs, such as 'cuba_lif'")
    named = {name[-4:]: name for name in spec.inputs}
    chosen = (named.get("_exc", spec.inputs[0]), named.get("_inh", spec.inputs[0]))
    return receptor(spec, chosen[0]), receptor(spec, chosen[1])


@lru_cache(maxsize=64)
def receptor(spec: NeuronSpec, name: str) -> Receptor:
    """One receptor of a model. Raises ValueError when its spikes do not move v at rest."""
    height = psp_height(spec, name)
    if not abs(height) > 0:
        raise ValueError(f"spikes on '{name}' of '{spec.name}' do not move v at rest; weights cannot be given by their potential")
    shown = CONVENIENT.get(spec.si_unit(name), spec.si_unit(name))
    return Receptor(name, shown, threshold_distance(spec) / height / unit(shown)[0])


def threshold_distance(spec: NeuronSpec) -> float:
    """What the model calls the distance from rest to threshold, its spike_scale where that is a voltage, in volts."""
    dimensions = {name: p.dimension for name, p in spec.parameters.items()}
    is_voltage = spec.spike_scale and dimension_of(spec.spike_scale, dimensions) == unit("volt")[1]
    text = spec.spike_scale if is_voltage else "v_threshold - v_rest"
    return float(evaluate(text, {n: p.si for n, p in spec.parameters.items()}, spec.subexpressions))


@lru_cache(maxsize=64)
def psp_height(spec: NeuronSpec, name: str) -> float:
    """Largest excursion of v, with its sign, after one spike of weight 1 on receptor `name`, both in SI."""
    jacobian, states = _linearised(spec)
    v, at = states.index("v"), states.index(name)
    step, x = scipy.linalg.expm(jacobian * STEP_MS * 1e-3), np.eye(len(states))[at]
    path = np.empty(round(HORIZON_MS / STEP_MS))
    for k in range(len(path)):
        path[k], x = x[v], step @ x
    return float(path[np.abs(path).argmax()])


def psp_area_s(spec: NeuronSpec, name: str) -> float:
    """The integral of |v| over time, in V s, after one spike of weight 1 on receptor `name`: spikes at rate r hold v at r times it."""
    jacobian, states = _linearised(spec)
    return abs(float(np.linalg.solve(jacobian, np.eye(len(states))[states.index(name)])[states.index("v")]))


def holding_current(spec: NeuronSpec) -> tuple[str, float]:
    """The drive of a model, and how much of it, in SI, holds v at the threshold by the linearised steady state.

    Raises ValueError for a model without a drive, or one whose v never settles.
    """
    if not spec.drives:
        raise ValueError(f"'{spec.name}' has no drive for a background current; set background = 0")
    jacobian, states = _linearised(spec)
    drive = spec.drives[0]
    column = _rates(spec, _rest(spec), {drive: 1.0}) - _rates(spec, _rest(spec), {drive: 0.0})
    rates = np.abs(np.linalg.eigvals(jacobian))
    if rates.min() <= 1e-12 * rates.max():
        raise ValueError(f"v of '{spec.name}' has no leak and never settles under a constant current; set background = 0")
    return drive, threshold_distance(spec) / float(-np.linalg.solve(jacobian, column)[states.index("v")])


@lru_cache(maxsize=64)
def _linearised(spec: NeuronSpec) -> tuple[np.ndarray, tuple[str, ...]]:
    """Jacobian at rest in SI, by central differences, and the order of the states."""
    if "v" not in spec.states:
        raise ValueError(f"'{spec.name}' has no membrane potential v, by which weights could be given")
    rest = _rest(spec)
    jacobian = np.empty((len(rest), len(rest)))
    for k, name in enumerate(spec.states):
        h = 1e-6 * (unit(CONVENIENT.get(spec.si_unit(name), "1"))[0] if rest[k] == 0 else abs(rest[k]))
        offset = np.eye(len(rest))[k] * h
        jacobian[:, k] = (_rates(spec, rest + offset) - _rates(spec, rest - offset)) / (2 * h)
    return jacobian, spec.states


@lru_cache(maxsize=64)
def _rest(spec: NeuronSpec) -> np.ndarray:
    """The states after 2 s without input, from the model's own start."""
    start = np.array([x[0] for x in Population("cell", spec, 1).initial_values().values()])
    if not np.any(_rates(spec, start)):
        return start
    found = scipy.integrate.solve_ivp(lambda _, x: _rates(spec, x), (0, RELAXATION_S), start, method="LSODA", rtol=1e-9, atol=1e-12)
    drift = np.abs(_rates(spec, found.y[:, -1]))[spec.states.index("v")] if found.success else np.inf
    # 1 mV/s: what still moves faster is no rest, but a neuron that fires, or runs away, without input
    if not drift < 1e-3:
        raise ValueError(f"'{spec.name}' does not rest without input, so that weights cannot be given by their potential at rest")
    return found.y[:, -1]


def _rates(spec: NeuronSpec, states: np.ndarray, drives: dict[str, float] | None = None) -> np.ndarray:
    values = {n: p.si for n, p in spec.parameters.items()} | dict.fromkeys(spec.drives, 0.0) | {"xi": 0.0} | (drives or {})
    values |= dict(zip(spec.states, states))
    with np.errstate(all="ignore"):
        return np.array([float(evaluate(spec.rates[n], values, spec.subexpressions)) for n in spec.states])
