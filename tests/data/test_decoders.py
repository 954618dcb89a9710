"""Decoders: the same numbers from Spikes, numpy and torch; numbers by hand; gradients."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spiketwin.models.decoders import count, first_spike_ms, max_over_time, mean_interval_ms, membrane_mean, rate_hz
from spiketwin.models.spikes import Spikes
from spiketwin.rules import losses

# neuron 0 fires at steps 1 and 4, neuron 1 never, neuron 2 at every step of 5
DENSE = np.array([[0, 0, 1], [1, 0, 1], [0, 0, 1], [0, 0, 1], [1, 0, 1]], dtype=np.uint8)[:, None]
FORMS = {
    "Spikes": lambda dense: Spikes.from_dense(dense, 2.0),
    "numpy": lambda dense: dense,
    "torch": torch.tensor,
    "torch.float": lambda dense: torch.tensor(dense, dtype=torch.float64),
}
trains = arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 3), st.integers(1, 4)), elements=st.integers(0, 1))


@pytest.mark.parametrize("form", FORMS)
def test_by_hand(form):
    spikes = FORMS[form](DENSE)
    step = {} if form == "Spikes" else {"dt_ms": 2.0}
    assert count(spikes).tolist() == [[2, 0, 5]]
    assert rate_hz(spikes, **step).tolist() == [[200, 0, 500]]  # of 10 ms
    assert first_spike_ms(spikes, **step).tolist() == [[2, np.inf, 0]]
    assert first_spike_ms(spikes, **step, silent_ms=10).tolist() == [[2, 10, 0]]
    assert isinstance(count(spikes), torch.Tensor) == form.startswith("torch")


@given(trains, st.sampled_from([0.1, 1.0, 2.5]))
@settings(max_examples=50)
def test_all_forms_agree(dense, dt_ms):
    spikes, tensor = Spikes.from_dense(dense, dt_ms), torch.tensor(dense, dtype=torch.float64)
    for other in (dense, tensor):
        np.testing.assert_array_equal(count(spikes), np.asarray(count(other)))
        np.testing.assert_allclose(rate_hz(spikes), np.asarray(rate_hz(other, dt_ms)), rtol=1e-12)
        for silent in (np.inf, 99.0):
            found = np.asarray(first_spike_ms(other, dt_ms, silent_ms=silent))
            np.testing.assert_allclose(found, first_spike_ms(spikes, silent_ms=silent), rtol=1e-12, atol=1e-12)


def test_exact_times_are_used_where_there_are_any():
    spikes = Spikes([1, 4, 4], [0, 0, 0], [0, 0, 1], (5, 1, 3), 2.0, time_ms=np.array([2.5, 9.0, 8.25]))
    assert first_spike_ms(spikes).tolist() == [[2.5, 8.25, np.inf]]
    assert mean_interval_ms(spikes)[0] == pytest.approx([6.5, np.nan, np.nan], nan_ok=True)


def test_mean_interval_by_hand():
    # (4 - 1) · 2 ms, one interval; (4 - 0) · 2 ms, four
    assert mean_interval_ms(Spikes.from_dense(DENSE, 2.0))[0] == pytest.approx([6, np.nan, 2], nan_ok=True)


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_membranes(make):
    v = make([[[0.5, -3.0]], [[2.0, -1.0]], [[-1.0, -2.0]]])
    assert membrane_mean(v).tolist() == [[0.5, -2.0]]
    assert max_over_time(v).tolist() == [[2.0, -1.0]]
    assert type(max_over_time(v)) is type(v)


def test_max_over_time_is_the_one_of_the_losses():
    v = torch.randn(20, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (ours,) = torch.autograd.grad(max_over_time(v).pow(2).sum(), v)
    (theirs,) = torch.autograd.grad(losses.max_over_time(v).pow(2).sum(), v)
    assert torch.equal(max_over_time(v), losses.max_over_time(v)) and torch.equal(ours, theirs)
    assert (ours != 0).sum() == 12  # one step each


def test_smooth_decoders_pass_gradcheck():
    x = torch.rand(6, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    for decode in (count, membrane_mean, max_over_time, lambda s: rate_hz(s, 2.0), lambda s: first_spike_ms(s, 2.0, silent_ms=7.0)):
        assert torch.autograd.gradcheck(decode, (x,))


@given(trains)
@settings(max_examples=30)
def test_the_gradient_of_the_first_spike_is_what_a_spike_more_or_less_changes(dense):
    spikes = torch.tensor(dense, dtype=torch.float64, requires_grad=True)
    duration = 2.0 * len(dense)
    (gradient,) = torch.autograd.grad(first_spike_ms(spikes, 2.0, silent_ms=duration).sum(), spikes)
    before = first_spike_ms(Spikes.from_dense(dense, 2.0), silent_ms=duration)
    for t, b, n in np.ndindex(*dense.shape):
        flipped = dense.copy()
        flipped[t, b, n] ^= 1
        after = first_spike_ms(Spikes.from_dense(flipped, 2.0), silent_ms=duration)
        sign = 1 if flipped[t, b, n] else -1
        assert gradient[t, b, n].item() == pytest.approx((after - before)[b, n] * sign, abs=1e-12)


def test_a_silent_neuron_has_a_gradient_also_when_its_time_is_infinite():
    spikes = torch.zeros(4, 1, 1, requires_grad=True)
    time = first_spike_ms(spikes, 1.0)
    assert time.item() == np.inf
    time.backward()
    assert spikes.grad.flatten().tolist() == [-4, -3, -2, -1]  # a spike at step n brings 4 ms to n ms


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rate_hz(DENSE), "add dt_ms=…"),
        (lambda: first_spike_ms(torch.zeros(3, 1, 2)), "add dt_ms=…"),
        (lambda: first_spike_ms(DENSE, -1.0), "dt_ms = -1.0"),
        (lambda: rate_hz(DENSE, np.inf), "dt_ms = inf must be positive and finite"),
        (lambda: mean_interval_ms(DENSE), "a ndarray; make them with Spikes.from_dense"),
        (lambda: rate_hz(Spikes.from_dense(DENSE, 2.0), 1.0), "contradicts Spikes"),
        (lambda: count(np.zeros((3, 2))), r"\[T, B, N\]"),
        (lambda: first_spike_ms(np.zeros((3, 2)), 1.0), r"\[T, B, N\]"),
        (lambda: count([[[1]]]), "a list; make it one with np.asarray"),
        (lambda: max_over_time(np.zeros((0, 1, 2))), "at least one step"),
        (lambda: membrane_mean(Spikes.from_dense(DENSE, 2.0)), "record the state"),
    ],
)
def test_errors_name_the_thing(call, message):
    with pytest.raises(ValueError, match=message):
        call()
