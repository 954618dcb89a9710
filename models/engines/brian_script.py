"""A network written out as a Brian2 script that needs brian2 and numpy alone.

The engine executes the same text, so that what a person reads is what ran. Large arrays go to a
companion .npz; trials are replicas side by side: neuron n of trial b is neuron b·N + n of its group.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from textwrap import dedent, indent

import brian2
import numpy as np

from spiketwin.models.discretisation.printing import code
from spiketwin.models.discretisation.symbols import to_sympy
from spiketwin.models.engines.base import Run, delay_steps
from spiketwin.models.engines.synapse_draws import NUMPY, synapse_stream
from spiketwin.models.network import Population, Projection
from spiketwin.models.plasticity import DRAW, GATE, WEIGHT, PlasticityRule
from spiketwin.models.spec import NeuronSpec, parse_equations, parse_statements
from spiketwin.models.units import BASE, DIMENSIONLESS, Dimension, identifiers
from spiketwin.models.units import unit as unit_factor

INLINE = 60  # longer arrays go to the .npz


@dataclass(frozen=True)
class Method:
    """How Brian2 integrates a population: the name of its own scheme, or the source of a function, and why."""

    name: str = ""
    body: str = ""
    note: str = ""
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)
    formulas: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Script:
    """text: the Python source.  arrays: what its companion .npz holds."""

    text: str
    arrays: Mapping[str, np.ndarray]


def compose(run: Run, methods: Mapping[str, Method], *, trials_at_once: int, target: str) -> Script:
    """The script of a run. methods: population -> Method.  target: Brian2's code generation, 'numpy' or 'cython'."""
    return _Writer(run, methods, trials_at_once, target).script()


# -- units -----------------------------------------------------------------------------------------


def brian_unit(dimension: Dimension) -> str:
    """SI unit as Brian2's equations take it: 'volt', 'amp*metre**-2', '1'."""
    for name, known in BASE.items():
        if known == dimension:
            return name
    names = ("metre", "kilogram", "second", "amp")
    return "*".join(n if e == 1 else f"{n}**{e}" for n, e in zip(names, dimension, strict=True) if e)


def with_unit(values: np.ndarray, unit: str, dimension: Dimension) -> tuple[np.ndarray, str]:
    """SI values as numbers and the unit that multiplies them, such that the product is the same float; SI if no such numbers are found."""
    if dimension == DIMENSIONLESS and unit in ("", "1"):
        return values, ""
    if unit:
        text = unit if re.fullmatch(r"\w+", unit) else f"({unit.replace('^', '**')})"
        try:
            factor = float(eval(text, {"__builtins__": {}}, vars(brian2)))  # a unit, checked by the declaration
        except NameError:
            factor = 0.0
        if factor:
            numbers = values / factor
            for candidate in (np.vectorize(lambda x: float(f"{x:.12g}"), otypes=[float])(numbers), numbers):
                if np.array_equal(candidate * factor, values):
                    return candidate, text
    base = brian_unit(dimension)
    return values, "" if base == "1" else base if re.fullmatch(r"\w+", base) else f"({base})"


def identifier(name: str, taken: set[str]) -> str:
    """`name` as a Python and Brian2 name, different from those taken."""
    text = re.sub(r"\W", "_", name)
    text = text if text[:1].isalpha() else f"n{text}"
    while text in taken:
        text += "_"
    taken.add(text)
    return text


# -- a population as Brian2 sees it ----------------------------------------------------------------


def shared_parameters(population: Population) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Parameters in SI: those with one value for all neurons, and those that differ, [size]."""
    values = population.parameter_values()
    own = {n: v for n, v in values.items() if v.ndim and np.ptp(v) > 0}
    return {n: float(v.flat[0]) for n, v in values.items() if n not in own}, own


def equations_of(population: Population) -> list[str]:
    """The model's equations as declared, and a line for each parameter that differs between neurons."""
    lines = [line.strip() for line in population.neuron.equations.splitlines() if line.strip()]
    return lines + [f"{n} : {brian_unit(population.neuron.dimension(n))} (constant)" for n in shared_parameters(population)[1]]


def every_step(spec: NeuronSpec) -> str:
    """The statements that a model executes before it integrates, one a line, without the functions that Brian2 lacks."""
    return "\n".join(
        f"{s.target} {s.operator} " + (code(to_sympy(s.expression), "brian") if "maximum" in s.expression else s.expression)
        for s in spec.every_step_statements
    )


def plastic_equations(rule: PlasticityRule) -> list[str]:
    """What synapses hold: their weight, the traces as they see them, and their own states."""
    watched = set().union(*(identifiers(s.expression) | {s.target} for s in rule.statements["every"]))
    watched |= identifiers(rule.every_step_if) if rule.every_step_if else set()
    lines = ["w : 1", *(["number : integer (constant)"] if rule.draws else [])]
    for text in (rule.pre_traces, rule.post_traces, rule.synapse_states):
        for line, equation in zip(_lines(text), parse_equations(text), strict=True):
            kind = "clock-driven" if equation.name in watched else "event-driven"
            lines.append(f"{line} ({kind})" if equation.kind == "differential" else line)
    return lines


def every_step_of(rule: PlasticityRule) -> list[str]:
    """every_step; where its condition does not hold, weights and states become what they were."""
    lines = _lines(_draws(rule.every_step, rule.on_pre, rule.on_post))
    if not rule.every_step_if:
        return lines
    kept, out = {WEIGHT, *rule.memory}, [f"{GATE} = int({rule.every_step_if})"]
    for s in parse_statements("\n".join(lines), "every_step"):
        value = {"=": s.expression, "+=": f"{s.target} + ({s.expression})", "-=": f"{s.target} - ({s.expression})"}[s.operator]
        out.append(
            f"{s.target} = {GATE}*({value}) + (1 - {GATE})*{s.target}" if s.target in kept else f"{s.target} {s.operator} {s.expression}"
        )
    return out


def _draws(text: str, *before: str) -> str:
    """rand() as this package draws it, numbered on from those in the texts before."""
    number = count(sum(len(DRAW.findall(other)) for other in before))
    return DRAW.sub(lambda _: f"drawn(number, t_in_timesteps, {next(number)})", text)


def _lines(text: str) -> list[str]:
    """Equations or statements, one a line."""
    return [line for part in re.split(r"[;\n]", text) if (line := part.strip())]


# -- the writer ------------------------------------------------------------------------------------

HELPERS = '''
def replicated(pre, n_pre, post, n_post, trials):
    """Synapses of one network copied for each trial: source and target indices, and which synapse each is a copy of."""
    trial = np.arange(trials)[:, None]
    return (pre + n_pre*trial).ravel(), (post + n_post*trial).ravel(), np.tile(np.arange(len(pre)), trials)


def spikes_of(step, trial, neuron, size, trials):
    """Steps and indices of the spikes in these trials, and the sorted indices that fire at all."""
    keep = (trial >= trials.start) & (trial < trials.stop)
    neurons = size*len(trials)
    step, index = np.divmod(np.unique(step[keep].astype(np.int64)*neurons + (trial[keep] - trials.start)*size + neuron[keep]), neurons)
    fires, index = np.unique(index, return_inverse=True)
    return step, index, fires


def fed_by(fires, pre, n_pre, post, n_post):
    """Synapses of the source neurons that fire (the silent ones change nothing); pre is sorted."""
    trial, neuron = np.divmod(fires, n_pre)
    first, last = np.searchsorted(pre, neuron), np.searchsorted(pre, neuron, side='right')
    count = last - first
    source = np.repeat(np.arange(len(fires)), count)
    which = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
    return source, post[which] + n_post*trial[source], which


def normalise(synapses, total, targets):
    """Scale the incoming weights of each target so that they sum to total."""
    sums = np.bincount(synapses.j, synapses.w, targets)
    synapses.w = synapses.w*np.where(sums > 0, total/np.where(sums > 0, sums, 1), 1)[synapses.j]


def per_trial(values, trials):
    """[T, B, N] of all trials -> [T, b*N] of these."""
    return values[:, trials.start:trials.stop].reshape(len(values), -1)
'''


class _Writer:
    def __init__(self, run: Run, methods: Mapping[str, Method], trials_at_once: int, target: str) -> None:
        self.run, self.methods, self.trials_at_once, self.target = run, methods, trials_at_once, target
        self.arrays: dict[str, np.ndarray] = {}
        self.head: list[str] = []  # constants and equations, at the top
        self.body: list[str] = []  # inside simulate()
        taken: set[str] = set()
        parts = (*run.network.populations, *run.network.sources, *run.network.projections)
        self.names = {p.name: identifier(p.name, taken) for p in parts}

    def script(self) -> Script:
        for population in self.run.network.populations:
            self._population(population)
        for source in self.run.network.sources:
            self._source(source.name, source.size)
        for projection in self.run.network.projections:
            self._projection(projection)
        for population in self.run.network.populations:
            self._monitors(population)
        body = "\n".join(
            [
                "clock, network = Clock(DT), Network()",
                *self.body,
                "",
                "network.run(STEPS*DT, report=report, report_period=0.5*second, namespace={})",
                "",
                *self._results(),
                "return spikes, states, final",
            ]
        )
        chance = any(p.rule and p.rule.draws for p in self.run.network.projections)
        text = "\n".join([self._title(), *self.head, HELPERS + NUMPY * chance, "", "def simulate(trials, arrays, report=None):"])
        text += '\n    """Spikes, recorded states [T, B, N] and last states [B, N], in SI, of a range of trials."""\n'
        return Script(text + indent(body, "    ") + self._main(), self.arrays)

    # -- parts of the text --

    def _title(self) -> str:
        run, network = self.run, self.run.network
        lines = [f"{s.name}: {s.size} spike trains" for s in network.sources]
        lines += [f"{p.name}: {p.size} × {p.neuron.name} ({p.neuron.source})" for p in network.populations]
        lines += [f"{p.source} -> {p.target}.{p.receptor}" for p in network.projections]
        summary = "\n".join(f"    {line}" for line in lines)
        return f'''"""A spiking network for Brian2, written by spiketwin; it needs brian2 and numpy alone.

{summary}

Scheme {run.scheme}, {run.steps} steps of {run.dt_ms:g} ms. Trials run side by side: neuron n of trial b has index b*N + n.
Run it as a program: it prints spike counts and saves step, trial and neuron of every spike in an .npz beside it.
"""

from pathlib import Path

import numpy as np
from brian2 import *
from brian2.stateupdaters.base import StateUpdateMethod

DT = {run.dt_ms!r}*ms
STEPS = {run.steps}
TRIALS = {run.trials}
TRIALS_AT_ONCE = {self.trials_at_once}  # bounds the memory of the replicas
'''

    def _population(self, p: Population) -> None:
        name, spec, run = self.names[p.name], p.neuron, self.run
        method = self.methods[p.name]
        shared, own = shared_parameters(p)
        descriptions = {n: q.description for n, q in spec.parameters.items()}
        constants = [self._constant(p, n, v, descriptions[n]) for n, v in shared.items()]
        settings, timed = [], []
        for key, value in own.items():
            settings.append((key, self._value(f"{p.name}.{key}", value, spec.parameters[key].unit, spec.dimension(key), tile=True)))
        equations = equations_of(p)
        for key, value in method.constants.items():
            if value.ndim and np.ptp(value) > 0:
                equations.append(f"{key} : 1 (constant)")
                settings.append((key, self._value(f"{p.name}.{key}", value, "", DIMENSIONLESS, tile=True)))
            else:
                constants.append(f"    {key}={float(value.flat[0])!r},  # = {method.formulas[key]}, for the step below")

        extra = []
        for key, value in run.drives[p.name].items():
            if value.ndim == 3:
                per_neuron = value.shape[1:] != (1, 1)
                stored = np.broadcast_to(value, (run.steps, run.trials, p.size)) if per_neuron else value[:, 0, 0]
                factor = brian_unit(spec.dimension(key))
                extra.append(self._timed(f"{p.name}.{key}", f"{key}_values", stored, "" if factor == "1" else f"*{factor}"))
                timed.append(f"{key} = {key}_values({'t, i' if per_neuron else 't'})")
            elif value.any():
                settings.append((key, self._value(f"{p.name}.{key}", value, self._unit(p, key), spec.dimension(key), tile=True)))
        threshold, method_text = spec.threshold, repr(method.name)
        if f"{p.name}.rand" in run.noise:
            threshold = re.sub(r"\brand\(\)", "rand_values(t, i)", threshold)
            extra.append(self._timed(f"{p.name}.rand", "rand_values", run.noise[f"{p.name}.rand"]))
        if f"{p.name}.xi" in run.noise:
            extra.append(self._timed(f"{p.name}.xi", "xi_values", run.noise[f"{p.name}.xi"]))

        newline = "\n"
        self.head += ["", f"# {p.name}: {p.size} × {spec.name}", f"{name}_equations = '''", *equations, "'''", f"{name}_constants = dict("]
        self.head += [*constants, ")"]
        if method.body:
            method_text = f"{name}_method"
            self.head += [
                "",
                "",
                f"def {name}_method(equations, variables=None, method_options=None):",
                indent(dedent(method.body).strip(newline), "    "),
                "",
            ]
        options = {
            "threshold": threshold,
            "reset": spec.reset.strip() if threshold else "",
            "refractory": spec.refractory if threshold else "",
        }
        given = ", ".join(f"{k}={v!r}" for k, v in options.items() if v)
        namespace = f"dict({name}_constants, {', '.join(extra)})" if extra else f"{name}_constants"
        self.body += ["", f"# {p.name}", f"{name}_neurons = NeuronGroup(", f"    {p.size}*len(trials), {name}_equations,"]
        self.body += [f"    {given},"] if given else []
        self.body += [f"    method={method_text}, namespace={namespace}, clock=clock, name='{name}')"]
        for state, value in p.initial_values().items():
            if value.any():
                settings.append(
                    (state, self._value(f"{p.name}.initial.{state}", value, self._unit(p, state), spec.dimension(state), tile=True))
                )
        self.body += [f"{name}_neurons.{key} = {text}" for key, text in settings]
        if spec.every_step:
            self.body.append(f"{name}_neurons.run_regularly({every_step(spec)!r}, when='before_groups')")
        # a drive holds its value for the whole step, in every stage of the scheme
        self.body += [f"{name}_neurons.run_regularly({text!r}, when='before_start')" for text in timed]
        self.body.append(f"network.add({name}_neurons)")

    def _source(self, name: str, size: int) -> None:
        key, spikes = self.names[name], self.run.spikes[name]
        columns = [self._array(f"{name}.{c}", getattr(spikes, c).astype(np.int32)) for c in ("step", "batch", "neuron")]
        self.body += ["", f"# {name}: a spike labelled n is sent in step n"]
        self.body += [f"{key}_step, {key}_index, {key}_fires = spikes_of({', '.join(columns)}, {size}, trials)"]
        if any(p.rule and p.source == name for p in self.run.network.projections):
            # synapses that learn are all there, also those of silent trains
            self.body += [f"{key}_index, {key}_fires = {key}_fires[{key}_index], np.arange({size}*len(trials))"]
        self.body += [
            f"{key}_source = SpikeGeneratorGroup(max(len({key}_fires), 1), {key}_index, {key}_step*DT, sorted=True, clock=clock, name='{key}')"
        ]
        self.body.append(f"network.add({key}_source)")

    def _projection(self, p: Projection) -> None:
        key, network = self.names[p.name], self.run.network
        source, target = self.names[p.source], self.names[p.target]
        spec = network.population(p.target).neuron
        pre, post, weight, delay_ms = p.synapses()
        if not len(pre):
            return
        external = p.source not in [q.name for q in network.populations]
        n_pre, n_post = network.size_of(p.source), network.size_of(p.target)
        pre_text, post_text = self._array(f"{p.name}.pre", pre.astype(np.int32)), self._array(f"{p.name}.post", post.astype(np.int32))
        numbers, unit = with_unit(weight, p.unit, spec.dimension(p.receptor))
        self.body += ["", f"# {p.source} -> {p.receptor} of {p.target}", f"pre, post = {pre_text}, {post_text}"]
        if p.rule:  # a silent neuron's weights may change with the spikes of others
            external = False
        if external:
            self.body += [f"i, j, which = fed_by({source}_fires, pre, {n_pre}, post, {n_post})"]
        else:
            self.body += [f"i, j, which = replicated(pre, {n_pre}, post, {n_post}, len(trials))"]
        # delays in whole steps: no rounding is left to the simulator
        steps = delay_steps(delay_ms, self.run.dt_ms)
        delay = f", delay={int(steps[0])}*DT" if np.ptp(steps) == 0 and steps[0] else ""
        group = f"{source}_{'source' if p.source in self.run.spikes else 'neurons'}"
        if p.rule:
            lines = self._plastic(key, p, p.rule, f"{group}, {target}_neurons", delay)
            values = f"{key}_synapses.w = {self._array(f'{p.name}.weight', p.synapse_values())}[which]"
        else:
            lines = [
                f"{key}_synapses = Synapses(",
                f"    {group}, {target}_neurons, 'weight : {brian_unit(spec.dimension(p.receptor))} (constant)',",
                f"    on_pre='{p.receptor}_post += weight'{delay}, clock=clock, name='{key}')",
            ]
            values = f"{key}_synapses.weight = {self._array(f'{p.name}.weight', numbers)}[which]{'*' + unit if unit else ''}"
        lines += [f"{key}_synapses.connect(i=i, j=j)", values]
        if np.ptp(steps) > 0:
            lines += [f"{key}_synapses.delay = {self._array(f'{p.name}.delay_steps', steps.astype(np.int32))}[which]*DT"]
        lines += [f"network.add({key}_synapses)"]
        lines += self._plastic_operations(key, p, p.rule, n_post) if p.rule else []
        # Brian2 refuses synapses that connect nothing
        self.body += ["if len(i):  # else no input spike in these trials", *(f"    {line}" for line in lines)] if external else lines

    def _plastic(self, key: str, p: Projection, rule: PlasticityRule, groups: str, delay: str) -> list[str]:
        """Synapses that run a rule as it is declared; what decays between events is event-driven, so exact, unless read all the time."""
        constants = []
        for name, parameter in rule.parameters.items():
            text = self._value("", parameter.si, parameter.unit, parameter.dimension)
            constants.append(f"    {name}={text},{'  # ' + parameter.description if parameter.description else ''}")
        dimension = self.run.network.population(p.target).neuron.dimension(p.receptor)
        constants.append(f"    weight_unit={self._value('', unit_factor(p.unit or '1')[0], p.unit, dimension)},")
        if rule.draws:
            seed = synapse_stream(self.run.seed, self.run.network.projections.index(p))
            constants.append(
                f"    drawn=Function(lambda *which: drawn({int(seed)}, {rule.draws}, *which), arg_units=[1, 1, 1], return_unit=1),"
            )
        sent = f"w*weight_unit*({rule.efficacy})" if rule.efficacy else "w*weight_unit"
        on_pre, on_post = [f"{p.receptor}_post += {sent}", *_lines(_draws(rule.on_pre))], _lines(_draws(rule.on_post, rule.on_pre))
        self.head += ["", f"# {p.name}: {rule.name} ({rule.source})", f"{key}_equations = '''", *plastic_equations(rule), "'''"]
        self.head += [f"{key}_on_pre = '''", *on_pre, "'''", f"{key}_on_post = '''", *on_post, "'''"]
        if rule.every_step:
            self.head += [f"{key}_every_step = '''", *every_step_of(rule), "'''"]
        self.head += [f"{key}_constants = dict(", *constants, ")"]
        given = f"on_pre={key}_on_pre" + (f", on_post={key}_on_post" if on_post else "")
        return [
            f"{key}_synapses = Synapses(",
            f"    {groups}, {key}_equations,",
            f"    {given}{delay}, method='exact', namespace={key}_constants, clock=clock, name='{key}')",
        ]

    def _plastic_operations(self, key: str, p: Projection, rule: PlasticityRule, n_post: int) -> list[str]:
        lines = []
        if rule.draws:
            lines += [f"{key}_synapses.number = which + {len(p.synapse_values())}*np.repeat(trials, {len(p.synapse_values())})"]
        if rule.every_step:
            lines += [f"{key}_synapses.run_regularly({key}_every_step, clock=clock, when='after_thresholds', name='{key}_every_step')"]
        if p.normalisation and p.normalisation.every_ms:
            steps = int(delay_steps(p.normalisation.every_ms, self.run.dt_ms))
            action = f"lambda: normalise({key}_synapses, {p.normalisation.total!r}, {n_post}*len(trials))"
            lines += [f"network.add(NetworkOperation({action}, dt={steps}*DT, when='before_start', name='{key}_normalise'))"]
        if self.run.record.get(p.name):
            lines += [f"{key}_weights = StateMonitor({key}_synapses, 'w', record=True, when='start', clock=clock, name='{key}_weights')"]
            lines += [f"network.add({key}_weights)"]
        return lines

    def _monitors(self, p: Population) -> None:
        name = self.names[p.name]
        if p.neuron.threshold:
            self.body += ["", f"{name}_spikes = SpikeMonitor({name}_neurons, name='{name}_spikes')"]
            self.body += [f"network.add({name}_spikes)"]
        if states := self.run.record.get(p.name):
            self.body += [
                f"{name}_states = StateMonitor({name}_neurons, {list(states)!r}, record=True, when='start', clock=clock, name='{name}_states')"
            ]
            self.body += [f"network.add({name}_states)"]

    def _results(self) -> list[str]:
        lines = ["spikes, states, final = {}, {}, {}"]
        for p in self.run.network.populations:
            name = self.names[p.name]
            if p.neuron.threshold:
                lines += [f"trial, neuron = np.divmod(np.asarray({name}_spikes.i), {p.size})"]
                lines += [f"step = np.rint(np.asarray({name}_spikes.t)/float(DT)).astype(int)"]
                lines += [f"spikes[{p.name!r}] = np.stack([step, trial + trials.start, neuron])"]
            else:
                lines += [f"spikes[{p.name!r}] = np.zeros((3, 0), dtype=int)"]
            recorded = self.run.record.get(p.name, ())
            lines += (
                [
                    f"states[{p.name!r}] = {{x: getattr({name}_states, x + '_').T.reshape(STEPS, len(trials), {p.size}) for x in {list(recorded)!r}}}"
                ]
                if recorded
                else [f"states[{p.name!r}] = {{}}"]
            )
            lines += [
                f"final[{p.name!r}] = {{x: np.array(getattr({name}_neurons, x + '_')).reshape(len(trials), {p.size}) for x in {list(p.neuron.states)!r}}}"
            ]
        for p in self.run.network.projections:
            if p.rule and len(p.synapse_values()):
                key, name = self.names[p.name], repr(p.name)
                lines += [f"final[{name}] = {{'w': np.array({key}_synapses.w).reshape(len(trials), -1)}}"]
                recorded = f"{{'w': np.array({key}_weights.w).T.reshape(STEPS, len(trials), -1)}}"
                lines += [f"states[{name}] = {recorded}"] if self.run.record.get(p.name) else []
        return lines

    def _main(self) -> str:
        arrays = "np.load(here.with_suffix('.npz'))" if self.arrays else "{}"
        comment = "  # a compiler pays off in longer runs" if self.target == "numpy" else ""
        return f"""


if __name__ == '__main__':
    prefs.codegen.target = '{self.target}'{comment}
    here = Path(__file__)
    arrays = dict({arrays})
    chunks = [range(first, min(first + TRIALS_AT_ONCE, TRIALS)) for first in range(0, TRIALS, TRIALS_AT_ONCE)]
    results = [simulate(trials, arrays) for trials in chunks]
    saved = {{}}
    for population in results[0][0]:
        columns = np.concatenate([spikes[population] for spikes, _, _ in results], axis=1)
        step, trial, neuron = columns[:, np.lexsort((columns[2], columns[1], columns[0]))]
        saved |= {{f'{{population}}.step': step, f'{{population}}.trial': trial, f'{{population}}.neuron': neuron}}
        for state in results[0][1][population]:
            saved[f'{{population}}.{{state}}'] = np.concatenate([states[population][state] for _, states, _ in results], axis=1)
        print(f'{{population}}: {{len(step)}} spikes')
    np.savez(here.with_name(here.stem + '_spikes.npz'), **saved)
"""

    # -- values --

    def _constant(self, p: Population, name: str, value: float, description: str) -> str:
        text = self._value("", value, p.neuron.parameters[name].unit, p.neuron.dimension(name))
        return f"    {name}={text},{'  # ' + description if description else ''}"

    def _unit(self, p: Population, name: str) -> str:
        """The unit that the model's parameters use for quantities such as `name`."""
        same = [q.unit for q in p.neuron.parameters.values() if q.dimension == p.neuron.dimension(name)]
        return same[0] if same else {"volt": "mV", "amp": "nA", "siemens": "nS"}.get(p.neuron.si_unit(name), "")

    def _value(self, key: str, value, unit: str, dimension: Dimension, *, tile: bool = False) -> str:
        value = np.asarray(value, dtype=float)
        if value.ndim and np.ptp(value) == 0:
            value = value[0]
        numbers, unit = with_unit(value, unit, dimension)
        text = repr(float(numbers)) if value.ndim == 0 else self._array(key, numbers)
        if value.ndim and tile:
            text = f"np.tile({text}, len(trials))"
        return f"{text}*{unit}" if unit else text

    def _array(self, key: str, values: np.ndarray) -> str:
        if values.size <= INLINE:
            return f"np.array({values.tolist()!r}{', dtype=int' if values.dtype.kind == 'i' else ''})"
        self.arrays[key] = values
        return f"arrays[{key!r}]"

    def _timed(self, key: str, name: str, values: np.ndarray, unit: str = "") -> str:
        values = np.ascontiguousarray(values)
        text = self._array(key, values)
        rows = f"per_trial({text}, trials)" if values.ndim == 3 else text
        return f"{name}=TimedArray({rows}{unit}, dt=DT)"
