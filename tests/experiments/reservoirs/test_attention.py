"""Attention over layers: its gradient, that it finds the layer that knows, and what it makes of features."""

import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn.base import clone

from spiketwin.experiments.reservoirs.attention import LayerAttention, loss


def features(samples=120, layers=3, reads=2, neurons=4, knows=1, seed=0):
    """[samples, reads, layers, neurons] of noise, and classes that one layer tells."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(samples, reads, layers, neurons)), rng.integers(0, 3, samples)
    x[:, 1, knows, 0] += 3 * (y == 1)
    x[:, 0, knows, 2] += 3 * (y == 2)
    return x, y


def test_the_gradient_is_that_of_the_loss():
    x, y = features(20)
    z, target = x.swapaxes(1, 2).reshape(20, 3, -1), np.eye(3)[y]
    at = np.random.default_rng(1).normal(size=3 + (8 + 1) * 3)
    error = check_grad(lambda p: loss(p, z, target, 2.0)[0], lambda p: loss(p, z, target, 2.0)[1], at)
    assert error < 1e-5 * np.linalg.norm(loss(at, z, target, 2.0)[1])


@pytest.mark.parametrize("knows", [0, 2])
def test_the_layer_that_knows_gets_the_weight(knows):
    x, y = features(knows=knows)
    found = LayerAttention(3, reads=2).fit(x.reshape(120, -1), y)
    assert found.weights_.argmax() == knows and found.weights_[knows] > 0.6
    assert found.weights_.sum() == pytest.approx(1)
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    by_hand = (found.weights_[:, None] * standard).sum(axis=2).reshape(120, -1)
    np.testing.assert_allclose(found.transform(x.reshape(120, -1)), by_hand)


def test_bad_widths_are_named():
    with pytest.raises(ValueError, match=r"10 features are not layers = 3 of equal size at reads = 1 times"):
        LayerAttention(3).fit(np.zeros((4, 10)), [0, 1, 0, 1])
    for options, y, said in (
        ({"alpha": -1.0}, [0, 1, 0, 1], "alpha = -1.0 must be finite and not negative"),
        ({}, [0, 0, 0, 0], "all samples are of one class"),
        ({}, [0.1, 0.2, 0.3, 0.4], "continuous"),
    ):
        with pytest.raises(ValueError, match=said):
            LayerAttention(2, **options).fit(np.eye(4), y)
    assert clone(LayerAttention(3, reads=2)).get_params() == {"layers": 3, "reads": 2, "alpha": 10.0}
