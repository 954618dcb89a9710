"""The simulations that benchmarks compare: awake, told apart when they differ, and of the sizes they promise."""

import numpy as np
import pytest

import cuba
import liquid
from harness import BenchmarkError
from peers.simulation import random_network
from peers.simulators import LOOP, Trains, ours, same_trains
from spiketwin.models.spikes import Spikes


@pytest.mark.parametrize(
    ("make", "settings"),
    [(lambda: liquid.liquid(200), liquid.SETTINGS), (lambda: cuba.cuba(500, 0.16), cuba.SETTINGS)],
    ids=["liquid", "cuba"],
)
def test_the_networks_are_awake_and_the_loop_is_part_of_the_run(make, settings):
    run = ours(lambda: (make(), {**settings, "duration_ms": 300.0})).prepare(1)
    outcome = run()
    assert dict(outcome.result) == dict(run().result)
    assert outcome.result["spikes"] > 200 and outcome.parts_s[LOOP] > 0


def test_other_trains_are_told_apart():
    def trains(neuron):
        return [Trains(lambda: {"p": Spikes([3], [0], [neuron], (5, 1, 4), 1.0)})]

    check = same_trains(least=1)
    check({"a": trains(2), "b": trains(2)})
    with pytest.raises(BenchmarkError, match="trains"):
        check({"a": trains(2), "b": trains(3)})
    with pytest.raises(BenchmarkError, match="awake"):
        same_trains(least=2)({"a": trains(2)})


def test_a_random_network_has_its_synapses():
    (projection,) = random_network(1000, 50).projections
    assert projection.weights.nnz == 50_000
    assert (np.diff(projection.weights.indptr) == 50).all() and projection.weights.indices.dtype == np.int32
    targets = projection.weights.indices.reshape(1000, 50)
    assert (np.diff(targets, axis=1) >= 0).all() and len(np.unique(targets)) > 990
