"""Dropout, norms, delays and the LSTM of stacks, each against a closed form or a plain loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from spiketwin.models.engines import get_engine
from spiketwin.models.engines.torch import SpikingLayer, TorchNetwork
from spiketwin.models.engines.torch.stacks import DelayedLinear, HeldDropout, NormOverTime, NormThroughTime, SpikingLSTM, event_delays
from spiketwin.models.network import Network, Population, SpikeSource, stack
from spiketwin.models.spikes import Spikes
from spiketwin.models.stacks import leaky
from spiketwin.rules.surrogate import fast_sigmoid

DOUBLE = torch.float64


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# -- dropout -------------------------------------------------------------------------------------------------------------


def test_a_dropout_mask_holds_for_the_trial_and_differs_between_trials():
    drop, x = HeldDropout(0.25), torch.ones(30, 200, 50)
    y = drop(x)
    assert torch.equal(y, y[:1].expand_as(y))
    assert y.unique().tolist() == pytest.approx([0, 4 / 3])
    # the mean of 10,000 masks of mean 1 and spread sqrt(p/(1 - p)) = .577: five standard errors
    assert abs(y[0].mean() - 1) < 5 * math.sqrt(1 / 3) / 100
    assert len({tuple(row.tolist()) for row in y[0]}) > 190
    assert not torch.equal(drop(x), y)  # another call, another mask
    assert torch.equal(drop.eval()(x), x)


def test_what_does_not_change_over_time_stays_so_behind_a_dropout():
    image = torch.rand(4, 3, 6)
    y = HeldDropout(0.5)(image.expand(20, 4, 3, 6))
    assert y.shape == (20, 4, 3, 6) and y.stride(0) == 0 and (y == 0).any() and (y > 0).any()
    assert HeldDropout(0.5)(image[:1]).shape == image[:1].shape
    with pytest.raises(ValueError, match="p = 1"):
        HeldDropout(1)


# -- norms ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5,), (5, 4, 3)])
def test_batch_norm_through_time_is_one_batch_norm_per_step(shape):
    T, B = 6, 7
    drift = torch.arange(T, dtype=DOUBLE).view(T, *[1] * (1 + len(shape)))
    x = (1 + drift) * torch.randn(T, B, *shape, dtype=DOUBLE) + 10 * drift
    norm = NormThroughTime(5, T).double()
    norm.weight.data.uniform_(0.5, 2)
    kind = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
    steps = [kind(5, eps=norm.eps, momentum=norm.momentum).double() for _ in range(T)]
    for each, gamma in zip(steps, norm.weight):
        each.weight.data.copy_(gamma)
    price = torch.randn_like(x)
    given = [x.clone().requires_grad_() for _ in range(2)]
    for _ in range(3):
        found, expected = norm(given[0]), torch.stack([each(a) for each, a in zip(steps, given[1])])
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    (found * price).sum().backward()
    (expected * price).sum().backward()
    torch.testing.assert_close(given[0].grad, given[1].grad, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(norm.weight.grad, torch.stack([each.weight.grad for each in steps]), rtol=1e-9, atol=1e-11)
    # statistics of each step, by hand: after three batches of momentum .1, running = .9³ · start + (1 - .9³) · batch
    batch = x.transpose(1, 2).flatten(2)
    torch.testing.assert_close(norm.running_mean, (1 - 0.9**3) * batch.mean(2), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(norm.running_var, 0.9**3 + (1 - 0.9**3) * batch.var(2), rtol=1e-12, atol=1e-12)
    norm.eval()
    by_hand = [(a - m.view(-1, *[1] * (a.ndim - 2))) for a, m in zip(x, norm.running_mean)]
    spread = (norm.weight / (norm.running_var + norm.eps).sqrt()).view(T, 1, 5, *[1] * (len(shape) - 1))
    torch.testing.assert_close(norm(x), torch.stack(by_hand) * spread, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(norm(x[:2]), norm(x)[:2], rtol=1e-12, atol=1e-12)  # a shorter run uses the first steps


def test_a_norm_over_time_has_one_statistic_for_all_steps():
    x = 3 + 2 * torch.randn(8, 9, 4, 5, 5, dtype=DOUBLE)
    norm = NormOverTime(4, v_threshold=0.5, alpha=0.7).double()
    y = norm(x)
    channels = y.transpose(0, 2).flatten(1)
    torch.testing.assert_close(channels.mean(1), torch.zeros(4, dtype=DOUBLE), rtol=0, atol=1e-12)
    # a spread of alpha v_threshold, but for eps = 1e-5 beside a variance of 4
    torch.testing.assert_close(channels.std(1, unbiased=False), torch.full((4,), 0.35, dtype=DOUBLE), rtol=2e-6, atol=0)
    assert norm(x[..., 0, 0]).shape == (8, 9, 4)
    net = stack(
        "FC6-BN-FC3", neuron=leaky(), dt_ms=1.0, input_shape=(5,), norm=lambda channels, steps: NormOverTime(channels, v_threshold=1.0)
    )
    assert isinstance(net.parts["norm1"], NormOverTime)


@pytest.mark.parametrize("kind", [NormThroughTime, NormOverTime])
def test_norms_of_an_input_that_is_the_same_at_every_step(kind):
    """Normalised once, with the result and the gradients of the long way."""
    image, price = 2 + 3 * torch.randn(1, 9, 4, 5, 5, dtype=DOUBLE), torch.randn(6, 9, 4, 5, 5, dtype=DOUBLE)
    short, long = kind(4, 6).double(), kind(4, 6).double()
    gammas = [norm.weight if isinstance(norm, NormThroughTime) else norm.norm.weight for norm in (short, long)]
    for gamma in gammas:
        gamma.data = torch.linspace(0.5, 2, gamma.numel(), dtype=DOUBLE).view_as(gamma)
    given = [image.clone().requires_grad_() for _ in range(2)]
    for training in (True, False):
        short.train(training)
        long.train(training)
        found, expected = short(given[0].expand(6, 9, 4, 5, 5)), long(given[1].repeat(6, 1, 1, 1, 1))
        # the running variance of the norm over time counts repeated values once on the short way: n/(n - 1) of 225, not of 1,350
        torch.testing.assert_close(found, expected, rtol=1e-9 if training or kind is NormThroughTime else 1e-3, atol=1e-9)
        (found * price).sum().backward()
        (expected * price).sum().backward()
        if training:
            torch.testing.assert_close(given[0].grad, given[1].grad, rtol=1e-8, atol=1e-10)
            torch.testing.assert_close(gammas[0].grad, gammas[1].grad, rtol=1e-8, atol=1e-10)


def test_a_shift_is_not_scaled():
    norm = NormOverTime(2, v_threshold=0.5).double()
    norm.norm.bias.data.fill_(3.0)
    y = norm(torch.randn(4, 5, 2, dtype=DOUBLE))
    torch.testing.assert_close(y.mean((0, 1)), torch.full((2,), 3.0, dtype=DOUBLE), rtol=1e-12, atol=0)


def test_errors_of_norms():
    with pytest.raises(ValueError, match="statistics of 4 steps, but 5 come in; build the stack with steps=5"):
        NormThroughTime(3, 4)(torch.zeros(5, 2, 3))
    with pytest.raises(ValueError, match=r"x is \[T, B, 3, …\], got \(2, 2, 4\)"):
        NormThroughTime(3, 4)(torch.zeros(2, 2, 4))
    with pytest.raises(ValueError, match="must be at least 1"):
        NormThroughTime(3, 0)
    with pytest.raises(ValueError, match="channels = 0 must be at least 1"):
        NormOverTime(0)
    for x in (torch.zeros(2, 2, 4), torch.zeros(2, 3), torch.zeros(1, 2, 4).expand(5, 2, 4)):
        with pytest.raises(ValueError, match=r"x is \[T, B, 3, …\]"):
            NormOverTime(3)(x)


# -- delays --------------------------------------------------------------------------------------------------------------


def delayed(inputs=1, outputs=1, max_delay_ms=8.0, dt_ms=1.0, delay_ms=None, weight=None, **how):
    layer = DelayedLinear(inputs, outputs, max_delay_ms=max_delay_ms, dt_ms=dt_ms, **how).double()
    with torch.no_grad():
        if delay_ms is not None:
            layer.delay_ms.copy_(torch.as_tensor(delay_ms, dtype=DOUBLE))
        if weight is not None:
            layer.weight.copy_(torch.as_tensor(weight, dtype=DOUBLE))
    return layer


def impulse(T=20, at=2, inputs=1):
    x = torch.zeros(T, 1, inputs, dtype=DOUBLE)
    x[at] = 1
    return x


def test_in_evaluation_a_spike_arrives_after_exactly_its_delay():
    # 0.5 ms steps: 2.2 ms are 4.4, so 4 steps; 1.25 ms are 2.5, rounded up to 3; 0 stays 0
    layer = delayed(3, 1, 4.0, 0.5, [[2.2, 1.25, 0.0]], [[2.0, 3.0, 5.0]]).eval()
    y = layer(impulse(at=2, inputs=3))[:, 0, 0]
    expected = torch.zeros(20, dtype=DOUBLE)
    expected[2 + 4], expected[2 + 3], expected[2] = 2, 3, 5
    assert torch.equal(y, expected)
    np.testing.assert_array_equal(layer.to_delays(), [[2.0, 1.5, 0.0]])


def test_in_training_it_arrives_as_a_gaussian():
    layer = delayed(delay_ms=[[3.3]], weight=[[2.0]])
    layer.sigma_ms.fill_(1.5)
    bump = np.exp(-0.5 * ((np.arange(9) - 3.3) / 1.5) ** 2)
    np.testing.assert_allclose(layer(impulse(at=2))[2:11, 0, 0].detach(), 2 * bump / bump.sum(), rtol=1e-12)
    # the longest delay ends it, nothing comes before the spike
    assert layer(impulse(at=2))[:2].abs().max() == 0 and layer(impulse(at=2))[11:].abs().max() == 0


def test_the_gradient_of_a_delay_points_to_a_better_time():
    for target, sign in ((9, -1), (4, 1)):  # descent lengthens the delay to reach step 9, and shortens it to reach step 4
        layer = delayed(delay_ms=[[4.5]], weight=[[1.0]])
        layer(impulse(at=2))[target, 0, 0].neg().backward()
        assert math.copysign(1, layer.delay_ms.grad.item()) == sign
    # closed form: the mean time of arrival moves with the delay, d/dd sum_t t y[t] = variance/sigma², near 1 far from the ends
    layer = delayed(max_delay_ms=40.0, delay_ms=[[20.3]], weight=[[1.0]])
    layer.sigma_ms.fill_(2.0)
    y = layer(impulse(T=60))[:, 0, 0]
    (y * torch.arange(60)).sum().backward()
    assert y.detach() @ torch.arange(60, dtype=DOUBLE) == pytest.approx(2 + 20.3)
    assert layer.delay_ms.grad.item() == pytest.approx(1.0, abs=1e-6)


def test_gradients_of_delays_and_weights_are_those_of_finite_differences():
    layer, x = delayed(3, 2, 4.0, bias=True), torch.rand(6, 2, 3, dtype=DOUBLE, requires_grad=True)
    names = list(dict(layer.named_parameters()))

    def run(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values)), x)

    # inside the bounds, away from where clamping bends the function
    start = [p.detach().clamp(0.1, 3.9).requires_grad_() if n == "delay_ms" else p for n, p in layer.named_parameters()]
    assert torch.autograd.gradcheck(run, (x, *start))


def test_annealing_ends_at_half_a_step_and_evaluation_is_its_limit():
    layer = delayed(4, 3, max_delay_ms=8.0, dt_ms=0.5)
    found = []
    for share in (0, 0.5, 1, 3):
        layer.anneal_(share)
        found.append(layer.sigma_ms.item())
    # 4 ms to .25 ms: the geometric mean lies half way
    np.testing.assert_allclose(found, [4.0, 1.0, 0.25, 0.25])
    layer.sigma_ms.fill_(1e-3)  # between steps, the nearer one wins
    torch.testing.assert_close(layer.kernel(), layer.eval().kernel().to(DOUBLE), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="share = -1"):
        layer.anneal_(-1)


def test_delays_that_an_optimiser_moves_out_of_bounds_come_back():
    layer = delayed(2, 1, 8.0, delay_ms=[[-3.0, 11.0]])
    layer(impulse(inputs=2))
    assert layer.delay_ms.tolist() == [[0.0, 8.0]]


def test_a_trained_layer_is_a_projection_with_delays():
    """Delays are learned in a stack; its evaluation, a TorchNetwork and the compiled engine with these delays spike alike."""
    net = stack("FC6d5", neuron=leaky(5.0), dt_ms=1.0, input_shape=(4,), surrogate=fast_sigmoid(5), dtype=DOUBLE)
    (layer,) = net.delayed_layers()
    with torch.no_grad():
        layer.weight.mul_(3)
    x = (torch.rand(40, 3, 4) < 0.3).to(DOUBLE)
    before = layer.delay_ms.detach().clone()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.1)
    for step in range(5):
        net.anneal_(step / 4)
        optimiser.zero_grad()
        (net(x).output.mean() - 0.4).square().backward()
        optimiser.step()
    assert (layer.delay_ms - before).abs().max() > 0.1 and layer.sigma_ms == 0.5
    found = net.eval()(x).output
    projection = layer.to_projection("in", "a", "v")
    assert projection.delay_ms.shape == (6, 4) and len(np.unique(projection.delay_ms)) > 2
    network = Network([Population("a", leaky(5.0), 6)], [projection], [SpikeSource("in", 4)])
    expected = TorchNetwork(network, dt_ms=1.0, dtype=DOUBLE)({"in": x}).spikes["a"]
    assert expected.sum() > 50
    assert torch.equal(found, expected)
    compiled = get_engine("compiled").run(network, {"in": Spikes.from_dense(x.numpy().astype(int), 1.0)}, dt_ms=1.0)
    np.testing.assert_array_equal(found.detach(), compiled.spikes["a"].dense())


def test_delays_solve_what_weights_cannot():
    """Two inputs that spike 4 ms apart: only with a delay do they meet above a threshold that one cannot reach."""
    x = torch.zeros(20, 1, 2, dtype=DOUBLE)
    x[3, 0, 0], x[7, 0, 1] = 1, 1
    # together 1.4 exp(-1/5) = 1.15 at the next step; apart at most .7 (1 + exp(-4/5)) exp(-1/5) = .83
    cell = SpikingLayer(leaky(5.0), 1, dt_ms=1.0, dtype=DOUBLE)
    for delay, fired in ((0.0, 0), (4.0, 1)):
        layer = delayed(2, 1, 8.0, delay_ms=[[delay, 0.0]], weight=[[0.7, 0.7]]).eval()
        assert cell(layer(x)).sum() == fired


def test_errors_of_delays():
    with pytest.raises(ValueError, match="shorter than a step of 1 ms"):
        DelayedLinear(2, 2, max_delay_ms=0.3, dt_ms=1)
    for wrong in ({"dt_ms": 0}, {"dt_ms": math.nan}, {"max_delay_ms": math.nan}, {"max_delay_ms": math.inf}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} = .* must be positive and finite"):
            DelayedLinear(2, 2, **{"max_delay_ms": 3.0, "dt_ms": 1.0} | wrong)
    layer = DelayedLinear(2, 3, max_delay_ms=3, dt_ms=1)
    for shape in ((4, 1, 7), (4, 2), (4, 1, 1, 2)):
        with pytest.raises(ValueError, match=r"this layer takes \[T, B, 2\]"):
            layer(torch.zeros(shape))
    with pytest.raises(ValueError, match="dt_ms = 0 must be positive"):
        layer.retime_(0)
    with pytest.raises(ValueError, match="a Projection has no bias"):
        delayed(bias=True).to_projection("a", "b", "v")


@pytest.mark.parametrize("case", ["few", "weighted", "short", "silent", "busy"])
def test_delays_by_events_are_the_sum_over_all_steps(case, monkeypatch):
    """y_i[t] = sum_j sum_k g_ij[k] x_j[t - k], and its gradients, also for values other than 0 and 1 and runs shorter than the delays."""
    monkeypatch.setattr(event_delays, "EVENT_DENSITY", 0 if case == "busy" else 1)
    T, K = (3, 6) if case == "short" else (12, 4)
    x = (torch.rand(T, 2, 5) < (0 if case == "silent" else 0.3)).to(DOUBLE)
    x = (x * torch.rand_like(x) if case == "weighted" else x).requires_grad_()
    kernel = torch.randn(3, 5, K + 1, dtype=DOUBLE, requires_grad=True)
    found = event_delays.delayed_sum(x, kernel)
    assert ("EventSum" in found.grad_fn.name()) == (case != "busy")
    rows = [sum((x[t - k] @ kernel[..., k].T for k in range(min(t, K) + 1)), torch.zeros(2, 3, dtype=DOUBLE)) for t in range(T)]
    expected, price = torch.stack(rows), torch.randn(T, 2, 3, dtype=DOUBLE)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert found.any() == (case != "silent")
    for a, b in zip(torch.autograd.grad(found, (x, kernel), price), torch.autograd.grad(expected, (x, kernel), price)):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


# -- LSTM ----------------------------------------------------------------------------------------------------------------


def test_steps_of_a_spiking_lstm_by_hand():
    cell = SpikingLSTM(1, 1).double()
    with torch.no_grad():
        # rows i, f, g, o of: W x + U h + b
        cell.input.weight.copy_(torch.tensor([[1.0], [0.0], [1.0], [1.0]]))
        cell.input.bias.copy_(torch.tensor([-0.5, 0.5, -0.5, -1.5]))
        cell.recurrent.weight.copy_(torch.tensor([[0.0], [-1.0], [0.0], [0.0]]))
    x = torch.tensor([1.0, 0.0, 2.0, 0.0, 2.0], dtype=DOUBLE).view(5, 1, 1)
    # x  i  f              g  c                    o  h
    # 1  1  1              1  1·0 + 1·1 = 1        0  0
    # 0  0  1 (h = 0)      0  1·1 + 0 = 1          0  0
    # 2  1  1 (h = 0)      1  1 + 1 = 2, so 1      1  1
    # 0  0  0 (.5 - 1)     0  0                    0  0
    # 2  1  1              1  0 + 1 = 1            1  1
    assert cell(x).flatten().tolist() == [0, 0, 1, 0, 1]


def test_a_spiking_lstm_equals_the_equations_and_passes_gradients():
    T, B, N, H = 7, 3, 4, 5
    spike = fast_sigmoid(2.0)
    cell = SpikingLSTM(N, H, spike).double()
    x = torch.randn(T, B, N, dtype=DOUBLE, requires_grad=True)
    W, U, b = cell.input.weight.view(4, H, N), cell.recurrent.weight.view(4, H, H), cell.input.bias.view(4, H)
    h, c, out, full = torch.zeros(B, H, dtype=DOUBLE), torch.zeros(B, H, dtype=DOUBLE), [], 0
    for step in x:
        i, f, g, o = (spike(step @ W[k].T + h @ U[k].T + b[k]) for k in range(4))
        total = f * c + i * g
        full += int((total > 1).sum())
        c = total - (total.detach() - 1).clamp_min(0)
        h = o * c
        out.append(h)
    expected, found = torch.stack(out), cell(x)
    assert full > 0 and 0.02 < expected.mean() < 0.9 and set(found.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(found, expected)
    price = torch.randn_like(found)
    inputs = (x, *cell.parameters())
    for mine, theirs in zip(torch.autograd.grad(found, inputs, price), torch.autograd.grad(expected, inputs, price)):
        assert mine.any()
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_a_spiking_lstm_remembers_a_bit():
    """The first of 8 inputs is to be told at the end: what a neuron that leaks forgets, the cell keeps."""
    x = torch.randint(0, 2, (8, 64, 1)).float()
    net = stack("LSTM16", neuron=leaky(20.0), dt_ms=1.0, input_shape=(2,), surrogate=fast_sigmoid(1.0))
    first = torch.zeros(8, 64, 1)
    first[0] = 1
    x, labels = torch.cat([x, first], dim=2), x[0, :, 0].long()
    head = nn.Linear(16, 2)
    optimiser = torch.optim.Adam([*net.parameters(), *head.parameters()], lr=0.02)
    for _ in range(120):
        optimiser.zero_grad()
        scores = head(net(x).output[-1])
        nn.functional.cross_entropy(scores, labels).backward()
        optimiser.step()
    assert (scores.argmax(1) == labels).float().mean() > 0.9


def test_errors_of_the_lstm():
    for shape in ((4, 2), (4, 1, 3)):
        with pytest.raises(ValueError, match=r"this layer takes \[T, B, 2\]"):
            SpikingLSTM(2, 3)(torch.zeros(shape))
    for wrong in ({"surrogate": fast_sigmoid}, {"candidate_surrogate": "arctan"}):
        with pytest.raises(ValueError, match="makes no spikes"):
            SpikingLSTM(2, 3, **wrong)
