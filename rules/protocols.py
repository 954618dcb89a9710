"""What given spike times do to a weight: each protocol a synapse of its own, all run side by side.

A neuron is made to fire at given times by a teacher, a strong input beside the synapse under study, which itself is too weak to be
felt. Times are those at which a presynaptic spike arrives and at which the neuron fires.

Source: Bi & Poo 1998, J. Neurosci. 18:10464, for pairs; Sjöström, Turrigiano & Nelson 2001, Neuron 32:1149, for their rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, isfinite
from typing import NamedTuple

import numpy as np
import scipy.sparse

from spiketwin.models.expressions import evaluate
from spiketwin.models.network import Network, Population, Projection, SpikeSource
from spiketwin.models.neurons import lif_delta
from spiketwin.models.neurons.listening import RECEPTORS, listening
from spiketwin.models.plasticity import WEIGHT, PlasticityRule
from spiketwin.models.spec import NeuronSpec
from spiketwin.models.spikes import Spikes


class Protocol(NamedTuple):
    """Times in ms at which presynaptic spikes arrive, and at which the postsynaptic neuron fires."""

    pre_ms: Sequence[float] | np.ndarray
    post_ms: Sequence[float] | np.ndarray


class Teacher(NamedTuple):
    """What makes a neuron fire in the next step, and once: a weight, its unit and the receptor it acts on. faint: the unit of the weight
    under study, in which it is not felt."""

    receptor: str
    weight: float
    unit: str
    faint: str


TEACHER = Teacher("v", 100.0, "mV", "nV")  # for lif_delta: far above threshold at once, and reset by the spike


def pairs(delta_ms: float, *, count: int = 60, rate_hz: float = 1.0, start_ms: float = 100.0) -> Protocol:
    """`count` pairs, the postsynaptic spike delta_ms after the presynaptic one (before it where negative), `rate_hz` pairs a second.

    Raises ValueError for a rate or count that is not positive, an infinite rate, or a count that is not whole.
    """
    if not (0 < rate_hz < inf and count > 0):
        raise ValueError(f"{count} pairs at {rate_hz} Hz: both must be positive, and the rate finite")
    if count != int(count):
        raise ValueError(f"count = {count} pairs must be a whole number")
    at = start_ms + np.arange(count) * (1e3 / rate_hz)
    return Protocol(at - min(delta_ms, 0.0), at + max(delta_ms, 0.0))


def weight_changes(
    rule: PlasticityRule,
    protocols: Sequence[Protocol],
    *,
    weight: float = 0.5,
    dt_ms: float = 0.1,
    neuron: NeuronSpec = lif_delta,
    teacher: Teacher = TEACHER,
    after_ms: float = 200.0,
    modulator: float = 0.1,
    engine: str = "",
    seed: int = 0,
) -> np.ndarray:
    """Change of the weight by each protocol, [P].

    weight: at the start.  engine: what runs the rule, 'compiled', 'brian' or 'torch'; '' evaluates it event by event at exact times, without a
    grid or a neuron, where the rule needs neither, and else in the compiled engine.  Of an engine: dt_ms; neuron, which gets the states
    that the rule reads; teacher; after_ms, how long to wait after the last spike; modulator, what a neuromodulator is held at, as by a small
    reward that never ends.
    Raises ValueError for a weight outside the rule's bounds, times that are not finite or lie before the first step, or bad input that the
    engine names.
    """
    _check(rule, protocols, weight)
    if not protocols:
        return np.zeros(0)
    if not engine and is_of_events(rule):
        rng = np.random.default_rng(seed)
        return np.array([alone(rule, p, weight, rng) for p in protocols]) - weight
    return _in_engine(rule, protocols, weight, dt_ms, neuron, teacher, after_ms, modulator, engine or "compiled", seed)


def _check(rule: PlasticityRule, protocols: Sequence[Protocol], weight: float) -> None:
    low, high = rule.limits
    if not (isfinite(weight) and low <= weight <= high):
        raise ValueError(f"weight = {weight} is not a number within the bounds {low:g} … {high:g} of rule '{rule.name}'")
    for k, protocol in enumerate(protocols):
        for t in np.concatenate([np.ravel(side) for side in protocol]):
            if not isfinite(t):
                raise ValueError(f"protocol {k} has a spike at {t} ms; give times that are finite")


def is_of_events(rule: PlasticityRule) -> bool:
    """Whether spikes alone change the weight: nothing of the neuron is read, and nothing goes on between them."""
    return not (rule.every_step or rule.post_states)


def alone(rule: PlasticityRule, protocol: Protocol, weight: float, rng: np.random.Generator) -> float:
    """The weight that a synapse ends with. Of spikes at the same time the presynaptic one comes first."""
    events = sorted(
        [(float(t), "pre") for t in protocol.pre_ms] + [(float(t), "post") for t in protocol.post_ms], key=lambda e: (e[0], e[1] == "post")
    )
    constants = {**rule.values, "rand": lambda _: rng.random(), "int": int}
    now: dict[str, float] = {WEIGHT: weight, **dict.fromkeys(rule.decay_rates, 0.0)}
    last_ms = 0.0
    for at_ms, side in events:
        now |= {x: now[x] * exp(-rate * (at_ms - last_ms) * 1e-3) for x, rate in rule.decay_rates.items()}
        last_ms = at_ms
        for s in rule.statements[side]:
            value = float(evaluate(s.expression, {**constants, **now}))
            now[s.target] = {"=": value, "+=": now.get(s.target, 0.0) + value, "-=": now.get(s.target, 0.0) - value}[s.operator]
    return now[WEIGHT]


def _in_engine(
    rule: PlasticityRule,
    protocols: Sequence[Protocol],
    weight: float,
    dt_ms: float,
    neuron: NeuronSpec,
    teacher: Teacher,
    after_ms: float,
    modulator: float,
    engine: str,
    seed: int,
) -> np.ndarray:
    from spiketwin.models.engines import get_engine

    if not 0 < dt_ms < inf:
        raise ValueError(f"dt_ms = {dt_ms} must be positive and finite")
    n = len(protocols)
    times = [np.asarray(t, dtype=float) for p in protocols for t in p]
    last = max((t.max() for t in times if t.size), default=0.0)
    if min((t.min() for t in times if t.size), default=1.0) < dt_ms:
        raise ValueError(f"a spike comes before the second step of {dt_ms} ms; let protocols start later")
    steps = int(np.ceil((last + after_ms) / dt_ms))

    def spikes(side: int, early: int) -> Spikes:
        step = [np.rint(np.asarray(p[side]) / dt_ms).astype(int) - early for p in protocols]
        which = np.repeat(np.arange(n), [len(s) for s in step])
        return Spikes(np.concatenate(step), np.zeros_like(which), which, (steps, 1, n), dt_ms)

    one_to_one = scipy.sparse.diags_array(np.ones(n), format="csr")
    spec = listening(neuron, rule.post_states)
    held = {"tau_ref": 0} if "tau_ref" in spec.parameters else {}
    broadcast = [s for s in RECEPTORS if s in rule.post_states]
    held |= {f"tau_{s}": "1e9 second" for s in broadcast}
    network = Network(
        [Population("cells", spec, n, held, initial=dict.fromkeys(broadcast, modulator))],
        [
            Projection("input", "cells", one_to_one * weight, teacher.receptor, teacher.faint, name="studied", rule=rule),
            Projection("teacher", "cells", one_to_one * teacher.weight, teacher.receptor, teacher.unit),
        ],
        [SpikeSource("input", n), SpikeSource("teacher", n)],
    )
    # the teacher acts at the end of a step: the neuron fires in the next
    inputs = {"input": spikes(0, 0), "teacher": spikes(1, 1)}
    run = get_engine(engine).run(network, inputs, dt_ms=dt_ms, scheme="exact" if spec is lif_delta else "euler", seed=seed)
    fired = run.spikes["cells"].counts()[0]
    wanted = np.array([len(p.post_ms) for p in protocols])
    if (wrong := np.flatnonzero(fired != wanted)).size:
        k = int(wrong[0])
        raise ValueError(
            f"protocol {k} asks for {wanted[k]} postsynaptic spikes, but '{spec.name}' fired {fired[k]} times; change the teacher"
        )
    return run.weights["studied"][0] - weight
