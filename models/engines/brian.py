"""Brian2, the reference engine.

The run is written out as a script (brian_script.py) and that text is executed here; Brian2 integrates
with its own schemes, so that it is a second voice beside the derived steps. Where it has no such scheme,
or its formula fails for these parameters, it is given the derived step, and `integrators()` says why.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import brian2
import numpy as np
from brian2.core.functions import DEFAULT_FUNCTIONS
from brian2.stateupdaters.base import StateUpdateMethod, UnsupportedEquationsException
from brian2.utils.logger import catch_logs

from spiketwin.models.discretisation import derive
from spiketwin.models.engines.base import (
    Inputs,
    Run,
    prepare,
    require_finite,
    require_supported,
    scheme_reasons,
)
from spiketwin.models.engines.brian_script import (
    Method,
    Script,
    brian_unit,
    compose,
    equations_of,
    shared_parameters,
)
from spiketwin.models.network import Network, Population
from spiketwin.models.recording import Record, Recording
from spiketwin.models.spikes import Spikes

logger = logging.getLogger("spiketwin")

# Brian2's own integrator for each scheme
OWN = {"euler": "euler", "exponential_euler": "exponential_euler", "exact": "exact", "rk4": "rk4", "euler_maruyama": "euler"}


@dataclass(frozen=True)
class BrianEngine:
    """codegen: Brian2's target, 'numpy', 'cython', or 'auto': cython for long runs when there is a C compiler.
    synapses_at_once: how many synapses of the replicated trials are held in memory together.
    """

    codegen: str = "auto"
    synapses_at_once: int = 5_000_000
    name: str = "brian"

    def __post_init__(self) -> None:
        if self.codegen not in ("auto", "numpy", "cython"):
            raise ValueError(f"codegen = '{self.codegen}' is not one of 'auto', 'numpy', 'cython'")

    def unsupported(self, network: Network, scheme: str) -> list[str]:
        reasons = scheme_reasons(network, scheme)
        if self.codegen == "cython":
            drawing = {p.rule.name: p.name for p in network.projections if p.rule and p.rule.draws}
            reasons += [f"rule '{r}' of '{p}' draws random numbers, which need codegen='numpy'" for r, p in drawing.items()]
        return reasons

    def run(
        self,
        network: Network,
        inputs: Inputs | None = None,
        *,
        dt_ms: float,
        scheme: str = "exact",
        duration_ms: float | None = None,
        trials: int = 1,
        record: Record | None = None,
        noise: Mapping[str, np.ndarray] | None = None,
        seed: int = 0,
        progress: Callable[[float], None] | None = None,
    ) -> Recording:
        require_supported(self, network, scheme)
        run = prepare(
            network, inputs, dt_ms=dt_ms, scheme=scheme, duration_ms=duration_ms, trials=trials, record=record, noise=noise, seed=seed
        )
        target = self._target(run)
        at_once = self._trials_at_once(run)
        chunks = [range(first, min(first + at_once, run.trials)) for first in range(0, run.trials, at_once)]
        with _brian2(target):
            script = compose(run, integrators(run), trials_at_once=at_once, target=target)
            namespace: dict = {"__name__": "spiketwin_network"}
            exec(compile(script.text, "<spiketwin network>", "exec"), namespace)  # written by us
            results = [
                namespace["simulate"](chunk, script.arrays, report=_report(progress, k, len(chunks))) for k, chunk in enumerate(chunks)
            ]
        return _recording(run, results)

    def write_script(
        self,
        path: str | Path,
        network: Network,
        inputs: Inputs | None = None,
        *,
        dt_ms: float,
        scheme: str = "exact",
        duration_ms: float | None = None,
        trials: int = 1,
        record: Record | None = None,
        noise: Mapping[str, np.ndarray] | None = None,
        seed: int = 0,
    ) -> Path:
        """Write the run as a program NAME.py, and NAME.npz beside it when arrays are large; returns the path.

        `python NAME.py` needs brian2 and numpy alone; it prints spike counts and saves the same spikes
        as run() gives in NAME_spikes.npz, as arrays 'population.step', '….trial' and '….neuron'.
        """
        path = Path(path).with_suffix(".py")
        require_supported(self, network, scheme)
        run = prepare(
            network, inputs, dt_ms=dt_ms, scheme=scheme, duration_ms=duration_ms, trials=trials, record=record, noise=noise, seed=seed
        )
        script = self._script(run)
        if script.arrays:
            with path.with_suffix(".npz").open("wb") as file:
                np.savez_compressed(file, **script.arrays)
        path.write_text(script.text, encoding="utf-8")
        return path

    def _script(self, run: Run) -> Script:
        target = self._target(run)
        with _brian2(target):
            return compose(run, integrators(run), trials_at_once=self._trials_at_once(run), target=target)

    def _target(self, run: Run) -> str:
        if self.codegen != "auto":
            return self.codegen
        if any(p.rule and p.rule.draws for p in run.network.projections):
            return "numpy"  # the numbers that synapses draw are written in numpy
        if not _has_compiler():
            _say_what_a_compiler_gains()
            return "numpy"
        # numpy: about 0.1 ms for each object and step, and 50 ns for each neuron and step; compiling takes about a minute
        parts = 3 * len(run.network.populations) + len(run.network.projections) + len(run.network.sources)
        neurons = sum(p.size for p in run.network.populations) * run.trials
        return "cython" if run.steps * (parts * 1e-4 + neurons * 5e-8) > 120 else "numpy"

    def _trials_at_once(self, run: Run) -> int:
        """As many replicas as the bound on synapses allows, and of noise, drives and states a like number of entries."""
        held = np.zeros(run.trials)
        for projection in run.network.projections:
            pre, _, _, _ = projection.synapses()
            if projection.source in run.spikes and not projection.rule:
                out = np.bincount(pre, minlength=run.network.size_of(projection.source))
                spikes = run.spikes[projection.source]
                fires = np.unique(spikes.batch * spikes.shape[2] + spikes.neuron)
                np.add.at(held, fires // spikes.shape[2], out[fires % spikes.shape[2]])
            else:
                held += len(pre)
        arrays = [v for drives in run.drives.values() for v in drives.values() if v.ndim == 3]
        entries = sum(a.size for a in (*arrays, *run.noise.values()))
        sizes = {p.name: p.size for p in run.network.populations} | {
            p.name: len(p.synapse_values()) for p in run.network.projections if p.rule
        }
        entries += sum(len(states) * sizes[name] for name, states in run.record.items()) * run.steps * run.trials
        per_trial = max(held.max(), entries / run.trials / 10, 1)
        return int(max(1, min(run.trials, self.synapses_at_once // per_trial)))


ENGINE = BrianEngine()


# -- integrators -----------------------------------------------------------------------------------


def integrators(run: Run) -> dict[str, Method]:
    """How Brian2 integrates each population. `note` says why where it is not Brian2's own scheme."""
    return {p.name: _integrator(p, run) for p in run.network.populations}


def _integrator(population: Population, run: Run) -> Method:
    scheme, spec = run.scheme, population.neuron
    if scheme not in OWN:
        return _derived(population, run, f"Brian2's own '{scheme}' corrects the diffusion only; this corrects drift and diffusion")
    if spec.is_noisy:
        body = f'''
            """Brian2's own '{OWN[scheme]}', with given numbers in place of its draws."""
            code = StateUpdateMethod.stateupdaters['{OWN[scheme]}'](equations, variables, method_options)
            return code.replace('randn()', 'xi_values(t, i)')
        '''
        return Method(body=body)
    if scheme in ("exact", "exponential_euler"):
        try:
            code = _own_code(population, OWN[scheme])
        except UnsupportedEquationsException as error:
            return _derived(population, run, f"Brian2's own '{OWN[scheme]}' refuses these equations: {' '.join(str(error).split())}")
        if scheme == "exact" and not _well_conditioned(code, population, run.dt_s):
            reason = "Brian2's own 'exact' divides by a difference of rates that vanishes, or nearly, for these parameters"
            return _derived(population, run, reason)
    return Method(name=OWN[scheme])


def _derived(population: Population, run: Run, reason: str) -> Method:
    spec = population.neuron
    step = derive(replace(spec, every_step=""), run.scheme)  # the script does that by itself, whatever integrates
    code = step.brian_method("xi_values(t, i)")(None)
    lines = [f'"""The derived step. {reason}."""', "return '''", *code.splitlines(), "'''"]
    constants = step.constant_values({**population.parameter_values()}, run.dt_s)
    formulas = {str(name): str(expression) for name, expression in step.definitions}
    values = {name: np.asarray(value, dtype=float) for name, value in constants.items()}
    return Method(body="\n".join(lines), note=f"{spec.name}, {run.scheme}: {reason}", constants=values, formulas=formulas)


def _own_code(population: Population, method: str) -> str:
    """The code of one step as Brian2 derives it. Raises UnsupportedEquationsException when it cannot."""
    spec = population.neuron
    shared, _ = shared_parameters(population)
    # equations and namespace as in the script: Brian2 then finds its result in its cache when the script runs
    namespace = {n: value * eval(brian_unit(spec.dimension(n)), {}, vars(brian2)) for n, value in shared.items()}  # a unit
    options = {"threshold": spec.threshold, "refractory": spec.refractory} if spec.refractory else {}
    group = brian2.NeuronGroup(1, "\n".join(equations_of(population)), method=method, namespace=namespace, **options)
    for part in (group, *group.contained_objects):
        part._network = "none"  # else Brian2 warns of objects that are in no network
    group.state_updater.update_abstract_code({})
    return "\n".join(line for line in group.state_updater.abstract_code.splitlines() if not line.startswith("not_refractory ="))


def _well_conditioned(code: str, population: Population, dt_s: float) -> bool:
    """Whether Brian2's formula, evaluated in double and in long double, gives the same next state.

    Where a long double is a double (Windows, ARM Macs) only NaN and infinity are found.
    """
    results = []
    for number in (np.float64, np.longdouble):
        values = {**population.parameter_values(), **population.drive_values(), **population.initial_values()}
        # a state that is zero would hide its coefficient
        probe = {s: np.where(values[s] == 0, 1e-3, values[s]) for s in population.neuron.states}
        namespace = {k: np.asarray(v, dtype=number) for k, v in {**values, **probe, "dt": dt_s}.items()}
        functions = {n: getattr(np, n) for n in ("exp", "sqrt", "sin", "cos", "sinh", "cosh", "tanh", "log")}
        namespace |= {**functions, "e": number(np.e), "pi": number(np.pi), "int": int, "not_refractory": True}
        with np.errstate(all="ignore"):
            exec(compile(code, "<Brian2's step>", "exec"), {"__builtins__": {}}, namespace)  # printed by Brian2
        results.append([np.asarray(namespace[s], dtype=number) for s in population.neuron.states])
    return all(
        bool(np.isfinite(a).all()) and bool((np.abs(a - b) <= 1e-10 * np.max(np.abs(b))).all()) for a, b in zip(*results, strict=True)
    )


# -- around Brian2 ---------------------------------------------------------------------------------


_derivations: dict[str, str] = {}


def _remembered_exact(equations, variables=None, method_options=None) -> str:
    """Brian2's own 'exact'. It takes seconds and depends on the equations alone, but Brian2 repeats it for each size and parameter value."""
    key = str(equations)
    if key not in _derivations:
        _derivations[key] = brian2.exact(equations, variables, method_options)
    return _derivations[key]


@contextmanager
def _brian2(target: str) -> Iterator[None]:
    """Brian2 with this code-generation target, its derivations remembered, and without its chatter; as before afterwards."""
    before = brian2.prefs["codegen.target"]
    brian2.prefs["codegen.target"] = target
    StateUpdateMethod.stateupdaters["exact"] = _remembered_exact
    # Brian2's numpy exprel prints its argument into an error message, needed or not, at every call: ten times
    # slower than what it computes. The function below the unit check is the same.
    exprel = DEFAULT_FUNCTIONS["exprel"]
    exprel.implementations.add_implementation("numpy", code=exprel.pyfunc._orig_func)
    try:
        with catch_logs() as messages:
            yield
        for level, origin, text in messages:
            logger.debug("Brian2 %s %s: %s", level, origin, text)
    finally:
        brian2.prefs["codegen.target"] = before
        StateUpdateMethod.stateupdaters["exact"] = brian2.exact
        exprel.implementations.add_implementation("numpy", code=exprel.pyfunc)


def _has_compiler() -> bool:
    names = os.environ["CC"].split()[:1] if os.environ.get("CC") else ["cc", "gcc", "clang", "cl"]
    return any(shutil.which(name) for name in names)


_said: set[str] = set()


def _say_what_a_compiler_gains() -> None:
    if "compiler" not in _said:
        _said.add("compiler")
        logger.warning(
            "Brian2 runs on numpy: no C compiler was found. With one, long runs of small networks would be about 5 to 20 times faster."
        )


def _report(progress: Callable[[float], None] | None, chunk: int, chunks: int) -> Callable | None:
    if progress is None:
        return None
    return lambda elapsed, share, start, duration: progress((chunk + float(share)) / chunks)


def _recording(run: Run, results: list[tuple[dict, dict, dict]]) -> Recording:
    spikes, states, final = {}, {}, {}
    for population in run.network.populations:
        name, shape = population.name, (run.steps, run.trials, population.size)
        step, trial, neuron = np.concatenate([s[name] for s, _, _ in results], axis=1)
        spikes[name] = Spikes(step, trial, neuron, shape, run.dt_ms)
        states[name] = {x: np.concatenate([r[name][x] for _, r, _ in results], axis=1) for x in run.record.get(name, ())}
        final[name] = {x: np.concatenate([r[name][x] for _, _, r in results], axis=0) for x in population.neuron.states}
        require_finite(population, final[name], run.scheme, run.dt_ms)
    weights = {p.name: np.zeros((run.trials, len(p.synapse_values()))) for p in run.network.projections if p.rule}
    for name in weights:
        if weights[name].size:
            weights[name] = np.concatenate([f[name]["w"] for _, _, f in results], axis=0)
        if run.record.get(name):
            states[name] = {"w": np.concatenate([r[name]["w"] for _, r, _ in results], axis=1)}
    return Recording("brian", run.scheme, run.dt_ms, spikes, states, final, run.seed, weights)
