"""Level 1, identity: same scheme, same dt, float64 gives equal spike trains in all engines.

Brian2 is the reference; the torch and compiled engines run steps derived from the same declaration.
"""

from __future__ import annotations

import numpy as np

from spiketwin.experiments.crosscheck import cases
from spiketwin.experiments.crosscheck.checks import Check
from spiketwin.models.engines import get_engine
from spiketwin.models.neurons import neuron
from spiketwin.models.recording import Recording

LEVEL = "identity"
REFERENCE = "brian"
OTHERS = ("torch", "compiled")
STATE_BOUND = 1e-9  # of the state's scale: 10⁷ roundings of 1e-16, far below what a different step would give
# The recurrent network of this model amplifies roundings: to 1.6e-9 where torch's exp rounds another way (an AMD processor).
AMPLIFIED = {("hh_1952", cases.RECURRENT): 1e-8}


def check(
    name: str, scheme: str, *, dt_ms: float | None = None, duration_ms: float = cases.DURATION_MS, seed: int = 1
) -> tuple[list[Check], dict]:
    """Rows for one model and scheme, and the curves of the overlay and raster figures."""
    spec = neuron(name)
    network = cases.case(name, seed=seed)
    dt_ms = dt_ms or cases.dt_ms(spec, scheme)
    record = {p.name: spec.states if p.name == cases.SINGLE else (spec.states[0],) for p in network.populations}
    runs = {}
    rows: list[Check] = []
    for engine_name in (REFERENCE, *OTHERS):
        engine = get_engine(engine_name)
        if reasons := engine.unsupported(network, scheme):
            rows.append(Check(name, LEVEL, f"{scheme}: {engine_name} supports it ({reasons[0]})", 0.0, (1.0, 1.0)))
            continue
        runs[engine_name] = engine.run(network, dt_ms=dt_ms, scheme=scheme, duration_ms=duration_ms, record=record, seed=seed)
    reference = runs.pop(REFERENCE)
    for population in (cases.SINGLE, cases.RECURRENT):
        if spec.threshold:
            fired = (reference.spikes[population].counts() > 0).mean()
            rows.append(Check(name, LEVEL, f"{scheme}, {population}: share of neurons that spike", float(fired), (0.5, 1.0)))
        for engine_name, run in runs.items():
            what = f"{scheme}, {population}: {{}}, {engine_name} against {REFERENCE}"
            if spec.threshold:
                rows.append(
                    Check(name, LEVEL, what.format("spikes that differ"), _spikes_apart(reference, run, population), (0, 0), "spikes")
                )
            rows.append(
                Check(
                    name,
                    LEVEL,
                    what.format("state difference over scale"),
                    _states_apart(reference, run, population),
                    (0, AMPLIFIED.get((name, population), STATE_BOUND)),
                )
            )
    return rows, _curves(name, spec.states[0], {REFERENCE: reference, **runs})


def _spikes_apart(a: Recording, b: Recording, population: str) -> float:
    """How many events are in one train and not in the other."""
    sets = [
        set(zip(s.step.tolist(), s.batch.tolist(), s.neuron.tolist(), strict=True)) for s in (a.spikes[population], b.spikes[population])
    ]
    return float(len(sets[0] ^ sets[1]))


def _states_apart(a: Recording, b: Recording, population: str) -> float:
    """Largest difference of any recorded or final state, as a share of the range that state covers."""
    worst = 0.0
    for name, x in a.states[population].items():
        scale = max(np.ptp(x), 1e-30)
        worst = max(worst, float(np.max(np.abs(x - b.states[population][name])) / scale))
        final = np.abs(a.final[population][name] - b.final[population][name])
        worst = max(worst, float(np.max(final) / scale))
    return worst


def _curves(name: str, state: str, runs: dict[str, Recording]) -> dict:
    """Voltage of the middle single neuron over the first 100 ms, and the network's raster, engine by engine."""
    first = next(iter(runs.values()))
    steps = min(len(first.time_ms), int(100 / first.dt_ms))
    stride = max(1, steps // 1000)
    middle = first.spikes[cases.SINGLE].shape[2] // 2
    voltage = {e: (1e3 * r.states[cases.SINGLE][state][:steps:stride, 0, middle]).tolist() for e, r in runs.items()}
    curves = {"overlay": {name: {"time_ms": first.time_ms[:steps:stride].tolist(), "state": state, "unit": "mV", "engines": voltage}}}
    network = {e: r.spikes[cases.RECURRENT] for e, r in runs.items()}
    if any(len(s) for s in network.values()):
        curves["raster"] = {name: {e: {"time_ms": s.times_ms().tolist(), "neuron": s.neuron.tolist()} for e, s in network.items()}}
    return curves
