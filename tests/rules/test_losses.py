"""Losses on numbers worked by hand."""

import math

import pytest
import torch

from spiketwin.rules.losses import balanced_weights, max_cross_entropy, max_over_time, spike_penalty


def test_equal_read_outs_cost_the_logarithm_of_their_number():
    assert max_cross_entropy(torch.zeros(7, 3, 10), torch.tensor([0, 4, 9])).item() == pytest.approx(math.log(10))


def test_only_the_maximum_over_time_counts():
    v = torch.zeros(3, 1, 2, dtype=torch.float64)
    v[1, 0, 0], v[2, 0, 1] = 2.0, 1.0
    assert max_over_time(v).tolist() == [[2.0, 1.0]]
    # log(e² + e¹) - 2 = log(1 + e⁻¹) for the first class, one more for the second
    assert max_cross_entropy(v, torch.tensor([0])).item() == pytest.approx(math.log1p(math.exp(-1)))
    assert max_cross_entropy(v, torch.tensor([1])).item() == pytest.approx(1 + math.log1p(math.exp(-1)))


def test_class_weights_weigh_trials_and_divide_by_their_sum():
    v = torch.tensor([[[2.0, 0.0], [2.0, 0.0]]], dtype=torch.float64)
    right, wrong = math.log1p(math.exp(-2)), 2 + math.log1p(math.exp(-2))
    loss = max_cross_entropy(v, torch.tensor([0, 1]), torch.tensor([1.0, 3.0], dtype=torch.float64))
    assert loss.item() == pytest.approx((1 * right + 3 * wrong) / 4)


def test_the_gradient_reaches_the_step_of_the_maximum_alone():
    v = torch.tensor([[[0.1, 0.0]], [[0.9, 0.0]], [[0.2, 0.3]]], dtype=torch.float64, requires_grad=True)
    max_cross_entropy(v, torch.tensor([0])).backward()
    p = math.exp(0.9) / (math.exp(0.9) + math.exp(0.3))
    expected = torch.tensor([[[0.0, 0.0]], [[p - 1, 0.0]], [[0.0, 1 - p]]], dtype=torch.float64)
    assert torch.allclose(v.grad, expected)


def test_every_spike_has_its_price():
    spikes = torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]]], requires_grad=True)
    penalty = spike_penalty(spikes, 0.01)
    assert penalty.item() == pytest.approx(0.03)
    penalty.backward()
    assert torch.equal(spikes.grad, torch.full_like(spikes, 0.01))


def test_balanced_weights_make_classes_count_the_same():
    labels = torch.tensor([0, 0, 0, 1])
    weights = balanced_weights(labels, 2)
    assert weights.tolist() == pytest.approx([4 / 6, 4 / 2])
    assert (weights * torch.bincount(labels)).tolist() == pytest.approx([2, 2])
    with pytest.raises(ValueError, match="class 2 has no trial"):
        balanced_weights(labels, 3)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"\[T, B, K\]"):
        max_cross_entropy(torch.zeros(5, 3, 2), torch.zeros(4, dtype=torch.long))
    with pytest.raises(ValueError, match="each of the 2 classes"):
        max_cross_entropy(torch.zeros(5, 3, 2), torch.zeros(3, dtype=torch.long), torch.ones(3))
