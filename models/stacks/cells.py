"""The neuron of trained networks without units: v counts thresholds, inputs add to it at once, time is in ms.

    tau_mem dv/dt = -v,    v <- v + w   at each presynaptic spike
    leaky:            spike when v > v_threshold, then v <- v - v_threshold
    leaky_integrator: never spikes

One step is v <- beta v + x with beta = exp(-dt/tau_mem): the `beta` of other libraries, which means nothing without their
step. `tau_from_beta` gives it back its time constant.

Source: Gerstner et al. 2014, Neuronal Dynamics, eq. 1.5; Neftci, Mostafa & Zenke 2019, eq. 5-6, for the reset by subtraction.
"""

from __future__ import annotations

import math

from spiketwin.models.spec import NeuronSpec, Parameter


def leaky(tau_mem_ms: float = 20.0, v_threshold: float = 1.0) -> NeuronSpec:
    """A leaky integrate-and-fire neuron with parameters tau_mem and v_threshold. Raises SpecError unless both are positive."""
    return NeuronSpec(
        name="leaky",
        equations="dv/dt = -v/tau_mem : 1",
        parameters={
            "tau_mem": Parameter(tau_mem_ms, "ms", "(0, inf)", "membrane time constant"),
            "v_threshold": Parameter(v_threshold, "1", "(0, inf)", "threshold, and what a spike takes away"),
        },
        threshold="v > v_threshold",
        reset="v -= v_threshold",
        inputs=("v",),
        spike_scale="v_threshold",
        source="Gerstner et al. 2014, Neuronal Dynamics, eq. 1.5; Neftci, Mostafa & Zenke 2019, eq. 5-6",
    )


def leaky_integrator(tau_mem_ms: float = 20.0) -> NeuronSpec:
    """A membrane to read out, with the parameter tau_mem. Raises SpecError unless it is positive."""
    return NeuronSpec(
        name="leaky_integrator",
        equations="dv/dt = -v/tau_mem : 1",
        parameters={"tau_mem": Parameter(tau_mem_ms, "ms", "(0, inf)", "membrane time constant")},
        inputs=("v",),
        source="Gerstner et al. 2014, Neuronal Dynamics, eq. 1.5",
    )


def tau_from_beta(beta: float, dt_ms: float) -> float:
    """The time constant in ms of a membrane that keeps the share `beta` of itself in each step: -dt/ln(beta).

    Raises ValueError unless 0 < beta < 1 and dt_ms > 0.
    """
    if not 0 < beta < 1:
        raise ValueError(f"beta = {beta} is the share of v that one step leaves; it lies between 0 and 1 (1: no leak, use if_neuron)")
    if not dt_ms > 0:
        raise ValueError(f"dt_ms = {dt_ms} must be positive")
    return -dt_ms / math.log(beta)
