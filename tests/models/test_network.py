"""Networks as data: the same synapses from dense, sparse and convolutional weights, and every misfit named."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from scipy.signal import correlate2d

from spiketwin.models.network import (
    Convolution,
    Network,
    PoissonSource,
    Population,
    Projection,
    SpikeSource,
)
from spiketwin.models.neurons import neuron
from spiketwin.models.spec import SpecError
from spiketwin.models.units import UnitError

CUBA = neuron("cuba_lif")


def test_parameters_drives_and_initial_values_in_si():
    cells = Population(
        "cells", CUBA, 2, parameters={"tau_mem": [10, 30], "v_rest": "-65 mV"}, drives={"i_ext": "0.5 nA"}, initial={"i_syn": 1e-9}
    )
    np.testing.assert_allclose(cells.parameter_values()["tau_mem"], [0.01, 0.03])
    np.testing.assert_allclose(cells.drive_values()["i_ext"], 5e-10)
    np.testing.assert_allclose(cells.initial_values()["v"], [-0.065, -0.065])  # the model's rule is v = v_rest
    np.testing.assert_allclose(cells.initial_values()["i_syn"], 1e-9)


def test_initial_values_follow_earlier_states():
    cells = Population("cells", neuron("hh_1952"), 1, initial={"v": "-40 mV"})
    # alpha_m is 1/ms and beta_m 4 exp(-25/18)/ms at -40 mV
    assert cells.initial_values()["m"][0] == pytest.approx(1 / (1 + 4 * np.exp(-25 / 18)))


def test_dense_and_sparse_weights_are_the_same_synapses():
    weights = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    delays = weights / 10
    dense = Projection("a", "b", weights, "i_syn", unit="nA", delay_ms=delays).synapses()
    sparse = Projection("a", "b", scipy.sparse.csr_array(weights), "i_syn", unit="nA", delay_ms=scipy.sparse.csr_array(delays)).synapses()
    for one, other in zip(dense, sparse, strict=True):
        np.testing.assert_allclose(one, other)
    pre, post, weight, delay = dense
    assert list(pre) == [0, 0, 1, 1, 2, 2] and list(post) == [0, 1] * 3
    np.testing.assert_allclose(weight, [1e-9, 4e-9, 2e-9, 5e-9, 3e-9, 6e-9])
    np.testing.assert_allclose(delay, weight * 1e8)


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 2), (2, 1)])
def test_convolution_is_a_correlation(stride, padding):
    rng = np.random.default_rng(0)
    kernel, image = rng.normal(size=(2, 3, 3, 3)), rng.normal(size=(3, 6, 5))
    convolution = Convolution(kernel, 6, 5, stride, padding)
    padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
    expected = np.array([sum(correlate2d(c, k, "valid") for c, k in zip(padded, ks, strict=True)) for ks in kernel])[:, ::stride, ::stride]
    assert expected.shape[1:] == convolution.out_size
    np.testing.assert_allclose(convolution.to_sparse() @ image.ravel(), expected.ravel())


def network(weights=((1.0,) * 3,) * 2, *, receptor="i_syn", unit="nA", source="in", target="cells", delay_ms=0.0):
    return Network(
        [Population("cells", CUBA, 2)], [Projection(source, target, np.array(weights), receptor, unit, delay_ms)], [SpikeSource("in", 3)]
    )


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: network(np.ones((3, 2))), ValueError, r"shape \(3, 2\), but \[N_post, N_pre\] is \(2, 3\); transpose them"),
        (lambda: network(np.ones((2, 4))), ValueError, r"shape \(2, 4\), but"),
        (lambda: network(np.full((2, 3), np.nan)), ValueError, "hold 6 values that are NaN or infinite"),
        (lambda: network(receptor="i_exc"), SpecError, "unknown input 'i_exc' of 'cuba_lif'"),
        (lambda: network(unit="nS"), UnitError, "are in nS, but 'i_syn' of 'cuba_lif' is in amp"),
        (lambda: network(source="input"), ValueError, "unknown source 'input'.*Did you mean 'in'?"),
        (lambda: network(target="cell"), ValueError, "unknown target 'cell'.*Did you mean 'cells'?"),
        (lambda: network(delay_ms=-1.0), ValueError, "must be finite and not negative"),
        (lambda: network(delay_ms=np.ones((3, 2))), ValueError, r"delays of .* have shape \(3, 2\)"),
        (lambda: Network([Population("a", CUBA, 1)] * 2), ValueError, "'a' is declared twice"),
        (lambda: Population("a", CUBA, 0), ValueError, "size of 'a' is 0"),
        (lambda: Population("a", CUBA, 2, {"tau_m": 1}), SpecError, "unknown parameter 'tau_m' of 'cuba_lif'. Did you mean 'tau_mem'"),
        (lambda: Population("a", CUBA, 2, {"tau_mem": [1, 2, 3]}), ValueError, r"shape \(3,\); give one value or 2"),
        (lambda: Population("a", CUBA, 2, {"tau_mem": [1, -2]}), SpecError, r"'tau_mem' = -2.0 ms lies outside"),
        (lambda: Population("a", CUBA, 2, drives={"i": 1}), SpecError, "unknown drive 'i'.*Brian2 reserves 'i'"),
        (lambda: Population("a", CUBA, 2, drives={"i_ext": "1 mV"}), UnitError, "'i_ext' = 1 mV has unit volt, but amp"),
        (lambda: PoissonSource("p", 2, -1), ValueError, "rate_hz of 'p' must be finite, not negative"),
    ],
)
def test_misfits(make, error, message):
    with pytest.raises(error, match=message):
        make()
