"""Integrate-and-fire neurons without a synaptic time constant: perfect, leaky, and leaky driven by jumps of v.

    if_neuron:  c_mem dv/dt   = i_ext                         v <- v + w   at each presynaptic spike
    lif:        tau_mem dv/dt = v_rest - v + r i_ext
    lif_delta:  tau_mem dv/dt = v_rest - v + r i_ext          v <- v + w   at each presynaptic spike
    spike when v > v_threshold, then v <- v_reset, held for tau_ref (if_neuron: not held)

`lif` answers an injected current only and has no receptor: it is the neuron of the f-I curve. A spike
that reaches `lif_delta` while it is refractory is lost.

Source: Gerstner et al. 2014, Neuronal Dynamics, eq. 1.5-1.9; if_neuron: the same without the leak.
"""

from __future__ import annotations

from dataclasses import replace

from spiketwin.models.spec import NeuronSpec, Parameter

if_neuron = NeuronSpec(
    name="if_neuron",
    equations="""
        dv/dt = i_ext/c_mem : volt
        i_ext : amp
    """,
    parameters=dict(
        c_mem=Parameter(200, "pF", "(0, inf)", "membrane capacitance"),
        v_rest=Parameter(-70, "mV", description="potential at the start"),
        v_threshold=Parameter(-50, "mV", description="threshold"),
        v_reset=Parameter(-60, "mV", description="reset potential"),
    ),
    threshold="v > v_threshold",
    reset="v = v_reset",
    inputs=("v",),
    initial={"v": "v_rest"},
    spike_scale="v_threshold - v_rest",
    source="Gerstner et al. 2014, Neuronal Dynamics, eq. 1.5 without the leak",
)

lif = NeuronSpec(
    name="lif",
    equations="""
        dv/dt = (v_rest - v + r*i_ext)/tau_mem : volt (unless refractory)
        i_ext : amp
    """,
    parameters=dict(
        tau_mem=Parameter(20, "ms", "(0, inf)", "membrane time constant"),
        tau_ref=Parameter(2, "ms", "[0, inf)", "refractory period"),
        r=Parameter(100, "Mohm", "(0, inf)", "input resistance"),
        v_rest=Parameter(-70, "mV", description="resting potential"),
        v_threshold=Parameter(-50, "mV", description="threshold"),
        v_reset=Parameter(-60, "mV", description="reset potential"),
    ),
    threshold="v > v_threshold",
    reset="v = v_reset",
    refractory="tau_ref",
    initial={"v": "v_rest"},
    spike_scale="v_threshold - v_rest",
    source="Gerstner et al. 2014, Neuronal Dynamics, eq. 1.5-1.9",
)

lif_delta = replace(lif, name="lif_delta", inputs=("v",))
