"""Event-driven convolution is conv2d and max_pool2d: forward, and the gradients of input, weight and bias."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from spiketwin.models.engines.torch.kernels import event_convolution as module
from spiketwin.models.engines.torch.kernels.event_convolution import event_convolution

DOUBLE = torch.float64


def random_case(M, C, O, H, W, kernel, density, dtype=DOUBLE, bias=True, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(M, C, H, W, dtype=dtype, generator=g) * (torch.rand(M, C, H, W, generator=g) < density)
    weight = torch.randn(O, C, *kernel, dtype=dtype, generator=g)
    return x, weight, torch.randn(O, dtype=dtype, generator=g) if bias else None


def results(operation, tensors, seed=1):
    """Result and gradients of a random weighted sum of it."""
    leaves = [None if t is None else t.clone().requires_grad_() for t in tensors]
    out = operation(*leaves)
    out.backward(torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(seed)))
    return [out.detach(), *(t.grad for t in leaves if t is not None)]


def dense(stride, padding, pool):
    def operation(x, weight, bias):
        y = functional.conv2d(x, weight, bias, stride, padding)
        return functional.max_pool2d(y, pool) if pool > 1 else y

    return operation


def assert_equals_dense(tensors, stride=(1, 1), padding=(0, 0), pool=1, tolerance=1e-12):
    ours = results(lambda *t: event_convolution(*t, stride=stride, padding=padding, pool=pool), tensors)
    for name, found, expected in zip(("y", "dx", "dw", "db"), ours, results(dense(stride, padding, pool), tensors)):
        scale = float(expected.abs().max()) if expected.numel() else 1.0
        # relative to the largest entry: sums of up to some hundred terms in another order
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * max(scale, 1e-30), msg=lambda m, n=name: f"{n}: {m}")


@settings(max_examples=60)
@given(
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 11), st.integers(1, 9), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    pool=st.integers(1, 3),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    bias=st.booleans(),
    seed=st.integers(0, 5),
)
def test_any_shape_equals_the_dense_operation(sizes, kernel, stride, padding, pool, density, bias, seed):
    M, C, O, H, W = sizes
    out = [(n + 2 * p - k) // s + 1 if n + 2 * p >= k else 0 for n, p, k, s in zip((H, W), padding, kernel, stride)]
    assume(min(out) >= pool)
    assert_equals_dense(random_case(M, C, O, H, W, kernel, density, bias=bias, seed=seed), stride, padding, pool)


@pytest.mark.parametrize("density", [0.0, 0.08, 1.0])
def test_the_layer_of_the_benchmark_in_single_precision(density):
    # 300 terms per sum in another order: a few 1e-7 of the largest
    assert_equals_dense(random_case(70, 12, 64, 12, 12, (5, 5), density, torch.float32), pool=2, tolerance=3e-6)


def test_a_sparse_gradient_without_pooling_takes_patches(monkeypatch):
    x, weight, bias = random_case(5, 3, 4, 7, 7, (3, 3), 0.3)
    monkeypatch.setattr(module, "_dense_input_gradient", lambda *_: pytest.fail("the dense operation was called"))
    leaf = x.clone().requires_grad_()
    event_convolution(leaf, weight, bias)[0, 0, 2, 2].backward()
    # by hand: y[0, 0, 2, 2] sees the pixels 2 … 4 with the kernel of channel 0
    expected = torch.zeros_like(x)
    expected[0, :, 2:5, 2:5] = weight[0]
    assert torch.equal(leaf.grad, expected)


def test_by_hand():
    # One spike at (1, 1) of a 3 × 3 image, kernel 2 × 2: output (y, x) sees it through w[1 - y, 1 - x].
    x = torch.zeros(1, 1, 3, 3)
    x[0, 0, 1, 1] = 1
    weight = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert event_convolution(x, weight).tolist() == [[[[4.0, 3.0], [2.0, 1.0]]]]
    assert event_convolution(x, weight, torch.tensor([0.5]), pool=2).tolist() == [[[[4.5]]]]


def test_of_equal_outputs_the_first_gets_the_gradient_as_in_torch():
    # silence: all four outputs of a window are the bias
    weights = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x, weight, bias = torch.zeros(2, 1, 4, 4, dtype=torch.float64), weights[0].reshape(3, 1, 1, 1), weights[1]
    for found, expected in zip(*(results(f, (x, weight, bias)) for f in (lambda *t: event_convolution(*t, pool=2), dense(1, 0, 2)))):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_layouts_that_are_not_contiguous():
    x, weight, bias = random_case(6, 4, 5, 8, 8, (3, 3), 0.3)
    variants = {
        "channels last": (x.contiguous(memory_format=torch.channels_last), weight.contiguous(memory_format=torch.channels_last), bias),
        "every second": (x.repeat_interleave(2, 0)[::2], weight.flip(0), bias.repeat_interleave(2)[::2]),
        "transposed": (x.transpose(2, 3), weight.transpose(2, 3), bias),
    }
    for tensors in variants.values():
        assert_equals_dense(tensors, padding=(1, 1), pool=2)
    # a gradient without memory of its own: that of a sum
    leaf = weight.clone().requires_grad_()
    event_convolution(x, leaf, bias).sum().backward()
    reference = weight.clone().requires_grad_()
    functional.conv2d(x, reference, bias).sum().backward()
    torch.testing.assert_close(leaf.grad, reference.grad, rtol=1e-12, atol=1e-12)


def test_results_do_not_depend_on_the_number_of_threads():
    tensors, before = random_case(37, 3, 20, 9, 9, (3, 3), 0.2, torch.float32), torch.get_num_threads()
    found = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(results(lambda *t: event_convolution(*t, pool=2), tensors))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found))


def test_large_kernels_share_fewer_sums(monkeypatch):
    monkeypatch.setattr(module, "SUMS_BYTES", 1)
    assert_equals_dense(random_case(20, 3, 5, 8, 8, (3, 3), 0.3))


def test_no_images():
    x, weight, bias = random_case(0, 2, 3, 5, 5, (3, 3), 1.0)
    assert_equals_dense((x, weight, bias), pool=1)
    assert event_convolution(x, weight, bias, pool=2).shape == (0, 3, 1, 1)


def test_nan_comes_through_the_pooling_as_in_torch():
    x, weight, bias = random_case(2, 1, 3, 6, 6, (3, 3), 0.3)
    x[0, 0, 2, 2] = np.nan
    ours, reference = event_convolution(x, weight, bias, pool=2), dense(1, 0, 2)(x, weight, bias)
    assert torch.equal(ours.isnan(), reference.isnan()) and ours.isnan().any() and not ours.isnan().all()


@pytest.mark.parametrize(
    "change, error, message",
    [
        (dict(x=torch.zeros(2, 3, 5, 5)), ValueError, r"same C; got \(2, 3, 5, 5\) and \(4, 2, 3, 3\)"),
        (dict(x=torch.zeros(2, 5, 5)), ValueError, r"x is \[M, C, H, W\]"),
        (dict(x=torch.zeros(1, 2, 2, 2)), ValueError, "images of 2 × 2 give no output"),
        (dict(x=torch.zeros(1, 2, 5, 5, dtype=torch.int64)), TypeError, r"x is torch.int64; .* convert it with .float\(\)"),
        (dict(x=torch.zeros(1, 2, 5, 5, dtype=DOUBLE)), TypeError, "x is torch.float64 and weight torch.float32"),
        (dict(bias=torch.zeros(3)), ValueError, "one value for each of the 4 output channels"),
        (dict(pool=0), ValueError, "pool = 0"),
        (dict(x=torch.zeros(1, 2, 5, 5, device="meta")), ValueError, "x is on meta"),
    ],
)
def test_errors_name_the_thing(change, error, message):
    given = dict(x=torch.zeros(1, 2, 5, 5), weight=torch.zeros(4, 2, 3, 3), bias=None, pool=1) | change
    with pytest.raises(error, match=message):
        event_convolution(given["x"], given["weight"], given["bias"], pool=given["pool"])
