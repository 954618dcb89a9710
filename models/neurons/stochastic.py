"""Leaky integrate-and-fire neurons with noise: in the output (escape noise) or in the membrane (diffusion).

    escape_lif:  tau_mem dv/dt = v_rest - v + r (i_syn + i_ext)
                 spike with the hazard hazard_0 exp((v - v_threshold)/delta_v)
    noisy_lif:   tau_mem dv/dt = v_rest - v + r (i_syn + i_ext) + sigma sqrt(2 tau_mem) xi
                 spike when v > v_threshold
    tau_syn di_syn/dt = -i_syn,    i_syn <- i_syn + w   at each presynaptic spike
    after a spike v <- v_reset, held for tau_ref

Over a step dt a hazard rho gives a spike with probability 1 - exp(-rho dt), whatever the step: the threshold may
therefore use `dt`. Without a threshold, v of noisy_lif is Gaussian with standard deviation sigma.

Source: Gerstner et al. 2014, Neuronal Dynamics, section 9.1 (escape noise) and 8.2 (diffusive noise; their noise
amplitude is sqrt(2) sigma).
"""

from __future__ import annotations

from spiketwin.models.spec import NeuronSpec, Parameter

escape_lif = NeuronSpec(
    name="escape_lif",
    equations="""
        dv/dt = (v_rest - v + r*(i_syn + i_ext))/tau_mem : volt (unless refractory)
        di_syn/dt = -i_syn/tau_syn : amp
        hazard = hazard_0*exp((v - v_threshold)/delta_v) : hertz
        i_ext : amp
    """,
    parameters=dict(
        tau_mem=Parameter(20, "ms", "(0, inf)", "membrane time constant"),
        tau_syn=Parameter(5, "ms", "(0, inf)", "synaptic time constant"),
        tau_ref=Parameter(2, "ms", "[0, inf)", "refractory period"),
        r=Parameter(100, "Mohm", "(0, inf)", "input resistance"),
        hazard_0=Parameter(100, "Hz", "[0, inf)", "hazard at threshold"),
        delta_v=Parameter(2, "mV", "(0, inf)", "softness of the threshold"),
        v_rest=Parameter(-70, "mV", description="resting potential"),
        v_threshold=Parameter(-50, "mV", description="potential at which the hazard is hazard_0"),
        v_reset=Parameter(-60, "mV", description="reset potential"),
    ),
    threshold="rand() < 1 - exp(-hazard*dt)",
    reset="v = v_reset",
    refractory="tau_ref",
    inputs=("i_syn",),
    initial={"v": "v_rest"},
    spike_scale="1",
    source="Gerstner et al. 2014, Neuronal Dynamics, section 9.1",
)

noisy_lif = NeuronSpec(
    name="noisy_lif",
    equations="""
        dv/dt = (v_rest - v + r*(i_syn + i_ext))/tau_mem + sigma*sqrt(2/tau_mem)*xi : volt (unless refractory)
        di_syn/dt = -i_syn/tau_syn : amp
        i_ext : amp
    """,
    parameters=dict(
        tau_mem=Parameter(20, "ms", "(0, inf)", "membrane time constant"),
        tau_syn=Parameter(5, "ms", "(0, inf)", "synaptic time constant"),
        tau_ref=Parameter(2, "ms", "[0, inf)", "refractory period"),
        r=Parameter(100, "Mohm", "(0, inf)", "input resistance"),
        sigma=Parameter(3, "mV", "[0, inf)", "standard deviation of the free membrane potential"),
        v_rest=Parameter(-70, "mV", description="resting potential"),
        v_threshold=Parameter(-50, "mV", description="threshold"),
        v_reset=Parameter(-60, "mV", description="reset potential"),
    ),
    threshold="v > v_threshold",
    reset="v = v_reset",
    refractory="tau_ref",
    inputs=("i_syn",),
    initial={"v": "v_rest"},
    spike_scale="v_threshold - v_rest",
    source="Gerstner et al. 2014, Neuronal Dynamics, section 8.2",
)
