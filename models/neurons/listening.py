"""Neurons with states that learning rules read: a neuromodulator, filtered voltages.

    dd/dt = -d/tau_d,   d <- d + w at each spike of a source of reward          (receptor d)
    dv_minus/dt = (v - v_minus)/tau_v_minus,   dv_plus/dt = (v - v_plus)/tau_v_plus

They leave the neuron's own dynamics as they are. Source: Izhikevich 2007, eq. 3, for d; Clopath et al. 2010, methods, for the filtered
voltages, with its time constants for visual cortex.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from spiketwin.models.spec import NeuronSpec, Parameter, SpecError, unknown

ADDED = {
    "d": ("dd/dt = -d/tau_d : 1", {"tau_d": Parameter(200, "ms", "(0, inf)", "time constant of the neuromodulator")}),
    "v_minus": (
        "dv_minus/dt = (v - v_minus)/tau_v_minus : volt",
        {"tau_v_minus": Parameter(10, "ms", "(0, inf)", "time constant of the voltage that depression reads")},
    ),
    "v_plus": (
        "dv_plus/dt = (v - v_plus)/tau_v_plus : volt",
        {"tau_v_plus": Parameter(7, "ms", "(0, inf)", "time constant of the voltage that potentiation reads")},
    ),
}
RECEPTORS = ("d",)


def listening(neuron: NeuronSpec, states: Iterable[str]) -> NeuronSpec:
    """The neuron with those of `states` that it lacks, such as a rule's post_states; itself when it lacks none.

    Raises SpecError for a state that is neither the neuron's nor one of 'd', 'v_minus', 'v_plus'.
    """
    lacking = [s for s in states if s not in neuron.states]
    if strange := [s for s in lacking if s not in ADDED]:
        raise SpecError(unknown(strange[0], "state", neuron.name, [*neuron.states, *ADDED]))
    if not lacking:
        return neuron
    start = neuron.initial.get("v", "")
    filtered = {s: start for s in lacking if s.startswith("v_") and start}
    return replace(
        neuron,
        name="_".join([neuron.name, "with", *lacking]),
        equations="\n".join([neuron.equations, *(ADDED[s][0] for s in lacking)]),
        parameters={**neuron.parameters, **{name: p for s in lacking for name, p in ADDED[s][1].items()}},
        inputs=(*neuron.inputs, *(s for s in lacking if s in RECEPTORS)),
        initial={**neuron.initial, **filtered},
    )


def modulated(neuron: NeuronSpec) -> NeuronSpec:
    """The neuron with a neuromodulator d, on which spikes act as on any receptor."""
    return listening(neuron, ["d"])
