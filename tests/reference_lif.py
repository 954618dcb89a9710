"""A slow, readable simulation of leaky integrate-and-fire networks: the schedule in plain Python.

It shares no code with the package and uses no arrays. Every neuron is

    tau_mem dv/dt     = v_rest - v + r (i_syn + i_ext)      held while refractory
    tau_syn di_syn/dt = -i_syn
    spike when v > v_threshold, then v <- v_reset

in ms, mV, nA and Mohm, integrated by forward Euler or exactly. At each step, labelled n:
integrate, threshold, let spikes arrive, reset. The time from n·dt to (n+1)·dt belongs to step n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Neuron:
    """Parameters, and the state as it is now."""

    tau_mem: float = 20.0
    tau_syn: float = 5.0
    tau_ref: float = 2.0
    r: float = 100.0
    v_rest: float = -70.0
    v_threshold: float = -50.0
    v_reset: float = -60.0
    i_ext: float = 0.0
    v: float = -70.0
    i_syn: float = 0.0
    last_spike: int | None = None
    active: bool = True


@dataclass(frozen=True)
class Synapse:
    """From a neuron's or an input's name to a neuron's: jump of 'i_syn' (nA) or 'v' (mV) after a delay (ms)."""

    source: str
    target: str
    weight: float
    delay: float = 0.0
    receptor: str = "i_syn"


def simulate(neurons: dict[str, Neuron], synapses: list[Synapse], inputs: dict[str, set[int]], *, steps: int, dt: float, scheme: str):
    """Spike steps of each neuron, and v of each neuron at the start of each step.

    inputs: name of an input -> the steps in which it fires.
    """
    spikes: dict[str, list[int]] = {name: [] for name in neurons}
    voltage: dict[str, list[float]] = {name: [] for name in neurons}
    arrivals: dict[int, list[Synapse]] = {}
    for n in range(steps):
        for name, neuron in neurons.items():
            voltage[name].append(neuron.v)
            # a neuron that spiked in step m is held until m + tau_ref/dt
            neuron.active = neuron.last_spike is None or n - neuron.last_spike >= math.floor(neuron.tau_ref / dt + 1e-3)
            integrate(neuron, dt, scheme)

        fired = [name for name, neuron in neurons.items() if neuron.active and neuron.v > neuron.v_threshold]
        for name in fired:
            spikes[name].append(n)
            neurons[name].last_spike = n
            neurons[name].active = False

        for synapse in synapses:
            if synapse.source in fired or n in inputs.get(synapse.source, ()):
                due = n + math.floor(synapse.delay / dt + 0.5)
                arrivals.setdefault(due, []).append(synapse)
        for synapse in arrivals.pop(n, []):
            target = neurons[synapse.target]
            if synapse.receptor == "i_syn":
                target.i_syn += synapse.weight
            elif target.active:  # a refractory membrane takes no jumps
                target.v += synapse.weight

        for name in fired:
            neurons[name].v = neurons[name].v_reset
    return spikes, voltage


def integrate(neuron: Neuron, dt: float, scheme: str) -> None:
    v, current = neuron.v, neuron.i_syn
    if scheme == "euler":
        v_new = v + dt / neuron.tau_mem * (neuron.v_rest - v + neuron.r * (current + neuron.i_ext))
        i_new = current - dt / neuron.tau_syn * current
    elif scheme == "exact":
        a, b = math.exp(-dt / neuron.tau_syn), math.exp(-dt / neuron.tau_mem)
        v_inf = neuron.v_rest + neuron.r * neuron.i_ext
        if neuron.tau_syn == neuron.tau_mem:
            gain = dt / neuron.tau_mem * b
        else:
            gain = neuron.tau_syn / (neuron.tau_syn - neuron.tau_mem) * (a - b)
        v_new = v_inf + (v - v_inf) * b + neuron.r * gain * current
        i_new = a * current
    else:
        raise ValueError(f"no scheme '{scheme}'")
    neuron.i_syn = i_new
    if neuron.active:
        neuron.v = v_new
