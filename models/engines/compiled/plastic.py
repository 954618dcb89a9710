"""Projections that learn: a rule's statements as compiled code, and the arrays that this code works on.

Nothing is stepped that need not be. A synapse is looked at when a spike arrives there or its target fires. The
presynaptic traces belong to a neuron and reach its synapses late, each after its own delay: the neuron keeps its last spikes,
with the traces after each, and a synapse looks up the one that had arrived. Postsynaptic traces are stepped while they
are not zero, so for neurons that fired not long ago.

Shapes: weight [B, S], synapses ordered by (presynaptic neuron, delay, postsynaptic neuron); those of neuron i with delay
delays[k] are start[i*K + k] … start[i*K + k + 1]. traces [P, N_post]; steps, values: the last M spikes of a neuron, as a ring.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from spiketwin.models.engines import base
from spiketwin.models.network import Projection
from spiketwin.models.plasticity import WEIGHT, PlasticityRule
from spiketwin.models.spec import Statement
from spiketwin.models.units import identifiers, unit

NEVER = -(1 << 40)  # the step of a spike that has not happened
POWERS = 4096  # steps for which powers of the decay are tabulated

# of a projection: what all trials share, and what follows one trial through time
FIXED = ("weight", "scale", "delays", "start", "post", "in_start", "in_synapse", "in_pre", "in_delay", "constants", "powers", "rates", "decay")
MOVING = ("recent", "recent_n", "steps", "values", "head", "traces", "hot", "hot_n", "is_hot", "dirty")
ARRAYS = (*FIXED, *MOVING)


class PlasticSynapses:
    """Arrays of a plastic projection. order: position of each stored synapse in Projection.synapses()."""

    def __init__(self, projection: Projection, rule: PlasticityRule, dt_ms: float, trials: int, dtype: np.dtype) -> None:
        n_post, n_pre = projection.shape
        pre, post, _, delay_ms = projection.synapses()
        delay = base.delay_steps(delay_ms, dt_ms)
        self.order = np.lexsort((post, delay, pre))
        pre, post, delay = pre[self.order], post[self.order], delay[self.order]
        delays, kind = np.unique(delay, return_inverse=True)
        delays, groups = (delays, len(delays)) if len(delays) else (np.zeros(1, np.int64), 1)
        incoming = np.argsort(post, kind="stable")
        dt_s = dt_ms * 1e-3
        rates = {side: np.array([rule.decay_rates[x] for x in rule.traces[side]]) * dt_s for side in ("pre", "post")}
        self.fixed: dict[str, object] = {
            "weight": np.tile(projection.synapse_values()[self.order], (trials, 1)).astype(dtype),
            "scale": dtype.type(unit(projection.unit or "1")[0]),
            "delays": delays.astype(np.int64),
            "start": np.searchsorted(pre * groups + kind, np.arange(n_pre * groups + 1)).astype(np.uint64),
            "post": post.astype(np.uint32),
            "in_start": np.searchsorted(post[incoming], np.arange(n_post + 1)).astype(np.int64),
            "in_synapse": incoming.astype(np.uint32),
            "in_pre": pre[incoming].astype(np.uint32),
            "in_delay": delay[incoming].astype(np.int32),
            "constants": np.array(list(rule.values.values()), dtype=dtype),
            "powers": np.exp(-rates["pre"][:, None] * np.arange(POWERS)).astype(dtype),
            "rates": rates["pre"].astype(dtype),
            "decay": np.exp(-rates["post"]).astype(dtype),
        }
        # of the spikes on their way to the furthest synapse none is forgotten, nor the one before, nor the one before that
        slots = int(delays.max()) + 1
        self.shapes: dict[str, tuple[tuple[int, ...], np.dtype]] = {
            "recent": ((slots, n_pre), np.dtype(np.uint32)),
            "recent_n": ((slots,), np.dtype(np.int64)),
            "steps": ((n_pre, slots + 1), np.dtype(np.int64)),
            "values": ((n_pre, slots + 1, len(rates["pre"])), dtype),
            "head": ((n_pre,), np.dtype(np.int64)),
            "traces": ((len(rates["post"]), n_post), dtype),
            "hot": ((n_post,), np.dtype(np.uint32)),
            "hot_n": ((1,), np.dtype(np.int64)),
            "is_hot": ((n_post,), np.dtype(np.uint8)),
            "dirty": ((n_post,), np.dtype(np.uint8)),
        }

    def moving(self) -> dict[str, np.ndarray]:
        """The arrays that follow a trial, as they are before it."""
        own = {name: np.zeros(shape, dtype) for name, (shape, dtype) in self.shapes.items()}
        own["steps"][:] = NEVER
        own["dirty"][:] = 1
        return own

    def in_order(self, weight: np.ndarray) -> np.ndarray:
        """Weights […, S] in the order of Projection.synapses()."""
        out = np.empty_like(weight)
        out[..., self.order] = weight
        return out


# -- the rule as code ------------------------------------------------------------------------------


def rule_source(rule: PlasticityRule, name: str = "@NAME") -> str:
    """Three functions: emit_ (a presynaptic neuron fires), arrive_ (its spikes reach synapses), learn_ (a target fires)."""
    return _emit(rule, name) + _arrive(rule, name) + _learn(rule, name)


def rule_arguments(function: str, w: int) -> str:
    """The arrays of projection w that a function takes, as in its definition."""
    return ", ".join(f"{a}{w}" for a in TAKES[function])


TAKES = {
    "emit": ("recent", "recent_n", "steps", "values", "head", "constants", "powers", "rates"),
    "arrive": ("weight", "scale", "delays", "start", "post", "constants", "powers", "rates", "recent", "recent_n", "steps", "values", "head", "traces", "dirty"),
    "learn": ("weight", "in_start", "in_synapse", "in_pre", "in_delay", "constants", "powers", "rates", "steps", "values", "head", "traces", "hot", "hot_n", "is_hot", "dirty"),
    "normalise": ("in_start", "in_synapse", "weight", "dirty"),
    "fade": ("traces", "decay", "hot", "hot_n", "is_hot"),
    "forget": ("recent_n", "steps", "values", "head", "traces", "hot_n", "is_hot", "dirty"),
}  # fmt: skip


def _head(function: str, name: str, first: str, extra: Iterable[str] = ()) -> list[str]:
    parts = [first, *(f"_{a}" for a in TAKES[function]), *extra]
    return ["", "", "@kernel", f"def {function}_{name}({', '.join(parts)}):"]


def _constants(rule: PlasticityRule) -> list[str]:
    return [f"    {name} = _constants[{k}]" for k, name in enumerate(rule.parameters)]


def _code(statements: Iterable[Statement], indent: int) -> list[str]:
    return [f"{' ' * indent}{s.target} {s.operator} {s.expression}" for s in statements]


def _names(statements: Iterable[Statement]) -> set[str]:
    return set().union(*(identifiers(s.expression) | {s.target} for s in statements))


def _states(rule: PlasticityRule) -> list[str]:
    return [f"_all_{state}_post" for state in rule.post_states]


def _read_states(rule: PlasticityRule, indent: int) -> list[str]:
    return [f"{' ' * indent}{state}_post = _all_{state}_post[_n]" for state in rule.post_states]


def _trace(name: str, k: int, entry: str, step: str, indent: int) -> str:
    """The presynaptic trace k of neuron _i at `step`, from its spike in ring place `entry`."""
    return f"{' ' * indent}{name} = _values[_i, {entry}, {k}] * power(_powers, _rates, {k}, {step} - _steps[_i, {entry}])"


def _emit(rule: PlasticityRule, name: str) -> str:
    """Neurons _ids[_first:_last] fire at step _now: remembered, with their traces after the spike."""
    lines = [*_head("emit", name, "_now, _ids, _first, _last"), *_constants(rule)]
    lines += [
        "    _row = _now % _recent.shape[0]",
        "    _recent_n[_row] = _last - _first",
        "    for _k in range(_first, _last):",
        "        _i = _ids[_k]",
        "        _recent[_row, _k - _first] = _i",
        "        _h = _head[_i]",
    ]
    traces = rule.traces["pre"]
    lines += [_trace(x, k, "_h", "_now", 8) for k, x in enumerate(traces)]
    lines += _code(rule.trace_statements("pre"), 8)
    lines += ["        _h = _h + 1 if _h + 1 < _steps.shape[1] else 0", "        _head[_i] = _h", "        _steps[_i, _h] = _now"]
    lines += [f"        _values[_i, _h, {k}] = {x}" for k, x in enumerate(traces)]
    return "\n".join(lines) + "\n"


def _arrive(rule: PlasticityRule, name: str) -> str:
    """Every spike that arrives at step _now adds its weight to _target, then its synapse learns."""
    statements = rule.statements["pre"]
    used = _names(statements)
    pre = [(k, x) for k, x in enumerate(rule.traces["pre"]) if x in used]
    lines = [*_head("arrive", name, "_now, _b", ["_target", *_states(rule)]), *_constants(rule)]
    lines += [
        "    _weights, _slots, _kinds = _weight[_b], _recent.shape[0], _delays.size",
        "    for _d in range(_kinds):",
        "        _at = _now - _delays[_d]",
        "        _row = _now % _slots - _delays[_d]",
        "        _row = _row + _slots if _row < 0 else _row",
        "        for _k in range(_recent_n[_row]):",
        "            _i = _recent[_row, _k]",
    ]
    if pre and any(x in identifiers(s.expression) or s.operator != "=" for s in statements for _, x in pre):
        # the spike that arrives is in the list; the traces before it come from the one before
        lines += [
            "            _h = _head[_i]",
            "            while _steps[_i, _h] >= _at:",
            "                _h = _h - 1 if _h > 0 else _steps.shape[1] - 1",
        ]
        lines += [_trace(f"_{x}", k, "_h", "_at", 12) for k, x in pre]
        again = [f"{x} = _{x}" for _, x in pre]
    else:
        again = []
    lines += [
        "            for _s in range(_start[_i * np.uint64(_kinds) + np.uint64(_d)], _start[_i * np.uint64(_kinds) + np.uint64(_d + 1)]):",
        "                _n = _post[_s]",
        f"                {WEIGHT} = _old = _weights[_s]",
        f"                _target[_n] += {WEIGHT} * _scale",
    ]
    body = [*again, *(f"{x} = _traces[{k}, _n]" for k, x in enumerate(rule.traces["post"]) if x in used)]
    lines += [f"                {line}" for line in body]
    lines += _read_states(rule, 16) + _code(statements, 16)
    if any(s.target == WEIGHT for s in statements):
        lines += [f"                if {WEIGHT} != _old:", f"                    _weights[_s] = {WEIGHT}", "                    _dirty[_n] = 1"]
    return "\n".join(lines) + "\n"


def _learn(rule: PlasticityRule, name: str) -> str:
    """Neurons _ids[_first:_last] fire at step _now: their synapses learn, then their traces change."""
    statements = rule.statements["post"]
    used = _names(statements) if statements else set()
    traces = rule.traces["post"]
    pre = [(k, x) for k, x in enumerate(rule.traces["pre"]) if x in used]
    lines = [*_head("learn", name, "_now, _b, _ids, _first, _last", _states(rule)), *_constants(rule), "    _weights = _weight[_b]"]
    lines += ["    for _k in range(_first, _last):", "        _n = _ids[_k]"]
    lines += [f"        _{x} = _traces[{k}, _n]" for k, x in enumerate(traces)]
    if any(s.target == WEIGHT for s in statements):
        lines += ["        for _q in range(_in_start[_n], _in_start[_n + 1]):", "            _s = _in_synapse[_q]"]
        if pre:
            lines += [
                "            _i, _at = _in_pre[_q], _now - _in_delay[_q]",
                "            _h = _head[_i]",
                "            while _steps[_i, _h] > _at:",
                "                _h = _h - 1 if _h > 0 else _steps.shape[1] - 1",
            ]
            lines += [_trace(x, k, "_h", "_at", 12) for k, x in pre]
        lines += [f"            {x} = _{x}" for x in traces if x in used] + _read_states(rule, 12)
        lines += [f"            {WEIGHT} = _weights[_s]", *_code(statements, 12), f"            _weights[_s] = {WEIGHT}"]
    lines += [f"        {x} = _{x}" for x in traces] + _code(rule.trace_statements("post"), 8)
    lines += [f"        _traces[{k}, _n] = {x}" for k, x in enumerate(traces)]
    lines += ["        _dirty[_n] = 1", "        warm(_n, _hot, _hot_n, _is_hot)"]
    return "\n".join(lines) + "\n"
