"""Fast fixed connections beside slow ones that may be trained: two synapses of each neuron with time constants of their own.

The fast connections are a liquid's, tightly balanced: excitation and inhibition of each neuron cancel, spike by spike, within
tau_fast. The slow ones are weak when they are drawn; a rule or a gradient gives them their meaning.

Source: Boerlin, Machens & Denève 2013, PLoS Comput. Biol. 9:e1003258.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from spiketwin.models.network import Network
from spiketwin.models.neurons import fast_slow_lif
from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.reservoirs.assembly import Delay, Value, recurrent
from spiketwin.models.reservoirs.kinds import ByKind, Ends
from spiketwin.models.reservoirs.liquid import CONNECTED, DELAYS_MS, POPULATION, RECURRENT, Liquid, check_functions, check_scales, liquid
from spiketwin.models.reservoirs.response import receptor
from spiketwin.models.reservoirs.strengths import Strengths, drawn, per_root_degree, tightly_balanced
from spiketwin.models.reservoirs.topology import Topology
from spiketwin.models.stacks.heterogeneity import gamma

FAST = tightly_balanced(RECURRENT)
SLOW = tightly_balanced(per_root_degree(drawn(ByKind(0.03, 0.03, -0.12, -0.12), gamma(1.0, shape=4.0))))


def fast_slow_liquid(
    inputs: int,
    size: int = 135,
    *,
    tau_fast_ms: Value = 2.0,
    tau_slow_ms: Value = 100.0,
    topology: Topology = CONNECTED,
    strengths: Strengths = FAST,
    slow_topology: Topology = CONNECTED,
    slow_strengths: Strengths = SLOW,
    slow_scale: float = 1.0,
    slow_rule: PlasticityRule | None | ByKind[PlasticityRule | None] = None,
    input_scale: float = 0.6,
    delay_ms: Delay | ByKind[Delay] = DELAYS_MS,
    parameters: Mapping[str, Value] | None = None,
    seed: int = 0,
    **options: Any,
) -> Liquid:
    """As liquid(), with fast_slow_lif neurons: 'ee' … 'ii' are fast and not trainable, 'slow_ee' … 'slow_ii' trainable.

    tau_fast_ms, tau_slow_ms: numbers or distributions.  slow_topology, slow_strengths, slow_scale, slow_rule: of the slow connections.
    options: those of liquid() but neuron and rule.
    """
    check_scales(slow_scale=slow_scale)
    check_functions(slow_topology=slow_topology, slow_strengths=slow_strengths)
    given = {**(parameters or {}), "tau_fast": tau_fast_ms, "tau_slow": tau_slow_ms}
    neuron = fast_slow_lif.with_defaults(**{n: v for n, v in given.items() if isinstance(v, int | float | str)})
    fast = liquid(
        inputs,
        size,
        topology=topology,
        strengths=strengths,
        neuron=neuron,
        parameters={n: v for n, v in given.items() if not isinstance(v, int | float | str)},
        input_scale=input_scale,
        delay_ms=delay_ms,
        seed=seed,
        **options,
    )
    # streams of their own: without slow connections the liquid is the same
    draws = [np.random.default_rng([seed, 10 + part]) for part in range(3)]
    ends = Ends(fast.is_excitatory, fast.is_excitatory)
    weights = slow_scale * slow_strengths(draws[1], slow_topology(draws[0], fast.is_excitatory), ends)
    at = receptor(neuron, "i_slow")
    slow = recurrent(
        POPULATION, weights, ends, draws[2], receptors=ByKind(at, at, at, at), delay_ms=delay_ms, rule=slow_rule, prefix="slow_"
    )
    net = fast.network
    fixed = [replace(p, trainable=False) for p in net.projections]
    return replace(fast, network=Network(net.populations, (*fixed, *slow), net.sources))
