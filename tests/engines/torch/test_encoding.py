"""EncodingLayer: rates in closed form, gradients by the chain rule, a training that finds the rates it is given."""

import numpy as np
import pytest
import torch

from spiketwin.models.decoders import count, mean_interval_ms, rate_hz
from spiketwin.models.engines.torch import SpikingLayer
from spiketwin.models.engines.torch.encoding import EncodingLayer
from spiketwin.models.neurons import neuron
from spiketwin.models.spikes import Spikes
from spiketwin.models.theory import lif_rate_hz
from spiketwin.models.units import UnitError
from spiketwin.rules.surrogate import fast_sigmoid, triangle

DOUBLE = torch.float64
LIF = dict(tau_mem_ms=20, v_threshold_mv=20, v_reset_mv=10, tau_ref_ms=2)  # as `lif`, in mV above rest; r = 100 mV per nA


@pytest.mark.parametrize("dt_ms", [0.1, 0.5])
def test_rates_are_those_of_the_closed_form_on_every_grid(dt_ms):
    gain, bias = torch.tensor([0.4, 0.2, -0.3, 0.1]), torch.tensor([0.0, 0.15, 0.49, 0.05])
    layer = EncodingLayer(neuron("lif"), 4, dt_ms=dt_ms, unit="nA", gain=gain, bias=bias, scheme="exact", dtype=DOUBLE)
    x = torch.linspace(0, 1, 6, dtype=DOUBLE)[:, None].expand(6, 4)
    spikes = layer(x, steps=round(400 / dt_ms)).detach()
    expected = lif_rate_hz(100 * (gain * x + bias).numpy(), **LIF)  # they fire above .2 nA
    assert ((expected > 0).sum(axis=0) == [3, 4, 5, 0]).all()
    spikes = Spikes.from_dense(spikes.numpy(), dt_ms)
    assert ((count(spikes) > 1) == (expected > 0)).all() and len(spikes) == count(spikes)[expected > 0].sum()
    # the grid changes an interval by less than a step
    interval_ms = 1e3 / expected[expected > 0]
    assert np.abs(mean_interval_ms(spikes)[expected > 0] - interval_ms).max() < dt_ms


@pytest.mark.parametrize("kernels", ["torch", "fused"])
def test_it_is_a_spiking_layer_behind_gain_and_bias(kernels):
    options = dict(dt_ms=1.0, surrogate=fast_sigmoid(5), dtype=DOUBLE, kernels=kernels)
    gain, bias = torch.rand(2, 3, dtype=DOUBLE), torch.rand(2, 3, dtype=DOUBLE)
    encode = EncodingLayer(neuron("lif"), (2, 3), unit="nA", gain=gain, bias=bias, **options)
    plain = SpikingLayer(neuron("lif"), (2, 3), **options)
    x = torch.rand(4, 2, 3, dtype=DOUBLE, requires_grad=True)
    price = torch.randn(60, 4, 2, 3, dtype=DOUBLE)
    spikes = encode(x, steps=60)
    current = ((gain * x + bias) * 1e-9).detach().requires_grad_()
    expected = plain({"i_ext": current[None]}, steps=60)
    assert spikes.shape == (60, 4, 2, 3) and 50 < spikes.sum() and torch.equal(spikes, expected)
    (spikes * price).sum().backward()
    (expected * price).sum().backward()
    slope = current.grad * 1e-9  # per nA
    assert (slope != 0).all()
    torch.testing.assert_close(encode.gain.grad, (slope * x).sum(0), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(encode.bias.grad, slope.sum(0), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(x.grad, slope * gain, rtol=1e-9, atol=1e-12)
    # a signal that stands still is the image that is shown as long
    assert torch.equal(encode(x.detach().expand(60, 4, 2, 3)), spikes)
    assert torch.equal(encode(torch.stack([x.detach()] * 60)), spikes)


def test_training_finds_gain_and_bias_for_the_rates_that_are_asked_for():
    torch.manual_seed(0)
    encode = EncodingLayer(neuron("lif"), 3, dt_ms=1.0, unit="nA", gain=0.1, bias=0.25, surrogate=triangle(1.0))
    x = torch.linspace(0, 1, 8)[:, None].expand(8, 3)
    # increasing, flat, decreasing with x
    wanted = torch.tensor(lif_rate_hz(100 * (np.array([0.25, 0.0, -0.2]) * x.numpy() + [0.22, 0.3, 0.45]), **LIF), dtype=torch.float32)
    optimiser, losses = torch.optim.Adam(encode.parameters(), lr=0.01), []
    for _ in range(60):
        loss = ((rate_hz(encode(x, steps=200), 1.0) - wanted) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 150
    assert losses[-1] < 0.1 * losses[0]  # what remains: counts of a spike in 200 ms are 5 Hz
    assert encode.gain[0] > 0.15 and encode.gain[2] < -0.1


def test_it_saves_moves_and_shows_itself():
    encode = EncodingLayer(neuron("lif"), (2, 2), dt_ms=1.0, unit="nA", gain=0.3)
    other = EncodingLayer(neuron("lif"), (2, 2), dt_ms=1.0, unit="pA", gain=0.0, bias=1.0)
    other.load_state_dict(encode.state_dict())
    assert torch.equal(other.gain, torch.full((2, 2), 0.3)) and not other.bias.any()
    assert [name for name, _ in encode.named_parameters()] == ["gain", "bias"]
    assert encode.double()(torch.ones(1, 2, 2, dtype=DOUBLE), steps=5).dtype == DOUBLE
    assert "gain and bias in nA into i_ext" in repr(encode)


def lif_encoder(shape=3, **changed):
    return EncodingLayer(neuron(changed.pop("model", "lif")), shape, **{"dt_ms": 1.0, "unit": "nA", "gain": 0.3} | changed)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lif_encoder(unit="mV"), UnitError, "gain in mV does not fit drive 'i_ext'"),
        (lambda: lif_encoder(drive="i_exd"), ValueError, "Did you mean 'i_ext'"),
        (lambda: lif_encoder(gain=torch.ones(2)), ValueError, r"gain has shape \(2,\)"),
        (lambda: lif_encoder(gain=float("nan")), ValueError, "gain = nan must be finite"),
        (lambda: lif_encoder(bias=torch.tensor([0.0, float("inf"), 0.0])), ValueError, r"bias = \[0.0, inf, 0.0\] must be finite"),
        (lambda: lif_encoder()(torch.ones(2, 3)), ValueError, "add steps=…"),
        (lambda: lif_encoder()(torch.ones(2, 4), steps=5), ValueError, r"x has shape \(2, 4\)"),
    ],
)
def test_errors_name_the_thing(call, error, message):
    with pytest.raises(error, match=message):
        call()
