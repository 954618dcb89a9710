"""Prices of activity on numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from spiketwin.rules import losses, regularisers
from spiketwin.rules.regularisers import (
    count_l1,
    count_l2,
    counts,
    layer_lower_bound,
    layer_upper_bound,
    neuron_lower_bound,
    neuron_upper_bound,
    spike_penalty,
)

DOUBLE = torch.float64
# two trials of three neurons; spikes of each: 0, 1, 4 and 2, 2, 2
SPIKES = torch.zeros(5, 2, 3, dtype=DOUBLE)
SPIKES[0, 0, 1] = 1
SPIKES[1:, 0, 2] = 1
SPIKES[:2, 1, :] = 1

BOUNDS = (neuron_lower_bound, neuron_upper_bound, layer_lower_bound, layer_upper_bound)
BY_HAND = {
    "l1": (lambda s: count_l1(s, 0.6), 0.6 * 11 / 6),
    "l2": (lambda s: count_l2(s, 0.6), 0.6 * (1 + 16 + 3 * 4) / 6),
    # at least 2: 2², 1², 0 and nothing
    "neuron_lower": (lambda s: neuron_lower_bound(s, 2, 0.6), 0.6 * 5 / 6),
    # at most 1.5: 2.5² and three times .5²
    "neuron_upper": (lambda s: neuron_upper_bound(s, 1.5, 0.6), 0.6 * (6.25 + 3 * 0.25) / 6),
    # means 5/3 and 2; at least 3: (4/3)² and 1
    "layer_lower": (lambda s: layer_lower_bound(s, 3, 0.6), 0.6 * (16 / 9 + 1) / 2),
    # at most 1.5: (1/6)² and .5²
    "layer_upper": (lambda s: layer_upper_bound(s, 1.5, 0.6), 0.6 * (1 / 36 + 0.25) / 2),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_prices_by_hand(name):
    price, expected = BY_HAND[name]
    assert price(SPIKES).item() == pytest.approx(expected)
    # a layer of any shape counts as its neurons, and twice the same trials cost the same
    assert price(SPIKES.reshape(5, 2, 1, 3).repeat(1, 2, 1, 1)).item() == pytest.approx(expected)


@pytest.mark.parametrize("name", BY_HAND)
def test_gradients_are_those_of_finite_differences(name):
    # away from the bounds, where a square that begins has a kink in its second derivative only
    assert torch.autograd.gradcheck(BY_HAND[name][0], SPIKES.clone().requires_grad_())


def test_every_spike_has_its_price():
    spikes = torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]]], requires_grad=True)
    penalty = spike_penalty(spikes, 0.01)
    assert penalty.item() == pytest.approx(0.03)
    penalty.backward()
    assert torch.equal(spikes.grad, torch.full_like(spikes, 0.01))
    assert losses.spike_penalty is regularisers.spike_penalty


def test_inside_the_bounds_nothing_is_paid_and_nothing_pulls():
    spikes = SPIKES.clone().requires_grad_()
    total = neuron_upper_bound(spikes, 4, 1.0) + layer_upper_bound(spikes, 2, 1.0) + layer_lower_bound(spikes, 1, 1.0)
    total.backward()
    assert total.item() == 0 and not spikes.grad.any()


def test_bounds_pull_the_right_way_and_on_the_right_neurons():
    spikes = SPIKES.clone().requires_grad_()
    (neuron_lower_bound(spikes, 1, 6.0) + neuron_upper_bound(spikes, 3, 6.0)).backward()
    # of the mean over six: the silent neuron -2 · 1, the one with 4 spikes +2 · 1, all others nothing
    assert spikes.grad[0].tolist() == [[-2, 0, 2], [0, 0, 0]]
    spikes = SPIKES.clone().requires_grad_()
    layer_upper_bound(spikes, 1.5, 6.0).backward()
    # 6/2 · 2 (1/6) · 1/3 for each of the first trial, 6/2 · 2 · .5 · 1/3 of the second, silent or not
    assert torch.allclose(spikes.grad[0], torch.tensor([[1 / 3] * 3, [1.0] * 3], dtype=DOUBLE))


def test_bad_input():
    assert counts(SPIKES).tolist() == [[0, 1, 4], [2, 2, 2]]
    with pytest.raises(ValueError, match=r"give \[T, B, N\]"):
        count_l1(SPIKES[0], 1.0)
    for bound in BOUNDS:
        with pytest.raises(ValueError, match="(least|most) = 0 spikes a trial must be positive"):
            bound(SPIKES, 0, 1.0)
    prices = (spike_penalty, count_l1, count_l2, *(lambda s, rate, b=b: b(s, 1, rate) for b in BOUNDS))
    for price in prices:
        for rate in (-1.0, math.nan, math.inf):
            with pytest.raises(ValueError, match=f"rate = {rate} is the price of a spike"):
                price(SPIKES, rate)
        with pytest.raises(ValueError, match=r"give \[T, B, N\]"):
            price(SPIKES[0], 1.0)
        assert price(SPIKES, 0) == 0
