"""A line of text and the layers it names: shapes worked out by hand, the place of neurons, errors that say where."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spiketwin.models.spec import SpecError
from spiketwin.models.stacks import StackError, each, gamma, leaky, lognormal, of_both_signs, parse, resnet, tau_from_beta, uniform, vgg
from spiketwin.models.stacks.layers import LSTM, Conv, Dropout, Full, MembraneShortcut, Neurons, Norm, Pool, SpikeShortcut

IMAGE = (1, 28, 28)


def layers(text, shape=IMAGE):
    return [p.layer for p in parse(text, shape).layers]


def test_the_network_of_snntorchs_tutorial_6():
    found = parse("12C5-MP2-64C5-MP2-1024FC10", IMAGE)
    # 28 - 5 + 1 = 24, /2 = 12, 12 - 5 + 1 = 8, /2 = 4, 64 · 4 · 4 = 1024
    assert [(p.name, p.shape) for p in found.layers] == [
        ("conv1", (12, 24, 24)),
        ("pool1", (12, 12, 12)),
        ("neurons1", (12, 12, 12)),
        ("conv2", (64, 8, 8)),
        ("pool2", (64, 4, 4)),
        ("neurons2", (64, 4, 4)),
        ("fc3", (10,)),
        ("neurons3", (10,)),
    ]
    assert found.names(Neurons) == ("neurons1", "neurons2", "neurons3")
    assert "conv1      (1, 28, 28)     -> (12, 24, 24)" in repr(found)


@pytest.mark.parametrize(
    "token, layer",
    [
        ("64C3s2p1", Conv(64, 3, 2, 1)),
        ("64c3P1", Conv(64, 3, 1, 1)),
        ("mp3", Pool("max", 3)),
        ("AP2", Pool("mean", 2)),
        ("GAP", Pool("mean", 0)),
        ("FC10", Full(10)),
        ("784fc10", Full(10, 784)),
        ("FC256d2.5", Full(256, max_delay_ms=2.5)),
        ("784FC256d25R", Full(256, 784, True, 25.0)),
        ("256FCR", Full(256, is_recurrent=True)),
        ("256R", Full(256, is_recurrent=True)),
        ("LSTM12", LSTM(12)),
        ("8MS3s2", MembraneShortcut(8, 3, 2)),
        ("8sew5", SpikeShortcut(8, 5)),
        ("d.25", Dropout(0.25)),
    ],
)
def test_each_token(token, layer):
    assert layers(token)[0] == layer


def test_spaces_are_dashes_and_case_does_not_matter():
    assert layers("12c5 mp2  Fc10") == layers("12C5-MP2-FC10") == layers(" 12C5 - mp2-FC10 ")


def test_neurons_stand_where_currents_meet_what_takes_spikes():
    c, pool, fc, n = Conv(4, 3), Pool("mean", 2), Full(5), Neurons()
    assert layers("4C3-BN-AP2-FC5") == [c, Norm(), pool, n, fc, n]
    assert layers("4C3-N-AP2-FC5") == [c, n, pool, fc, n]
    assert layers("4C3-D.5-AP2-FC5") == [c, n, Dropout(0.5), pool, fc, n]
    assert layers("AP2-D.5-FC5") == [pool, Dropout(0.5), fc, n]
    assert layers("FC5-LSTM6-FC5-N") == [fc, n, LSTM(6), fc, n]
    # MS adds to currents and begins with neurons of its own; SEW adds spikes
    assert layers("4C3-4MS3-4MS3-FC5") == [c, MembraneShortcut(4, 3), MembraneShortcut(4, 3), n, fc, n]
    assert layers("4C3-4SEW3-4SEW3-FC5") == [c, n, SpikeShortcut(4, 3), SpikeShortcut(4, 3), fc, n]
    # recurrent are the neurons of that FC alone
    assert layers("FC5R-FC5") == [Full(5, is_recurrent=True), Neurons(True), fc, n]


def test_strides_and_padding_by_hand():
    # (28 + 2·1 - 3)//2 + 1 = 14;  14//3 = 4;  a residual block keeps (4 + 2 - 3)//2 + 1 = 2
    assert [p.shape for p in parse("8C3s2p1-MP3-N-4SEW3s2", IMAGE).layers] == [(8, 14, 14), (8, 4, 4), (8, 4, 4), (4, 2, 2)]


def test_deep_networks_have_the_weight_layers_their_names_count():
    for depth, size in ((5, 28), (9, 28), (11, 32), (16, 32)):
        found = parse(vgg(depth, width=1 / 8), (3, size, size))
        assert sum(p.layer.has_weights for p in found.layers) == depth
        assert found.layers[-1].shape == (10,)
    assert vgg(5) == "64C3p1-BN-N-AP2-128C3p1-BN-128C3p1-BN-N-AP2-FC1024-BN-FC10"
    for shortcut in ("MS", "SEW"):
        found = parse(resnet(shortcut=shortcut), (3, 32, 32))
        kinds = [p.layer for p in found.layers]
        blocks = [k for k in kinds if isinstance(k, MembraneShortcut | SpikeShortcut)]
        # each block holds two of the 18
        assert sum(k.has_weights for k in kinds) + len(blocks) == 18
        assert [b.stride for b in blocks] == [1, 1, 2, 1, 2, 1, 2, 1]
    assert resnet((1, 1), (4, 8), classes=3) == "4C3p1-BN-4MS3-8MS3s2-N-GAP-FC3"


@pytest.mark.parametrize(
    "text, message",
    [
        ("12C5-XP2-FC10", r"layer 2, 'XP2' at position 6 of '12C5-XP2-FC10': no such layer; layers are written like 12C5"),
        (
            "12C5-MP2-1024FC10",
            r"layer 3, '1024FC10' at position 10 .*1024 inputs are stated, but 12 × 12 × 12 = 1728 come in; write 1728FC10",
        ),
        ("FC10-12C5", r"'12C5' at position 6 .* must stand before the first FC"),
        ("12C29", r"29 × 29 does not fit into 28 × 28"),
        ("MP30", r"30 × 30 do not fit into 28 × 28"),
        ("0C5", "no such layer"),
        ("BN-FC10", "put it behind a convolution or FC"),
        ("FC10-N-N", r"layer 3, 'N' at position 8 .* leave this N out"),
        ("FC10-D1", "leaves nothing; give a value below 1"),
        ("4C3-8MS4", "must be odd"),
        (" - ", "has no layers"),
    ],
)
def test_errors_name_the_layer_the_place_and_the_fix(text, message):
    with pytest.raises(StackError, match=message):
        parse(text, IMAGE)


def test_errors_of_shapes_and_names():
    with pytest.raises(StackError, match=r"input_shape = \(28, 28\) must be"):
        parse("FC10", (28, 28))
    with pytest.raises(ValueError, match="no VGG of depth 10; choose 5, 9, 11, 16"):
        vgg(10)
    with pytest.raises(ValueError, match="choose 'MS'"):
        resnet(shortcut="plain")
    with pytest.raises(ValueError, match="one entry for each group"):
        resnet((1, 1), (4,))
    for wrong in (dict(blocks=(0, 1), channels=(4, 8)), dict(blocks=(1, 1), channels=(4, 0))):
        with pytest.raises(ValueError, match="must be at least 1 in each group"):
            resnet(**wrong)
    for width in (-1, 0, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"width = {width} must be positive"):
            vgg(5, width=width)


def test_beta_is_a_time_constant_and_a_step():
    # beta = exp(-dt/tau): e^(-1/10) at 1 ms is 10 ms
    assert tau_from_beta(math.exp(-0.1), 1.0) == pytest.approx(10.0)
    assert tau_from_beta(0.5, 2.0) == pytest.approx(2 / math.log(2))
    for beta in (0.0, 1.0, 1.5):
        with pytest.raises(ValueError, match="lies between 0 and 1"):
            tau_from_beta(beta, 1.0)
    with pytest.raises(SpecError, match="tau_mem"):
        leaky(tau_mem_ms=-1)


def test_samplers_have_the_moments_they_promise():
    n, draw = 200_000, lambda sampler: sampler(200_000, np.random.default_rng(0))
    values = draw(gamma(20.0))
    # mean 20, spread 20/sqrt(3); five standard errors
    assert abs(values.mean() - 20) < 5 * 20 / math.sqrt(3 * n)
    assert values.std() == pytest.approx(20 / math.sqrt(3), rel=0.02)
    assert np.median(draw(lognormal(5.0, 0.3))) == pytest.approx(5.0, rel=0.01)
    assert draw(uniform(2, 3)).min() >= 2 and draw(uniform(2, 3)).max() < 3
    np.testing.assert_array_equal(each(4)(3, np.random.default_rng()), [4.0, 4.0, 4.0])
    signed = draw(of_both_signs(gamma(20.0), 0.7))
    assert np.mean(signed > 0) == pytest.approx(0.7, abs=5 * math.sqrt(0.21 / n)) and abs(abs(signed).mean() - 20) < 5 * 20 / math.sqrt(
        3 * n
    )
    infinite = [lambda: uniform(0, math.inf), lambda: uniform(-math.inf, 0), lambda: uniform(math.nan, 1), lambda: each(math.nan)]
    for make in (lambda: gamma(-1), lambda: lognormal(1, 0), lambda: uniform(3, 2), lambda: of_both_signs(gamma(1), 1.1), *infinite):
        with pytest.raises(ValueError):
            make()
