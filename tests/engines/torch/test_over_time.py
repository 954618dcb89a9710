"""A torch module over time is the plain loop over its steps, however many of them a call takes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from spiketwin.models.engines.torch.kernels import chunks
from spiketwin.models.engines.torch.kernels.chunks import cache_bytes, rows_per_call
from spiketwin.models.engines.torch.kernels.mean_pooling import mean_pooled, mean_side
from spiketwin.models.engines.torch.over_time import OverTime, over_time

DOUBLE = torch.float64
torch.manual_seed(0)
MODULES = {
    "convolution": lambda: nn.Conv2d(3, 5, 3, padding=1),
    "convolution, pooling": lambda: nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.MaxPool2d(2)),
    "nested, with a norm": lambda: nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2)), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 2)),
    "norm first": lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3)),
    "average pooling": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 7)),
    "overlapping pooling": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(3, 2)),
    "groups, dilation": lambda: nn.Conv2d(3, 6, 3, groups=3, dilation=2),
    "padding by name": lambda: nn.Conv2d(3, 4, 3, padding="same", padding_mode="circular"),
    "nothing": lambda: nn.Sequential(),
}


def spikes(T=6, B=3, density=0.3, dtype=DOUBLE):
    return (torch.rand(T, B, 3, 8, 8, generator=torch.Generator().manual_seed(3)) < density).to(dtype)


def gradients(run, module, x):
    """Result, gradient of x, gradients of the parameters, buffers."""
    module, x = copy.deepcopy(module), x.clone().requires_grad_()
    y = run(module, x)
    (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
    return [y.detach(), x.grad, *(p.grad for p in module.parameters()), *module.buffers()]


def loop(module, x):
    return torch.stack([module(step) for step in x])


@pytest.mark.parametrize("how", [dict(), dict(chunk=1), dict(chunk=4), dict(chunk=100), dict(event_density=0), dict(event_density=1)])
@pytest.mark.parametrize("name", MODULES)
def test_equals_the_plain_loop(name, how):
    module = MODULES[name]().to(DOUBLE)
    for found, expected in zip(gradients(lambda m, x: over_time(m, x, **how), module, spikes()), gradients(loop, module, spikes())):
        torch.testing.assert_close(found.to(DOUBLE), expected.to(DOUBLE), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layout", ["channels last", "batch first", "one trial", "one step"])
def test_layouts(layout):
    x = spikes()
    x = {
        "channels last": x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3),
        "batch first": x.transpose(0, 1).contiguous().transpose(0, 1),
        "one trial": x[:, :1],
        "one step": x[:1],
    }[layout]
    for density in (0, 1):
        module = MODULES["convolution, pooling"]().to(DOUBLE)
        pairs = zip(gradients(lambda m, x, d=density: over_time(m, x, event_density=d), module, x), gradients(loop, module, x))
        for found, expected in pairs:
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_what_does_not_change_is_computed_once():
    module, calls = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), []
    module[0].register_forward_hook(lambda *_: calls.append(1))
    stage, image = OverTime(module), torch.randn(5, 4)
    y = stage(image.expand(50, 5, 4))
    assert len(calls) == 1 and y.shape == (50, 5, 3) and y.stride(0) == 0
    assert torch.equal(y[17], module(image))
    assert "computed once" in stage.plan()
    y.sum().backward()
    found, module[0].weight.grad = module[0].weight.grad, None
    loop(module, image.expand(50, 5, 4)).sum().backward()
    torch.testing.assert_close(found, module[0].weight.grad, rtol=1e-5, atol=1e-5)


def test_the_plan_says_what_was_done_and_why():
    stage = OverTime(nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.ReLU()))
    stage(spikes(density=0.1, dtype=torch.float32))
    assert "max pooling: event-driven" in stage.plan() and "% of the inputs are not 0" in stage.plan()
    stage(spikes(density=0.9, dtype=torch.float32))
    assert "dense" in stage.plan() and "more than 25%" in stage.plan()


def test_a_module_with_a_hook_is_called_as_it_is():
    module, seen = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2)), []
    module[0].register_forward_hook(lambda m, i, o: seen.append(o.shape))
    over_time(module, spikes(density=0.0, dtype=torch.float32))
    assert seen and seen[0][1] == 4


def test_as_many_rows_as_fit_into_the_cache(monkeypatch):
    # by hand: 4 MB hold 4 rows of 1 MB
    monkeypatch.setattr(chunks, "_second_level", lambda: 1 << 21)
    monkeypatch.setattr(chunks, "threads", lambda: 2)
    assert cache_bytes() == 1 << 22
    assert [rows_per_call(size, 50) for size in (1 << 20, 3 << 19, 1 << 30, 1)] == [4, 2, 1, 50]


def test_steps_per_call_follow_from_inputs_and_results(monkeypatch):
    # a step of the convolution: 3 · 192 inputs and 3 · 144 results of 8 bytes, 8064 bytes
    monkeypatch.setattr(chunks, "cache_bytes", lambda: 3 * 8064)
    stage, batches = OverTime(nn.Conv2d(3, 4, 3).to(DOUBLE), event_density=0), []
    stage.module.register_forward_hook(lambda m, i, o: batches.append(len(o)))
    stage(spikes(T=8))
    assert batches == [3, 9, 9, 3]
    assert "3 steps per call" in stage.plan()


def test_bfloat16_is_off_unless_asked_for_and_roughly_right():
    module, x = MODULES["convolution"](), spikes(dtype=torch.float32)
    exact = gradients(loop, module, x)
    rounded = gradients(lambda m, x: over_time(m, x, autocast=torch.bfloat16), module, x)
    assert not torch.equal(exact[0], rounded[0])
    for a, b in zip(exact, rounded):
        assert b.dtype == torch.float32 and (a - b).norm() < 0.02 * a.norm()  # 8 bits: 2^-8 per rounding


def test_errors_name_the_thing():
    with pytest.raises(ValueError, match=r"at least one step; got shape \(0, 2\)"):
        over_time(nn.Linear(2, 2), torch.zeros(0, 2))
    with pytest.raises(ValueError, match="chunk = 0"):
        OverTime(nn.Linear(2, 2), chunk=0)
    with pytest.raises(ValueError, match="event_density = 2"):
        OverTime(nn.Linear(2, 2), event_density=2)


@pytest.mark.parametrize("padding, bias, side", [(0, True, 2), (1, False, 3), (2, True, 2)])
def test_a_mean_pooling_merges_into_the_convolution_before_it(padding, bias, side):
    """8 + 2 · 1 - 2 = 8 rows leave a remainder after pooling by 3: the last two fall away in both forms."""
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=padding, bias=bias), nn.AvgPool2d(side), nn.Conv2d(4, 2, 2, padding=1), nn.AvgPool2d(2)
    )
    module = module.to(DOUBLE)
    for density in (0, 1):
        pairs = zip(
            gradients(lambda m, x, d=density: over_time(m, x, event_density=d), module, spikes()), gradients(loop, module, spikes())
        )
        for found, expected in pairs:
            torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
    stage = OverTime(module)
    stage(spikes())
    assert stage.plan().count("and mean pooling: one convolution") == 2
    assert f"one convolution of {2 + side} × {2 + side} with stride {side}" in stage.plan()


def test_one_window_by_hand():
    # kernel (1 2), mean of two neighbours: (1 · x0 + 2 x1 + 1 · x1 + 2 x2)/2, the kernel (1/2, 3/2, 1)
    convolution = nn.Conv2d(1, 1, (2, 2), bias=False)
    convolution.weight.data = torch.tensor([[[[1.0, 2.0], [0.0, 0.0]]]])
    assert mean_pooled(convolution, 2).weight.tolist() == [[[[0.25, 0.75, 0.5], [0.25, 0.75, 0.5], [0, 0, 0]]]]


@pytest.mark.parametrize(
    "first, pool",
    [
        (nn.Conv2d(3, 4, 3, stride=2), nn.AvgPool2d(2)),
        (nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), nn.AvgPool2d(2)),
        (nn.Conv2d(3, 4, 3), nn.AvgPool2d(3, stride=2)),
        (nn.Conv2d(3, 4, 3), nn.AvgPool2d(2, padding=1)),
        (nn.Conv2d(3, 4, 3), nn.MaxPool2d(2)),
    ],
)
def test_what_does_not_merge_is_left(first, pool):
    assert mean_side(first, pool) == 0
