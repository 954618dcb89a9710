"""A stack written down as a network gives the stack's spikes in every engine, with numbers as input, maxima, norms and biases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from spiketwin.models.engines import get_engine
from spiketwin.models.engines.torch.stacks.export import export
from spiketwin.models.engines.torch.stacks.norm import NormOverTime
from spiketwin.models.network import Network, Population, Projection, SpikeSource, stack
from spiketwin.models.neurons import neuron
from spiketwin.models.semantics import REFERENCE
from spiketwin.models.spikes import Spikes
from spiketwin.models.stacks import AT_ONCE, leaky, leaky_integrator, resnet, tau_from_beta
from spiketwin.models.stacks.arrivals import once_per_step, places_of, with_max_pooling

DOUBLE = torch.float64


def small(text, shape, **how):
    """A stack that fires, with biases, and norms that have seen something."""
    torch.manual_seed(0)
    made = stack(text, input_shape=shape, **{"neuron": leaky(4.0), "dt_ms": 1.0, "dtype": DOUBLE, "kernels": "torch", **how})
    with torch.no_grad():
        for name, p in made.named_parameters():
            if p.ndim > 1:
                p *= 3
            if "norm" in name:
                p.copy_(torch.empty_like(p).uniform_(-0.5, 1.5))
        for name, b in made.named_buffers():
            if "running" in name:
                b.copy_(torch.empty_like(b).uniform_(0.1, 0.9))
    return made.eval()


def numbers(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=DOUBLE)


def equal_everywhere(net, x, engines, steps=None, analog=True):
    """Spikes of each layer, and the output, of the stack and of the network that it is written down as."""
    found, exported = net(x, steps), export(net, analog=analog)
    for name in engines:
        run = get_engine(name).run(exported.network, exported.inputs(x, steps), dt_ms=net.dt_ms, record=exported.record())
        run = exported.aligned(run)
        for layer, expected in found.spikes.items():
            assert expected.sum() > 20
            np.testing.assert_array_equal(
                expected.flatten(2).detach(), run.spikes[layer.replace(".", "_")].dense(), err_msg=f"{layer} in {name}"
            )
        torch.testing.assert_close(exported.activity(run).output, found.output.detach(), rtol=0, atol=1e-12)
    return exported


def test_an_image_with_maximum_pooling_runs_in_brian2():
    net = small("3C3-MP2-4C3-MP2-FC9-FC9", (2, 13, 14), parameters={"tau_mem": {"neurons2": np.linspace(2, 6, 8)}})
    exported = equal_everywhere(net, numbers(4, 2, 13, 14), ["brian"], steps=25)
    assert [p.name for p in exported.network.populations] == ["neurons1", "neurons2", "neurons3", "neurons4"]
    assert not exported.network.sources  # the image and all biases are currents
    assert len(places_of(exported.network.population("neurons2").neuron)) == 4


@pytest.mark.parametrize(("text", "engine"), [("6FCR-FC3", "brian"), ("FC6d3-FC3", "torch")])
def test_numbers_that_change_reach_a_read_out(text, engine):
    equal_everywhere(small(text, (5,), readout=leaky_integrator(20.0)), numbers(30, 3, 5), [engine])


def test_a_single_layer_is_read_out():
    equal_everywhere(small("FC3", (5,), neuron=leaky_integrator(7.0)), numbers(9, 2, 5), ["torch"])


@pytest.mark.parametrize(
    "text", ["4C3-BN-MP2-5C3p1-BN-AP2-FC6-BN-FC3", resnet((1, 1), (3, 4), classes=3), resnet((1, 1), (3, 4), shortcut="SEW", classes=3)]
)
def test_norms_and_residual_blocks_are_weights_and_currents(text):
    net = small(text, (2, 10, 10), norm=lambda channels, steps: NormOverTime(channels))
    equal_everywhere(net, numbers(3, 2, 10, 10), ["torch"], steps=20)


def pooled_then_normed():
    """A stack whose norms stand behind maxima, and have statistics and scales of their own."""
    net = small("4C3-MP2-BN-5C3p1-MP2-BN-FC6-FC3", (2, 14, 14), norm=lambda channels, steps: NormOverTime(channels))
    with torch.no_grad():
        for name, values in [*net.named_parameters(), *net.named_buffers()]:
            if "norm" in name and values.is_floating_point():
                values.uniform_(-0.4, 0.4) if "bias" in name or "mean" in name else values.uniform_(0.5, 2.0)
    return net


@pytest.mark.parametrize("engine", ["brian", "torch"])
def test_a_norm_behind_a_maximum_is_the_norm_of_what_is_pooled(engine):
    equal_everywhere(pooled_then_normed(), numbers(4, 2, 14, 14), [engine], steps=25)


def test_a_norm_that_makes_a_minimum_of_a_maximum_is_refused():
    net = pooled_then_normed()
    with torch.no_grad():
        net.get_parameter("parts.norm2.norm.weight")[1] = -0.5
    with pytest.raises(ValueError, match="'norm2', a NormOverTime behind a maximum pooling, turns the sign of a channel.*write C5-BN-MP2"):
        export(net, analog=True)


def bntt(text, shape, **how):
    """A stack with a statistic for each of 25 steps."""
    net = small(text, shape, steps=25, **how)
    with torch.no_grad():
        for name, p in net.named_parameters():
            if "norm" in name:
                p.copy_(torch.empty_like(p).uniform_(-1.0, 6.0))
        for name, b in net.named_buffers():
            if name.endswith("running_mean"):
                b.copy_(torch.empty_like(b).uniform_(-0.4, 0.2))
    return net


@pytest.mark.parametrize("order", [REFERENCE.order, AT_ONCE], ids=["reference", "at once"])
@pytest.mark.parametrize(
    ("text", "shape"),
    [("4C3-AP2-BN-5C3p1-BN-AP2-FC12-BN-FC9", (1, 12, 12)), (resnet((1, 1), (3, 4), shortcut="SEW", classes=9), (2, 10, 10))],
)
def test_norms_through_time_are_gains_of_each_step(text, shape, order):
    exported = equal_everywhere(bntt(text, shape, order=order), numbers(3, *shape), ["brian"], steps=20)
    assert len(exported.gains) in (2, 5)


def test_gains_change_with_the_steps_of_training_at_finer_ones_too():
    """One neuron that hears one spike of weight .5 in each of three steps, with gains 1, 4 and -2, and hardly leaks."""
    net = bntt("FC1-BN", (1,), neuron=leaky(1e6, v_threshold=100.0))
    with torch.no_grad():
        net.get_parameter("parts.fc1.module.fc1.weight").fill_(0.5)
        norm = net.get_submodule("parts.norm1")
        norm.weight[:3, 0] = torch.tensor([1.0, 4, -2])
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
    exported, x = export(net), torch.ones(3, 1, 1)
    for factor in (1, 4):
        run = get_engine("brian").run(exported.at(factor), exported.inputs(x, factor=factor), dt_ms=1 / factor)
        # what arrives in the last step would be multiplied in the one after it
        assert run.final["neurons1"]["v"][0, 0] == pytest.approx(0.5 + 2.0, abs=1e-4)


def test_spikes_may_come_in_where_biases_flow():
    net = small("3C3-MP2-FC4", (1, 8, 8))
    x = (numbers(25, 2, 1, 8, 8) > 0.5).to(DOUBLE)
    exported = equal_everywhere(net, x, ["torch"], analog=False)
    assert [s.name for s in exported.network.sources] == ["input"]
    # where no current can stand for them, biases are spikes: rnn_lif's membrane tells a jump of i_syn from a current
    exported = export(small("FC6-FC4", (5,), neuron=neuron("rnn_lif")))
    assert [s.name for s in exported.network.sources] == ["input", "bias"]


def test_a_bias_of_a_read_out_without_leak_is_spikes():
    """A current of x/dt would move v by tau (1 - exp(-dt/tau)) x/dt, of whose digits a double keeps 16 less those of tau/dt."""
    net = small("FC6-FC4", (5,), readout=leaky_integrator(1e9), order=AT_ONCE)
    exported = equal_everywhere(net, numbers(3, 5), ["brian"], steps=20)
    assert [s.name for s in exported.network.sources] == ["bias"] and list(exported.fronts) == ["neurons1"]


def test_the_current_is_what_brings_the_membrane_to_where_the_jump_was_after_its_first_decay():
    """beta = .5: x arrives at the end of a step, and .5 x is left when the next threshold is looked at. A current of c per second
    that flows through that step leaves c tau (1 - beta), so c = x/tau beta/(1 - beta) = x/tau."""
    net = small("FC1", (1,), neuron=leaky(tau_from_beta(0.5, 1.0)))
    with torch.no_grad():
        net.get_parameter("parts.fc1.module.fc1.weight").fill_(0.3)
        net.get_parameter("parts.fc1.module.fc1.bias").fill_(0.1)
    exported, x = export(net, analog=True), torch.tensor([[[1.0]], [[2.0]], [[5.0]]])
    tau = 1e-3 / np.log(2)
    assert exported.inputs(x)["neurons1.inflow"][:, 0, 0] == pytest.approx([0, 0.4 / tau, 0.7 / tau], rel=1e-12)
    fine = exported.inputs(x, factor=4)
    assert fine["neurons1.inflow"][:, 0, 0] == pytest.approx([0] * 4 + [0.4 / tau] * 4 + [0.7 / tau] * 4, rel=1e-12)
    # without a spike the exact scheme is right at any step: after 2 and 3 ms v = .2 and .5 (.2) + .35
    v = get_engine("brian").run(exported.network, fine, dt_ms=0.25, record={"neurons1": ("v",)})
    assert v.states["neurons1"]["v"][8, 0, 0] == pytest.approx(0.2, rel=1e-12)
    assert v.final["neurons1"]["v"][0, 0] == pytest.approx(0.45, rel=1e-12)


@pytest.mark.parametrize(("engine", "scheme"), [("brian", "exact"), ("compiled", "exact"), ("torch", "rk4")])
def test_of_what_arrives_in_one_step_the_largest_place_counts(engine, scheme):
    """Weights .5, .2 and .4, .9, -.3, -.1 to four places: together max(.5 + .2, .4 + .9, -.3, -.1) = 1.3; the last two alone -.1."""
    spec = with_max_pooling(leaky(10.0, v_threshold=5.0), 4)
    weights = ([[0.5, 0.2, 0, 0]], [[0.4, 0.9, 0, 0]], [[0, 0, -0.3, 0]], [[0, 0, 0, -0.1]])
    projections = [Projection("input", "pool", np.array(w), r, name=r) for w, r in zip(weights, places_of(spec), strict=True)]
    # silent places count as 0: only with all four active is the maximum negative
    network = Network([Population("pool", spec, 1)], projections, [SpikeSource("input", 4)])
    spikes = Spikes([0, 0, 0, 0, 2, 2], [0] * 6, [0, 1, 2, 3, 2, 3], (5, 1, 4), 1.0)
    v = get_engine(engine).run(network, {"input": spikes}, dt_ms=1.0, scheme=scheme, record={"pool": ("v",)}).states["pool"]["v"][:, 0, 0]
    decay = np.exp(-0.1)
    assert v == pytest.approx([0, 0, 1.3 * decay, 1.3 * decay**2, 1.3 * decay**3], rel=1e-6 if scheme == "rk4" else 1e-12)


def test_a_neuron_that_fires_once_a_step_does_so_at_finer_steps():
    """v gains 2.5 per ms and loses 1 with each spike: 2 or 3 spikes per ms as an equation, one per step of 1 ms in the stack."""
    net = small("FC1", (1,), neuron=leaky(1000.0))
    with torch.no_grad():
        net.get_parameter("parts.fc1.module.fc1.weight").fill_(2.5)
        net.get_parameter("parts.fc1.module.fc1.bias").fill_(0.0)
    exported, x = export(net, analog=True), torch.ones(1, 1)

    def step_of_spikes(network, factor):
        run = get_engine("brian").run(network, exported.inputs(x, 8, factor=factor), dt_ms=1 / factor)
        return run.spikes["neurons1"].step.tolist()

    held = once_per_step(exported.network, 1.0)
    assert step_of_spikes(held, 1) == step_of_spikes(exported.network, 1) == list(range(1, 8))
    assert len(step_of_spikes(exported.network, 8)) == 17  # of 2.5 · 7 less what leaks
    # .3125 per step of 1/8 ms from step 8 on: 1.25 in step 11, then every 8 steps
    assert step_of_spikes(held, 8) == list(range(11, 64, 8))
    with pytest.raises(ValueError, match="'leaky' has a refractory period, 'tau_ref'"):
        once_per_step(held, 1.0)


@pytest.mark.parametrize(
    ("text", "shape", "how", "lags"),
    [
        ("4C3-AP2-BN-5C3p1-AP2-BN-FC6-FC4", (1, 12, 12), {"readout": leaky_integrator(20.0)}, [0, 1, 2, 2]),
        ("4C3-BN-MP2-4C3-BN-MP2-FC3", (1, 14, 14), {"parameters": {"tau_mem": {"neurons2": np.linspace(2, 6, 16)}}}, [0, 1, 2]),
        (resnet((1, 1), (3, 4), classes=3), (2, 10, 10), {}, [0, 1, 2, 3, 4, 5]),
        (resnet((1, 1), (3, 4), shortcut="SEW", classes=3), (2, 10, 10), {}, [0, 1, 2, 3, 4, 3, 5]),
        ("9FCR-8FCR-FC7d3-FC6", (5,), {}, [0, 1, 2, 3]),
    ],
)
def test_what_is_heard_at_once_lags_a_step_per_layer_and_is_the_same(text, shape, how, lags):
    net = small(text, shape, norm=lambda channels, steps: NormOverTime(channels), order=AT_ONCE, **how)
    exported = equal_everywhere(net, numbers(3, *shape), ["brian"], steps=20)
    assert list(exported.lags.values()) == lags


def test_what_is_heard_at_once_by_hand():
    """A step keeps half of v. Weights .9, then 1.5; spikes 1 0 1 1 come in. The stack, v when the threshold looks, [a spike]:

    layer 1    .9    .45    .225 + .9 = 1.125 [1]    .125/2 + .9 = .9625
    layer 2    0     0      1.5 [1]                  .5/2

    The engine is given 1.8 and 3, receives them behind the threshold, and has them halved at the next look: one step, and two, later.
    """
    net = small("FC1-FC1", (1,), neuron=leaky(tau_from_beta(0.5, 1.0)), order=AT_ONCE)
    with torch.no_grad():
        for name, value in (("fc1", 0.9), ("fc2", 1.5)):
            net.get_parameter(f"parts.{name}.module.{name}.weight").fill_(value)
            net.get_parameter(f"parts.{name}.module.{name}.bias").fill_(0.0)
    exported, x = export(net), torch.tensor([1.0, 0, 1, 1]).view(4, 1, 1)
    run = get_engine("brian").run(exported.network, exported.inputs(x), dt_ms=1.0, record={"neurons1": ("v",), "neurons2": ("v",)})
    assert run.states["neurons1"]["v"][:, 0, 0] == pytest.approx([0, 1.8, 0.9, 0.45 + 1.8, 0.125 + 1.8, 0.9625], rel=1e-12)
    assert run.states["neurons2"]["v"][:, 0, 0] == pytest.approx([0, 0, 0, 0, 3.0, 0.5], rel=1e-12)
    assert [run.spikes[f"neurons{k}"].step.tolist() for k in (1, 2)] == [[3], [4]]
    assert [exported.aligned(run).spikes[f"neurons{k}"].step.tolist() for k in (1, 2)] == [[2], [2]]


def test_at_a_finer_step_it_is_the_stack_of_that_step():
    """Without biases, which are increments of a step, the stack of a finer step has the same weights."""
    how = {"order": AT_ONCE, "readout": leaky_integrator(20.0)}
    coarse, fine = (small("FC12-FC9d3-FC4", (6,), dt_ms=dt_ms, **how) for dt_ms in (1.0, 0.25))
    with torch.no_grad():
        for name, p in coarse.named_parameters():
            p.copy_(0 * p if name.endswith("bias") else p.clamp(0, 3).round() if name.endswith("delay_ms") else p)
    fine.load_state_dict(coarse.state_dict())
    exported, x = export(coarse), (numbers(25, 2, 6) > 0.5).to(DOUBLE)
    inputs, record = exported.inputs(x, factor=4), {"neurons3": ("v",)}
    run = exported.aligned(get_engine("brian").run(exported.at(4), inputs, dt_ms=0.25, record=record))
    found = fine(torch.as_tensor(Spikes.from_dense(x.numpy(), 1.0).refined(4).dense(float)))
    for layer, expected in found.spikes.items():
        assert len(expected) == 100 and expected.sum() > 20
        np.testing.assert_array_equal(expected.detach(), run.spikes[layer].dense())
    torch.testing.assert_close(exported.activity(run).output, found.output.detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: export(small("3C3-N-MP2-FC4", (1, 8, 8))), "'pool1', a MaxPool2d, pools spikes, not currents"),
        (
            lambda: export(small(resnet((1, 1), (3, 4), classes=3), (2, 10, 10), steps=5), analog=True),
            "'ms3.conv1_short', a Conv2d, stands behind a NormThroughTime",
        ),
        (lambda: export(small("3C3-3C3-BN-MP2-FC4", (1, 8, 8), steps=5), analog=True), "'pool2', a MaxPool2d, stands behind a NormThrough"),
        (
            lambda: export(small("FC4-FC3-BN", (5,), steps=5, readout=leaky_integrator(9.0)), analog=True),
            "would act on 'neurons2' a step late: 'leaky_integrator' is read out",
        ),
        (lambda: export(bntt("FC4-FC3-BN", (5,)), analog=True).inputs(numbers(2, 5), 26), "'neurons2' has statistics of 25 steps"),
        (lambda: bntt("FC4-FC3-BN", (5,)).to_network(), "'neurons2' stands behind a norm with a statistic for each step"),
        (lambda: export(small("FC4-LSTM3", (5,))), "'lstm2', a SpikingLSTM"),
        (
            lambda: export(small("FC4", (5,), neuron=neuron("rnn_lif")), analog=True),
            "would flow as a current, but 'v' of 'rnn_lif' follows 'i_syn'",
        ),
        (
            lambda: export(small("FC4", (5,), neuron=neuron("if_neuron")), analog=True),
            "the reset 'v = v_reset' of 'if_neuron' wipes what has just",
        ),
        (lambda: export(small("3C3-MP2", (1, 8, 8), neuron=leaky_integrator())), "would act a step late: 'leaky_integrator' is read out"),
        (lambda: export(small("FC4", (5,), order=("receive", "integrate", "threshold", "reset"))), "order of events is receive, integrate"),
        (
            lambda: export(small("FC6-FC4", (5,), neuron=neuron("if_neuron"), order=AT_ONCE)),
            "'neurons1' hears its input in its own step, .*: the reset 'v = v_reset' of 'if_neuron' wipes",
        ),
        (
            lambda: export(small("FC6-FC4", (5,), neuron=replace(leaky(), initial={"v": "0.5"}), order=AT_ONCE), analog=True),
            "'neurons2' would have to rest for 1 steps, until its input comes, but 'v' moves without any",
        ),
    ],
)
def test_what_has_no_such_form_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
