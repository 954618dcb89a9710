"""Truncated backpropagation through time, and training in lower precision."""

from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import pytest
import torch
from torch import nn

from spiketwin.experiments.data import load
from spiketwin.experiments.studies.gradients import digits_ttfs, ttfs
from spiketwin.experiments.training import Constant, Schedule, detached, fit, mixed_precision, truncated
from spiketwin.models.engines.torch import TorchNetwork
from spiketwin.rules.losses import max_cross_entropy
from spiketwin.rules.surrogate import fast_sigmoid

T = 12


def last(module, loss, *, samples, schedule, optimiser=torch.optim.Adam):
    """The history of a training that ends with the weights of its last epoch: validation rises."""
    return fit(module, loss, count().__next__, samples=samples, schedule=schedule, seed=0, optimiser=optimiser)


def slope(chunk_steps):
    """d/da of s1 + … + s4 for s_n = a s_(n-1) + 1, a = 1/2, as plain gradient descent with rate 1 subtracts it."""
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 0.5)

    def chunk(state, steps, index, rng):
        s, total = torch.zeros(1, 1) if state is None else state, 0.0
        for _ in range(steps.start, steps.stop):
            s = module(s) + 1
            total = total + s.sum()
        return total, s, {}

    (row,) = last(
        module,
        truncated(chunk, steps=4, chunk_steps=chunk_steps),
        samples=1,
        schedule=Schedule(1, 1, 1.0, Constant()),
        optimiser=torch.optim.SGD,
    )
    assert row["loss"] == 1 + 1.5 + 1.75 + 1.875  # the state goes on
    return 0.5 - module.weight.item()


def test_the_gradient_reaches_back_to_the_start_of_the_chunk():
    # s = 1, 3/2, 7/4, 15/8; ds_n/da = s_(n-1) + a ds_(n-1)/da = 0, 1, 2, 11/4; cut before the third: 0, 1, 3/2, 5/2
    assert slope(4) == slope(100) == 0 + 1 + 2 + 2.75
    assert slope(2) == 0 + 1 + 1.5 + 2.5
    assert slope(1) == 0 + 1 + 1.5 + 1.75


def recurrent(chunk_steps):
    """Two epochs of a recurrent spiking network. chunk_steps None: without `truncated`."""
    torch.manual_seed(0)
    x = torch.rand(T, 10, 4)
    inward, around, fire = nn.Linear(4, 8), nn.Linear(8, 8), fast_sigmoid(10)
    module = nn.ModuleList([inward, around])

    def chunk(state, steps, index, rng):
        v, s, fired = state or torch.zeros(3, len(index), 8)
        for n in range(steps.start, steps.stop):
            v = 0.9 * v + inward(x[n, index]) + around(s) - s.detach()
            s = fire(v - 1)
            fired = fired + s
        return (v - 0.3).square().mean(), (v, s, fired), {"spikes_per_neuron": fired.mean().item()}

    def whole(index, rng):
        value, _, shown = chunk(None, slice(0, T), index, rng)
        return value, shown

    loss = truncated(chunk, steps=T, chunk_steps=chunk_steps) if chunk_steps else whole
    history = last(module, loss, samples=10, schedule=Schedule(2, 5, 0.01))
    assert history[0]["spikes_per_neuron"] > 0.3
    return [p.detach() for p in module.parameters()]


def test_one_chunk_is_backpropagation_through_time():
    whole = recurrent(None)
    assert all(map(torch.equal, recurrent(T), whole))
    assert not any(map(torch.equal, recurrent(4), whole))


class Membrane(NamedTuple):
    v: torch.Tensor


@dataclass
class Traces:
    slow: torch.Tensor
    steps: int


def test_every_tensor_of_a_state_is_cut():
    x = torch.ones(2, requires_grad=True)
    state = detached({"cells": [Membrane(x * 2)], "traces": Traces(x * 3, 7), "none": None})
    assert isinstance(state["cells"][0], Membrane) and state["traces"].steps == 7 and state["none"] is None
    assert not state["cells"][0].v.requires_grad and not state["traces"].slow.requires_grad
    assert state["traces"].slow.tolist() == [3, 3]


@pytest.mark.parametrize("steps", [{"steps": 0, "chunk_steps": 1}, {"steps": 4, "chunk_steps": 0}])
def test_chunks_of_no_steps_are_refused(steps):
    with pytest.raises(ValueError, match="at least 1"):
        truncated(lambda *_: None, **steps)


def test_a_loss_without_a_chunk_is_named():
    with pytest.raises(ValueError, match="gave nothing"):
        last(nn.Linear(1, 1), lambda index, rng: iter(()), samples=1, schedule=Schedule(1, 1, 1.0))


# -- mixed precision ---------------------------------------------------------------------------------------------


def test_products_are_in_bfloat16_and_weights_stay_in_float32():
    module, seen = nn.Linear(3, 3), []

    def chunk(state, steps, index, rng):
        y = module(torch.ones(1, 3))
        seen.append((y.dtype, torch.is_autocast_enabled("cpu")))
        return y.float().square().sum(), None, {}

    def plain(index, rng):
        value, _, shown = chunk(None, None, index, rng)
        return value, shown

    for loss in (plain, truncated(chunk, steps=2, chunk_steps=1)):
        last(module, mixed_precision(loss), samples=1, schedule=Schedule(1, 1, 0.01))
    assert seen == [(torch.bfloat16, True)] * 3
    assert module.weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("kernels", ["auto", "torch"])
def test_a_spiking_network_learns_in_mixed_precision(kernels):
    config, data = digits_ttfs.Config(hidden=24, tmax_ms=40.0), load("digits")
    module = TorchNetwork(ttfs.network(config, 64, 10, seed=0), dt_ms=1.0, surrogate=fast_sigmoid(10.0), kernels=kernels)
    spikes, labels = ttfs.FirstSpikes(data.train, config), torch.as_tensor(data.train.labels)

    def loss(index, rng):
        v = module({"input": spikes.batch(index)}, record={"output": ("v",)}).states["output"]["v"]
        return max_cross_entropy(v * 1e3, labels[index]), {}

    history = last(module, mixed_precision(loss), samples=128, schedule=Schedule(5, 32, 5e-3))
    assert history[-1]["loss"] < 0.75 * history[0]["loss"]
    assert all(p.dtype == torch.float32 for p in module.parameters())
