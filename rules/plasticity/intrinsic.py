"""Intrinsic plasticity: a neuron's threshold rises with each of its spikes and sinks all the time, so that the neuron keeps a rate.

    dtheta_ip/dt = -step_ip rho_ip,    theta_ip <- theta_ip + step_ip   at each spike of the neuron
    spike when v > (what it was) + theta_ip

Within T the threshold moves by step_ip (spikes - rho_ip T), whatever the input: while it stays bounded, the rate goes to rho_ip, with an error that
falls as 1/T. It is a mechanism of the neuron, no rule of synapses, and goes with all of these: intrinsic(neuron) is a neuron.

Source: Lazar, Pipa & Triesch 2009, Front. Comput. Neurosci. 3:23 (SORN), eq. 4, in continuous time; Desai, Rutherford & Turrigiano 1999,
Nat. Neurosci. 2:515, for its biology. It keeps the mean rate; Triesch's rule of 2005 also shapes the distribution of rates.
"""

from __future__ import annotations

import re
from dataclasses import replace

from spiketwin.models.spec import NeuronSpec, Parameter, SpecError

SOURCE = "Lazar, Pipa & Triesch 2009, eq. 4"
UNITS = {"volt": ("mV", 0.1), "1": ("1", 0.01)}  # of a membrane -> unit of a step of the threshold, and its default


def intrinsic(neuron: NeuronSpec, *, rho_ip: float | str = "5 Hz", step_ip: float | str | None = None) -> NeuronSpec:
    """The neuron with a threshold that keeps its rate.

    rho_ip: rate that it shall have, in Hz or as text.  step_ip: rise of the threshold at a spike, in mV (a number where the membrane has
    no unit), or as text; .1 mV or .01 by default. Both are parameters of the neuron, and theta_ip is a state that starts at 0.
    Raises SpecError where the threshold is not of the form 'v > …' or only notes spikes, or the neuron has it already.
    """
    if "theta_ip" in neuron.states:
        raise SpecError(f"'{neuron.name}' has intrinsic plasticity already; give it once")
    match = re.fullmatch(r"\s*(\w+)\s*(>=?)\s*(.+)", neuron.threshold)
    if not match or match[1] not in neuron.states or neuron.has_random_threshold or neuron.si_unit(match[1]) not in UNITS:
        raise SpecError(
            f"the threshold '{neuron.threshold}' of '{neuron.name}' is not of the form 'v > …' with a state v in volt or without unit: "
            "intrinsic plasticity shifts such a threshold; take a model that has one"
        )
    if not neuron.reset.strip():
        raise SpecError(
            f"the threshold '{neuron.threshold}' of '{neuron.name}' resets nothing: it only notes spikes that the neuron's currents make, and "
            "shifting it would not change how excitable the neuron is; take a model with a reset"
        )
    membrane, comparison, level = match.groups()
    unit, step = UNITS[neuron.si_unit(membrane)]
    added = replace(
        neuron,
        name=f"{neuron.name}_intrinsic",
        equations=f"{neuron.equations}\ndtheta_ip/dt = -step_ip*rho_ip : {neuron.si_unit(membrane)}",
        parameters={
            **neuron.parameters,
            "rho_ip": Parameter(5, "Hz", "[0, inf)", "rate that the threshold keeps"),
            "step_ip": Parameter(step, unit, "[0, inf)", "rise of the threshold at a spike"),
        },
        threshold=f"{membrane} {comparison} {level} + theta_ip",
        reset="; ".join(text for text in (neuron.reset.strip().rstrip(";"), "theta_ip += step_ip") if text),
        source=f"{neuron.source}; {SOURCE}",
    )
    return added.with_defaults(rho_ip=rho_ip, **({} if step_ip is None else {"step_ip": step_ip}))
