"""The reference loop: executes the events of a Semantics, one after the other, for every step.

Written to be read beside the table of events in `spiketwin.models.semantics`, not to be fast.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spiketwin.models.mapping import PhysicalLIF, RecurrentForm, to_recurrent
from spiketwin.models.semantics import PLATFORMS, Semantics


class RecurrentRun(NamedTuple):
    """v, i: what the threshold test of each step saw; spikes: how many each step gave. All of the shape of the input."""

    v: np.ndarray
    i: np.ndarray
    spikes: np.ndarray


def run_recurrent_lif(form: RecurrentForm, inputs) -> RecurrentRun:
    """Run a population of independent LIF neurons in recurrent form from v = i = 0 (rest).

    inputs: [T] or [T, ...], the weighted input x of each step (nA for a form made from physical
    parameters); further axes are neurons or trials and broadcast against the form's arrays.
    Returns v [T, ...] in the unit of the threshold, measured from rest.
    Raises ValueError when the input is not finite.
    """
    rules, x = form.semantics, np.asarray(inputs, dtype=float)
    if x.ndim == 0 or not np.isfinite(x).all():
        raise ValueError("inputs must be an array [T, ...] of finite numbers; repair NaN and infinite values first")
    v, i, s, count = np.zeros((4, *x.shape[1:]))
    trace = RecurrentRun(*np.zeros((3, *x.shape)))
    for n in range(len(x)):
        for event in rules.order:
            refractory = count > 0
            held = refractory if rules.refractory == "hold" else False
            closed = refractory if rules.refractory in ("hold", "block") else False
            silent = refractory if rules.refractory in ("hold", "silence") else False
            match event:
                case "count_down":
                    count = np.maximum(count - 1, 0)
                case "receive" if rules.synapse == "exponential":
                    i = i + form.jump * x[n]
                case "receive" if rules.synapse == "current":
                    i = x[n]
                case "receive":
                    v = np.where(closed, v, v + form.gain * x[n])
                case "integrate" | "integrate_membrane":
                    v = np.where(held, v, form.beta * v + np.where(closed, 0.0, form.gain * i))
                    if event == "integrate":
                        i = form.alpha * i
                case "integrate_synapse":
                    i = form.alpha * i
                case "threshold":
                    reached = (v > form.threshold if rules.comparison == ">" else v >= form.threshold) & np.logical_not(silent)
                    s = np.where(reached, np.floor(v / form.threshold) if rules.multi_spike else 1.0, 0.0)
                    count = np.where(reached, form.refractory_steps, count)
                    trace.v[n], trace.i[n], trace.spikes[n] = v, i, s
                case "reset" if rules.reset == "value":
                    v = np.where(s > 0, form.reset, v)
                case "reset":
                    v = v - s * (form.threshold - form.reset)
    return trace


def unit_response(semantics: Semantics, *, tau_mem_ms=20.0, tau_syn_ms=5.0, r_mohm=1.0, dt_ms=1.0, steps=100) -> RecurrentRun:
    """What one spike of weight 1 in step 0 does to a neuron at rest that never reaches its threshold.

    The time constants are given to the platform as they are, with no correction of gain: this shows
    what copying parameters from one simulator to another costs.  Returns v, i, spikes, each [steps].
    """
    tau_syn_ms = tau_syn_ms if semantics.synapse == "exponential" else None
    never = 1e9  # mV
    form = to_recurrent(PhysicalLIF(tau_mem_ms, tau_syn_ms, r_mohm, v_threshold_mv=never), dt_ms, semantics)
    x = np.zeros(steps)
    x[0] = 1.0
    return run_recurrent_lif(form, x)


def platform_table() -> str:
    """Markdown table of all platforms: what follows from their order of events, and their response to one unit spike."""
    rows = [
        "| platform | order of events | latency | reset | swallows input | peak of one PSP | at step |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, rules in PLATFORMS.items():
        reset = f"{rules.reset}, {rules.reset_time} step, {rules.reset_relative_to_decay} decay"
        v = unit_response(rules).v
        peak = f"{v.max():.4g} | {v.argmax()}" if rules.synapse == "exponential" else "– | –"
        order = " → ".join(rules.order)
        rows.append(f"| {name} | {order} | {rules.latency} | {reset} | {'yes' if rules.swallows_input else 'no'} | {peak} |")
    return "\n".join(rows) + "\n"
