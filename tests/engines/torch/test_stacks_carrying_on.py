"""Stacks in pieces: each part goes on from where it was, and truncated backpropagation trains them."""

from __future__ import annotations

from itertools import count

import pytest
import torch

from spiketwin.experiments.training import Constant, Schedule, detached, fit, truncated
from spiketwin.models.engines.torch import TorchNetwork
from spiketwin.models.network import Network, Population, Projection, SpikeSource, stack
from spiketwin.models.neurons import neuron
from spiketwin.models.stacks import leaky, leaky_integrator
from spiketwin.rules.surrogate import fast_sigmoid

DOUBLE, T, B = torch.float64, 24, 3
# delays, recurrence, dropout, batch norm through time, residual blocks of both kinds, the LSTM
TEXTS = [("FC6d5-FC5R-D0.3-FC4d3", (4,)), ("3C3-BN-MP2-4MS3s2-FC5-LSTM4-FC3", (1, 8, 8)), ("3C3p1-3SEW3-FC9", (1, 6, 6))]


def made(text: str, shape, **how):
    torch.manual_seed(0)
    options = {"neuron": leaky(5.0), "dt_ms": 1.0, "surrogate": fast_sigmoid(5), "dtype": DOUBLE, "kernels": "torch", "steps": T} | how
    net = stack(text, input_shape=shape, **options)
    with torch.no_grad():
        for name, p in net.named_parameters():
            if name.endswith("weight") and p.ndim > 1:
                p *= 5
    return net


def pieces(net, x, cuts, cut=detached):
    state, found = None, []
    for a, b in zip(cuts, cuts[1:]):
        found.append(net(x[a:b], start=state))
        state = cut(found[-1].state)
    return found


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("text, shape", TEXTS)
def test_pieces_equal_the_whole(text, shape, training):
    net = made(text, shape).train(training)
    x = (torch.rand(T, B, *shape, generator=torch.Generator().manual_seed(1)) < 0.4).to(DOUBLE)
    torch.manual_seed(3)
    whole = net(x)
    assert all(fired.sum() > 0 for fired in whole.spikes.values())
    torch.manual_seed(3)
    parts = pieces(net, x, [0, 1, 2, 9, 10, T])
    for name, fired in whole.spikes.items():
        assert torch.equal(torch.cat([run.spikes[name] for run in parts]), fired), name
        # sums of a matrix product over few rows may be rounded otherwise than over many
        for s, value in whole.final.get(name, {}).items():
            torch.testing.assert_close(parts[-1].final[name][s], value, rtol=1e-12, atol=1e-13)
    assert parts[-1].state.step == T


def test_an_image_is_shown_in_pieces():
    net, image = made("3C3-MP2-FC4", (1, 8, 8), readout=leaky_integrator(10.0)), torch.rand(B, 1, 8, 8, dtype=DOUBLE)
    whole, state, parts = net(image, steps=T).output, None, []
    for steps in (5, 1, T - 6):
        run = net(image, steps=steps, start=state)
        state = run.state
        parts.append(run.output)
    assert torch.equal(torch.cat(parts), whole) and whole.abs().max() > 0.01


def test_the_gradient_of_a_piece_is_autograds():
    """Pieces whose states pass gradients have that of the whole, and cut ones that of the whole with the same states held fixed."""
    x = (torch.rand(T, B, 4, generator=torch.Generator().manual_seed(1)) < 0.5).to(DOUBLE)
    mix = torch.linspace(1, 2, T * B * 4, dtype=DOUBLE).view(T, B, 4)

    def gradient(cuts, cut):
        net = made("FC6d5-FC5R-FC4d3", (4,))
        output = torch.cat([run.output for run in pieces(net, x, cuts, cut)])
        return torch.autograd.grad((output * mix).sum(), list(net.parameters()))

    whole = gradient([0, T], detached)
    for wanted, found in zip(whole, gradient([0, 7, 9, T], lambda state: state), strict=True):
        assert wanted.any()
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    assert not all(map(torch.allclose, gradient([0, 7, 9, T], detached), whole))


def trained(module, run, chunk_steps: int):
    """Weights after an epoch of truncated backpropagation through time."""

    def chunk(state, steps, index, rng):
        output, state = run(module, state, steps, index)
        return (output - 0.3).square().sum(), state, {"mean": output.mean().item()}

    loss = truncated(chunk, steps=T, chunk_steps=chunk_steps)
    fit(module, loss, count().__next__, samples=6, schedule=Schedule(1, B, 0.05, Constant()), seed=0)
    return [p.detach().clone() for p in module.parameters()]


def of_stack(chunk_steps: int):
    x = (torch.rand(T, 6, 4, generator=torch.Generator().manual_seed(1)) < 0.5).to(DOUBLE)

    def run(net, state, steps, index):
        done = net(x[steps][:, index], start=state)
        return done.output, done.state

    return trained(made("FC6d5-FC5R-FC2", (4,), readout=leaky_integrator(10.0)), run, chunk_steps)


def of_network(chunk_steps: int):
    x = (torch.rand(T, 6, 4, generator=torch.Generator().manual_seed(1)) < 0.5).to(DOUBLE)
    weights = torch.rand(5, 4, generator=torch.Generator().manual_seed(2)).numpy()
    network = Network(
        [Population("a", neuron("cuba_lif"), 5, {"tau_ref": 3.0})],
        [Projection("in", "a", 3 * weights, "i_syn", "nA", delay_ms=4.0)],
        [SpikeSource("in", 4)],
    )

    def run(module, state, steps, index):
        done = module({"in": x[steps][:, index]}, start=state)
        return done.spikes["a"], done.state

    module = TorchNetwork(network, dt_ms=1.0, surrogate=fast_sigmoid(5), dtype=DOUBLE, kernels="torch")
    return trained(module, run, chunk_steps)


@pytest.mark.parametrize("weights", [of_stack, of_network])
def test_truncated_backpropagation_trains_stacks_and_networks(weights):
    whole, again, cut = weights(T), weights(100), weights(5)
    assert all(map(torch.equal, whole, again))
    assert not all(map(torch.equal, whole, cut))
    assert all(torch.isfinite(w).all() for w in cut)
