"""STDP in a stack's hidden layers: spike by spike as its rules say, the read-out by its own gradient, whatever the pieces of time."""

from __future__ import annotations

from math import exp

import pytest
import torch

from spiketwin.models import stack
from spiketwin.models.stacks.cells import leaky, leaky_integrator
from spiketwin.rules.local import Bptt, Stdp
from spiketwin.rules.local.layers import stages
from spiketwin.rules.surrogate import fast_sigmoid

DOUBLE = torch.float64
LABELS = torch.tensor([0, 1, 2, 1])
FORWARD, BIAS = "parts.fc1.module.fc1.weight", "parts.fc1.module.fc1.bias"


@pytest.fixture(scope="module")
def task():
    """(network of 6 recurrent hidden neurons, spikes [30, 4, 7])."""
    net = stack(
        "FC6R-FC3", neuron=leaky(), readout=leaky_integrator(), dtype=DOUBLE, seed=0, kernels="torch", dt_ms=1.0, input_shape=(7,),
        surrogate=fast_sigmoid(2.0),
    )  # fmt: skip
    with torch.no_grad():
        next(net.parameters()).mul_(2)
    return net, (torch.rand(30, 4, 7, generator=torch.Generator().manual_seed(1), dtype=DOUBLE) < 0.4).to(DOUBLE)


def test_hidden_synapses_change_as_the_rules_say(task):
    """Written out spike by spike, with traces as sums over earlier spikes of exp(-time since/20 ms)."""
    net, x = task
    size, rho = 0.5, 80e-3  # per ms
    found = Stdp(size=size, rate_hz=80)(net, x, LABELS).gradients
    s = stages(net)[0].run(x)[0].detach()
    weights = dict(net.named_parameters())[FORWARD].detach()
    T, B, N, M = *s.shape, x.shape[2]
    assert s.sum() > 50

    def trace(spikes, t, b, k, last):
        return sum(spikes[q, b, k].item() * exp(-(t - q) / 20) for q in range(last + 1))

    forward, recurrent, bias = torch.zeros(N, M, dtype=DOUBLE), torch.zeros(N, N, dtype=DOUBLE), torch.zeros(N, dtype=DOUBLE)
    for t in range(T):
        bar = torch.tensor([[trace(x, t, b, i, t) for i in range(M)] for b in range(B)], dtype=DOUBLE)
        for b in range(B):
            for j in range(N):
                bias[j] += rho - s[t, b, j]
                if s[t, b, j]:
                    forward[j] += size * (bar[b] - bar.mean(0)) - weights[j]
                for k in range(N):
                    if t and s[t - 1, b, k]:  # arrives now
                        recurrent[j, k] -= trace(s, t, b, j, t - 1) - 2 * rho * 20
                    if s[t, b, j]:
                        # the trace of arrivals, one step late
                        recurrent[j, k] -= trace(s, t - 1, b, k, t - 1) if t else 0.0
    (around,) = [name for name, g in found.items() if g.shape == (N, N)]
    for name, wanted in ((FORWARD, forward), (BIAS, bias), (around, recurrent)):
        torch.testing.assert_close(found[name], -wanted / B, rtol=1e-9, atol=1e-9)


def test_the_readout_alone_sees_labels_and_learns_by_its_gradient(task):
    net, x = task
    lesson, wanted = Stdp()(net, x, LABELS), Bptt()(net, x, LABELS)
    other = Stdp()(net, x, (LABELS + 1) % 3).gradients
    assert torch.equal(lesson.output, wanted.output) and lesson.loss.item() == pytest.approx(wanted.loss.item(), rel=1e-12)
    for name in wanted.gradients:
        if ".fc2." in name:
            torch.testing.assert_close(lesson.gradients[name], wanted.gradients[name], rtol=1e-10, atol=1e-12)
            assert not torch.allclose(other[name], lesson.gradients[name])
        else:
            assert torch.equal(other[name], lesson.gradients[name]) and lesson.gradients[name].any()


def test_pieces_of_time_do_not_matter(task):
    net, x = task
    whole, pieces = Stdp(chunk_steps=30)(net, x, LABELS), Stdp(chunk_steps=7)(net, x, LABELS)
    for name, g in whole.gradients.items():
        torch.testing.assert_close(pieces.gradients[name], g, rtol=1e-10, atol=1e-12)
    assert torch.equal(whole.counts["neurons1"], pieces.counts["neurons1"])


def test_bad_constants_are_named():
    with pytest.raises(ValueError, match="rate_hz = -1 of STDP must be positive"):
        Stdp(rate_hz=-1)
