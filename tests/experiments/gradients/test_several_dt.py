"""Training at several time steps: one set of parameters behind all of them."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
import torch

from spiketwin.experiments.studies.gradients import several_dt, several_dt_fashion
from spiketwin.experiments.training import Constant, Schedule, drawing_dt, fit, mean_over_dt
from spiketwin.models.engines.torch import TorchNetwork
from spiketwin.models.engines.torch.stacks import SeveralSteps, retarget
from spiketwin.models.network import Network, Population, Projection, SpikeSource, stack
from spiketwin.models.neurons import neuron
from spiketwin.models.stacks import leaky
from spiketwin.rules.surrogate import fast_sigmoid

DOUBLE = torch.float64


def a_stack(**how):
    torch.manual_seed(0)
    options = {"neuron": leaky(5.0), "trainable_parameters": ("tau_mem",), "kernels": "torch", "dtype": DOUBLE} | how
    net = stack("FC6R-FC3d4", dt_ms=1.0, input_shape=(4,), surrogate=fast_sigmoid(5), **options)
    with torch.no_grad():
        for name, p in net.named_parameters():
            if name.endswith("weight"):
                p.abs_().mul_(3)
    return net


def a_network():
    weights = np.random.default_rng(0).uniform(1, 4, (5, 4))
    return TorchNetwork(
        Network(
            [Population("a", neuron("cuba_lif"), 5)], [Projection("in", "a", weights, "i_syn", "nA", delay_ms=2.0)], [SpikeSource("in", 4)]
        ),
        dt_ms=1.0, surrogate=fast_sigmoid(5), trainable_parameters={"a": ("tau_mem",)}, kernels="torch", dtype=DOUBLE,
    )  # fmt: skip


@pytest.mark.parametrize("dt", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("made", [a_stack, a_network])
def test_at_each_step_it_is_the_retargeted_network_and_gradients_reach_the_one_set_of_parameters(made, dt):
    net = made()
    several = SeveralSteps(net, (0.5, 1.0, 2.0), shown="spikes")
    alone = retarget(net, dt, shown="spikes")
    x = (torch.rand(round(60 / dt), 3, 4, generator=torch.Generator().manual_seed(1)) < 0.4).to(DOUBLE)

    def output(run):
        return run(x).output if made is a_stack else run({"in": x}).spikes["a"]

    found, wanted = output(several.at(dt)), output(alone)
    assert wanted.sum() > 0 and torch.equal(found, wanted)
    price = torch.linspace(1, 2, found.numel(), dtype=DOUBLE).view_as(found)
    (found * price).sum().backward()
    (wanted * price).sum().backward()
    there = dict(alone.named_parameters())
    for name, p in net.named_parameters():
        assert p.grad is not None and p.grad.any(), name
        if "bias" not in name and "tau_mem" not in name:  # biases are scaled, and the scale follows tau
            torch.testing.assert_close(p.grad, there[name].grad, rtol=1e-10, atol=1e-12)


def test_a_bias_passes_its_gradient_to_the_time_constant():
    """b' = b g(1)/g(1/2) with g = beta/(1 - beta) = 1/(exp(dt/tau) - 1), so d ln b'/d tau follows from the derivative of g."""
    net = stack("FC2", dt_ms=1.0, input_shape=(3,), neuron=leaky(5.0), trainable_parameters=("tau_mem",), dtype=DOUBLE)
    several = SeveralSteps(net, (0.5,), shown="spikes")
    bias = several._values(several.twins[0.5])["parts.fc1.module.fc1.bias"]
    (tau,) = (p for n, p in net.named_parameters() if n.endswith("tau_mem"))
    (found,) = torch.autograd.grad(bias.sum(), tau)

    def scale(t):
        return np.expm1(0.5 / t) / np.expm1(1 / t)

    slope = (scale(5 + 1e-5) - scale(5 - 1e-5)) / 2e-5
    original = net.parts["fc1"].module.fc1.bias.detach().sum().item()
    assert found.item() == pytest.approx(original * slope, rel=1e-7) and abs(found.item()) > 1e-4
    assert bias.sum().item() == pytest.approx(original * scale(5), rel=1e-12)


def test_each_batch_draws_a_step_and_a_run_repeats_itself():
    seen: list[float] = []

    def trained():
        seen.clear()
        net = a_network()
        several = SeveralSteps(net, (0.5, 1.0, 2.0))

        def loss_at(dt):
            x = (torch.rand(round(8 / dt), 40, 4, generator=torch.Generator().manual_seed(1)) < 0.3).to(DOUBLE)

            def loss(index, rng):
                seen.append(dt)
                return (several.at(dt)({"in": x[:, index]}).spikes["a"].mean() - 0.3).square(), {}

            return loss

        fit(
            net,
            drawing_dt({dt: loss_at(dt) for dt in several.dts_ms}),
            count().__next__,
            samples=40,
            schedule=Schedule(2, 2, 0.01, Constant()),
            seed=0,
        )
        return list(seen), [p.detach() for p in net.parameters()]

    (steps, weights), (again, same) = trained(), trained()
    assert steps == again and all(map(torch.equal, weights, same))
    assert len(steps) == 40 and min(steps.count(dt) for dt in (0.5, 1.0, 2.0)) >= 5
    assert not any(map(torch.equal, weights, [p.detach() for p in a_network().parameters()]))


def test_validation_is_the_mean_over_the_steps():
    assert mean_over_dt(lambda dt: 10 * dt, (0.5, 1.0, 3.0))() == 15.0


def test_what_cannot_be_shared_is_named():
    with pytest.raises(ValueError, match="keeps statistics of one time step"):
        SeveralSteps(stack("3C3-BN-FC2", dt_ms=1.0, input_shape=(1, 5, 5), neuron=leaky(5.0), steps=5), (0.5, 1.0), shown="current")
    with pytest.raises(ValueError, match="shown = None"):
        SeveralSteps(a_stack(), (0.5,))
    with pytest.raises(ValueError, match="no steps given"):
        SeveralSteps(a_network(), ())
    with pytest.raises(ValueError, match=r"dt_ms = 3 is none of the steps 0.5, 1"):
        SeveralSteps(a_network(), (0.5, 1.0)).at(3)
    with pytest.raises(ValueError, match="no losses"):
        drawing_dt({})


@pytest.mark.parametrize("study", [several_dt, several_dt_fashion])
def test_the_study_tells_both_trainings_and_both_ports_apart(study, data_dir):
    if study is several_dt_fashion:
        data_dir("fashion-mnist")
    result = study.smoke()
    at = {name: result.mean(name) for name in result.metrics}
    # at the step of training all ports are the network itself
    assert at["one_at_1_ms"] == at["naive_at_1_ms"]
    assert at["naive_at_0.5_ms"] != at["one_at_0.5_ms"] and at["several_at_2_ms"] > 40
    assert at["one_worst"] == min(at[f"one_at_{dt}_ms"] for dt in ("0.5", "1", "2"))
    axes = several_dt.draw(result).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(several_dt.WAYS.values())
