"""Losses on numbers worked by hand."""

import math

import pytest
import torch

from spiketwin.rules.losses import (
    balanced_weights,
    count_cross_entropy,
    first_spike_cross_entropy,
    first_spike_mean_square,
    first_spike_time,
    last_cross_entropy,
    max_cross_entropy,
    max_over_time,
    mean_cross_entropy,
    mean_square_count,
    negative_log_likelihood,
    step_cross_entropy,
)
from spiketwin.rules.surrogate import fast_sigmoid

DOUBLE = torch.float64
LABELS = torch.tensor([0, 2])


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


def spikes_at(T, trials):
    """Spikes [T, B, K]: trials[b][k] lists the steps in which read-out k fires."""
    spikes = torch.zeros(T, len(trials), len(trials[0]), dtype=DOUBLE)
    for b, trial in enumerate(trials):
        for k, steps in enumerate(trial):
            spikes[steps, b, k] = 1
    return spikes


def test_last_and_step_by_hand():
    v = torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]], [[0.0, 3.0]]], dtype=DOUBLE)
    label = torch.tensor([0])
    # log(e^a + e^b) - a at each step: log 2, log(1 + e^-1), 3 + log(1 + e^-3)
    each = [math.log(2), math.log1p(math.exp(-1)), 3 + math.log1p(math.exp(-3))]
    assert last_cross_entropy(v, label).item() == pytest.approx(each[2])
    assert step_cross_entropy(v, label).item() == pytest.approx(sum(each) / 3)


def test_counts_by_hand():
    # 3, 1 and 0 spikes: -3 + log(e^3 + e + 1) for class 0, log(e^3 + e + 1) for class 2
    spikes = spikes_at(5, [[[0, 2, 4], [1], []]] * 2)
    assert count_cross_entropy(spikes, LABELS).item() == pytest.approx(math.log(math.exp(3) + math.e + 1) - 1.5)
    # targets 4, 1, 1 and 1, 1, 4: squares 1, 0, 1 and 4, 0, 16, over 6 numbers
    assert mean_square_count(spikes, LABELS, right=4, wrong=1).item() == pytest.approx(22 / 6)


def test_negative_log_likelihood_by_hand():
    log_p = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], dtype=DOUBLE).log()
    assert negative_log_likelihood(log_p, LABELS).item() == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2)
    weights = torch.tensor([1.0, 5.0, 3.0], dtype=DOUBLE)
    assert negative_log_likelihood(log_p, LABELS, weights).item() == pytest.approx(-(math.log(0.5) + 3 * math.log(0.8)) / 4)
    # doubling every weight changes nothing
    assert negative_log_likelihood(log_p, LABELS, 2 * weights).item() == pytest.approx(-(math.log(0.5) + 3 * math.log(0.8)) / 4)


@pytest.mark.parametrize("loss", [max_cross_entropy, mean_cross_entropy, last_cross_entropy, step_cross_entropy, count_cross_entropy])
def test_every_cross_entropy_is_the_likelihood_of_its_softmax(loss):
    v = torch.randn(6, 2, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([0.5, 1.0, 2.0], dtype=DOUBLE)
    made_of = {max_cross_entropy: v.amax(0), mean_cross_entropy: v.mean(0), last_cross_entropy: v[-1], count_cross_entropy: v.sum(0)}
    if loss in made_of:
        expected = negative_log_likelihood(made_of[loss].log_softmax(-1), LABELS, weights)
    else:
        expected = sum(negative_log_likelihood(step.log_softmax(-1), LABELS, weights) for step in v) / 6
    assert loss(v, LABELS, weights).item() == pytest.approx(expected.item(), rel=1e-12)


def test_the_first_spike_is_timed_and_silence_lasts_to_the_end():
    spikes = spikes_at(5, [[[2, 4], [0], []]])
    assert first_spike_time(spikes, dt_ms=0.5).tolist() == [[1.0, 0.0, 2.5]]
    # of the target 1.5, 0 and 2.5 ms: (0.5² + 0 + 0)/3
    assert first_spike_mean_square(spikes, torch.tensor([[1.5, 0.0, 2.5]]), dt_ms=0.5).item() == pytest.approx(0.25 / 3)
    # logits -1, 0, -2.5 with tau = 1 ms
    expected = 1 + math.log(math.exp(-1) + 1 + math.exp(-2.5))
    assert first_spike_cross_entropy(spikes, torch.tensor([0]), tau_ms=1.0, dt_ms=0.5).item() == pytest.approx(expected)


def test_the_derivative_of_the_first_spike_time_by_hand():
    spikes = spikes_at(5, [[[2, 4], []]]).requires_grad_()
    first_spike_time(spikes, dt_ms=1.0).sum().backward()
    # fires in 2 and 4: a spike in 0 comes 2 steps earlier, in 1 one; without that in 2 the first is 4, 2 steps later; then nothing counts
    assert spikes.grad[:, 0, 0].tolist() == [-2, -1, -2, 0, 0]
    # silent: 5 - s steps earlier each
    assert spikes.grad[:, 0, 1].tolist() == [-5, -4, -3, -2, -1]


def test_the_first_spike_time_of_probabilities_is_the_mean_over_draws():
    p = torch.tensor([0.1, 0.0, 0.6, 0.3], dtype=DOUBLE)
    # 0 · .1 + 2 · .9 · .6 + 3 · .9 · .4 · .3 + 4 · .9 · .4 · .7
    by_hand = 2 * 0.54 + 3 * 0.108 + 4 * 0.252
    assert first_spike_time(p[:, None, None], dt_ms=1.0).item() == pytest.approx(by_hand)
    draws = (torch.rand(4, 40_000, 1, dtype=DOUBLE, generator=torch.Generator().manual_seed(0)) < p[:, None, None]).to(DOUBLE)
    times = first_spike_time(draws, dt_ms=1.0)
    assert times.mean().item() == pytest.approx(by_hand, abs=4 * times.std().item() / math.sqrt(40_000))


def test_descent_moves_a_first_spike_to_its_target():
    # v grows along a ramp of trainable slope; threshold 1 is to be met in step 6
    slope = torch.tensor([0.05, 0.4], dtype=DOUBLE, requires_grad=True)
    ramp = torch.arange(1, 21, dtype=DOUBLE)[:, None, None]
    spike, target = fast_sigmoid(5.0), torch.full((1, 2), 6.0, dtype=DOUBLE)
    assert first_spike_time(spike(ramp * slope - 1), dt_ms=1.0).tolist() == [[20.0, 2.0]]  # one of them silent
    optimiser = torch.optim.Adam([slope], lr=0.005)
    for _ in range(150):
        optimiser.zero_grad()
        loss = first_spike_mean_square(spike(ramp * slope - 1), target, dt_ms=1.0)
        loss.backward()
        optimiser.step()
    assert loss.item() == 0


CASES = {
    "nll": lambda x: negative_log_likelihood(x[0].log_softmax(-1), LABELS, torch.tensor([0.5, 1.0, 2.0], dtype=DOUBLE)),
    "max": lambda x: max_cross_entropy(x, LABELS),
    "last": lambda x: last_cross_entropy(x, LABELS),
    "step": lambda x: step_cross_entropy(x, LABELS),
    "count": lambda x: count_cross_entropy(x, LABELS),
    "mean_square_count": lambda x: mean_square_count(x, LABELS, right=3, wrong=0.5),
    "first_spike": lambda x: first_spike_cross_entropy(x, LABELS, tau_ms=2.0, dt_ms=0.5),
    "first_spike_mean_square": lambda x: first_spike_mean_square(x, torch.ones(2, 3, dtype=DOUBLE), dt_ms=0.5),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_finite_differences(name):
    x = torch.rand(4, 2, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(CASES[name], x)


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


@pytest.mark.parametrize("loss", [max_cross_entropy, mean_cross_entropy, last_cross_entropy, step_cross_entropy, count_cross_entropy])
def test_bad_input_of_every_cross_entropy(loss):
    v = torch.zeros(5, 2, 3)
    for wrong in (v[0], v[None]):
        with pytest.raises(ValueError, match=r"give \[T, B, K\]"):
            loss(wrong, LABELS)
    with pytest.raises(ValueError, match=r"labels are int \[B\]; got B = 2 and torch.float32"):
        loss(v, LABELS.float())
    with pytest.raises(ValueError, match="each of the 3 classes"):
        loss(v, LABELS, torch.ones(2))

    with pytest.raises(ValueError, match="at least one step"):
        loss(v[:0], LABELS)
    for label in (-100, -1, 3):
        with pytest.raises(ValueError, match=r"labels lie in .* give 0 … 2 for 3 classes"):
            loss(v, torch.tensor([0, label]))
    for weights in ([0.0, 0.0, 0.0], [1.0, -0.5, 1.0], [1.0, math.nan, 1.0], [1.0, math.inf, 1.0]):
        with pytest.raises(ValueError, match="must be finite and not negative, and not all 0"):
            loss(v, LABELS, torch.tensor(weights))
    with pytest.raises(ValueError, match="0 for the classes of all trials"):
        loss(v, LABELS, torch.tensor([0.0, 1.0, 0.0]))


def test_checks_of_values_leave_compilation_and_vmap_alone():
    v, weights = torch.rand(5, 2, 3), torch.tensor([1.0, 2.0, 0.5])
    expected = max_cross_entropy(v, LABELS, weights)
    compiled = torch.compile(max_cross_entropy, backend="eager", fullgraph=True)
    assert compiled(v, LABELS, weights).item() == pytest.approx(expected.item())
    each = torch.vmap(max_cross_entropy, in_dims=(1, 0))(v[:, :, None], LABELS[:, None])
    assert each.mean().item() == pytest.approx(max_cross_entropy(v, LABELS).item())


@pytest.mark.parametrize("right, wrong", [(0, 0), (2, 2), (1, -1), (6, 0)])
def test_counts_that_cannot_be_reached_are_refused(right, wrong):
    with pytest.raises(ValueError, match="give 0 <= wrong < right <= 5"):
        mean_square_count(torch.zeros(5, 2, 3), LABELS, right=right, wrong=wrong)


@pytest.mark.parametrize("label", [-100, 3])
@pytest.mark.parametrize(
    "call",
    [
        lambda labels: negative_log_likelihood(torch.zeros(2, 3), labels),
        lambda labels: mean_square_count(torch.zeros(5, 2, 3), labels, right=2),
        lambda labels: balanced_weights(labels, 3),
    ],
)
def test_a_label_that_is_no_class_is_refused(call, label):
    with pytest.raises(ValueError, match=r"labels lie in .* give 0 … 2 for 3 classes"):
        call(torch.tensor([0, label]))


def test_bad_input_of_the_others():
    with pytest.raises(ValueError, match=r"give \[B, K\]"):
        negative_log_likelihood(torch.zeros(5, 2, 3), LABELS)
    with pytest.raises(ValueError, match="dt_ms = 0 must be positive"):
        first_spike_time(torch.zeros(5, 2, 3), dt_ms=0)
    with pytest.raises(ValueError, match="tau_ms = -1 must be positive"):
        first_spike_cross_entropy(torch.zeros(5, 2, 3), LABELS, tau_ms=-1, dt_ms=1.0)
    with pytest.raises(ValueError, match=r"target_ms has shape \(3,\)"):
        first_spike_mean_square(torch.zeros(5, 2, 3), torch.zeros(3), dt_ms=1.0)
