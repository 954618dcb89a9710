"""Shifted, centred, scaled and damped surrogates: what moves, what stays, and that kernels compile them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from spiketwin.models import Network, Population, Projection, Spikes, SpikeSource, neuron
from spiketwin.models.engines.torch import TorchNetwork
from spiketwin.rules.surrogate import (
    SURROGATES,
    arctan,
    centred,
    damped,
    draw,
    scaled,
    shifted,
    sigmoid,
    straight_through,
    surrogate,
    triangle,
)

X = torch.tensor([-2.0, -0.31, -0.05, 0.0, 0.02, 0.5, 3.0], dtype=torch.float64)
BOUNDED = [name for name in SURROGATES if name != "straight_through"]


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("by", [0.25, -1.0])
def test_shifting_moves_the_bump_and_no_spike(name, by):
    spike = SURROGATES[name]()
    moved = shifted(spike, by)
    assert torch.equal(moved(X), spike(X)) and moved(X).sum() == 3
    assert torch.allclose(moved.derivative(X), spike.derivative(X - by), rtol=1e-13, atol=1e-300)
    assert torch.allclose(moved.smooth(X), spike.smooth(X - by), rtol=1e-13)


def test_shifting_by_hand():
    # triangle of width 1, shifted by .25: its peak of 1 at .25, 1 - .25 at the threshold
    moved = shifted(triangle(1.0), 0.25)
    assert moved.derivative(torch.tensor([0.25, 0.0, -0.75, 1.0], dtype=torch.float64)).tolist() == pytest.approx([1, 0.75, 0, 0.25])
    # the smooth step at the threshold: 1/2 - ∫ h over 0 … .25 = 1/2 - .25 + .25²/2
    assert moved.smooth(torch.zeros(1, dtype=torch.float64)).item() == pytest.approx(0.5 - 0.25 + 0.03125)


def test_unshifted_means_centred_at_rest():
    # f(u) = σ(4 u) of the membrane u itself, threshold 1: its bump at u = 0 is at an overdrive of -1
    u = torch.tensor([-0.2, 0.0, 0.7, 1.0], dtype=torch.float64)
    assert torch.allclose(shifted(sigmoid(4.0), -1.0).smooth(u - 1.0), torch.sigmoid(4 * u), rtol=1e-13)


@pytest.mark.parametrize("name", BOUNDED)
def test_centring_undoes_a_shift_and_leaves_what_is_centred(name):
    spike = SURROGATES[name]()
    assert centred(spike) is spike
    for by in (0.3, -1.7):
        back = centred(shifted(spike, by))
        assert torch.allclose(back.derivative(X), spike.derivative(X), rtol=1e-6, atol=1e-9)
        assert back.smooth(torch.zeros(1, dtype=torch.float64)).item() == pytest.approx(0.5, abs=1e-9)  # σ(0) = .5


def test_a_lopsided_bump_is_centred_by_its_median():
    # h = exp(-x) for x > 0 and 0 below: an area of 1, half of it below ln 2
    h = surrogate(lambda x: torch.exp(-x) * (x > 0), smooth=lambda x: -torch.expm1(-x.clamp(min=0)))
    assert centred(h).smooth(torch.zeros(1, dtype=torch.float64)).item() == pytest.approx(0.5, abs=1e-9)
    at = torch.tensor([0.5 - math.log(2), -0.01 - math.log(2)], dtype=torch.float64)
    assert centred(h).derivative(at).tolist() == pytest.approx([math.exp(-0.5), 0.0])


def test_what_has_no_centre_is_refused():
    with pytest.raises(ValueError, match="rises without bound"):
        centred(straight_through())
    with pytest.raises(ValueError, match="has no smooth form"):
        centred(surrogate("1/(1 + abs(x))"))


def test_scaling_keeps_the_area_and_damping_the_shape():
    narrow, small = scaled(arctan(2.0), 3.0), damped(arctan(2.0), 0.3)
    assert torch.allclose(narrow.derivative(X), arctan(6.0).derivative(X), rtol=1e-13)
    assert torch.allclose(narrow.smooth(X), arctan(6.0).smooth(X), rtol=1e-13)
    assert torch.allclose(small.derivative(X), 0.3 * arctan(2.0).derivative(X), rtol=1e-13)
    # the whole rise is .3, from .35 to .65
    assert small.smooth(torch.tensor([-1e9, 1e9], dtype=torch.float64)).tolist() == pytest.approx([0.35, 0.65])


@pytest.mark.parametrize("compose", [lambda s: shifted(s, math.nan), lambda s: scaled(s, 0.0), lambda s: damped(s, -1.0)])
def test_numbers_that_make_no_sense(compose):
    with pytest.raises(ValueError, match="must be (positive and )?finite"):
        compose(arctan())


def test_of_a_function_a_function():
    tent = surrogate(lambda x: torch.relu(1 - x.abs()))
    moved = damped(scaled(shifted(tent, 0.5), 2.0), 0.25)
    # .25 · 2 h(2 x - .5) at x = .25 and .5
    assert moved.derivative(torch.tensor([0.25, 0.5])).tolist() == pytest.approx([0.5, 0.25])
    assert not moved.expression and not moved.is_smooth


def test_kernels_compile_what_is_composed_of_expressions():
    made = damped(scaled(shifted(sigmoid(4.0), -0.2), 1.5), 0.6)
    rng = np.random.default_rng(0)
    network = Network(
        [Population("cells", neuron("cuba_lif"), 4)],
        [Projection("in", "cells", rng.uniform(1, 4, (4, 6)), "i_syn", unit="nA")],
        [SpikeSource("in", 6)],
    )
    spikes = Spikes.from_dense(rng.random((30, 2, 6)) < 0.2, dt_ms=1.0)
    gradients = []
    for kernels in ("torch", "fused"):
        module = TorchNetwork(network, dt_ms=1.0, surrogate=made, dtype=torch.float64, kernels=kernels)
        fired = module({"in": spikes}).spikes["cells"]
        assert fired.sum() > 5
        (fired * torch.linspace(0.1, 1, 30, dtype=torch.float64)[:, None, None]).sum().backward()
        gradients += [p.grad for p in module.parameters()]
    assert made.expression and gradients[0].abs().max() > 0
    assert torch.allclose(*gradients, rtol=1e-11)


def test_the_figure_shows_the_step_its_smooth_form_and_the_bump():
    figure = draw({"arctan": arctan(), "moved": shifted(arctan(), 0.5), "custom": surrogate("1/(1 + abs(x))")}, reach=1.0, columns=2)
    panels = [ax for ax in figure.axes if ax.axison]
    assert [ax.get_title() for ax in panels if ax.get_title()] == ["arctan", "moved", "custom"]
    assert len(panels) == 6
    (curve,) = [line for line in panels[3].lines if line.get_label() == "backward: dS/dx"]
    assert curve.get_xdata()[curve.get_ydata().argmax()] == pytest.approx(0.5)
    # no integral, no smooth form drawn
    smooth = [sum(line.get_label() == "its smooth form" for line in ax.lines) for ax in panels if ax.get_title()]
    assert smooth == [1, 1, 0]
    with pytest.raises(ValueError, match="give at least one"):
        draw({})
