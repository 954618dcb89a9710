"""Leaky integrate-and-fire neuron with an alpha-shaped synaptic current.

    tau_mem dv/dt     = v_rest - v + r (i_syn + i_ext)
    tau_syn di_syn/dt = exp(1) h_syn - i_syn
    tau_syn dh_syn/dt = -h_syn,    h_syn <- h_syn + w   at each presynaptic spike
    spike when v > v_threshold, then v <- v_reset, held for tau_ref

One spike gives i_syn(t) = w (t/tau_syn) exp(1 - t/tau_syn): a weight w is the peak of the current, reached
at t = tau_syn (NEST's convention in iaf_psc_alpha); its charge is exp(1) w tau_syn.

Source: Gerstner et al. 2014, Neuronal Dynamics, eq. 1.5-1.9; Rall 1967 for the alpha function.
"""

from __future__ import annotations

from spiketwin.models.spec import NeuronSpec, Parameter

alpha_lif = NeuronSpec(
    name="alpha_lif",
    equations="""
        dv/dt = (v_rest - v + r*(i_syn + i_ext))/tau_mem : volt (unless refractory)
        di_syn/dt = (exp(1)*h_syn - i_syn)/tau_syn : amp
        dh_syn/dt = -h_syn/tau_syn : amp
        i_ext : amp
    """,
    parameters=dict(
        tau_mem=Parameter(20, "ms", "(0, inf)", "membrane time constant"),
        tau_syn=Parameter(5, "ms", "(0, inf)", "time from a spike to the peak of its current"),
        tau_ref=Parameter(2, "ms", "[0, inf)", "refractory period"),
        r=Parameter(100, "Mohm", "(0, inf)", "input resistance"),
        v_rest=Parameter(-70, "mV", description="resting potential"),
        v_threshold=Parameter(-50, "mV", description="threshold"),
        v_reset=Parameter(-60, "mV", description="reset potential"),
    ),
    threshold="v > v_threshold",
    reset="v = v_reset",
    refractory="tau_ref",
    inputs=("h_syn",),
    initial={"v": "v_rest"},
    spike_scale="v_threshold - v_rest",
    source="Gerstner et al. 2014, Neuronal Dynamics, eq. 1.5-1.9; Rall 1967",
)
