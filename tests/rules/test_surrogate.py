"""A surrogate is a step forward and its declared bump backward, whatever the dtype."""

from __future__ import annotations

import math

import pytest
import torch

from spiketwin.rules.surrogate import (
    SURROGATES,
    arctan,
    exponential,
    fast_sigmoid,
    gaussian,
    multi_gaussian,
    sigmoid,
    slayer,
    straight_through,
    surrogate,
    triangle,
)

X = torch.tensor([-2.0, -0.3, -1e-7, 0.0, 1e-7, 0.02, 0.5, 3.0], dtype=torch.float64)
each = pytest.mark.parametrize("name", SURROGATES)


def normal(x, mean, deviation):
    return math.exp(-0.5 * ((x - mean) / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))


def slope(spike, x):
    x = x.clone().requires_grad_()
    spike(x).sum().backward()
    return x.grad


@each
def test_forward_is_the_step_function_and_zero_is_no_spike(name):
    assert SURROGATES[name]()(X).tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


@each
def test_a_given_decision_is_kept(name):
    # the engine decides: with '>=' a margin of 0 is a spike
    assert SURROGATES[name]()(X, X >= 0).tolist() == [0, 0, 0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("spike", "formula"),
    [
        (fast_sigmoid(100.0), lambda x: 1 / (100 * abs(x) + 1) ** 2),
        (sigmoid(5.0), lambda x: 5 / (2 + math.exp(5 * x) + math.exp(-5 * x))),
        (arctan(3.0), lambda x: 1.5 / (1 + (1.5 * math.pi * x) ** 2)),
        (gaussian(0.5), lambda x: math.exp(-2 * x * x) / (0.5 * math.sqrt(2 * math.pi))),
        (triangle(0.5), lambda x: max(0.0, 1 - 2 * abs(x)) * 2),
        (exponential(4.0), lambda x: 2 * math.exp(-4 * abs(x))),
        (slayer(alpha=4.0, beta=5.0), lambda x: math.exp(-5 * abs(x)) / 4),
        (multi_gaussian(0.5, 0.2, 3.0), lambda x: 1.2 * normal(x, 0, 0.5) - 0.2 * normal(x, 0.5, 1.5) - 0.2 * normal(x, -0.5, 1.5)),
        (straight_through(), lambda x: 1.0),
    ],
)
def test_backward_is_the_closed_form(spike, formula):
    expected = torch.tensor([formula(float(x)) for x in X], dtype=torch.float64)
    # two orders of evaluation of the same expression: a few ulp, of the peak where a multi-Gaussian cancels
    torch.testing.assert_close(slope(spike, X), expected, rtol=1e-13, atol=1e-15 if spike.expression.count("exp") > 2 else 1e-300)


def test_fast_sigmoid_by_hand():
    # scale 100 at x = 0.01: 1/(100·0.01 + 1)² = 1/4
    assert slope(fast_sigmoid(100.0), torch.tensor([0.01], dtype=torch.float64)).item() == pytest.approx(0.25)


def test_multi_gaussian_and_slayer_by_hand():
    # Yin et al.: .5, .15, 6. At 0: 1.15/(.5 √2π) - 2 · .15/(3 √2π) exp(-1/72) = .917567 - .039344
    assert multi_gaussian().derivative(torch.zeros(1, dtype=torch.float64)).item() == pytest.approx(0.917567 - 0.039344, abs=2e-6)
    # at 2 the wide ones win: 1.15 · .79788 e^-8 = .000308, .15 · .13298 (e^-.125 + e^-.34722) = .031698
    assert multi_gaussian().derivative(torch.full((1,), 2.0, dtype=torch.float64)).item() == pytest.approx(0.000308 - 0.031698, abs=2e-6)
    # exp(-2 ln 2)/2 = 1/8
    assert slayer(2.0, 2.0).derivative(torch.full((1,), math.log(2), dtype=torch.float64)).item() == pytest.approx(1 / 8)


def test_the_exponential_is_slayers_with_an_area_of_1():
    assert torch.allclose(slope(exponential(3.0), X), slope(slayer(2 / 3, 3.0), X), rtol=1e-14)


@pytest.mark.parametrize("name", ["sigmoid", "arctan", "gaussian", "triangle", "exponential"])
def test_a_normalised_surrogate_is_the_slope_of_a_smooth_step(name):
    # ∫ h dx = 1: smearing the step moves the spike, it does not scale it. arctan's tails beyond ±500 hold 4/(π² scale · 500) = 4e-4.
    x = torch.linspace(-500, 500, 200_001, dtype=torch.float64)
    assert torch.trapezoid(slope(SURROGATES[name](), x), x).item() == pytest.approx(1, abs=5e-4)


@pytest.mark.parametrize(("spike", "area"), [(fast_sigmoid(100.0), 0.02), (slayer(4.0, 0.5), 1.0), (multi_gaussian(0.5, 0.2), 0.8)])
def test_the_area_of_the_others(spike, area):
    # between the ends of the smooth step, far outside; the tails of the fast sigmoid hold 2/scale²/500 = 4e-7
    ends = spike.smooth(torch.tensor([-500.0, 500.0], dtype=torch.float64))
    assert (ends[1] - ends[0]).item() == pytest.approx(area, abs=1e-6)


@each
def test_the_smooth_form_has_the_bump_for_its_slope(name):
    spike = SURROGATES[name]()
    x = X[X.abs() > 1e-3].requires_grad_()  # |x| has no derivative at 0
    (slope_of_smooth,) = torch.autograd.grad(spike.smooth(x).sum(), x)
    torch.testing.assert_close(slope_of_smooth, spike.derivative(x.detach()), rtol=1e-12, atol=1e-15)
    assert spike.smooth(torch.zeros(1, dtype=torch.float64)).item() == pytest.approx(0.5, abs=1e-15)
    # and by differences, which share nothing with autograd
    step = 1e-6
    differences = (spike.smooth(X + step) - spike.smooth(X - step)) / (2 * step)
    # at the kink at 0 the difference is the mean over ±step: off by at most scale · step = 1e-4 of the peak
    torch.testing.assert_close(differences, spike.derivative(X), rtol=2e-4, atol=1e-9)


def test_a_surrogate_without_an_integral_says_so():
    spike = surrogate("1/(1 + abs(x))")
    assert not spike.is_smooth
    with pytest.raises(ValueError, match="give the integral of its derivative"):
        spike.smooth(X)
    assert surrogate("1/(1 + abs(x))**2", smooth="x/(1 + abs(x))").smooth(torch.tensor([1.0, -3.0])).tolist() == [0.5, -0.75]


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_shape_are_kept(name, dtype):
    x = torch.randn(4, 3, dtype=dtype, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = SURROGATES[name]()(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == dtype
    assert y.shape == x.grad.shape == (4, 3)


@pytest.mark.parametrize("name", ["sigmoid", "arctan", "gaussian", "multi_gaussian", "fast_sigmoid", "exponential", "slayer"])
def test_the_backward_pass_is_itself_differentiable(name):
    # away from the kink of |x| at 0 the derivative of the surrogate's slope is that of a smooth function
    x = torch.tensor([-0.7, -0.1, 0.2, 0.9], dtype=torch.float64, requires_grad=True)

    def gradient(x):
        return torch.autograd.grad(SURROGATES[name]()(x).sum(), x, create_graph=True)[0]

    assert torch.autograd.gradcheck(gradient, x)


def test_a_custom_surrogate_is_its_derivative():
    spike = surrogate(lambda x: 1 / (1 + x.abs()))
    assert slope(spike, torch.tensor([-1.0, 3.0])).tolist() == [0.5, 0.25]


def test_vmap():
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.vmap(fast_sigmoid())(x), (x > 0).float())


@pytest.mark.parametrize("make", [fast_sigmoid, sigmoid, arctan, gaussian, multi_gaussian, triangle, exponential, slayer])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_a_width_that_is_not_positive_is_refused(make, value):
    with pytest.raises(ValueError, match="must be positive"):
        make(value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("1/(1 + abs(y))", "mentions 'y'"),
        ("1/(1 + abs(x)", "is not an expression"),
        ("max(0, 1 - abs(x))", "unknown function 'max' .* Did you mean 'maximum'"),
        ("relu(x)", "unknown function 'relu'"),
        ("heaviside(x)", "unknown function 'heaviside'"),
        ("rand()", "unknown function 'rand'"),
        ("x if x > 0 else 0", "is no formula of x"),
        ("[x]", "is no formula of x"),
        ("'a'", "is no formula of x .it holds text"),
        ("1/0", "is no formula of x .division by zero"),
        (3.0, "3.0 is neither text nor a function"),
    ],
)
def test_an_expression_that_cannot_be_used(text, message):
    with pytest.raises(ValueError, match=message):
        surrogate(text)
    with pytest.raises(ValueError, match=f"smooth form.* {message}"):
        surrogate("1", smooth=text)


def test_nothing_is_no_derivative():
    with pytest.raises(ValueError, match="derivative None is neither text nor a function"):
        surrogate(None)


def test_an_expression_and_a_function_are_the_same_surrogate():
    # 1/(1 + 2)^2 = 1/9 at x = -2, 1 at 0
    x = torch.tensor([-2.0, 0.0, 0.5], dtype=torch.float64)
    written, called = surrogate("1/(1 + abs(x))**2"), surrogate(lambda x: 1 / (1 + x.abs()) ** 2)
    assert torch.allclose(written.derivative(x), torch.tensor([1 / 9, 1, 1 / 2.25], dtype=torch.float64))
    assert torch.allclose(written.derivative(x), called.derivative(x))
