"""Projections that learn: a rule's statements as compiled code, and the arrays that this code works on.

Nothing is stepped that need not be. A presynaptic spike is sent when it is fired: each of its weights is added to what
arrives after the synapse's delay; should the weight change on the way, what is on its way is mended. On arrival
only those synapses learn whose target is warm: has a postsynaptic trace that is not zero. Elsewhere the rule would leave
the weight as it is; that it would is proved from its text (`rests`), and a rule without this property has all targets warm.
Postsynaptic traces are stepped while they are warm. Presynaptic traces belong to the neuron and are seen late by its
synapses, each after its own delay: the neuron keeps its last spikes with the traces after each, and a synapse looks
up the one that had arrived.

Shapes: weight, offset (place in flight after the delay) [S] as in Projection.synapses(), by presynaptic neuron; those of neuron
i are start[i] … start[i+1]. incoming [S, 4]: the same by postsynaptic neuron, those of n from in_start[n] on: which synapse, from
which neuron, to which, and its delay in steps. flight [slots, N_post or some more]: what arrives. due […, slots, 64]: which synapses
(rows of incoming) then learn. steps, values [N_pre, M(, traces)]: the last M spikes of a neuron, as a ring, gains [N_pre, M] what each
of them transmits of a weight. traces, and the largest that they have been, peaks [traces, N_post]. memory [trials, states, S]: what single synapses remember, as it was at step
touched [trials, S], both by postsynaptic neuron.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from spiketwin.models.engines import base
from spiketwin.models.engines.compiled.kernels import DELAY, PAGE, POST, PRE, SYNAPSE, WITHIN
from spiketwin.models.engines.compiled.memory import aligned, spread_row, unshared
from spiketwin.models.network import Projection
from spiketwin.models.plasticity import GATE, WEIGHT, PlasticityRule
from spiketwin.models.spec import Statement
from spiketwin.models.units import identifiers, unit

POWERS = 4096  # steps for which powers of the decay are tabulated
AHEAD = 8  # synapses; so far ahead the weights of those that learn are fetched
GONE = 746  # exp(-746) is zero, but to find that out goes through subnormal numbers: a hundred times slower

# of a projection: what all trials share, and what follows one trial through time
FIXED = (
    "weight", "scale", "offset", "in_start", "incoming", "full", "limits", "always",
    "constants", "powers", "rates", "decay", "read",
)  # fmt: skip
WARMTH = ("warm", "warm_list", "warm_n", "cooled")
PAST = ("newest", "latest", "steps", "values", "head", "gains")
BY_TARGET = ("flight", "traces", "peaks", "is_hot", "warm", "cooled", "dirty")
MOVING = (*BY_TARGET, *PAST, "due", "due_n", "hot", "hot_n", "warm_list", "warm_n")
MEMORY = ("memory", "touched", "memory_powers", "memory_rates")  # where the rule has states of synapses
CHANCE = ("draw_key", "draws")  # where it draws random numbers


def arrays(rule: PlasticityRule) -> tuple[str, ...]:
    """Names of all that the rule's code works on. begin, end [N_pre]: the synapses that reach the neurons of a thread."""
    return (*FIXED, "begin", "end", *MOVING, *own_arrays(rule))


def own_arrays(rule: PlasticityRule) -> tuple[str, ...]:
    """What the statements of some rules need, and others do not."""
    return MEMORY * bool(rule.memory) + CHANCE * bool(rule.draws)


class PlasticSynapses:
    """Arrays of a plastic projection."""

    def __init__(self, projection: Projection, rule: PlasticityRule, dt_ms: float, trials: int, dtype: np.dtype) -> None:
        n_post, n_pre = projection.shape
        pre, post, _, delay_ms = projection.synapses()
        delay = base.delay_steps(delay_ms, dt_ms)
        furthest = int(delay.max(initial=0))
        slots, row = furthest + 1, spread_row(n_post, dtype)
        incoming = np.argsort(post.astype(np.min_scalar_type(n_post)), kind="stable")  # short integers sort in linear time
        rates = {side: np.array([rule.decay_rates[x] for x in rule.traces[side]]) * (dt_ms * 1e-3) for side in ("pre", "post")}
        self.always = not rests(rule)
        self.post = post
        self.fixed: dict[str, object] = {
            "weight": aligned(np.tile(projection.synapse_values(), (trials, 1)), dtype),
            "scale": dtype.type(unit(projection.unit or "1")[0]),
            "start": np.searchsorted(pre, np.arange(n_pre + 1)).astype(np.uint64),
            "offset": aligned(delay * row + post, np.promote_types(np.min_scalar_type(slots * row - 1), np.uint16)),
            "in_start": np.searchsorted(post[incoming], np.arange(n_post + 1)).astype(np.int64),
            "incoming": np.stack([incoming, pre[incoming], post[incoming], delay[incoming]], axis=1, dtype=np.uint32, casting="unsafe"),
            "full": len(pre) == n_pre * n_post,
            "limits": np.array(rule.limits, dtype=dtype),
            "always": self.always,
            "constants": np.array(list(rule.values.values()), dtype=dtype),
            "powers": np.exp(-rates["pre"][:, None] * np.arange(POWERS)).astype(dtype),
            "rates": rates["pre"].astype(dtype),
            "decay": np.exp(-rates["post"]).astype(dtype),
            "read": np.isin(np.arange(len(rates["post"])), [k for k, _ in _read(rule.synapse_statements("pre"), rule.traces["post"])]),
        }
        if rule.memory:
            forgetting = np.array([rule.decay_rates[x] for x in rule.memory]) * (dt_ms * 1e-3)
            self.fixed |= {
                "memory": np.zeros((trials, len(rule.memory), len(pre)), dtype),
                "touched": np.zeros((trials, len(pre)), np.int64),
                "memory_powers": np.exp(-forgetting[:, None] * np.arange(POWERS)).astype(dtype),
                "memory_rates": forgetting.astype(dtype),
            }
        integer, byte = np.dtype(np.int64), np.dtype(np.uint8)
        self.shapes: dict[str, tuple[tuple[int, ...], np.dtype]] = {
            "flight": ((slots, row), dtype),
            "due": (
                ((len(pre) >> PAGE) + 1, slots, WITHIN + 1),
                np.dtype(np.uint32),
            ),  # rarely full: all but its head is never touched, nor taken
            "due_n": ((slots,), integer),
            # those on their way to the furthest synapse, the one that has just arrived there, and the one before
            "newest": ((n_pre,), integer),
            "latest": ((n_pre, len(rates["pre"])), dtype),
            "steps": ((n_pre, furthest + 2), integer),
            "values": ((n_pre, furthest + 2, len(rates["pre"])), dtype),
            "head": ((n_pre,), integer),
            "gains": ((n_pre, furthest + 2), dtype),
            "traces": ((len(rates["post"]), n_post), dtype),
            "peaks": ((len(rates["post"]), n_post), dtype),
            "hot": ((n_post,), np.dtype(np.uint32)),
            "hot_n": ((1,), integer),
            "is_hot": ((n_post,), byte),
            "warm": ((n_post,), byte),
            "warm_list": ((n_post,), np.dtype(np.uint32)),
            "warm_n": ((1,), integer),
            "cooled": ((n_post,), integer),
            "dirty": ((n_post,), byte),
        }

    def moving(self) -> dict[str, np.ndarray]:
        """The arrays that follow a trial; the driver's forget() prepares them."""
        # what is due is written before it is read: memory that another session has left need not be cleared
        return {name: unshared(*shape, np.empty if name == "due" else np.zeros) for name, shape in self.shapes.items()}


@lru_cache(maxsize=64)
def rests(rule: PlasticityRule) -> bool:
    """Whether on_pre leaves every weight within the bounds, and every state of a synapse, as it is while all postsynaptic traces are zero."""
    import sympy

    from spiketwin.models.discretisation.symbols import symbol, to_sympy

    chance = {"int": lambda x: sympy.Piecewise((1, x), (0, True)), "rand": lambda k: sympy.Symbol(f"rand{k}", positive=True)}
    now = {symbol(x): 0 for x in rule.traces["post"]}
    w = symbol(WEIGHT)
    for s in rule.statements["pre"]:
        try:
            value = to_sympy(s.expression, chance).subs(now)
        except (TypeError, ValueError, NameError):  # what sympy cannot read is not proved
            return False
        old = now.get(symbol(s.target), symbol(s.target))
        now[symbol(s.target)] = {"=": value, "+=": old + value, "-=": old - value}[s.operator]
    clip = to_sympy(f"clip({WEIGHT}, {rule.bounds[0]}, {rule.bounds[1]})") if "inf" not in " ".join(rule.bounds) else w
    return now.get(w, w) in (w, clip) and all(now.get(symbol(x), symbol(x)) == symbol(x) for x in rule.memory)


# -- the rule as code ------------------------------------------------------------------------------


def rule_source(rule: PlasticityRule, name: str = "@NAME") -> str:
    """emit_ (presynaptic neurons fire), arrive_ (spikes reach synapses that learn), learn_ (targets fire), go_on_ (time passes)."""
    return _emit(rule, name) + _arrive(rule, name) + _learn(rule, name) + (_go_on(rule, name) if rule.every_step else "")


def rule_arguments(function: str, w: int, rule: PlasticityRule | None = None) -> str:
    """The arrays of projection w that a function takes, as in its definition. rule: whose statements the function runs, if any."""
    return ", ".join(f"{a}{w}" for a in (*TAKES[function], *(own_arrays(rule) if rule else ())))


HISTORY = (*PAST, "constants", "powers", "rates")
TAKES = {
    "emit": HISTORY,
    "send": (
        "begin", "end", "offset", "weight", "scale", "flight", "in_start", "incoming", "full", "warm_list", "warm_n", "due", "due_n",
        "head", "gains",
    ),
    "arrive": (
        "due", "due_n", "weight", "scale", "incoming", *HISTORY, "traces", "flight", "dirty",
    ),
    "learn": (
        "weight", "scale", "in_start", "incoming", *HISTORY, "traces", "flight", "due", "due_n",
        "hot", "hot_n", "is_hot", *WARMTH, "dirty", "peaks",
    ),
    "go_on": ("weight", "scale", "in_start", "incoming", *HISTORY, "traces", "flight", "dirty"),
    "normalise": (
        "weight", "scale", "in_start", "incoming", "limits", "newest", "steps", "head", "gains", "flight",
        "due", "due_n", *WARMTH, "hot", "hot_n", "is_hot", "dirty",
    ),
    "replace": ("weight", "scale", "in_start", "incoming", "newest", "steps", "head", "gains", "flight", "dirty"),
    "fade": ("traces", "peaks", "decay", "read", "hot", "hot_n", "is_hot", *WARMTH, "always"),
    "forget": ("always", *MOVING),
}  # fmt: skip


def _head(function: str, name: str, first: str, rule: PlasticityRule | None = None) -> list[str]:
    parts = [first, *(f"_{a}" for a in TAKES[function])]
    if rule:
        parts += [*(f"_{a}" for a in own_arrays(rule)), *(f"_all_{state}_post" for state in rule.post_states)]
    return ["", "", "@kernel", f"def {function}_{name}({', '.join(parts)}):"]


def _constants(rule: PlasticityRule) -> list[str]:
    return [f"    {name} = _constants[{k}]" for k, name in enumerate(rule.parameters)]


def _code(statements: Iterable[Statement], indent: int) -> list[str]:
    """rand(k), the rule's k-th, is drawn for synapse _s of trial _b at this step."""
    text = [f"{s.target} {s.operator} {s.expression}" for s in statements]
    return [" " * indent + line.replace("rand(", "draw(_draw_key, _draws, _b * _weights.size + _s, _now, ") for line in text]


def _read(statements: Iterable[Statement], traces: Iterable[str]) -> list[tuple[int, str]]:
    """Number and name of those traces that statements read before they set them."""
    read, written = set[str](), set[str]()
    for s in statements:
        read |= (identifiers(s.expression) | ({s.target} if s.operator != "=" else set())) - written
        written.add(s.target)
    return [(k, x) for k, x in enumerate(traces) if x in read]


SYNAPSE_Q, PRE_Q, POST_Q, DELAY_Q = (f"_incoming[_q, {column}]" for column in (SYNAPSE, PRE, POST, DELAY))

# What follows is pasted where it is needed: a call would count references to its arrays, which costs more than what it does.


def _traces(traces: list[tuple[int, str]], last: str, step: str, indent: int) -> list[str]:
    """Presynaptic traces of neuron _i at `step`, as its spikes up to step `last` have left them."""
    if not traces:
        return []
    lines = [
        f"if _newest[_i] <= {last}:",
        f"    _age = {step} - _newest[_i]",
        *(f"    {x} = _latest[_i, {k}]" for k, x in traces),
        "else:",
        "    _h = _head[_i]",
        f"    while _steps[_i, _h] > {last}:",
        "        _h = _h - 1 if _h > 0 else _steps.shape[1] - 1",
        f"    _age = {step} - _steps[_i, _h]",
        *(f"    {x} = _values[_i, _h, {k}]" for k, x in traces),
        *(
            f"{x} *= _powers[{k}, _age] if _age < _powers.shape[1] else exp(-_rates[{k}] * _age) if _rates[{k}] * _age < {GONE} else 0.0"
            for k, x in traces
        ),
    ]
    return [f"{' ' * indent}{line}" for line in lines]


def _memory(rule: PlasticityRule, indent: int) -> list[str]:
    """What synapse _q remembers, at this step."""
    if not rule.memory:
        return []
    factor = "_memory_powers[{0}, _age] if _age < _memory_powers.shape[1] else exp(-_memory_rates[{0}] * _age) if _memory_rates[{0}] * _age < {1} else 0.0"
    lines = ["_age = _now - _touched[_b, _q]"]
    lines += [f"{x} = _memory[_b, {k}, _q] * ({factor.format(k, GONE)})" for k, x in enumerate(rule.memory)]
    return [f"{' ' * indent}{line}" for line in lines]


def _remember(rule: PlasticityRule, indent: int) -> list[str]:
    lines = [f"_memory[_b, {k}, _q] = {x}" for k, x in enumerate(rule.memory)] + ["_touched[_b, _q] = _now"] * bool(rule.memory)
    return [f"{' ' * indent}{line}" for line in lines]


def _change(rule: PlasticityRule, indent: int) -> list[str]:
    """The weight of synapse _s from neuron _i to _n is now w, and its states are kept; what is on its way after step _at is mended."""
    lines = [
        f"if {WEIGHT} != _old:",
        f"    _weights[_s] = {WEIGHT}",
        "    _dirty[_n] = 1",
        "    if _newest[_i] > _at:",
        "        _h = _head[_i]",
        "        while _steps[_i, _h] > _at:",
        f"            _row = _slot + _steps[_i, _h] + {DELAY_Q} - _now",  # no further than the ring is long: no division
        "            _row = _row - _flight.shape[0] if _row >= _flight.shape[0] else _row",
        f"            _flight[_row, _n] += ({WEIGHT} - _old) * _scale * _gains[_i, _h]",
        "            _h = _h - 1 if _h > 0 else _steps.shape[1] - 1",
    ]
    return _remember(rule, indent) + [f"{' ' * indent}{line}" for line in lines]


def _emit(rule: PlasticityRule, name: str) -> str:
    """Neurons _ids[_first:_last] fire at step _now: remembered, with their traces after the spike."""
    traces, statements = list(enumerate(rule.traces["pre"])), rule.trace_statements("pre")
    gain = Statement("_gain", "=", rule.efficacy or "1.0")
    lines = [*_head("emit", name, "_now, _ids, _first, _last"), *_constants(rule)]
    lines += ["    for _k in range(_first, _last):", "        _i = _ids[_k]"]
    lines += _traces(_read([gain, *statements, *(Statement("_kept", "=", x) for _, x in traces)], rule.traces["pre"]), "_now", "_now", 8)
    lines += _code([gain, *statements], 8)
    lines += [
        "        _h = _head[_i] + 1 if _head[_i] + 1 < _steps.shape[1] else 0",
        "        _head[_i] = _h",
        "        _newest[_i] = _steps[_i, _h] = _now",
        "        _gains[_i, _h] = _gain",
    ]
    lines += [f"        _latest[_i, {k}] = _values[_i, _h, {k}] = {x}" for k, x in traces]
    return "\n".join(lines) + "\n"


def _due(k: str) -> str:
    """The k-th synapse in the list of this step."""
    return f"_due[({k}) >> {PAGE}, _slot, ({k}) & {WITHIN}]"


def _arrive(rule: PlasticityRule, name: str) -> str:
    """Spikes arrive at step _now: the synapses that are due learn."""
    statements = rule.synapse_statements("pre")
    pre, post = (_read(statements, rule.traces[side]) for side in ("pre", "post"))
    lines = [*_head("arrive", name, "_now, _b", rule), *_constants(rule)]
    lines += [
        "    _weights, _slot = _weight[_b], _now % _flight.shape[0]",
        "    for _k in range(_due_n[_slot]):",
        f"        if _k + {AHEAD} < _due_n[_slot]:",
        f"            fetch(_weights, _incoming[{_due(f'_k + {AHEAD}')}, {SYNAPSE}])",
        f"        _q = {_due('_k')}",
        f"        _s, _i, _n, _at = {SYNAPSE_Q}, {PRE_Q}, {POST_Q}, _now - {DELAY_Q}",
    ]
    # the spike that arrives is among them: before it the traces were what the one before has left
    lines += _traces(pre, "_at - 1", "_at", 8)
    lines += [f"        {x} = _traces[{k}, _n]" for k, x in post] + _read_states(rule, 8) + _memory(rule, 8)
    lines += [f"        {WEIGHT} = _old = _weights[_s]", *_code(statements, 8), *_change(rule, 8), "    _due_n[_slot] = 0"]
    return "\n".join(lines) + "\n"


def _learn(rule: PlasticityRule, name: str) -> str:
    """Neurons _ids[_first:_last] fire at step _now: their synapses learn, then their traces change."""
    statements, traces = rule.synapse_statements("post"), list(enumerate(rule.traces["post"]))
    pre, post = (_read(statements, rule.traces[side]) for side in ("pre", "post"))
    lines = [*_head("learn", name, "_now, _b, _ids, _first, _last", rule), *_constants(rule)]
    lines += [
        "    _weights, _slot = _weight[_b], _now % _flight.shape[0]",
        "    for _k in range(_first, _last):",
        "        _n = _ids[_k]",
        "        warm_up(_now, _n, _in_start, _incoming, _newest, _steps, _head, _due, _due_n, "
        f"{', '.join(f'_{a}' for a in WARMTH)}, _hot, _hot_n, _is_hot)",
    ]
    lines += [f"        _was_{x} = _traces[{k}, _n]" for k, x in traces]
    if statements:
        lines += [
            "        for _q in range(_in_start[_n], _in_start[_n + 1]):",
            f"            _s, _i, _at = {SYNAPSE_Q}, {PRE_Q}, _now - {DELAY_Q}",
        ]
        lines += _traces(pre, "_at", "_at", 12)
        lines += [f"            {x} = _was_{x}" for _, x in post] + _read_states(rule, 12) + _memory(rule, 12)
        lines += [f"            {WEIGHT} = _old = _weights[_s]", *_code(statements, 12), *_change(rule, 12)]
    lines += [f"        {x} = _was_{x}" for _, x in traces] + _code(rule.trace_statements("post"), 8)
    for k, x in traces:
        lines += [f"        _traces[{k}, _n] = {x}", f"        _peaks[{k}, _n] = max(_peaks[{k}, _n], abs(_traces[{k}, _n]))"]
    return "\n".join(lines) + "\n"


def _go_on(rule: PlasticityRule, name: str) -> str:
    """Step _now, before anything arrives: every_step, for the synapses of neurons _low … _high."""
    statements = rule.synapse_statements("every")
    pre, post = (_read([*_condition(rule), *statements], rule.traces[side]) for side in ("pre", "post"))
    lines = [*_head("go_on", name, "_now, _b, dt, _low, _high", rule), *_constants(rule)]
    lines += ["    _weights, _slot = _weight[_b], _now % _flight.shape[0]", "    for _n in range(_low, _high):"]
    lines += [f"        _was_{x} = {x} = _traces[{k}, _n]" for k, x in post] + _read_states(rule, 8)
    lines += [f"        if not ({rule.every_step_if}):", "            continue"] * bool(rule.every_step_if)
    lines += ["        for _q in range(_in_start[_n], _in_start[_n + 1]):"]
    lines += [f"            _s, _i, _at = {SYNAPSE_Q}, {PRE_Q}, _now - 1 - {DELAY_Q}"]
    lines += _traces(pre, "_at", "_at + 1", 12) + [f"            {x} = _was_{x}" for _, x in post] + _memory(rule, 12)
    lines += [f"            {WEIGHT} = _old = _weights[_s]", *_code(statements, 12), *_change(rule, 12)]
    return "\n".join(lines) + "\n"


def _condition(rule: PlasticityRule) -> list[Statement]:
    return [Statement(GATE, "=", rule.every_step_if)] if rule.every_step_if else []


def _read_states(rule: PlasticityRule, indent: int) -> list[str]:
    return [f"{' ' * indent}{state}_post = _all_{state}_post[_n]" for state in rule.post_states]
