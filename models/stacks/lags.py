"""A network whose neurons hear their input at once, told by the engines' order of events: each population lives some steps later.

    reference   integrate, threshold, receive, reset     what arrives in step n is looked at in step n + 1, decayed by a step
    at once     integrate, receive, threshold, reset     what arrives in step n is looked at in step n

Between two looks at the threshold either neuron integrates once, is reset once and receives once; where the reset and the input add to
what is there, they may change places. So the two differ in one thing: what arrives has, or has not, decayed for a step when it is looked
at. A reference neuron that is given the weights over that decay, one step before, sees the same membrane at each look, and spikes alike.

One step before is in time because the step is labelled anew. Where input comes `lag` steps later than it would at once, spikes leave
lag + 1 steps later, and so on from layer to layer:

    lag of a population = largest lag among what it listens to + 1

Shorter ways to it are made as long by a delay. Read-outs, and neurons whose threshold does not see what arrives, are the same in both
orders and add none; nor does a population that listens to nothing but a current, which flows within the step (arrivals.py). A neuron's
own spikes are looked at in the next step in both orders, so recurrent weights need the division alone. Until its lag is over a
population must rest, and a run lasts longer by the largest lag.

All of this is counted in steps of the run: at ever finer steps lags and divisions vanish, and what is left is the equation, into which
a spike jumps with its weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from spiketwin.models.network import Convolution, Network, Population, Projection
from spiketwin.models.semantics import REFERENCE
from spiketwin.models.spec import NeuronSpec
from spiketwin.models.stacks.arrivals import followers_of, late_reason, left_of_one, names_in

AT_ONCE = ("integrate", "receive", "threshold", "reset")


def hears_at_once(spec: NeuronSpec, order: tuple[str, ...]) -> bool:
    """Whether the threshold of step n sees what arrives in step n. Raises ValueError for another order than these two."""
    if tuple(order) == REFERENCE.order:
        return False
    if tuple(event for event in order if event != "count_down") != AT_ONCE:
        known = " or ".join(f"({', '.join(o)})" for o in (REFERENCE.order, AT_ONCE))
        raise ValueError(f"the stack's order of events is {', '.join(order)}, which engines cannot run; build it with order = {known}")
    return bool(spec.threshold) and spec.inputs[0] in names_in(spec, spec.threshold)


def lags(network: Network, order: tuple[str, ...]) -> dict[str, int]:
    """Population -> by how many steps the reference has its spikes, and its states, later than a network of this order.

    network: populations in an order in which spikes flow forward, or back to where they came from.
    Raises ValueError for an order of events that has no such form, and for a network or neurons that have none in it.
    """
    found = {source.name: 0 for source in network.sources}
    for population in network.populations:
        name, spec = population.name, population.neuron
        inward = [p for p in network.projections if p.target == name and p.source != name]
        if not hears_at_once(spec, order):
            found[name] = max((_known(found, p) for p in inward), default=0)
            continue
        if any(p.target == name for p in network.projections) and (reason := early_reason(spec)):
            raise ValueError(
                f"'{name}' hears its input in its own step, and the engines one step later: {reason}; build it without order=…"
            )
        found[name] = 1 + max(_known(found, p) for p in inward) if inward else 0
    return {p.name: found[p.name] for p in network.populations}


def early_reason(spec: NeuronSpec) -> str:
    """'' or why input that is larger, and comes before the decay of a step, is not what input after it is."""
    if followers := followers_of(spec):
        return f"'{followers[0]}' of '{spec.name}' follows '{spec.inputs[0]}' within a step, and would see it a step early"
    return late_reason(spec)


def in_reference_order(network: Network, order: tuple[str, ...], scheme: str, dt_ms: float) -> Network:
    """The network that has, in the reference order and in steps of dt_ms, the spikes of this one by their lags later.

    Raises ValueError as lags does, and where a step leaves nothing of what arrives, or a share that depends on how much it is.
    """
    late = lags(network, order)
    arrive = {p.name: late[p.name] - 1 for p in network.populations if hears_at_once(p.neuron, order)}
    gains = {name: _gain(network.population(name), scheme, dt_ms) for name in arrive if any(p.target == name for p in network.projections)}

    def told(p: Projection) -> Projection:
        wait = 0 if p.source == p.target else arrive.get(p.target, late[p.target]) - late.get(p.source, 0)
        weights = _scaled(p.weights, gains[p.target]) if p.target in gains else p.weights
        return replace(p, weights=weights, delay_ms=_longer(p.delay_ms, wait * dt_ms) if wait else p.delay_ms)

    return replace(network, projections=tuple(told(p) for p in network.projections))


def _known(found: Mapping[str, int], projection: Projection) -> int:
    if projection.source not in found:
        raise ValueError(
            f"spikes of '{projection.source}' flow back to '{projection.target}', so no lag is long enough; use order=REFERENCE.order"
        )
    return found[projection.source]


def _gain(population: Population, scheme: str, dt_ms: float) -> np.ndarray:
    left = left_of_one(population, scheme, dt_ms)
    if not (left > 0).all():
        raise ValueError(
            f"a step of {dt_ms:g} ms with {scheme} leaves nothing of what arrives at '{population.name}', so it cannot arrive a step early; "
            "use the scheme 'exact', or a longer time constant"
        )
    return 1 / left


def _scaled(weights, gain: np.ndarray):
    """Weights [N_post, N_pre] of any kind times a gain of each neuron, [N_post] or []."""
    import scipy.sparse

    if np.ptp(gain) == 0:
        one = float(np.ravel(gain)[0])
        return replace(weights, kernel=weights.kernel * one) if isinstance(weights, Convolution) else weights * one
    matrix = weights.to_sparse() if isinstance(weights, Convolution) else weights
    return scipy.sparse.csr_array(scipy.sparse.diags_array(gain) @ matrix) if scipy.sparse.issparse(matrix) else gain[:, None] * matrix


def _longer(delay_ms, by_ms: float):
    """Delays, one or a matrix of any kind, with by_ms more."""
    if not hasattr(delay_ms, "tocsr"):
        return delay_ms + by_ms
    longer = delay_ms.copy()
    longer.data = longer.data + by_ms
    return longer
