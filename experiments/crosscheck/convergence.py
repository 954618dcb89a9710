"""Level 2, convergence: the error against the adaptive truth falls with the order that the scheme declares.

Two errors per model and scheme: the states below threshold, and the time of the first spike between grid
points. A model that spikes at random is checked on its accumulated hazard, one with noise path by path.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy.integrate import simpson

from spiketwin.experiments.crosscheck.checks import Check
from spiketwin.experiments.crosscheck.fitting import Stepper, fitted_order, plateau
from spiketwin.models.discretisation import SCHEMES, margin
from spiketwin.models.engines.scipy import ScipyEngine
from spiketwin.models.expressions import evaluate
from spiketwin.models.network import Network, Population
from spiketwin.models.neurons import neuron
from spiketwin.models.neurons.stimuli import stimulus
from spiketwin.models.recording import Recording
from spiketwin.models.spec import NeuronSpec
from spiketwin.models.units import quantity

LEVEL = "convergence"
ORDER_TOLERANCE = 0.1
EXACT_BOUND = 1e-8  # the adaptive truth's own error, with margin
FLOOR = 2e-12  # relative error below which the truth, not the scheme, is measured
WINDOW_MS = 16.0
FINEST = 10  # halvings of the coarsest step


def check(name: str, schemes: tuple[str, ...]) -> tuple[list[Check], dict]:
    """Rows for one model and some schemes, and the curves of the error figure."""
    rows, curves = [], {}
    for scheme in schemes:
        found, drawn = _check(neuron(name), scheme)
        rows += found
        curves |= drawn
    return rows, {"convergence": {name: curves}}


def _check(spec: NeuronSpec, scheme: str) -> tuple[list[Check], dict]:
    name, order = spec.name, SCHEMES[scheme].order
    if spec.is_noisy:
        measured = {"path error": _path_errors(spec, scheme)}
        order = SCHEMES[scheme].strong_order or order
    else:
        measured = {"state below threshold": _state_errors(spec, scheme)}
        if spec.has_random_threshold:
            measured["accumulated hazard"] = _hazard_errors(spec, scheme)
        elif spec.threshold:
            measured["first spike time"] = _spike_errors(spec, scheme)
    rows, curves = [], {}
    for quantity_name, (dt, error) in measured.items():
        # the sum of hazards over a grid is a rectangle rule, whatever steps the membrane
        declared = 1 if quantity_name == "accumulated hazard" else order
        # dv/dt = constant is integrated without error by any scheme: there is no order to measure
        if np.isinf(declared) or np.nanmax(error) < FLOOR:
            rows.append(Check(name, LEVEL, f"{scheme}: error, {quantity_name}", float(np.nanmax(error)), (0, EXACT_BOUND)))
            curves[f"{scheme} · {quantity_name}"] = {"dt_ms": dt.tolist(), "error": error.tolist(), "slope": None, "order": None}
            continue
        slope, used = fitted_order(dt, error, max(FLOOR, plateau(error)))
        rows.append(
            Check(name, LEVEL, f"{scheme}: order, {quantity_name}", slope, (declared - ORDER_TOLERANCE, declared + ORDER_TOLERANCE))
        )
        curves[f"{scheme} · {quantity_name}"] = {
            "dt_ms": dt[used].tolist(),
            "error": error[used].tolist(),
            "slope": slope,
            "order": declared,
        }
    return rows, curves


def _grid(spec: NeuronSpec, of_spike: bool = False) -> np.ndarray:
    """Steps in ms, each half the one before. of_spike: for the time of the first spike."""
    if spec.name.startswith("diehl_cook"):  # synapses of 1 ms, and a membrane of 10 or 100 ms that alone decides about the first spike
        return (spec.parameters["tau_mem"].value / 8 if of_spike else 0.5) / 2.0 ** np.arange(FINEST)
    coarsest = 0.25 if spec.name.startswith("hh") else 1.0 if spec.name in ("adex", "izhikevich") else 4.0
    return coarsest / 2.0 ** np.arange(FINEST)


def _refine(dt: np.ndarray, error_at) -> tuple[np.ndarray, np.ndarray]:
    """Errors from the coarsest step on, until the local slope has settled or the truth's own error is reached."""
    errors: list[float] = []
    for step in dt:
        # a step too large for the scheme overflows; the error is then infinite, which is its measure
        with np.errstate(all="ignore"):
            errors.append(error_at(step))
        slopes = -np.diff(np.log2(np.maximum(errors[-4:], 1e-300)))
        settled = len(errors) >= 6 and np.all(np.isfinite(slopes)) and np.ptp(slopes) < 0.03
        if settled or (len(errors) >= 5 and max(errors[-2:]) < max(FLOOR, plateau(np.array(errors)))):
            break
    return dt[: len(errors)], np.array(errors)


def _population(spec: NeuronSpec, amplitude: float, drive_share: float, kicked: bool) -> Population:
    """One neuron under `drive_share` of its standard current, its receptor kicked by `amplitude` standard weights."""
    standard = stimulus(spec.name)
    drives = {d: drive_share * quantity(text)[0] for d, text in standard["drive"].items()}
    parameters = _resolved(spec) | (dict(standard["quiet"]) if kicked else {})
    rest = Population("one", spec, 1, parameters, drives)
    kick = standard["receptor"] if kicked else ""
    initial = {kick: rest.initial_values()[kick] + amplitude * quantity(standard["weight"])[0]} if kick else {}
    return Population("one", spec, 1, parameters, drives, initial)


def _resolved(spec: NeuronSpec) -> dict:
    """Parameters that keep the upstroke resolvable: AdEx' grows as exp(v/delta_t) and, far above v_t, outruns any fixed step."""
    return {"v_peak": "-46 mV"} if spec.name == "adex" else {}


def _truth(population: Population, duration_ms: float, dt_ms: float) -> Recording:
    return ScipyEngine(rtol=1e-13).run(
        Network((population,)), dt_ms=dt_ms, duration_ms=duration_ms, record={"one": population.neuron.states}
    )


def _silent(spec: NeuronSpec) -> NeuronSpec:
    """The same membrane without its random threshold: what the adaptive truth can integrate."""
    return replace(spec, threshold="", reset="", refractory="", equations=spec.equations.replace("(unless refractory)", ""), spike_scale="")


def _values(population: Population) -> tuple[dict, dict]:
    state = {n: float(v[0]) for n, v in population.initial_values().items()}
    return {**population.parameter_values(), **population.drive_values()}, state


@lru_cache(maxsize=32)
def _state_truth(spec: NeuronSpec) -> tuple[Population, dict[str, np.ndarray]]:
    """A neuron below threshold, and its states on the coarsest grid: the kick is halved until it does not spike."""
    coarsest = _grid(spec)[0]
    amplitude = 1.0
    while True:
        population = _population(spec, amplitude, 0.5 * amplitude, kicked=True)
        subject = population if not spec.has_random_threshold else replace(population, neuron=_silent(spec))
        truth = _truth(subject, WINDOW_MS + coarsest, coarsest)
        if not len(truth.spikes["one"]):
            return population, {n: x[:, 0, 0] for n, x in truth.states["one"].items()}
        amplitude /= 2


@lru_cache(maxsize=32)
def _spike_truth(spec: NeuronSpec) -> tuple[Population, float]:
    """A neuron under the standard current from rest, and the time of its first spike in ms."""
    population = _population(spec, 0.0, 1.0, kicked=False)
    for duration_ms in (10.0, 40.0, 160.0):
        found = _truth(population, duration_ms, 1.0).spikes["one"].times_ms()
        if len(found):
            return population, float(found[0])
    raise ValueError(
        f"the standard stimulus of '{spec.name}' does not make it fire in {duration_ms} ms; raise it in models/neurons/stimuli.py"
    )


def _state_errors(spec: NeuronSpec, scheme: str) -> tuple[np.ndarray, np.ndarray]:
    """Largest error of any state at the points of the coarsest grid, over the range the state covers."""
    dt = _grid(spec)
    population, expected = _state_truth(spec)
    values, state = _values(population)
    intervals = len(next(iter(expected.values()))) - 1

    def error_at(step_ms: float) -> float:
        every = round(dt[0] / step_ms)
        got = Stepper(spec, scheme, values, step_ms * 1e-3).trajectory(state, intervals * every)
        # of a state that hardly moves, such as a threshold that forgets within hours, rounding would be measured
        scales = {n: max(np.ptp(x), 1e-3 * np.max(np.abs(x))) for n, x in expected.items() if np.ptp(x) > 0}
        return max(float(np.max(np.abs(got[n][::every] - expected[n])) / scale) for n, scale in scales.items())

    return _refine(dt, error_at)


def _spike_errors(spec: NeuronSpec, scheme: str) -> tuple[np.ndarray, np.ndarray]:
    """Relative error of the first spike's time under the standard current from rest."""
    population, expected_ms = _spike_truth(spec)
    values, state = _values(population)

    def error_at(step_ms: float) -> float:
        found = Stepper(spec, scheme, values, step_ms * 1e-3).first_spike_s(state, int(2 * expected_ms / step_ms))
        return abs(found * 1e3 - expected_ms) / expected_ms

    return _refine(_grid(spec, of_spike=True), error_at)


def _hazard_errors(spec: NeuronSpec, scheme: str) -> tuple[np.ndarray, np.ndarray]:
    """Relative error of -log of the probability to stay silent for a window under the standard current."""
    dt = _grid(spec)
    population = _population(spec, 0.0, 1.0, kicked=False)
    values, state = _values(population)
    probability = margin(spec)[0]

    def hazard(states: dict, step_s: float) -> np.ndarray:
        p = evaluate(probability, {**values, **states, "dt": step_s, "uniform": 0.0})
        return -np.log1p(-p) / step_s

    fine_ms = 1 / 64
    truth = _truth(replace(population, neuron=_silent(spec)), WINDOW_MS + fine_ms, fine_ms).states["one"]
    rates = hazard({n: x[:, 0, 0] for n, x in truth.items()}, 1e-6)
    expected = simpson(rates, dx=fine_ms * 1e-3)

    def error_at(step_ms: float) -> float:
        steps = round(WINDOW_MS / step_ms)
        got = Stepper(spec, scheme, values, step_ms * 1e-3).trajectory(state, steps)
        after = {n: x[1:] for n, x in got.items()}
        return abs(np.sum(hazard(after, step_ms * 1e-3)) * step_ms * 1e-3 - expected) / expected

    return _refine(dt, error_at)


def _path_errors(spec: NeuronSpec, scheme: str, paths: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Root-mean-square error of the states at the end of the window, for the same Brownian paths as a step 64 times finer."""
    dt = _grid(spec)[2:7]
    finest = dt[-1] / 64
    population = _population(spec, 1.0, 0.5, kicked=True)
    values, state = _values(population)
    start = {n: np.full(paths, x) for n, x in state.items()}
    increments = np.random.default_rng(1).standard_normal((round(WINDOW_MS / finest), paths))

    def final(step_ms: float) -> dict[str, np.ndarray]:
        every = round(step_ms / finest)
        # a normal draw of the coarse step is the sum of the fine ones over sqrt(their number)
        noise = increments.reshape(-1, every, paths).sum(axis=1) / np.sqrt(every)
        run = Stepper(spec, scheme, values, step_ms * 1e-3).trajectory(start, len(noise), noise)
        return {n: x[-1] for n, x in run.items()}

    truth = final(finest)
    names = [n for n, x in truth.items() if np.ptp(x) > 0]
    return dt, np.array([max(np.sqrt(np.mean((final(s)[n] - truth[n]) ** 2)) / np.ptp(truth[n]) for n in names) for s in dt])
