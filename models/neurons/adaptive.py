"""Leaky integrate-and-fire neuron whose threshold rises with each spike and recovers.

    tau_mem dv/dt         = v_rest - v + r (i_syn + i_ext)
    tau_syn di_syn/dt     = -i_syn,    i_syn <- i_syn + w   at each presynaptic spike
    tau_theta dtheta/dt   = -theta
    spike when v > v_threshold + theta, then v <- v_reset, held for tau_ref, and theta <- theta + theta_plus

Source: Gerstner et al. 2014, Neuronal Dynamics, section 6.1 (dynamic threshold); Bellec et al. 2018 (the
adaptive neuron of their recurrent networks).
"""

from __future__ import annotations

from spiketwin.models.spec import NeuronSpec, Parameter

adaptive_lif = NeuronSpec(
    name="adaptive_lif",
    equations="""
        dv/dt = (v_rest - v + r*(i_syn + i_ext))/tau_mem : volt (unless refractory)
        di_syn/dt = -i_syn/tau_syn : amp
        dtheta/dt = -theta/tau_theta : volt
        i_ext : amp
    """,
    parameters=dict(
        tau_mem=Parameter(20, "ms", "(0, inf)", "membrane time constant"),
        tau_syn=Parameter(5, "ms", "(0, inf)", "synaptic time constant"),
        tau_theta=Parameter(100, "ms", "(0, inf)", "time constant of the threshold's recovery"),
        tau_ref=Parameter(2, "ms", "[0, inf)", "refractory period"),
        r=Parameter(100, "Mohm", "(0, inf)", "input resistance"),
        theta_plus=Parameter(2, "mV", "[0, inf)", "rise of the threshold at a spike"),
        v_rest=Parameter(-70, "mV", description="resting potential"),
        v_threshold=Parameter(-50, "mV", description="threshold of a rested neuron"),
        v_reset=Parameter(-60, "mV", description="reset potential"),
    ),
    threshold="v > v_threshold + theta",
    reset="v = v_reset; theta += theta_plus",
    refractory="tau_ref",
    inputs=("i_syn",),
    initial={"v": "v_rest"},
    spike_scale="v_threshold - v_rest",
    source="Gerstner et al. 2014, Neuronal Dynamics, section 6.1; Bellec et al. 2018",
)
