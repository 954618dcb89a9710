"""What read-outs see, worked by hand, and how they learn: recursive least squares equals ridge regression, the others learn what they must."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge
from sklearn.utils.estimator_checks import check_estimator

from spiketwin.models.recording import Recording
from spiketwin.models.spikes import Spikes
from spiketwin.rules.readouts import FilteredSpikes, Membranes, PDelta, RecursiveLeastSquares, SpikeCounts, SpikingReadout

# two trials of two neurons: (step, trial, neuron)
SPIKES = Spikes([0, 1, 3, 3], [0, 1, 0, 1], [0, 1, 0, 0], (8, 2, 2), 0.5)
V = np.arange(8 * 2 * 2, dtype=float).reshape(8, 2, 2)
RECORDING = Recording("compiled", "exact", 0.5, {"cells": SPIKES, "more": SPIKES}, {"cells": {"v": V}}, {}, 0)


def test_filtered_spikes_by_hand():
    rows = FilteredSpikes(tau_ms=2.0, reads=2).read(RECORDING, ["cells"], np.array([8, 4]))
    # trial 0, neuron 0 fired 4 and 1 steps of .5 ms before step 4, 8 and 5 before step 8; trial 1 is read at steps 2 and 4

    def e(steps):
        return np.exp(-steps * 0.5 / 2.0)

    np.testing.assert_allclose(rows, [[e(4) + e(1), 0, e(8) + e(5), 0], [0, e(1), e(1), e(3)]], rtol=1e-12)


def test_filtered_spikes_are_the_filter_run_step_by_step():
    rng = np.random.default_rng(0)
    dense = (rng.random((40, 3, 5)) < 0.2).astype(int)
    x, expected = np.zeros((3, 5)), []
    for step in range(40):
        x = (x + dense[step]) * np.exp(-1.0 / 7.0)
        expected.append(x.copy())
    recording = Recording("compiled", "exact", 1.0, {"cells": Spikes.from_dense(dense, 1.0)}, {}, {}, 0)
    rows = FilteredSpikes(tau_ms=7.0, reads=4).read(recording, ["cells"], np.full(3, 40)).reshape(3, 4, 5)
    np.testing.assert_allclose(rows, np.stack([expected[k] for k in (9, 19, 29, 39)], axis=1), rtol=1e-12)


@pytest.mark.parametrize("features", [FilteredSpikes(reads=3), SpikeCounts(bins=3)])
def test_a_population_without_a_spike_gives_zeros(features):
    silent = Recording("compiled", "exact", 0.5, {"cells": Spikes([], [], [], (8, 2, 2), 0.5)}, {}, {}, 0)
    np.testing.assert_array_equal(features.read(silent, ["cells"], np.array([8, 4])), np.zeros((2, 6)))


def test_counts_and_membranes_by_hand():
    ends = np.array([8, 4])
    np.testing.assert_array_equal(SpikeCounts(2).read(RECORDING, ["cells"], ends), [[2, 0, 0, 0], [0, 1, 1, 0]])
    np.testing.assert_array_equal(SpikeCounts(2).read(RECORDING, ["cells", "more"], ends)[1], [0, 1, 0, 1, 1, 0, 1, 0])
    # at the start of the last step before each read: steps 3 and 7 of trial 0, 1 and 3 of trial 1
    np.testing.assert_array_equal(Membranes("v", 2).read(RECORDING, ["cells"], ends), [[*V[3, 0], *V[7, 0]], [*V[1, 1], *V[3, 1]]])
    assert (SpikeCounts(3).width(5), FilteredSpikes(reads=2).width(5), Membranes(reads=4).width(5)) == (15, 10, 20)


@pytest.mark.parametrize("features", [FilteredSpikes(tau_ms=0), FilteredSpikes(reads=0), SpikeCounts(0), Membranes(reads=-1)])
def test_impossible_features_are_named(features):
    with pytest.raises(ValueError, match=r"tau_ms = 0 must be positive|(reads|bins) = .* must be a whole number and at least 1"):
        features.read(RECORDING, ["cells"], np.array([8, 4]))


@pytest.mark.parametrize("outputs", [None, 3])
def test_recursive_least_squares_is_ridge_regression(outputs):
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((60, 8)), rng.standard_normal((60, outputs) if outputs else 60)
    learner, ridge = RecursiveLeastSquares(alpha=0.3, fit_intercept=False), Ridge(alpha=0.3, fit_intercept=False).fit(X, y)
    for part in np.split(np.arange(60), [10, 11, 45]):
        learner.partial_fit(X[part], y[part])
    np.testing.assert_allclose(learner.coef_, ridge.coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(learner.predict(X), ridge.predict(X), rtol=1e-9, atol=1e-12)
    # P is the inverse of the penalised correlation matrix (Sussillo & Abbott 2009, eq. 5)
    np.testing.assert_allclose(learner.P_, np.linalg.inv(X.T @ X + 0.3 * np.eye(8)), rtol=1e-9, atol=1e-12)


def test_forgetting_follows_a_target_that_changes():
    rng = np.random.default_rng(2)
    X = rng.standard_normal((400, 3))
    y = np.where(np.arange(400) < 200, X @ [1, 2, 3], X @ [-3, 0, 1])
    kept, follows = (RecursiveLeastSquares(alpha=1e-3, forgetting=f, fit_intercept=False).fit(X, y).coef_ for f in (1.0, 0.9))
    # of the first half .9^200 = 7e-10 is left
    np.testing.assert_allclose(follows, [-3, 0, 1], atol=1e-6)
    assert np.abs(kept - [-3, 0, 1]).max() > 0.5


def test_a_parallel_perceptron_is_moved_as_the_rule_says():
    rule = PDelta(perceptrons=4, margin=0.1, clarity=0.5, tolerance=0.1)
    x = np.array([1.0, 0.0])
    unit = np.array([[0.6, 0.8], [-0.6, 0.8], [0.05, 1.0], [-0.05, -1.0]])
    before = np.stack([unit, unit])
    rule.weights_ = before.copy()
    # sums .6, -.6, .05, -.05: two against two, a vote of 0. Class 0 wants 1: the negative ones are raised; class 1 wants -1: the others lowered
    rule._learn(x, np.array([1.0, -1.0]), 0.1)
    moved = before + 0.1 * np.array([[0, 1, 0, 1], [-1, 0, -1, 0]])[:, :, None] * x
    expected = moved - 0.1 * ((moved**2).sum(axis=2, keepdims=True) - 1) * moved
    np.testing.assert_allclose(rule.weights_, expected, rtol=1e-12)
    # a vote that is right moves only what is unclear: 4 of 4 for class 0, sums .6 .6 .05 .05, the last two pushed away from 0
    rule.weights_ = np.stack([np.abs(unit), -np.abs(unit)])
    kept = rule.weights_.copy()
    rule._learn(x, np.array([1.0, -1.0]), 0.1)
    pushed = kept + 0.1 * 0.5 * np.array([[0, 0, 1, 1], [0, 0, -1, -1]])[:, :, None] * x
    np.testing.assert_allclose(rule.weights_, pushed - 0.1 * ((pushed**2).sum(axis=2, keepdims=True) - 1) * pushed, rtol=1e-12)


def test_parallel_perceptrons_learn_what_one_cannot():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (300, 2))
    X = X[np.abs(X).min(axis=1) > 0.15]
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    assert PDelta(perceptrons=30, epochs=60, learning_rate=0.1).fit(X, y).score(X, y) > 0.9


@pytest.mark.parametrize("readout", [PDelta(epochs=15), SpikingReadout(epochs=4, learning_rate=0.03)], ids=["p-delta", "spiking"])
def test_digits_are_learnt_and_again_the_same(readout):
    X, y = load_digits(return_X_y=True)
    learnt = readout.fit(X[:400], y[:400])
    assert learnt.score(X[1000:], y[1000:]) > 0.75
    again = clone(readout).fit(X[:400], y[:400])
    np.testing.assert_array_equal(again.predict(X[1000:]), learnt.predict(X[1000:]))


def test_a_spiking_readout_hears_its_bins_one_after_the_other():
    """Two neurons fire one before the other; the classes differ in the order alone, which a sum over time does not hold."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 2, 200)
    X = np.zeros((200, 2, 2))
    X[np.arange(200), 0, first] = X[np.arange(200), 1, 1 - first] = 5
    X += rng.normal(0, 0.3, X.shape)
    readout = SpikingReadout(bins=2, tau_mem_ms=5, epochs=20, learning_rate=0.1).fit(X.reshape(200, -1)[:150], first[:150])
    assert readout.score(X.reshape(200, -1)[150:], first[150:]) > 0.9
    assert readout.loss_curve_[-1] < readout.loss_curve_[0] / 2
    with pytest.raises(ValueError, match="4 features are not 3 bins"):
        SpikingReadout(bins=3).fit(X.reshape(200, -1), first)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("readout", [RecursiveLeastSquares(), PDelta(perceptrons=9, epochs=15)], ids=["least squares", "p-delta"])
def test_they_are_estimators_of_scikit_learn(readout):
    check_estimator(readout)


@pytest.mark.parametrize(
    ("readout", "message"),
    [
        (RecursiveLeastSquares(alpha=0), "alpha = 0 must be positive"),
        (RecursiveLeastSquares(forgetting=1.1), "forgetting = 1.1"),
        (PDelta(epochs=0), "epochs = 0 must be a whole number and at least 1"),
        (PDelta(tolerance=float("nan")), "tolerance = nan must not be negative"),
        (SpikingReadout(tau_mem_ms=-1), "tau_mem_ms = -1 must be positive"),
        (SpikingReadout(slope=0), "slope = 0 must be positive"),
        (SpikingReadout(batch_size=0.5), "batch_size = 0.5 must be a whole number"),
    ],
)
def test_a_mistake_is_named(readout, message):
    with pytest.raises(ValueError, match=message):
        readout.fit(np.eye(4), np.array([0, 1, 0, 1]))
