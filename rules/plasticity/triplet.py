"""The triplet rule: what a pair of spikes does depends on the spike before it.

    r1, r2 decay with tau_plus, tau_x and rise by 1 as a presynaptic spike arrives; o1, o2 with tau_minus, tau_y at postsynaptic spikes
    arrival:  w <- w - w_max o1 (a2_minus + a3_minus r2)      r2 as before this spike
    spike:    w <- w + w_max r1 (a2_plus  + a3_plus  o2)      o2 as before this spike

With nearest spikes, traces are set to 1 instead. Four sets of constants were fitted, to slices of visual cortex and to hippocampal
cultures, each with all spikes and with nearest ones.

Source: Pfister & Gerstner 2006, J. Neurosci. 26:9673, eq. 1-4 and the full models of tables 3 and 4. The sets with all spikes, and that of
cortex with nearest ones, are checked against independent numbers; hippocampus with nearest spikes is quoted from memory of table 4.
"""

from __future__ import annotations

from dataclasses import replace

from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.spec import Parameter


def triplet(
    name: str, *, a2_plus: float, a3_plus: float, a2_minus: float, a3_minus: float, tau_x_ms: float, tau_y_ms: float
) -> PlasticityRule:
    """The rule with all spikes. Amplitudes are changes of the weight, relative to w_max."""
    return PlasticityRule(
        name=name,
        pre_traces="dr1/dt = -r1/tau_plus : 1 \n dr2/dt = -r2/tau_x : 1",
        post_traces="do1/dt = -o1/tau_minus : 1 \n do2/dt = -o2/tau_y : 1",
        on_pre="w = clip(w - w_max*o1*(a2_minus + a3_minus*r2), 0, w_max); r1 += 1; r2 += 1",
        on_post="w = clip(w + w_max*r1*(a2_plus + a3_plus*o2), 0, w_max); o1 += 1; o2 += 1",
        parameters=dict(
            tau_plus=Parameter(16.8, "ms", "(0, inf)", "time constant of potentiation by pairs"),
            tau_minus=Parameter(33.7, "ms", "(0, inf)", "time constant of depression by pairs"),
            tau_x=Parameter(tau_x_ms, "ms", "(0, inf)", "how long an earlier presynaptic spike matters"),
            tau_y=Parameter(tau_y_ms, "ms", "(0, inf)", "how long an earlier postsynaptic spike matters"),
            a2_plus=Parameter(a2_plus, "1", "[0, inf)", "potentiation by a pair"),
            a3_plus=Parameter(a3_plus, "1", "[0, inf)", "potentiation by a triplet post-pre-post"),
            a2_minus=Parameter(a2_minus, "1", "[0, inf)", "depression by a pair"),
            a3_minus=Parameter(a3_minus, "1", "[0, inf)", "depression by a triplet pre-post-pre"),
            w_max=Parameter(1, "1", "(0, inf)", "largest weight"),
        ),
        bounds=("0", "w_max"),
        source="Pfister & Gerstner 2006, eq. 1-4",
    )


def of_nearest(rule: PlasticityRule) -> PlasticityRule:
    """The same rule, in which a spike meets only the last ones before it."""
    return replace(rule, on_pre=rule.on_pre.replace("+= 1", "= 1"), on_post=rule.on_post.replace("+= 1", "= 1"))


cortex = triplet("triplet_cortex", a2_plus=5e-10, a3_plus=6.2e-3, a2_minus=7e-3, a3_minus=2.3e-4, tau_x_ms=101, tau_y_ms=125)
cortex_nearest = of_nearest(
    triplet("triplet_cortex_nearest", a2_plus=8.8e-11, a3_plus=5.3e-2, a2_minus=6.6e-3, a3_minus=3.1e-3, tau_x_ms=714, tau_y_ms=40)
)
hippocampus = triplet("triplet_hippocampus", a2_plus=6.1e-3, a3_plus=6.7e-3, a2_minus=1.6e-3, a3_minus=1.4e-3, tau_x_ms=946, tau_y_ms=27)
hippocampus_nearest = of_nearest(
    triplet("triplet_hippocampus_nearest", a2_plus=4.6e-3, a3_plus=9.1e-3, a2_minus=3e-3, a3_minus=7.5e-9, tau_x_ms=575, tau_y_ms=47)
)
