"""What is heard at once, told in the reference order: lags by the longest way, weights over the decay of a step, shorter ways delayed."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from spiketwin.models.network import Convolution, Network, Population, Projection, SpikeSource
from spiketwin.models.semantics import REFERENCE
from spiketwin.models.stacks import AT_ONCE, leaky, leaky_integrator, tau_from_beta
from spiketwin.models.stacks.lags import hears_at_once, in_reference_order, lags

HALF = tau_from_beta(0.5, 1.0)  # keeps half of v in a step of 1 ms, .5 ** .5 in one of .5 ms


def network(*projections, tau_b=HALF):
    """input -> a -> b -> out, with more projections to choose from; 4 neurons each."""
    a, b = (Population(name, leaky(), 4, {"tau_mem": tau}) for name, tau in (("a", HALF), ("b", tau_b)))
    chain = (Projection("input", "a", np.eye(4), "v"), Projection("a", "b", np.eye(4), "v"), Projection("b", "out", np.eye(4), "v"))
    return Network((a, b, Population("out", leaky_integrator(), 4)), (*chain, *projections), (SpikeSource("input", 4),))


def told(of: Network, name: str, dt_ms: float = 1.0) -> Projection:
    return next(p for p in in_reference_order(of, AT_ONCE, "exact", dt_ms).projections if p.name == name)


def test_the_longest_way_counts_and_shorter_ones_wait():
    made = network(Projection("input", "b", np.eye(4), "v", name="short"), Projection("a", "out", np.eye(4), "v", name="past_b"))
    # a listens to the input, b to a, and the read-out adds no step: lag 1, 2, 2
    assert lags(made, AT_ONCE) == {"a": 1, "b": 2, "out": 2}
    assert lags(made, REFERENCE.order) == {"a": 0, "b": 0, "out": 0}
    assert [told(made, f"{name}_v").delay_ms for name in ("input_to_a", "a_to_b", "b_to_out")] == [0, 0, 0]
    # in steps of the run, so .5 ms at half the step
    assert [told(made, name, dt_ms).delay_ms for name in ("short", "past_b") for dt_ms in (1.0, 0.5)] == [1.0, 0.5, 1.0, 0.5]


def test_weights_are_over_the_decay_of_a_step_but_not_those_of_read_outs():
    made = network()
    np.testing.assert_allclose(told(made, "a_to_b_v").weights, 2 * np.eye(4), rtol=1e-12)
    np.testing.assert_allclose(told(made, "a_to_b_v", 0.5).weights, 2**0.5 * np.eye(4), rtol=1e-12)
    np.testing.assert_array_equal(told(made, "b_to_out_v").weights, np.eye(4))
    assert in_reference_order(made, REFERENCE.order, "exact", 1.0).projections == made.projections


def test_every_kind_of_weights_and_delays_is_scaled_and_longer():
    taus = np.array([HALF, HALF / 2, HALF, HALF / 2])  # of which a step leaves 1/2 and 1/4
    pairs = (np.array([0.1, 0.2]), ([0, 1], [2, 3]))
    sparse, delays = (scipy.sparse.csr_array(pairs, shape=(4, 4)), scipy.sparse.csr_array((np.array([1.0, 2.0]), pairs[1]), shape=(4, 4)))
    made = network(
        Projection("input", "b", sparse, "v", delay_ms=delays, name="sparse"),
        Projection("a", "b", Convolution(np.full((1, 1, 1, 1), 0.3), 2, 2), "v", name="convolution"),
        Projection("b", "b", np.ones((4, 4)), "v", name="recurrent"),
        tau_b=taus,
    )
    found = told(made, "sparse")
    np.testing.assert_allclose(found.weights.toarray()[[0, 1], [2, 3]], [0.2, 0.8], rtol=1e-12)
    assert found.delay_ms.toarray()[[0, 1], [2, 3]].tolist() == [2.0, 3.0]
    np.testing.assert_allclose(told(made, "convolution").weights.toarray(), 0.3 * np.diag([2, 4, 2, 4]), rtol=1e-12)
    # a neuron's own spikes are looked at in the next step in both orders
    recurrent = told(made, "recurrent")
    assert recurrent.delay_ms == 0 and np.allclose(recurrent.weights[:, 0], [2, 4, 2, 4], rtol=1e-12)
    alike = told(network(Projection("a", "b", Convolution(np.ones((1, 1, 1, 1)), 2, 2), "v", name="alike")), "alike").weights
    assert isinstance(alike, Convolution) and alike.kernel.item() == pytest.approx(2, rel=1e-12)


def test_what_has_no_lag_is_named():
    with pytest.raises(ValueError, match="spikes of 'b' flow back to 'a', so no lag is long enough"):
        lags(network(Projection("b", "a", np.eye(4), "v", name="back")), AT_ONCE)
    with pytest.raises(ValueError, match="the stack's order of events is threshold, integrate, receive, reset, which engines cannot run"):
        hears_at_once(leaky(), ("threshold", "integrate", "receive", "reset"))
    with pytest.raises(ValueError, match="a step of 1 ms with euler leaves nothing of what arrives at 'b'"):
        in_reference_order(network(tau_b=1.0), AT_ONCE, "euler", 1.0)
