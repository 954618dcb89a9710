"""The loops that benchmarks compare with do what ours does: same losses, spikes and gradients in double precision."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from peers import classifier
from spiketwin.experiments.studies.gradients.ttfs import TTFSConfig
from spiketwin.models.spikes import Spikes


def small(recurrent):
    rng = np.random.default_rng(3)
    events = Spikes.from_dense((rng.random((30, 5, 20)) < 0.06).astype(np.uint8), classifier.DT_MS)

    def batches():
        while True:
            yield events, np.arange(5) % 4

    config = TTFSConfig(hidden=12, recurrent=recurrent, tmax_ms=30.0, weight_scale=1.5)
    return classifier.Task(config, 20, 4, 5, batches)


def step(forward, parameters, task):
    events, labels = next(task.batches())
    v, hidden = forward(events)
    loss = functional.cross_entropy(v.amax(0), torch.as_tensor(labels))
    loss.backward()
    return loss.item(), int(hidden.detach().sum()), {tuple(p.shape): p.grad for p in parameters}


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_the_tuned_loop_is_our_step(recurrent, sparse):
    task = small(recurrent)
    loss, spikes, gradients = step(*classifier.ours(task, dtype=torch.float64, kernels="torch"), task)
    tuned_loss, tuned_spikes, tuned_gradients = step(*classifier.tuned(task, sparse=sparse, dtype=torch.float64), task)
    assert spikes == tuned_spikes > 20
    assert tuned_loss == pytest.approx(loss, rel=1e-12)
    assert gradients.keys() == tuned_gradients.keys() and len(gradients) == (3 if recurrent else 2)
    for shape, gradient in gradients.items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(tuned_gradients[shape], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("recurrent", [False, True])
def test_the_spytorch_loop_is_our_network_with_its_reset(recurrent):
    task = small(recurrent)
    network = classifier.with_reset(task, "hold")
    loss, spikes, gradients = step(*classifier.ours(task, network, kernels="torch"), task)
    other_loss, other_spikes, other_gradients = step(*classifier.spytorch(task), task)
    # single precision: SpyTorch's loop has no other
    assert spikes == other_spikes > 20 and other_loss == pytest.approx(loss, rel=1e-5)
    for shape, gradient in other_gradients.items():
        torch.testing.assert_close(gradient.t(), gradients[shape[::-1]], rtol=1e-3, atol=1e-5)


def test_the_dense_input_forgets_the_last_batch():
    task = small(False)
    events, _ = next(task.batches())
    dense = classifier.DenseInput(task)
    dense(Spikes.from_dense(1 - events.dense(), classifier.DT_MS))
    assert np.array_equal(dense(events).numpy(), events.dense(np.float32))


def test_the_kernels_of_the_step_are_held_against_what_they_must_move():
    found = {kernel.name: kernel for kernel in classifier.kernels(small(False), threads=1)}
    assert list(found) == ["spiketwin", "forward", "backward", "choice of a batch"]
    cells = 30 * 5 * 12  # one number of 4 bytes each, written once and read once
    assert found["spiketwin"].bytes > 2 * 4 * cells and found["forward"].ms > 0 and found["backward"].ms > 0
    assert found["spiketwin"].flops == pytest.approx(found["forward"].flops + found["backward"].flops)
