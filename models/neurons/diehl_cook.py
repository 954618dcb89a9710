"""The two neurons of the network of Diehl & Cook: conductances in units of a leak of 1 nS, and a threshold that learns.

    tau_mem dv/dt     = v_rest - v + (g_exc (e_exc - v) + g_inh (e_inh - v) + i_ext)/g_leak
    tau_exc dg_exc/dt = -g_exc,    g_exc <- g_exc + w   at each excitatory spike
    tau_inh dg_inh/dt = -g_inh,    g_inh <- g_inh + w   at each inhibitory spike
    excitatory:  tau_theta dtheta/dt = -theta, spike when v > v_threshold + theta - theta_offset, then theta <- theta + theta_plus
    inhibitory:  spike when v > v_threshold
    then v <- v_reset, held for tau_ref

theta starts at theta_offset, so that a naive excitatory neuron fires at v_threshold. Brian2's example also forbids an
excitatory neuron to fire within 50 ms of its last spike, by a timer that runs at a tenth of real time; the paper
does not have it, nor has this model.

Source: Diehl & Cook 2015, Front. Comput. Neurosci. 9:99, section 2.1; constants of Brian2's example Diehl_Cook_2015.py.
"""

from __future__ import annotations

from spiketwin.models.spec import NeuronSpec, Parameter

_SYNAPSES = """
    dg_exc/dt = -g_exc/tau_exc : siemens
    dg_inh/dt = -g_inh/tau_inh : siemens
    i_ext : amp
"""
_MEMBRANE = "dv/dt = (v_rest - v + (g_exc*(e_exc - v) + g_inh*(e_inh - v) + i_ext)/g_leak)/tau_mem : volt (unless refractory)"


def _parameters(tau_mem: float, v_rest: float, v_threshold: float, v_reset: float, e_inh: float, tau_ref: float) -> dict[str, Parameter]:
    return dict(
        tau_mem=Parameter(tau_mem, "ms", "(0, inf)", "membrane time constant"),
        tau_exc=Parameter(1, "ms", "(0, inf)", "time constant of excitation"),
        tau_inh=Parameter(2, "ms", "(0, inf)", "time constant of inhibition"),
        tau_ref=Parameter(tau_ref, "ms", "[0, inf)", "refractory period"),
        g_leak=Parameter(1, "nS", "(0, inf)", "leak conductance"),
        e_exc=Parameter(0, "mV", description="reversal potential of excitation"),
        e_inh=Parameter(e_inh, "mV", description="reversal potential of inhibition"),
        v_rest=Parameter(v_rest, "mV", description="resting potential"),
        v_threshold=Parameter(v_threshold, "mV", description="threshold"),
        v_reset=Parameter(v_reset, "mV", description="reset potential"),
    )


diehl_cook_exc = NeuronSpec(
    name="diehl_cook_exc",
    equations=f"{_MEMBRANE}\n{_SYNAPSES}\ndtheta/dt = -theta/tau_theta : volt",
    parameters=dict(
        **_parameters(tau_mem=100, v_rest=-65, v_threshold=-52, v_reset=-65, e_inh=-100, tau_ref=5),
        tau_theta=Parameter(1e7, "ms", "(0, inf)", "time constant with which the threshold recovers"),
        theta_plus=Parameter(0.05, "mV", "[0, inf)", "rise of the threshold at a spike"),
        theta_offset=Parameter(20, "mV", description="theta of a naive neuron"),
    ),
    threshold="v > v_threshold + theta - theta_offset",
    reset="v = v_reset; theta += theta_plus",
    refractory="tau_ref",
    inputs=("g_exc", "g_inh"),
    initial={"v": "v_rest", "theta": "theta_offset"},
    spike_scale="v_threshold - v_rest",
    source="Diehl & Cook 2015, section 2.1",
)

diehl_cook_inh = NeuronSpec(
    name="diehl_cook_inh",
    equations=f"{_MEMBRANE}\n{_SYNAPSES}",
    parameters=_parameters(tau_mem=10, v_rest=-60, v_threshold=-40, v_reset=-45, e_inh=-85, tau_ref=2),
    threshold="v > v_threshold",
    reset="v = v_reset",
    refractory="tau_ref",
    inputs=("g_exc", "g_inh"),
    initial={"v": "v_rest"},
    spike_scale="v_threshold - v_rest",
    source="Diehl & Cook 2015, section 2.1",
)
