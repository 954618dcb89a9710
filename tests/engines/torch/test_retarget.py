"""Networks at another time step: closed forms of what follows dt, and what stays."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from spiketwin.models.engines.torch import TorchNetwork
from spiketwin.models.engines.torch.stacks import NormOverTime, NormThroughTime, retarget
from spiketwin.models.engines.torch.stacks.retarget import held_level
from spiketwin.models.network import Network, Population, Projection, SpikeSource, stack
from spiketwin.models.neurons import neuron
from spiketwin.models.stacks import gamma, leaky, leaky_integrator
from spiketwin.rules.surrogate import fast_sigmoid

DOUBLE = torch.float64
RECEIVE_FIRST = ("count_down", "integrate", "receive", "threshold", "reset")
TAU = 5.0


def made(text="FC6-FC3", shape=(4,), **how):
    torch.manual_seed(0)
    options = {"neuron": leaky(TAU), "dt_ms": 1.0, "surrogate": fast_sigmoid(5), "dtype": DOUBLE, "kernels": "torch"} | how
    return stack(text, input_shape=shape, **options)


def beta(dt, tau=TAU):
    return math.exp(-dt / tau)


@pytest.mark.parametrize("dt", [0.1, 0.25, 1.0, 2.0])
def test_the_level_of_a_held_input_in_closed_form(dt):
    """1/(1 - beta) where the threshold sees the input of its step, beta/(1 - beta) where it sees that of the step before."""
    early, late = made(dt_ms=dt, order=RECEIVE_FIRST), made(dt_ms=dt, readout=leaky_integrator(2 * TAU))
    first, last = late.neuron_layers().values()
    b = beta(dt)
    assert held_level(early.neuron_layers()["neurons1"], dt).item() == pytest.approx(1 / (1 - b), rel=1e-12)
    assert held_level(first, dt).item() == pytest.approx(b / (1 - b), rel=1e-12)
    # the read-out gives its membrane at the end of a step, after the input
    assert held_level(last, dt).item() == pytest.approx(1 / (1 - beta(dt, 2 * TAU)), rel=1e-12)
    # tau_syn di/dt = -i, tau_mem dv/dt = -v + r i: i = alpha/(1 - alpha) at the start of a step, of which v keeps beta and gains
    # P = r tau_syn/(tau_mem - tau_syn) (beta - alpha); i of one step earlier is 1/(1 - alpha)
    (cuba,) = made("FC3", neuron="rnn_lif", dt_ms=dt).neuron_layers().values()
    p = cuba.network.populations["cells"].population.parameter_values()
    tau_mem, tau_syn = 1e3 * p["tau_mem"], 1e3 * p["tau_syn"]
    a, b = beta(dt, tau_syn), beta(dt, tau_mem)
    gain = p["r"] * tau_syn / (tau_mem - tau_syn) * (b - a)
    assert held_level(cuba, dt).item() == pytest.approx(gain / ((1 - a) * (1 - b)), rel=1e-9)


def test_neurons_that_do_not_leak_or_are_not_linear_keep_the_charge():
    for name, unit in (("if_neuron", ""), ("izhikevich", "")):
        net = made("FC3", neuron=name, unit=unit, scheme="euler", dt_ms=0.1)
        (layer,) = net.neuron_layers().values()
        level = held_level(layer, 0.1)
        assert level is None if name == "izhikevich" else math.isinf(level.item())
        finer = retarget(net, 0.05, shown="spikes")
        torch.testing.assert_close(finer.parts["fc1"].module.fc1.bias, net.parts["fc1"].module.fc1.bias / 2, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dt", [0.25, 0.5, 2.0, 3.0])
def test_biases_and_a_shown_current_follow_dt_and_weights_of_spikes_do_not(dt):
    net = made(order=RECEIVE_FIRST)
    ratio = (1 - beta(dt)) / (1 - beta(1.0))
    for shown, first in (("spikes", 1.0), ("current", ratio)):
        found = retarget(net, dt, shown=shown)
        assert found.dt_ms == dt and [layer.network.dt_ms for layer in found.neuron_layers().values()] == [dt, dt]
        one, two = (net.parts[n].module for n in ("fc1", "fc2"))
        new_one, new_two = (found.parts[n].module for n in ("fc1", "fc2"))
        for old, new, weight in ((one.fc1, new_one.fc1, first), (two.fc2, new_two.fc2, 1.0)):
            torch.testing.assert_close(new.weight, old.weight * weight, rtol=1e-12, atol=0)
            torch.testing.assert_close(new.bias, old.bias * ratio, rtol=1e-12, atol=0)
    assert net.dt_ms == 1.0 and net.parts["fc1"].module.fc1 is not found.parts["fc1"].module.fc1


def test_learned_and_drawn_time_constants_and_thresholds_come_along():
    """A held current below threshold takes each membrane along I R (1 - exp(-t/tau)), at all common grid points of three steps."""
    values = {"tau_mem": gamma(8.0), "v_threshold": {"neurons1": np.linspace(20, 30, 6)}}
    net = made("FC6", parameters=values, trainable_parameters=("tau_mem", "v_threshold"), order=RECEIVE_FIRST)
    cells = net.neuron_layers()["neurons1"].network.populations["cells"]
    with torch.no_grad():
        cells.tau_mem *= torch.linspace(0.5, 2, 6, dtype=DOUBLE)  # as if learned
    image, runs = torch.rand(2, 4, dtype=DOUBLE), {}
    x = net.parts["fc1"].module(image)
    for dt in (0.25, 1.0, 2.0):
        found = retarget(net, dt, shown="current")
        there = found.neuron_layers()["neurons1"].network.populations["cells"]
        assert torch.equal(there.tau_mem, cells.tau_mem) and torch.equal(there.v_threshold, cells.v_threshold)
        run = found(image, steps=round(40 / dt), record={"neurons1": ("v",)})
        assert not run.spikes["neurons1"].any()
        runs[dt] = run.states["neurons1"]["v"]  # at the start of each step
    tau = cells.tau_mem.detach()
    time = torch.arange(0, 40, 2, dtype=DOUBLE)[:, None, None]
    exact = x.detach() / (1 - torch.exp(-1 / tau)) * (1 - torch.exp(-time / tau))
    assert exact[-1].abs().max() > 1
    for dt, v in runs.items():
        torch.testing.assert_close(v[:: round(2 / dt)], exact, rtol=1e-10, atol=1e-12)


def test_a_spike_has_the_same_potential_at_common_grid_points():
    """v = w exp(-(t - t0)/tau) from the end of the spike's step on; the naive port forgets as much per step, four times as fast."""
    net = made("FC2", neuron=leaky(TAU, v_threshold=50.0))
    finer, linear = retarget(net, 0.25, shown="spikes"), net.parts["fc1"].module.fc1
    for n in (net, finer):
        torch.nn.init.zeros_(n.parts["fc1"].module.fc1.bias)
    x, fine = torch.zeros(20, 1, 4, dtype=DOUBLE), torch.zeros(80, 1, 4, dtype=DOUBLE)
    x[3, 0, 1] = fine[15, 0, 1] = 1  # both act at 4 ms
    v = net(x, record={"neurons1": ("v",)}).states["neurons1"]["v"]
    v_fine = finer(fine, record={"neurons1": ("v",)}).states["neurons1"]["v"]
    naive = net(fine, record={"neurons1": ("v",)}).states["neurons1"]["v"]
    torch.testing.assert_close(v_fine[::4], v, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(v[10, 0], linear.weight[:, 1] * math.exp(-6 / TAU), rtol=1e-10, atol=0)
    torch.testing.assert_close(naive[40, 0], linear.weight[:, 1] * math.exp(-24 / TAU), rtol=1e-10, atol=0)


def test_rates_stay_where_a_naive_port_multiplies_them():
    """Spikes in 200 ms of an image: the retargeted network fires as often, give or take one spike in 15; the naive port four times."""
    net = made("FC40", neuron=leaky(20.0))
    with torch.no_grad():
        net.parts["fc1"].module.fc1.weight.uniform_(0, 0.25)
    image = torch.rand(3, 4, dtype=DOUBLE)
    counts = net(image, steps=200).output.detach().sum(0)
    fine = retarget(net, 0.25, shown="current")(image, steps=800).output.detach().sum(0)
    naive = net(image, steps=800).output.detach().sum(0)
    assert counts.mean() > 8
    assert abs(fine.mean() / counts.mean() - 1) < 0.07
    assert float(naive.mean() / counts.mean()) == pytest.approx(4, rel=0.02)


def test_delays_stay_in_ms():
    net = made("FC5d6-FC5R-FC2d3")
    coarser, finer = retarget(net.eval(), 2.0, shown="spikes"), retarget(net, 0.5, shown="spikes")
    for old, half, double in zip(net.delayed_layers(), finer.delayed_layers(), coarser.delayed_layers(), strict=True):
        assert torch.equal(old.delay_ms, half.delay_ms) and torch.equal(old.weight, double.weight)
        assert half.taps == 2 * old.taps and double.taps == -(-old.taps // 2)
        assert np.abs(half.to_delays() - old.delay_ms.detach().numpy()).max() <= 0.25
    assert torch.equal(finer.neuron_layers()["neurons2"].weight, net.neuron_layers()["neurons2"].weight)
    with pytest.raises(ValueError, match="less than half a step of 20.0 ms"):
        retarget(net, 20.0, shown="spikes")


def test_a_network_has_its_periods_delays_and_decays_in_ms():
    tau = np.linspace(8, 15, 3)
    network = Network(
        [Population("a", neuron("cuba_lif"), 3, {"tau_mem": tau, "tau_ref": 3.0})],
        [Projection("in", "a", 0.4 * np.ones((3, 2)), "i_syn", "nA", delay_ms=np.array([[0, 1.5], [2, 3], [1, 1]]), name="w")],
        [SpikeSource("in", 2)],
    )
    net = TorchNetwork(network, dt_ms=0.5, trainable_parameters={"a": ("tau_mem",)}, dtype=DOUBLE, kernels="torch")
    with torch.no_grad():
        net.projections["w"].weight.mul_(1.7)
        net.populations["a"].tau_mem.mul_(1.3)
    finer = retarget(net, 0.1)
    assert net.projections["w"].delays == (0, 2, 3, 4, 6) and finer.projections["w"].delays == (0, 10, 15, 20, 30)
    assert torch.equal(finer.projections["w"].weight, net.projections["w"].weight) and finer.populations["a"].trainable == ("tau_mem",)
    x, fine = torch.zeros(80, 1, 2, dtype=DOUBLE), torch.zeros(400, 1, 2, dtype=DOUBLE)
    x[7], fine[39] = 1, 1  # both act at 4 ms
    one, other = (n({"in": s}, record={"a": ("v", "i_syn")}) for n, s in ((net, x), (finer, fine)))
    until = int(torch.cat([one.spikes["a"].nonzero()[:, 0], other.spikes["a"].nonzero()[:, 0] // 5, torch.tensor([80])]).min())
    assert until > 12 and one.states["a"]["i_syn"][:until].any()
    for state in ("v", "i_syn"):
        torch.testing.assert_close(other.states["a"][state][: 5 * until : 5], one.states["a"][state][:until], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("norm", [NormThroughTime, NormOverTime])
def test_what_a_batch_norm_adds_follows_dt_and_its_gain_stays(norm):
    net = made("3C3-BN-FC2", (1, 4, 4), norm=norm, steps=6).eval()
    part = next(m for m in net.modules() if isinstance(m, norm))
    inner = part.norm if norm is NormOverTime else part
    with torch.no_grad():
        inner.running_mean.uniform_(0.2, 1), inner.running_var.uniform_(0.5, 2), inner.weight.uniform_(0.5, 2)
        if norm is NormOverTime:
            inner.bias.uniform_(-1, 1)
    finer = retarget(net, 0.5, shown="spikes")
    new = next(m for m in finer.modules() if isinstance(m, norm))
    c = (beta(1) / (1 - beta(1))) / (beta(0.5) / (1 - beta(0.5)))
    x = torch.rand(6, 2, 3, 2, 2, dtype=DOUBLE)
    nothing, silent = part(torch.zeros_like(x)), new(torch.zeros(12, 2, 3, 2, 2, dtype=DOUBLE))
    assert nothing.abs().max() > 0.1
    torch.testing.assert_close(silent[::2], c * nothing, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(silent[1::2], c * nothing, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(new(x.repeat_interleave(2, 0))[::2] - silent[::2], part(x) - nothing, rtol=1e-10, atol=1e-12)


def test_residual_blocks_share_one_factor():
    net = made("3C3p1-4MS3s2-4SEW3-FC2", (1, 6, 6), norm=NormOverTime, order=RECEIVE_FIRST).eval()
    finer, ratio = retarget(net, 0.5, shown="current"), (1 - beta(0.5)) / (1 - beta(1))
    named, old = dict(finer.named_parameters()), dict(net.named_parameters())
    for name, value in old.items():
        factor = ratio if name.endswith("bias") or name == "parts.conv1.module.conv1.weight" else 1.0
        torch.testing.assert_close(named[name], factor * value, rtol=1e-10, atol=0)


def test_at_its_own_step_a_network_stays_as_it_is():
    net = made("FC6R-FC3d4", parameters={"tau_mem": gamma(8.0)})
    same = retarget(net, 1.0, shown="current")
    x = (torch.rand(30, 2, 4) < 0.5).to(DOUBLE)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(same.state_dict()[name], value, rtol=1e-12, atol=0)
    assert torch.equal(same.eval()(x).output, net.eval()(x).output)


def test_what_cannot_follow_is_named():
    with pytest.raises(ValueError, match="shown = None"):
        retarget(made(), 0.5)
    with pytest.raises(ValueError, match="'lstm1' is a spiking LSTM"):
        retarget(made("LSTM4-FC2"), 0.5, shown="spikes")
    with pytest.raises(ValueError, match="conv1' adds the same in every step"):
        retarget(made("2C3-FC2", (1, 5, 5), parameters={"tau_mem": gamma(8.0)}), 0.5, shown="spikes")
    with pytest.raises(ValueError, match="dt_ms = 0"):
        retarget(made(), 0.0, shown="spikes")
    with pytest.raises(TypeError, match="not a Linear"):
        retarget(torch.nn.Linear(2, 2), 0.5)
