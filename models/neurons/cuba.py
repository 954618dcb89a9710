"""Current-based leaky integrate-and-fire neurons (CUBA): one exponential synapse, or two.

    cuba_lif:    tau_mem dv/dt     = v_rest - v + r (i_syn + i_ext)
                 tau_syn di_syn/dt = -i_syn,    i_syn <- i_syn + w   at each presynaptic spike
    cuba_lif_2:  i_exc + i_inh, with tau_exc and tau_inh, in place of i_syn; weights of i_inh are negative
    fast_slow_lif:  i_fast + i_slow, with tau_fast and tau_slow; weights of both signs on each
    spike when v > v_threshold, then v <- v_reset, held for tau_ref

`cuba_lif_2` has the parameters of the Vogels-Abbott network. Its weights, 1.62 mV and -9 mV there, are
16.2 pA and -90 pA here (times r), and its resting potential of -49 mV is -60 mV with i_ext = 110 pA.

Source: Gerstner et al. 2014, Neuronal Dynamics, eq. 1.5-1.9; Vogels & Abbott 2005 and Brette et al. 2007,
benchmark 2, for two receptors; Boerlin, Machens & Denève 2013 for fast beside slow
synapses: fast ones keep a network balanced, slow ones, which may be trained, carry its dynamics.
"""

from __future__ import annotations

from spiketwin.models.spec import NeuronSpec, Parameter

cuba_lif = NeuronSpec(
    name="cuba_lif",
    equations="""
        dv/dt = (v_rest - v + r*(i_syn + i_ext))/tau_mem : volt (unless refractory)
        di_syn/dt = -i_syn/tau_syn : amp
        i_ext : amp
    """,
    parameters=dict(
        tau_mem=Parameter(20, "ms", "(0, inf)", "membrane time constant"),
        tau_syn=Parameter(5, "ms", "(0, inf)", "synaptic time constant"),
        tau_ref=Parameter(2, "ms", "[0, inf)", "refractory period"),
        r=Parameter(100, "Mohm", "(0, inf)", "input resistance"),
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
    source="Gerstner et al. 2014, Neuronal Dynamics, eq. 1.5-1.9",
)

cuba_lif_2 = NeuronSpec(
    name="cuba_lif_2",
    equations="""
        dv/dt = (v_rest - v + r*(i_exc + i_inh + i_ext))/tau_mem : volt (unless refractory)
        di_exc/dt = -i_exc/tau_exc : amp
        di_inh/dt = -i_inh/tau_inh : amp
        i_ext : amp
    """,
    parameters=dict(
        tau_mem=Parameter(20, "ms", "(0, inf)", "membrane time constant"),
        tau_exc=Parameter(5, "ms", "(0, inf)", "time constant of excitation"),
        tau_inh=Parameter(10, "ms", "(0, inf)", "time constant of inhibition"),
        tau_ref=Parameter(5, "ms", "[0, inf)", "refractory period"),
        r=Parameter(100, "Mohm", "(0, inf)", "input resistance"),
        v_rest=Parameter(-60, "mV", description="resting potential"),
        v_threshold=Parameter(-50, "mV", description="threshold"),
        v_reset=Parameter(-60, "mV", description="reset potential"),
    ),
    threshold="v > v_threshold",
    reset="v = v_reset",
    refractory="tau_ref",
    inputs=("i_exc", "i_inh"),
    initial={"v": "v_rest"},
    spike_scale="v_threshold - v_rest",
    source="Vogels & Abbott 2005; Brette et al. 2007, benchmark 2",
)

fast_slow_lif = NeuronSpec(
    name="fast_slow_lif",
    equations="""
        dv/dt = (v_rest - v + r*(i_fast + i_slow + i_ext))/tau_mem : volt (unless refractory)
        di_fast/dt = -i_fast/tau_fast : amp
        di_slow/dt = -i_slow/tau_slow : amp
        i_ext : amp
    """,
    parameters=dict(
        tau_mem=Parameter(20, "ms", "(0, inf)", "membrane time constant"),
        tau_fast=Parameter(2, "ms", "(0, inf)", "time constant of the fast synapses"),
        tau_slow=Parameter(100, "ms", "(0, inf)", "time constant of the slow synapses"),
        tau_ref=Parameter(2, "ms", "[0, inf)", "refractory period"),
        r=Parameter(100, "Mohm", "(0, inf)", "input resistance"),
        v_rest=Parameter(-70, "mV", description="resting potential"),
        v_threshold=Parameter(-50, "mV", description="threshold"),
        v_reset=Parameter(-60, "mV", description="reset potential"),
    ),
    threshold="v > v_threshold",
    reset="v = v_reset",
    refractory="tau_ref",
    inputs=("i_fast", "i_slow"),
    initial={"v": "v_rest"},
    spike_scale="v_threshold - v_rest",
    source="Boerlin, Machens & Deneve 2013, PLoS Comput. Biol. 9:e1003258, eq. 5-6, with a threshold and reset in mV",
)
