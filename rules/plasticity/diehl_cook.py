"""The trace rule of Diehl & Cook (2015): a postsynaptic spike strengthens what was recently active.

    pre, post1, post2 decay with tau_pre, tau_post1, tau_post2 = 20, 20, 40 ms
    a presynaptic spike arrives:  w <- w - nu_pre post1,           then pre <- 1
    the postsynaptic neuron fires:  w <- w + nu_post pre post2,    then post1 <- 1, post2 <- 1
    w stays within 0 … w_max

The first of several postsynaptic spikes changes nothing (post2 is 0): potentiation is a matter of triplets, and
the later of two spikes 40 ms apart counts 1/e. Traces are set to 1, not raised by 1: only the nearest spike counts.

What the statements below become in the compiled engine, for an arrival at a synapse of neuron n and for a spike of n:

    w = clip(w - nu_pre*post1, 0, w_max)          post1 = traces[0, n], decayed to this step by exp(-dt/tau_post1) each
    w = clip(w + nu_post*pre*post2before, 0, w_max)   pre = exp(-(t - last arrival)/tau_pre), from the spike list of the input

The paper compares this rule of triplets with three others, in which traces rise by 1 and a target trace tells recent inputs from the rest:

    power law, of the presynaptic trace only     fires:    w <- w + nu_post (pre - target) (w_max - w)^mu
    exponential, of the presynaptic trace only   fires:    w <- w + nu_post (pre exp(-beta w) - target exp(-beta (w_max - w)))
    symmetric, of both traces                    arrives:  w <- w - nu_pre post1 w^mu
                                                 fires:    as the power law

`spiketwin.models.engines.compiled.plastic.rule_source(diehl_cook)` prints the code in full. The weights of each neuron
are scaled to a sum of 78 before each image: Normalisation(COLUMN_SUM).

Source: Diehl & Cook 2015, Front. Comput. Neurosci. 9:99, section 2.3; the constants and the order of statements are those of
the example Diehl_Cook_2015.py of Brian2, which has the rule of triplets alone. beta is that of Querlioz et al. 2013; target and mu are ours.
"""

from __future__ import annotations

from dataclasses import replace

from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.spec import Parameter

COLUMN_SUM = 78.0  # of the weights from 784 pixels to one neuron

diehl_cook = PlasticityRule(
    name="diehl_cook",
    pre_traces="dpre/dt = -pre/tau_pre : 1",
    post_traces="""
        dpost1/dt = -post1/tau_post1 : 1
        dpost2/dt = -post2/tau_post2 : 1
    """,
    on_pre="""
        pre = 1
        w = clip(w - nu_pre*post1, 0, w_max)
    """,
    on_post="""
        post2before = post2
        w = clip(w + nu_post*pre*post2before, 0, w_max)
        post1 = 1
        post2 = 1
    """,
    parameters=dict(
        tau_pre=Parameter(20, "ms", "(0, inf)", "time constant of the presynaptic trace"),
        tau_post1=Parameter(20, "ms", "(0, inf)", "time constant of the postsynaptic trace that depresses"),
        tau_post2=Parameter(40, "ms", "(0, inf)", "time constant of the postsynaptic trace that potentiates"),
        nu_pre=Parameter(1e-4, "1", "[0, inf)", "learning rate at presynaptic spikes"),
        nu_post=Parameter(1e-2, "1", "[0, inf)", "learning rate at postsynaptic spikes"),
        w_max=Parameter(1, "1", "(0, inf)", "largest weight"),
    ),
    bounds=("0", "w_max"),
    source="Diehl & Cook 2015; Brian2's example Diehl_Cook_2015.py",
)

TRACE_ONLY = {name: diehl_cook.parameters[name] for name in ("tau_pre", "nu_post", "w_max")} | dict(
    target=Parameter(0.4, "1", "[0, inf)", "presynaptic trace above which a synapse grows"),
)
MU = dict(mu=Parameter(1, "1", "[0, inf)", "exponent of the weight dependence"))
GROWS = "w = clip(w + nu_post*(pre - target)*(w_max - w)**mu, 0, w_max)"

power_law = PlasticityRule(
    name="diehl_cook_power_law",
    pre_traces="dpre/dt = -pre/tau_pre : 1",
    on_pre="pre += 1",
    on_post=GROWS,
    parameters=TRACE_ONLY | MU,
    bounds=("0", "w_max"),
    source="Diehl & Cook 2015, section 2.3",
)
exponential = replace(
    power_law,
    name="diehl_cook_exponential",
    on_post="w = clip(w + nu_post*(pre*exp(-beta*w) - target*exp(-beta*(w_max - w))), 0, w_max)",
    parameters=TRACE_ONLY | dict(beta=Parameter(3, "1", "[0, inf)", "strength of the weight dependence")),
)
symmetric = replace(
    power_law,
    name="diehl_cook_symmetric",
    post_traces="dpost1/dt = -post1/tau_post1 : 1",
    on_pre="pre += 1; w = clip(w - nu_pre*post1*w**mu, 0, w_max)",
    on_post=f"{GROWS}; post1 += 1",
    parameters=TRACE_ONLY | MU | {name: diehl_cook.parameters[name] for name in ("tau_post1", "nu_pre")},
)
