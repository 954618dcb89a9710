"""Spiking VGG and ResNet: they build, every parameter learns, and their blocks are what the papers draw."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from spiketwin.models.network import stack
from spiketwin.models.stacks import leaky, leaky_integrator, resnet, vgg
from spiketwin.rules.surrogate import fast_sigmoid

STEPS, BATCH = 5, 6
# an input acts in its own step, so that the last step of each layer has a say in the loss
ORDER = ("integrate", "receive", "threshold", "reset")


def build(text, shape=(2, 8, 8), **how):
    torch.manual_seed(0)
    model = dict(neuron=leaky(5.0), readout=leaky_integrator(5.0), dt_ms=1.0, surrogate=fast_sigmoid(2), order=ORDER)
    return stack(text, input_shape=shape, steps=STEPS, **model, **how)


NETWORKS = {
    "VGG-9": (vgg(9, width=1 / 16), (1, 8, 8), 8),
    "MS-ResNet": (resnet((1, 1), (4, 8)), (2, 8, 8), 5),
    "SEW-ResNet": (resnet((1, 1), (4, 8), shortcut="SEW"), (2, 8, 8), 6),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_learns_and_the_loss_falls(name):
    text, shape, layers = NETWORKS[name]
    net = build(text, shape, trainable_parameters=("tau_mem",))
    images, labels = torch.rand(BATCH, *shape), torch.arange(BATCH) % 10
    optimiser, losses = torch.optim.Adam(net.parameters(), lr=0.01), []
    for _ in range(15):
        optimiser.zero_grad()
        found = net(images, steps=STEPS)
        losses.append(nn.functional.cross_entropy(found.output.mean(0), labels))
        losses[-1].backward()
        if len(losses) == 1:
            assert [k for k, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []
            assert len(found.spikes) == layers and all(s.sum() > 10 for s in found.spikes.values())
        optimiser.step()
    assert losses[-1] < 0.7 * losses[0]


def test_a_norm_stands_for_the_bias_in_front_of_it():
    net = build("4C3-BN-4C3-MP2-BN-FC5-BN-FC3")
    assert [k for k, _ in net.named_parameters() if k.endswith("bias")] == ["parts.fc4.module.fc4.bias"]


def watch(module):
    """A list that gets what the module returns."""
    seen = []
    module.register_forward_hook(lambda module, inputs, output: seen.append(output))
    return seen


@pytest.mark.parametrize("shortcut", ["MS", "SEW"])
def test_a_block_adds_its_input(shortcut):
    """With all gammas of the second norm at 0 the residual is silent: MS gives back its currents, SEW its spikes (identity mapping)."""
    x = (torch.rand(STEPS, BATCH, 4, 6, 6) < 0.4).float()
    net = build(f"4{shortcut}3-GAP-FC3", (4, 6, 6))
    block = net.parts[f"{shortcut.lower()}1"]
    seen = watch(block)
    net(x)
    assert (seen[0] - x).abs().max() > 0.5
    nn.init.zeros_(block.residual["norm2"].weight)
    net(x)
    assert torch.equal(seen[1], x)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shortcut", ["ms", "sew"])
def test_what_the_blocks_add_up(shortcut, stride):
    net = build(f"4C3p1-{4 * stride}{shortcut}3s{stride}-GAP-FC3", (4, 8, 8))
    block = net.parts[f"{shortcut}2"]
    seen = watch(block)
    found = net(torch.randn(STEPS, BATCH, 4, 8, 8))
    assert seen[0].shape == (STEPS, BATCH, 4 * stride, 8 // stride, 8 // stride)
    # spikes of the input or the shortcut, and of the residual, are 0, 1 or 2 together; currents are anything
    values = seen[0].unique().tolist()
    assert values == [0, 1, 2] if shortcut == "sew" else len(values) > 1000
    # a shortcut has weights only where the shape changes: 1 × 1, a norm, and neurons where spikes are added
    assert list(block.shortcut) == ["conv1_short", "norm1_short", "neurons1_short"][: (stride - 1) * (3 if shortcut == "sew" else 2)]
    assert sum(name.startswith(f"{shortcut}2.") for name in found.spikes) == 2 + (stride == 2 and shortcut == "sew")
    assert {s.name for s in net.plan().steps} >= {*found.spikes, f"{shortcut}2.conv1", f"{shortcut}2.norm2"}


def test_batch_norm_through_time_tells_steps_apart():
    """An image is the same at every step, but gammas are not: the current differs from step to step."""
    net = build("4C3-BN-FC3").train(False)
    norm = net.parts["norm1"]
    norm.weight.data[:] = torch.arange(1.0, STEPS + 1)[:, None]
    seen = watch(norm)
    net(torch.rand(BATCH, 2, 8, 8), steps=STEPS)
    assert seen[0][0].any()
    torch.testing.assert_close(seen[0][3], 4 * seen[0][0])
