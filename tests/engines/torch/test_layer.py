"""SpikingLayer is the population of a TorchNetwork and of the engines: equal spikes, equal gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from spiketwin.models.discretisation import SchemeError
from spiketwin.models.engines import get_engine
from spiketwin.models.engines.torch import OverTime, SpikingLayer, TorchNetwork
from spiketwin.models.network import Network, Population, Projection, SpikeSource
from spiketwin.models.neurons import neuron
from spiketwin.models.spec import NeuronSpec, Parameter
from spiketwin.models.spikes import Spikes
from spiketwin.models.units import UnitError
from spiketwin.rules.surrogate import fast_sigmoid, multi_gaussian, slayer

DOUBLE = torch.float64
CUBA = neuron("cuba_lif").with_defaults(tau_mem=10, tau_syn=5, r=1, v_rest=0, v_threshold=1, v_reset=0)
# v <- beta v + x, spike at v > 1, reset by subtraction in the following step, as in snnTorch's Leaky: what is
# subtracted here at once has decayed by beta until then
BETA = 0.5
LEAKY = NeuronSpec(
    "leaky",
    "dv/dt = -v/tau_mem : 1",
    {"tau_mem": Parameter(1 / math.log(1 / BETA), "ms"), "v_threshold": Parameter(1, "1")},
    threshold="v > v_threshold",
    reset=f"v -= v_threshold/{BETA}",
    inputs=("v",),
)
AT_ONCE = ("integrate", "receive", "threshold", "reset")


def some_spikes(T=40, B=3, N=6, share=0.3, seed=0):
    return (np.random.default_rng(seed).random((T, B, N)) < share).astype(float)


@pytest.mark.parametrize("kernels", ["torch", "fused"])
def test_equals_a_network_of_the_same_population(kernels):
    spikes, weight = some_spikes(), np.random.default_rng(1).normal(0.8, 0.8, (4, 6))
    options = dict(dt_ms=1.0, surrogate=fast_sigmoid(10), dtype=DOUBLE, kernels=kernels)
    network = Network([Population("a", CUBA, 4)], [Projection("in", "a", weight, "i_syn", unit="nA")], [SpikeSource("in", 6)])
    reference = TorchNetwork(network, trainable_parameters={"a": ("tau_mem",)}, **options)
    expected = reference({"in": torch.tensor(spikes)}, record={"a": ("v",)})
    linear = nn.Linear(6, 4, bias=False, dtype=DOUBLE)
    linear.weight.data[:] = torch.tensor(weight)
    layer = SpikingLayer(CUBA, (2, 2), unit="nA", trainable_parameters=("tau_mem",), **options)
    found = layer.run(linear(torch.tensor(spikes)).unflatten(-1, (2, 2)), record=("v",))

    assert expected.spikes["a"].sum() > 20
    assert kernels in layer.plan()["cells"].path  # "fused kernel 1", "step by step in torch"
    assert torch.equal(found.spikes.flatten(2), expected.spikes["a"])
    torch.testing.assert_close(found.states["v"].flatten(2), expected.states["a"]["v"], rtol=1e-12, atol=1e-18)
    torch.testing.assert_close(found.final["i_syn"].flatten(1), expected.final["a"]["i_syn"], rtol=1e-12, atol=1e-24)
    price = torch.randn(40, 3, 4, dtype=DOUBLE)
    (found.spikes.flatten(2) * price).sum().backward()
    (expected.spikes["a"] * price).sum().backward()
    torch.testing.assert_close(linear.weight.grad, reference.projections["in_to_a_i_syn"].weight.grad, rtol=1e-12, atol=1e-12)
    (tau,) = layer.parameters()
    torch.testing.assert_close(tau.grad, reference.populations["a"].tau_mem.grad, rtol=1e-12, atol=1e-12)
    assert tau.grad != 0

    # and the engines run the same population
    engine = get_engine("compiled").run(network, {"in": Spikes.from_dense(spikes.astype(int), 1.0)}, dt_ms=1.0)
    np.testing.assert_array_equal(found.spikes.flatten(2).detach(), engine.spikes["a"].dense())


def test_a_constant_input_in_its_three_forms():
    layer = SpikingLayer(LEAKY, (2, 3), dt_ms=1.0, order=AT_ONCE, surrogate=fast_sigmoid(25), dtype=DOUBLE)
    image = torch.rand(4, 2, 3, dtype=DOUBLE)
    results = []
    for form in (lambda x: layer(x[None], steps=20), lambda x: layer(x.expand(20, 4, 2, 3)), lambda x: layer(torch.stack([x] * 20))):
        x = image.clone().requires_grad_()
        spikes = form(x)
        (spikes * torch.linspace(0, 1, spikes.numel(), dtype=DOUBLE).view_as(spikes)).sum().backward()
        results.append((spikes.detach(), x.grad))
    assert results[0][0].sum() > 20 and results[0][1].abs().sum() > 0
    for spikes, gradient in results[1:]:
        assert torch.equal(spikes, results[0][0])
        torch.testing.assert_close(gradient, results[0][1], rtol=1e-12, atol=1e-12)
    assert torch.equal(layer(image.expand(20, 4, 2, 3)), results[0][0])


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        return gradient / (25 * ctx.saved_tensors[0].abs() + 1) ** 2


def by_hand(stages, image, T):
    """The loop that a torch user writes: v <- beta v + stage(input) - (spike of the step before), at every step."""
    v, s, out = [0.0] * len(stages), [torch.zeros(())] * len(stages), []
    for _ in range(T):
        x = image
        for k, stage in enumerate(stages):
            v[k] = BETA * v[k] + stage(x) - s[k].detach()
            x = s[k] = _Spike.apply(v[k] - 1)
        out.append(x)
    return torch.stack(out)


@pytest.mark.parametrize("kernels", ["torch", "fused"])
def test_a_convolutional_network_equals_a_loop_in_plain_torch(kernels):
    torch.manual_seed(2)
    options = dict(dt_ms=1.0, order=AT_ONCE, surrogate=fast_sigmoid(25), dtype=DOUBLE, kernels=kernels)
    stages = [
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.MaxPool2d(2)).double(),
        nn.Sequential(nn.Conv2d(3, 5, 3), nn.MaxPool2d(2)).double(),
        nn.Sequential(nn.Flatten(), nn.Linear(20, 4)).double(),
    ]
    for stage in stages:  # so that all layers fire
        next(p for p in stage.parameters() if p.ndim > 1).data *= 4
    model = nn.ModuleList(
        m for stage, shape in zip(stages, [(3, 6, 6), (5, 2, 2), (4,)]) for m in (OverTime(stage), SpikingLayer(LEAKY, shape, **options))
    )
    image, T = torch.rand(6, 1, 14, 14, dtype=DOUBLE), 12

    def ours():
        x = model[1](model[0](image[None]), steps=T)
        for part in list(model)[2:]:
            x = part(x)
        return x

    found = []
    for run in (ours, lambda: by_hand(stages, image, T)):
        model.zero_grad()
        spikes = run()
        loss = sum(nn.functional.cross_entropy(step, torch.arange(6) % 4) for step in spikes) / T
        loss.backward()
        found.append((spikes.detach(), loss.detach(), *(p.grad.clone() for p in model.parameters())))
    assert 0.02 < found[0][0].mean() < 0.98
    assert torch.equal(found[0][0], found[1][0])
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_it_moves_saves_and_loads_as_a_torch_module():
    layer = SpikingLayer(CUBA, 3, dt_ms=1.0, trainable_parameters=("tau_mem",))
    assert [p.item() for p in layer.parameters()] == [10.0]
    other = SpikingLayer(CUBA.with_defaults(tau_mem=7), 3, dt_ms=1.0, trainable_parameters=("tau_mem",))
    other.load_state_dict(layer.state_dict())
    assert [p.item() for p in other.parameters()] == [10.0]
    assert layer.double()(torch.zeros(2, 1, 3, dtype=DOUBLE)).dtype == DOUBLE


def test_several_receptors_and_a_population_of_ones_own():
    population = Population("mine", neuron("cuba_lif_2"), 6)
    layer = SpikingLayer(population, (2, 3), dt_ms=0.5, unit="nA")
    spikes = layer({"i_exc": torch.full((30, 2, 2, 3), 0.5), "i_inh": torch.zeros(1, 2, 2, 3)})
    assert spikes.shape == (30, 2, 2, 3) and spikes.sum() > 10
    assert layer({"i_exc": torch.full((30, 2, 2, 3), 0.5), "i_inh": torch.full((1, 2, 2, 3), -5.0)}).sum() == 0
    with pytest.raises(ValueError, match="receptors i_exc, i_inh; name them"):
        layer(torch.zeros(3, 1, 2, 3))


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: SpikingLayer(CUBA, dt_ms=1.0), ValueError, "the layer of 'cuba_lif' has no shape"),
        (lambda: SpikingLayer(Population("a", CUBA, 5), (2, 3), dt_ms=1.0), ValueError, r"'a' has 5 neurons, but the shape \(2, 3\) has 6"),
        (lambda: SpikingLayer(CUBA, 3, dt_ms=1.0, unit="mV"), UnitError, "increments in mV do not fit receptor 'i_syn'"),
        (lambda: SpikingLayer(CUBA, 3, dt_ms=1.0)(torch.zeros(2, 1, 4)), ValueError, r"'i_syn' has shape \(2, 1, 4\)"),
        (lambda: SpikingLayer(CUBA, 3, dt_ms=1.0)({"i_sin": torch.zeros(2, 1, 3)}), ValueError, "Did you mean 'i_syn'"),
        (
            lambda: SpikingLayer(CUBA, 3, dt_ms=1.0)(torch.zeros(2, 1, 3, dtype=DOUBLE)),
            TypeError,
            "torch.float64, the module torch.float32",
        ),
        (
            lambda: SpikingLayer(CUBA, 3, dt_ms=1.0)(torch.zeros(2, 1, 3), steps=5),
            ValueError,
            "has 2 steps, but another input or `steps` says 5",
        ),
        (lambda: SpikingLayer(CUBA, 3, dt_ms=1.0)(torch.zeros(0, 1, 3)), ValueError, "no steps"),
        (lambda: SpikingLayer(CUBA, 3, dt_ms=1.0, scheme="exct"), SchemeError, "Did you mean 'exact'"),
        (lambda: SpikingLayer(CUBA, 3, dt_ms=1.0, scheme="heun_maruyama"), SchemeError, "unknown scheme"),
        *(
            (lambda s=s: SpikingLayer(CUBA, 3, dt_ms=1.0, surrogate=s), ValueError, r"makes no spikes .* give what a call makes")
            for s in ("arctan", fast_sigmoid, slayer, multi_gaussian, lambda x, spiked: None)
        ),
    ],
)
def test_errors_name_the_thing(make, error, message):
    with pytest.raises(error, match=message):
        make()
