"""The cascade of synaptic states: what is offered, when it is taken, how deep confirmed synapses lie; and both engines alike."""

from __future__ import annotations

import numpy as np
import pytest

from spiketwin.experiments.studies.learning_rules.rules_in_engines import Config, compare
from spiketwin.models import Network, Population, Projection, Spikes, SpikeSource, get_engine
from spiketwin.models.neurons import lif_delta
from spiketwin.models.spec import SpecError
from spiketwin.rules.plasticity.cascade import cascade
from spiketwin.rules.plasticity.stochastic import bits_per_synapse
from spiketwin.rules.protocols import Protocol, weight_changes

SURE = cascade.with_parameters(p_plus=1, p_minus=1)
GAP_MS = 60.0


def run(rule, confirming, opposing=0, *, synapses=2000, seed=0):
    """Weights after `confirming` spikes of the neuron that follow a presynaptic one, then `opposing` that follow none, of strong synapses.

    A teacher makes the one neuron fire; each synapse draws for itself.
    """
    total = confirming + opposing
    at = 100 + GAP_MS * np.arange(total)
    step = np.repeat(at[:confirming].astype(int), synapses)
    inputs = Spikes(step, np.zeros_like(step), np.tile(np.arange(synapses), confirming), (int(at[-1]) + 100, 1, synapses), 1.0)
    teacher = Spikes((at + 5).astype(int), np.zeros(total, int), np.zeros(total, int), (inputs.shape[0], 1, 1), 1.0)
    network = Network(
        [Population("cells", lif_delta, 1)],
        [
            Projection("input", "cells", np.ones((1, synapses)), "v", "nV", name="learning", rule=rule),
            Projection("teacher", "cells", np.array([[1.0]]), "v", "volt"),
        ],
        [SpikeSource("input", synapses), SpikeSource("teacher", 1)],
    )
    ran = get_engine("compiled").run(network, {"input": inputs, "teacher": teacher}, dt_ms=1.0, scheme="exact", seed=seed)
    assert len(ran.spikes["cells"]) == total
    return np.asarray(ran.weights["learning"][0]).ravel()


def share(p, n=2000):
    """Four standard deviations of a share of n draws."""
    return 4 * np.sqrt(p * (1 - p) / n) + 1e-12


def test_a_shallow_synapse_switches_at_once_to_where_it_is_offered():
    recent, long_ago, never = Protocol([100], [119]), Protocol([100], [125]), Protocol([], [100])
    assert weight_changes(SURE, [recent, long_ago, never], weight=1.0).tolist() == [0, -1, -1]
    assert weight_changes(SURE, [recent, long_ago, never], weight=0.0).tolist() == [1, 0, 0]


def test_an_offer_comes_with_its_probability():
    changes = weight_changes(cascade.with_parameters(p_plus=0.3), [Protocol([100], [110])] * 2000, weight=0.0)
    assert set(changes) == {0.0, 1.0} and abs(changes.mean() - 0.3) < share(0.3)


def test_confirmed_synapses_are_harder_to_switch():
    """x = 1/2: from depth 0 a confirmation always leads to 1, from there to 2 with probability 1/2, with 1/4 on to 3; q is 1, 1/2, 1/4, 1/8."""
    # after one all are at depth 1: half of them switch. After two, half are at 1, half at 2.
    for confirming, q in ((0, 1.0), (1, 0.5), (2, 0.5 * 0.5 + 0.5 * 0.25)):
        switched = 1 - run(SURE, confirming, 1).mean()
        assert abs(switched - q) < share(q)
    # after three: a quarter at 1, at 2 the half that came and the 3/8 that stayed …
    at = np.array([1.0, 0, 0])
    for _ in range(2):
        at = np.array([at[0] / 2, at[0] / 2 + at[1] * 3 / 4, at[1] / 4 + at[2]])
    q = at @ [1 / 2, 1 / 4, 1 / 8]
    assert abs((1 - run(SURE, 3, 1).mean()) - q) < share(q)


def test_the_deepest_switches_twice_as_often_as_the_depths_before_would_say():
    """Of two depths the second has q = x/(1 - x), at x = 1/2 one: as if it had none. At x = 1/4: 1/3."""
    assert run(SURE.with_parameters(depths=2), 3, 1).mean() == 0
    # p at depth 0 is x/(1 - x) = 1/3: after ten confirmations all but (2/3)^10 = 1.7 % are deep
    shallow = (2 / 3) ** 10
    q = shallow + (1 - shallow) / 3
    assert abs((1 - run(SURE.with_parameters(depths=2, ratio=0.25), 10, 1).mean()) - q) < share(q)
    # one depth: a bit that always switches
    assert run(SURE.with_parameters(depths=1), 10, 1).mean() == 0


def test_what_switched_is_shallow_again():
    """One opposing offer takes half of those that were confirmed once; of these, at depth 0 of weight 0, the next confirmation takes all back."""
    weights = run(SURE, 1, 1, seed=1)
    assert 0.4 < weights.mean() < 0.6
    # three opposing ones: those left had q = 1/2 each time, and none that switched came back
    left = run(SURE, 1, 3, seed=1).mean()
    assert abs(left - 1 / 8) < share(1 / 8)


def test_a_cascade_forgets_later_than_single_bits():
    """Confirmed twenty times, then opposed ten times with probability 0.3: single bits keep 0.7^10 = 2.8 %."""
    rule = cascade.with_parameters(p_plus=0.3, p_minus=0.3)
    assert abs(run(rule.with_parameters(depths=1), 20, 10).mean() - 0.7**10) < share(0.7**10)
    assert run(rule, 20, 10).mean() > 0.4


def test_brian2_and_the_compiled_engine_agree():
    found = compare(Config(duration_ms=600.0), cascade.with_parameters(p_plus=0.4, p_minus=0.2, depths=3), 0)
    assert found["spikes"] > 20 and found["differing"] == 0 and found["moved"] > 20
    assert found["difference"] == 0


def test_mistakes_are_named():
    with pytest.raises(SpecError, match="ratio"):
        cascade.with_parameters(ratio=0.7)
    with pytest.raises(SpecError, match="depths"):
        cascade.with_parameters(depths=0)
    with pytest.raises(SpecError, match="parameter 'depths' = 2.5 must be a whole number"):
        cascade.with_parameters(depths=2.5)


def test_depths_are_kept_in_bits():
    """Eight depths of two weights: sixteen states."""
    assert bits_per_synapse(cascade) == 4 and bits_per_synapse(cascade.with_parameters(depths=1)) == 1
