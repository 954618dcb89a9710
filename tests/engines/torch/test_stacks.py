"""Networks built from a line of text equal those built by hand, and their parts do what the line says."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from spiketwin.models.discretisation import SchemeError
from spiketwin.models.engines import get_engine
from spiketwin.models.engines.torch import OverTime, SpikingLayer, TorchNetwork
from spiketwin.models.engines.torch.stacks import DelayedLinear, HeldDropout, NormThroughTime, RecurrentLayer
from spiketwin.models.network import Convolution, Network, Population, Projection, SpikeSource, stack
from spiketwin.models.neurons import neuron
from spiketwin.models.spec import SpecError
from spiketwin.models.spikes import Spikes
from spiketwin.models.stacks import StackError, each, gamma, leaky, leaky_integrator, tau_from_beta
from spiketwin.rules.surrogate import fast_sigmoid
from train_convolutional import BETA, ORDER, SURROGATE, Size, ours

DOUBLE = torch.float64
TUTORIAL = "12C5-MP2-64C5-MP2-1024FC10"


def small(text="FC5-FC3", shape=(4,), **how):
    """A stack whose layers all fire. Step by step in torch unless kernels="auto": each kind of kernel costs seconds to compile once."""
    torch.manual_seed(0)
    made = stack(
        text,
        input_shape=shape,
        **{"neuron": leaky(5.0), "dt_ms": 1.0, "surrogate": fast_sigmoid(5), "dtype": DOUBLE, "kernels": "torch", **how},
    )
    with torch.no_grad():
        for name, p in made.named_parameters():
            if name.endswith("weight") and p.ndim > 1:
                p *= 3
    return made


def spikes(T=20, B=3, shape=(4,), share=0.4, seed=1):
    return (torch.rand(T, B, *shape, generator=torch.Generator().manual_seed(seed)) < share).to(DOUBLE)


def test_the_tutorials_network_equals_the_one_built_by_hand():
    size = Size(batch=4, steps=12)
    forward, parameters = ours(size)
    with torch.no_grad():
        [p.mul_(4) for p in parameters[::2]]
    text = stack(
        TUTORIAL, neuron=leaky(tau_from_beta(BETA, 1.0)), dt_ms=1.0, surrogate=fast_sigmoid(SURROGATE), input_shape=(1, 28, 28),
        order=ORDER, detach_reset=False,
    )  # fmt: skip
    assert [p.shape for p in text.parameters()] == [p.shape for p in parameters]
    with torch.no_grad():
        for mine, theirs in zip(text.parameters(), parameters):
            mine.copy_(theirs)
    images = torch.rand(size.batch, 1, 28, 28)
    output, hidden = forward(images)
    found = text(images, steps=size.steps)
    assert all(h.sum() > 100 for h in (*hidden, output))
    assert torch.equal(found.output, output)
    assert list(found.spikes) == ["neurons1", "neurons2", "neurons3"]
    for mine, theirs in zip(found.spikes.values(), (*hidden, output)):
        assert torch.equal(mine, theirs)
    labels = torch.arange(size.batch)
    for result in (output, found.output):
        nn.functional.cross_entropy(result.sum(0), labels).backward()
    for mine, theirs in zip(text.parameters(), parameters):
        assert theirs.grad.any()
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=0, atol=0)


def test_an_image_is_convolved_once():
    net, calls = small("3C3-MP2-FC4", (1, 8, 8)), []
    net.parts["conv1"].module.conv1.register_forward_hook(lambda *_: calls.append(1))
    image = torch.rand(2, 1, 8, 8, dtype=DOUBLE)
    once = net(image, steps=15)
    assert len(calls) == 1
    assert once.output.shape == (15, 2, 4) and once.spikes["neurons1"].sum() > 10
    for x in (image[None], image.expand(15, 2, 1, 8, 8)):
        assert torch.equal(net(x, steps=15).output, once.output)
    assert len(calls) == 3
    assert torch.equal(net(torch.stack([image] * 15)).output, once.output)


def test_a_readout_without_threshold_gives_its_membrane_after_each_step():
    net = small("FC5-FC3", readout=leaky_integrator(10.0))
    x = spikes()
    found = net(x, record={"neurons1": ("v",), "neurons2": ("v",)})
    assert list(found.spikes) == ["neurons1"] and found.spikes["neurons1"].sum() > 20
    # v <- exp(-1/10) v + W s + b, by hand
    linear, v, expected = net.parts["fc2"].module.fc2, torch.zeros(3, 3, dtype=DOUBLE), []
    for s in found.spikes["neurons1"]:
        v = np.exp(-0.1) * v + linear(s)
        expected.append(v)
    torch.testing.assert_close(found.output, torch.stack(expected), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.final["neurons2"]["v"], v, rtol=1e-12, atol=1e-12)
    # states are those at the start of a step
    torch.testing.assert_close(found.states["neurons2"]["v"][1:], found.output[:-1], rtol=0, atol=0)
    assert found.states["neurons1"]["v"].shape == (20, 3, 5)


def test_models_with_units_take_weights_in_natural_ones():
    net = small("FC6-FC2", neuron="rnn_lif", readout="leaky_readout")
    assert [layer.unit for layer in net.neuron_layers().values()] == ["nA", "nA"]
    found = net(spikes(share=0.8))
    assert 0.02 < found.spikes["neurons1"].mean() < 0.9
    assert 1e-5 < found.output.abs().max() < 1  # volts
    assert small("FC6-FC2", neuron="rnn_lif", unit="uA").neuron_layers()["neurons1"].unit == "uA"


def test_recurrent_neurons_are_a_projection_of_the_population_onto_itself():
    net = small("FC6R")
    layer = net.neuron_layers()["neurons1"]
    assert layer.weight.shape == (6, 6) and "recurrent" in repr(net.plan())
    x = spikes()
    linear = net.parts["fc1"].module.fc1
    with torch.no_grad():
        linear.bias.zero_()
    found = net(x).output
    network = Network(
        [Population("a", leaky(5.0), 6)],
        [
            Projection("in", "a", linear.weight.detach().numpy(), "v", name="w"),
            Projection("a", "a", layer.weight.detach().numpy(), "v", name="u"),
        ],
        [SpikeSource("in", 4)],
    )
    reference = TorchNetwork(network, dt_ms=1.0, surrogate=fast_sigmoid(5), dtype=DOUBLE, kernels="torch")
    expected = reference({"in": x}).spikes["a"]
    assert expected.sum() > 20
    assert torch.equal(found, expected)
    price = torch.randn_like(found)
    (found * price).sum().backward()
    (expected * price).sum().backward()
    torch.testing.assert_close(layer.weight.grad, reference.projections["u"].weight.grad, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(linear.weight.grad, reference.projections["w"].weight.grad, rtol=1e-10, atol=1e-12)
    assert layer.weight.grad.any()


def cells(net, name):
    return net.neuron_layers()[name].network.populations["cells"]


def test_parameters_for_all_layers_for_one_and_for_each_neuron():
    values = {"tau_mem": {"neurons1": gamma(20.0), "neurons2": "8 ms"}, "v_threshold": each(0.7)}
    net = small("FC50-FC3", parameters=values, trainable_parameters=("tau_mem", "v_threshold"), seed=3)
    first, second = cells(net, "neurons1"), cells(net, "neurons2")
    np.testing.assert_allclose(first.tau_mem.detach(), np.random.default_rng(3).gamma(3, 20 / 3, 50))
    assert first.tau_mem.shape == (50,) and second.tau_mem.item() == pytest.approx(8.0)
    assert torch.equal(second.v_threshold.detach(), torch.full((3,), 0.7, dtype=DOUBLE))
    (net(spikes()).output * torch.randn(20, 3, 3, dtype=DOUBLE)).sum().backward()
    for name, p in net.named_parameters():
        assert p.grad is not None and p.grad.any(), name
    # what the readout has no use for stays out of it
    net = small("FC5-FC3", readout=leaky_integrator(), parameters={"v_threshold": 0.5}, trainable_parameters=("v_threshold",))
    assert cells(net, "neurons1").v_threshold.item() == 0.5 and not hasattr(cells(net, "neurons2"), "v_threshold")


def test_a_seed_gives_the_same_weights_and_leaves_torchs_generator_alone():
    def weights(**how):
        how |= {"neuron": leaky(), "dt_ms": 1.0, "input_shape": (1, 6, 6), "steps": 9, "parameters": {"tau_mem": gamma(20.0)}}
        net = stack("3C3-BN-FC5d4-FC6R-LSTM3-FC2", **how)
        return torch.cat([p.detach().flatten() for p in net.state_dict().values()])

    before = torch.get_rng_state()
    first, again, other = weights(seed=1), weights(seed=1), weights(seed=2)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
    # without one torch's generator rules, as everywhere in torch
    torch.manual_seed(7)
    third, fourth = weights(), weights()
    torch.manual_seed(7)
    assert torch.equal(weights(), third) and not torch.equal(third, fourth)


def test_learnable_time_constants_are_learned():
    """A student whose neurons leak too fast finds the time constant of its teacher from the teacher's membrane."""
    teacher = small("FC1", (1,), neuron=leaky_integrator(20.0))
    student = small("FC1", (1,), neuron=leaky_integrator(5.0), trainable_parameters=("tau_mem",))
    x = spikes(60, 4, (1,))
    tau = cells(student, "neurons1").tau_mem
    optimiser = torch.optim.Adam([tau], lr=1.5)
    target = teacher(x).output.detach()
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.mse_loss(student(x).output, target).backward()
        optimiser.step()
    assert tau.item() == pytest.approx(20.0, rel=0.05)


def test_it_saves_loads_and_moves_as_a_torch_module():
    how = dict(steps=20, parameters={"tau_mem": gamma(10.0)}, trainable_parameters=("tau_mem",))
    text = "FC6-BN-D.2-FC5d3-FC4R"
    a, b = small(text, **how), small(text, **how, seed=5)
    with torch.no_grad():
        for p in a.parameters():
            p += 0.1
    a(spikes())
    a.anneal_(0.5)
    assert not torch.equal(a.eval()(spikes()).output, b.eval()(spikes()).output)
    b.load_state_dict(a.state_dict())
    assert torch.equal(a(spikes()).output, b(spikes()).output) and a(spikes()).output.sum() > 5
    assert torch.equal(copy.deepcopy(a)(spikes()).output, a(spikes()).output)
    # events as whole numbers or bool are taken in the module's precision
    assert a.float()(spikes().bool()).output.dtype == torch.float32


def test_mixed_precision_is_torchs_autocast():
    net = small("3C3-BN-MP2-FC6d3-FC5R-LSTM4-FC3", (1, 8, 8), dtype=torch.float32, steps=20, readout=leaky_integrator())
    x = spikes(shape=(1, 8, 8)).float()
    exact = net(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = net(x)
    assert found.output.dtype == torch.float32 and not torch.equal(found.output, exact.output)
    # 8 bits: few spikes, near threshold, flip
    first, second = exact.spikes["neurons1"], found.spikes["neurons1"]
    assert first.sum() > 20 and (first != second).float().mean() < 0.05 * first.mean()
    found.output.square().sum().backward()
    for name, p in net.named_parameters():
        assert p.grad.dtype == torch.float32 and torch.isfinite(p.grad).all(), name
    assert net.parts["conv1"].module.conv1.weight.grad.any()


def test_the_parts_stand_in_a_sequential_of_ones_own():
    how = dict(dt_ms=1.0, surrogate=fast_sigmoid(5), dtype=DOUBLE, kernels="torch")
    net = nn.Sequential(
        OverTime(nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6))), SpikingLayer(leaky(5.0), 6, **how), HeldDropout(0.1),
        DelayedLinear(6, 5, max_delay_ms=3, dt_ms=1), NormThroughTime(5, 20), RecurrentLayer(Population("a", leaky(5.0), 5), **how),
    ).double()  # fmt: skip
    output = net(spikes())
    assert output.shape == (20, 3, 5) and output.sum() > 10
    output.sum().backward()
    assert all(p.grad.any() for p in net.parameters())


def test_the_plan_has_a_row_for_each_part():
    net = small("3C3-MP2-FC4R", (1, 8, 8), kernels="auto")
    net(spikes(shape=(1, 8, 8), share=0.05))
    plan = net.plan()
    assert [s.name for s in plan.steps] == ["conv1", "neurons1", "fc2", "neurons2", "neurons2.recurrent"]
    assert "event-driven" in plan["conv1"].why and "fused kernel" in plan["neurons1"].path
    assert "\n" not in plan["fc2"].why


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: small("FC5-BN-FC3"), ValueError, r"say how many there are at most, steps=…"),
        (lambda: small("FC5-LSTM3", readout=leaky_integrator()), StackError, "ends with spikes of its own"),
        (lambda: small(parameters={"tau_men": 3}), SpecError, "Did you mean 'tau_mem'"),
        (lambda: small(trainable_parameters=("r",)), SpecError, "unknown parameter 'r'"),
        (lambda: small(parameters={"tau_mem": {"neuron1": 3}}), ValueError, "Did you mean 'neurons1'"),
        (lambda: small(parameters={"tau_mem": -3.0}), SpecError, "layer 'neurons1': .*lies outside"),
        (lambda: small(parameters={"tau_mem": np.ones(4)}), ValueError, r"layer 'neurons1': .*has shape \(4,\); give one value or 5"),
        (lambda: small(neuron=leaky_integrator()), SpecError, "never spikes, so the layers behind it would hear nothing"),
        (lambda: small(neuron="cuba_lif_2"), SpecError, "has 2 receptors"),
        (lambda: small(neuron="lief"), ValueError, "unknown model 'lief'"),
        (lambda: small(scheme="exct"), SchemeError, "Did you mean 'exact'"),
        (lambda: small(surrogate="arctan"), ValueError, "surrogate = 'arctan' makes no spikes"),
        (lambda: small("LSTM3", surrogate=fast_sigmoid), ValueError, "makes no spikes"),
        (lambda: small()(torch.zeros(3, 4)), ValueError, "say how many there are with steps"),
        (lambda: small()(torch.zeros(3, 2, 5)), ValueError, r"give \[T, B, \*\(4,\)\]"),
        (lambda: small()(torch.zeros(3, 2, 4), steps=5), ValueError, "x has 3 steps, but steps = 5"),
        (lambda: small()(torch.zeros(2, 4), steps=0), ValueError, "steps = 0"),
        (lambda: small()(torch.zeros(3, 2, 4), record={"neurons9": ("v",)}), ValueError, "Did you mean 'neurons"),
        (lambda: small()(torch.zeros(3, 2, 4), record={"neurons1": ("w",)}), ValueError, "state to record"),
    ],
)
def test_errors_name_the_thing(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_neuron_layers_are_those_of_the_engine():
    assert all(isinstance(layer, SpikingLayer) for layer in small().neuron_layers().values())
    assert small(neuron=neuron("rnn_lif")).neuron_layers()["neurons1"].spec is neuron("rnn_lif")


def equal_in_other_engines(net, x, engines):
    """The spikes of each layer, and those of the network that the stack says it is."""
    found, network = net.eval()(x), net.to_network()
    inputs = {"input": x.flatten(2), "bias": torch.ones(*x.shape[:2], 1, dtype=DOUBLE)}
    assert [s.name for s in network.sources] == ["input", "bias"]
    for name in engines:
        events = {key: Spikes.from_dense(value.numpy().astype(int), net.dt_ms) for key, value in inputs.items()}
        run = get_engine(name).run(network, events, dt_ms=net.dt_ms)
        for layer, spikes_found in found.spikes.items():
            assert spikes_found.sum() > 10
            np.testing.assert_array_equal(spikes_found.flatten(2).detach(), run.spikes[layer].dense())


def test_a_stack_runs_in_other_engines():
    net = small("3C3-AP2-D.3-FC6d4-FC5R-FC4", (1, 10, 10), dt_ms=0.5, parameters={"tau_mem": {"neurons1": gamma(10.0)}})
    network = net.to_network()
    assert [(p.source, p.target, p.is_sparse) for p in network.projections] == [
        ("input", "neurons1", True), ("bias", "neurons1", False), ("neurons1", "neurons2", False),
        ("neurons2", "neurons3", False), ("bias", "neurons3", False), ("neurons3", "neurons3", False),
        ("neurons3", "neurons4", False), ("bias", "neurons4", False),
    ]  # fmt: skip
    equal_in_other_engines(net, spikes(30, 2, (1, 10, 10)), ["torch", "compiled"])


def test_brian2_runs_a_stack_with_learned_delays():
    equal_in_other_engines(small("FC5d4-FC4"), spikes(40, 1), ["brian"])


def test_a_lone_convolution_stays_one():
    net = small("4C3s2p1-FC3", (2, 7, 7), neuron=neuron("rnn_lif").with_defaults(v_threshold=0.3))
    assert isinstance(net.to_network().projections[0].weights, Convolution)
    equal_in_other_engines(net, spikes(30, 2, (2, 7, 7)), ["compiled"])


@pytest.mark.parametrize(
    "text, message",
    [
        ("3C3-N-MP2-FC4", "'pool1', a MaxPool2d, pools spikes, not currents"),
        ("3C3-BN-FC4", "'neurons1' stands behind a norm with a statistic for each step.*use export"),
        ("3C3p1-3SEW3-FC4", "'sew2_neurons1' stands behind a norm with a statistic for each step.*use export"),
        ("FC4-LSTM3", "'lstm2', a SpikingLSTM"),
        ("3C3-N-AP2-FC4d3", "belong to pooled inputs"),
    ],
)
def test_what_is_no_projection_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        small(text, (1, 8, 8), steps=5).to_network()
