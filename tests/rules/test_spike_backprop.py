"""Lee's rule on numbers worked by hand, and against finite differences of a network whose counts follow their input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from spiketwin.models.engines.torch.layer import SpikingLayer
from spiketwin.models.engines.torch.over_time import OverTime
from spiketwin.models.network import Population
from spiketwin.models.neurons import cuba_lif
from spiketwin.models.spec import NeuronSpec, Parameter
from spiketwin.rules.spike_backprop import SpikeBackprop, half_square_error, if_slope, lif_slope, mean_membrane, with_spike_backprop

DOUBLE = torch.float64
ORDER = ("integrate", "receive", "threshold", "reset")  # v decays, the input is added, and the neuron may fire
# fires as soon as v meets the threshold, and keeps what lies above: v stays net - a V_th, so a = floor(net/V_th) for net that grows
KEEPS = NeuronSpec(
    name="keeps",
    equations="dv/dt = 0/second : 1",
    parameters={"v_threshold": Parameter(1, "1", "(0, inf)")},
    threshold="v >= v_threshold",
    reset="v = v - v_threshold",
    inputs=("v",),
    source="Lee et al. 2020 with a reset by subtraction",
)
LEAKY = NeuronSpec(
    name="leaky",
    equations="dv/dt = -v/tau_mem : volt",
    parameters={"tau_mem": Parameter(2, "ms", "(0, inf)"), "v_threshold": Parameter(1, "mV"), "v_reset": Parameter(0, "mV")},
    threshold="v > v_threshold",
    reset="v = v_reset",
    inputs=("v",),
    source="Lee et al. 2020, section 2.1",
)


def counting(shape, threshold=1.0):
    neurons = Population("cells", KEEPS.with_defaults(v_threshold=threshold), math.prod(np.atleast_1d(shape)))
    return SpikeBackprop(SpikingLayer(neurons, shape, dt_ms=1.0, order=ORDER, dtype=DOUBLE))


def leaky(shape):
    return SpikeBackprop(SpikingLayer(LEAKY, shape, dt_ms=1.0, unit="mV", order=ORDER, dtype=DOUBLE))


def train(steps, T=4):
    spikes = torch.zeros(T, 1, 1, dtype=DOUBLE)
    spikes[steps] = 1
    return spikes


# -- slopes ----------------------------------------------------------------------------------------------------


def test_slopes_by_hand():
    # V_th = 4: 1/4 for one spike or three, 0 for none
    spikes = torch.cat([train([1]), train([0, 1, 3]), train([])], dim=2)
    assert if_slope(spikes, 4.0).tolist() == [[0.25, 0.25, 0.0]]
    # tau = 2 steps, spikes in steps 1 and 3 of 0 … 3: f = e^-1 + 1, f' = -f/2, a = 2
    by_hand = 0.25 * (1 - (math.exp(-1) + 1) / 2 / 2)
    assert lif_slope(train([1, 3]), 4.0, tau_mem_ms=1.0, dt_ms=0.5).item() == pytest.approx(by_hand)
    # one spike, in the last step: f = 1, the largest correction there is: 1 - 1/tau
    assert lif_slope(train([3]), 4.0, tau_mem_ms=2.0, dt_ms=1.0).item() == pytest.approx(0.25 * 0.5)
    assert lif_slope(train([]), 4.0, tau_mem_ms=2.0, dt_ms=1.0).item() == 0


def test_without_leak_both_are_the_same():
    spikes = (torch.rand(20, 3, 5, dtype=DOUBLE, generator=torch.Generator().manual_seed(0)) < 0.2).to(DOUBLE)
    assert torch.allclose(lif_slope(spikes, 2.0, tau_mem_ms=1e9, dt_ms=1.0), if_slope(spikes, 2.0), rtol=1e-8)
    corrected = lif_slope(spikes, 2.0, tau_mem_ms=5.0, dt_ms=1.0)
    assert (corrected < if_slope(spikes, 2.0))[spikes.sum(0) > 0].all() and (corrected >= 0).all()


# -- one layer and a network by hand ---------------------------------------------------------------------------


def test_spikes_and_errors_of_a_leaky_layer_by_hand():
    # β = e^-1/2 = .607. v: .9 | .546 + .6 = 1.146 spike | .3 | .182 + .9 = 1.082 spike | 0
    increments = torch.tensor([0.9, 0.6, 0.3, 0.9, 0.0], dtype=DOUBLE)[:, None, None].requires_grad_()
    layer = leaky(1)
    spikes = layer(increments)
    assert spikes.flatten().tolist() == [0, 1, 0, 1, 0]
    errors = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0], dtype=DOUBLE)
    (spikes.flatten() * errors).sum().backward()
    # f(T) = e^-3/2 + e^-1/2 in the last step, 4; slope 1 - f/2/2 for each step's error
    slope = 1 - (math.exp(-1.5) + math.exp(-0.5)) / 4
    assert increments.grad.flatten().tolist() == pytest.approx((slope * errors).tolist())


def test_weight_gradients_of_two_layers_by_hand():
    # 2 inputs, 2 hidden, 2 read-outs, V_th = 2, T = 4; input 0 fires in steps 0, 1 and 2, input 1 in steps 1 and 3: x = (3, 2)
    x = torch.tensor([[1.0, 0], [1, 1], [1, 0], [0, 1]], dtype=DOUBLE)[:, None]
    first, second = nn.Linear(2, 2, bias=False, dtype=DOUBLE), nn.Linear(2, 2, bias=False, dtype=DOUBLE)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 0.5], [0.25, -1.0]]))
        second.weight.copy_(torch.tensor([[2.0, 1.0], [-4.0, 1.0]]))
    hidden = counting(2, threshold=2.0)(OverTime(first)(x))
    # hidden 0: v = 1, 2.5 spike .5, 1.5, 2 spike: a = 2 = net/V_th; hidden 1 never fires
    assert hidden[:, 0].tolist() == [[0, 0], [1, 0], [0, 0], [1, 0]]
    output = mean_membrane(OverTime(second)(hidden))
    assert output.tolist() == [[2 * 2 / 4, -4 * 2 / 4]]
    loss = half_square_error(output, torch.tensor([1]))
    # e = (1 - 0, -2 - 1)
    assert loss.item() == pytest.approx((1 + 9) / 2)
    loss.backward()
    # δ_out = e/T = (1/4, -3/4), ∂E/∂W2 = δ_out aᵀ with a = (2, 0)
    assert second.weight.grad.tolist() == [[0.5, 0.0], [-1.5, 0.0]]
    # δ_hidden = (2 · 1/4 + 4 · 3/4)/2 = 1.75, and 0 for the silent one; ∂E/∂W1 = δ xᵀ
    assert first.weight.grad.tolist() == [[1.75 * 3, 1.75 * 2], [0.0, 0.0]]


# -- finite differences of the smoothed model ------------------------------------------------------------------


def differences(function, parameter, step=1e-6):
    """The gradient of function() with respect to a parameter, number by number."""
    gradient = torch.zeros_like(parameter)
    with torch.no_grad():
        for k in range(parameter.numel()):
            flat, ends = parameter.view(-1), []
            kept = flat[k].item()
            for value in (kept + step, kept - step):
                flat[k] = value
                ends.append(float(function()))
            flat[k] = kept
            gradient.view(-1)[k] = (ends[0] - ends[1]) / (2 * step)
    return gradient


def test_the_count_of_integrate_and_fire_neurons_has_the_slope_of_the_rule():
    # a = floor((u + net)/V_th) is a staircase; averaged over where it begins, u = 0 … V_th, it is the line net/V_th
    begins = 2.5 * torch.arange(4000, dtype=DOUBLE) / 4000

    def spikes(drive):
        increments = torch.full((96, 1, 4000), drive, dtype=DOUBLE)
        increments[0] += begins
        return counting(4000, 2.5)(increments)

    low, high = (spikes(drive).sum(0).mean().item() for drive in (0.3, 0.31))
    assert low == pytest.approx(96 * 0.3 / 2.5, abs=1 / 4000)
    difference = (high - low) / (96 * 0.01)
    assert difference == pytest.approx(if_slope(spikes(0.3), 2.5).mean().item(), abs=2 / 4000 / 0.96) == pytest.approx(1 / 2.5, abs=1e-3)


def test_where_nothing_is_left_over_the_rule_is_the_gradient_of_the_smooth_network():
    # weights and inputs in quarters so that every net is a whole multiple of V_th at the end: a = net/V_th, no smoothing needed
    x = torch.ones(8, 1, 2, dtype=DOUBLE)
    layers = [
        nn.Linear(2, 3, bias=False, dtype=DOUBLE),
        nn.Linear(3, 2, bias=False, dtype=DOUBLE),
        nn.Linear(2, 2, bias=False, dtype=DOUBLE),
    ]
    weights = ([[0.25, 0.25], [0.5, 0.25], [0.75, 0.25]], [[0.5, 0.5, -0.25], [1.0, -0.5, 0.125]], [[0.3, -0.7], [0.9, 0.2]])
    with torch.no_grad():
        for layer, w in zip(layers, weights):
            layer.weight.copy_(torch.tensor(w))
    label = torch.tensor([1])

    def smooth():
        a = x.sum(0)
        for layer in layers[:-1]:
            a = torch.relu(layer(a))
        return half_square_error(layers[-1](a) / 8, label)

    signal = x
    for layer in layers[:-1]:
        signal = counting(layer.out_features)(OverTime(layer)(signal))
    loss = half_square_error(mean_membrane(OverTime(layers[-1])(signal)), label)
    assert loss.item() == pytest.approx(smooth().item(), rel=1e-12)
    loss.backward()
    for layer in layers:
        assert layer.weight.grad.abs().min() > 0
        assert torch.allclose(layer.weight.grad, differences(smooth, layer.weight), rtol=1e-6, atol=1e-8)


def test_a_convolutional_leaky_network_against_its_tangent():
    # smoothed: a neuron's count leaves that of the forward pass by slope · (net - net then), the slope by hand from its spikes
    torch.manual_seed(0)
    conv, linear, read_out = (
        make(*sizes, bias=False, dtype=DOUBLE) for make, sizes in [(nn.Conv2d, (1, 2, 3)), (nn.Linear, (8, 4)), (nn.Linear, (4, 2))]
    )
    with torch.no_grad():
        conv.weight.mul_(2)
        linear.weight.abs_().mul_(4)
    T, label = 12, torch.tensor([0, 1])
    x = (torch.rand(T, 2, 1, 6, 6, dtype=DOUBLE) < 0.5).to(DOUBLE)
    pool, first, second = nn.AvgPool2d(2), leaky((2, 4, 4)), leaky(4)
    one = first(OverTime(conv)(x))
    two = second(OverTime(linear)(OverTime(pool)(one).flatten(2)))
    loss = half_square_error(mean_membrane(OverTime(read_out)(two)), label)
    loss.backward()
    assert one.sum() > 20 and two.sum() > 5 and (one.sum(0) == 0).any(), "neurons must fire, and some be silent"

    def slopes(spikes):
        ages = torch.arange(T - 1, -1, -1, dtype=DOUBLE).reshape(T, *[1] * (spikes.ndim - 1))
        a = spikes.sum(0)
        return torch.where(a > 0, 1 - (spikes * torch.exp(-ages / 2)).sum(0) / 2 / a.clamp(min=1), 0)

    slope, count = [slopes(s.detach()) for s in (one, two)], [s.detach().sum(0) for s in (one, two)]
    net = [conv(x.sum(0)).detach(), linear(pool(count[0]).flatten(1)).detach()]

    def smooth():
        a = count[0] + slope[0] * (conv(x.sum(0)) - net[0])
        a = count[1] + slope[1] * (linear(pool(a).flatten(1)) - net[1])
        return half_square_error(read_out(a) / T, label)

    assert loss.item() == pytest.approx(smooth().item(), rel=1e-12)
    for layer in (conv, linear, read_out):
        assert layer.weight.grad.abs().max() > 1e-3
        assert torch.allclose(layer.weight.grad, differences(smooth, layer.weight), rtol=1e-6, atol=1e-9)


# -- learning, and use in a model ------------------------------------------------------------------------------


def test_a_network_learns_digits():
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = torch.tensor(digits.images.reshape(-1, 64) / 16, dtype=torch.float32), torch.tensor(digits.target)
    torch.manual_seed(0)
    one, two = OverTime(nn.Linear(64, 40, bias=False)), OverTime(nn.Linear(40, 10, bias=False))
    # in torch: compiling a kernel would take longer than to train
    hidden = SpikeBackprop(SpikingLayer(LEAKY.with_defaults(tau_mem=20), 40, dt_ms=1.0, unit="mV", order=ORDER, kernels="torch"))
    optimiser = torch.optim.Adam([*one.parameters(), *two.parameters()], lr=1e-2)

    def outputs(index):
        return mean_membrane(two(hidden(one(images[None, index]), steps=20)))

    for _ in range(2):
        for index in torch.randperm(1200).split(50):
            optimiser.zero_grad()
            half_square_error(outputs(index), labels[index]).backward()
            optimiser.step()
    with torch.no_grad():
        correct = (outputs(torch.arange(1200, len(labels))).argmax(-1) == labels[1200:]).float().mean()
    assert correct > 0.75  # chance is .1


def test_parameters_per_neuron_and_shape():
    threshold = [[0.5, 1.0], [2.0, 100.0]]
    cells = Population("cells", KEEPS, 4, parameters={"v_threshold": np.ravel(threshold)})
    layer = SpikeBackprop(SpikingLayer(cells, (2, 2), dt_ms=1.0, order=ORDER, dtype=DOUBLE))
    increments = torch.ones(1, 1, 2, 2, dtype=DOUBLE, requires_grad=True)
    spikes = layer(increments, steps=6)
    assert spikes.shape == (6, 1, 2, 2) and spikes[:, 0, 1].sum(0).tolist() == [3, 0]
    spikes.sum().backward()
    # six steps share the one increment; 1/V_th each, 0 where it never fires
    assert increments.grad[0, 0].tolist() == [[12, 6], [3, 0]]


def test_bad_input():
    with pytest.raises(ValueError, match="'cuba_lif' has the receptors i_syn; the rule holds where weights add to v"):
        SpikeBackprop(SpikingLayer(cuba_lif, 3, dt_ms=1.0))
    with pytest.raises(ValueError, match="above reset must be positive"):
        if_slope(train([1]), 0.0)
    with pytest.raises(ValueError, match=r"give \[T, B, \*shape\]"):
        if_slope(torch.ones(4, 1), 1.0)
    with pytest.raises(ValueError, match="tau_mem = 0.5 ms is shorter than dt = 1 ms"):
        lif_slope(train([1]), 1.0, tau_mem_ms=0.5, dt_ms=1.0)
    with pytest.raises(ValueError, match="dt_ms = 0 must be positive"):
        lif_slope(train([1]), 1.0, tau_mem_ms=5.0, dt_ms=0)
    with pytest.raises(ValueError, match="at least one step"):
        mean_membrane(torch.zeros(0, 4, 3))
    with pytest.raises(ValueError, match=r"labels int \[B\]; got \(4, 3\)"):
        half_square_error(torch.zeros(4, 3), torch.zeros(3, dtype=torch.long))


def test_a_stack_learns_by_the_rule():
    """The gradients of a stack are those of its layers in a row; its state dict does not change."""
    from spiketwin.models import stack
    from spiketwin.models.stacks import leaky as leaky_model
    from spiketwin.models.stacks import leaky_integrator

    torch.manual_seed(0)
    options = dict(neuron=leaky_model(6.0), readout=leaky_integrator(50.0), order=ORDER, dtype=DOUBLE)
    net = stack("3C3-AP2-FC6-FC3", dt_ms=1.0, input_shape=(1, 8, 8), **options)
    names = list(net.state_dict())
    image = torch.rand(2, 1, 8, 8, dtype=DOUBLE)
    by_rule = with_spike_backprop(net)
    assert by_rule is net and list(net.state_dict()) == names
    assert [type(layer) for layer in net.neuron_layers().values()] == [SpikeBackprop, SpikeBackprop, SpikingLayer]
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(3)
    run = net(image, steps=12)
    run.output[-1].square().sum().backward()
    parts, found = list(net.parts.values()), [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    x = parts[0](image[None])
    for part in parts[1:-1]:
        x = part(x, 12) if isinstance(part, SpikeBackprop) else part(x)
    assert x.shape == (12, 2, 3) and all(s.sum() > 5 for s in run.spikes.values())
    # the read-out by hand: every increment decays until the end of the last step
    decay = torch.exp(-torch.arange(11, -1, -1, dtype=DOUBLE) / 50)
    (decay[:, None, None] * x).sum(0).square().sum().backward()
    for a, p in zip(found, net.parameters()):
        assert a.abs().max() > 1e-3
        torch.testing.assert_close(a, p.grad, rtol=1e-9, atol=1e-12)
