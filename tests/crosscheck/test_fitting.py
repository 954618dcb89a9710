"""The instruments of the convergence level against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from spiketwin.experiments.crosscheck.fitting import Stepper, fitted_order
from spiketwin.models.neurons import neuron


def test_the_fit_finds_the_order_and_ignores_what_lies_below_the_floor():
    dt = 1 / 2.0 ** np.arange(10)
    error = 0.3 * dt**4 + 1e-10
    slope, used = fitted_order(dt, error, floor=1e-7)
    assert slope == pytest.approx(4, abs=0.02)
    assert used.stop - used.start == 3
    assert np.isnan(fitted_order(dt, np.full(10, 1e-12), floor=1e-10)[0])


def test_the_first_spike_is_found_between_grid_points():
    # f-I of the golden table's neuron from reset 10 mV, tau 20, RI/Vth = 2: first crossing from 0 at tau ln(RI/(RI - Vth))
    spec = neuron("lif")
    values = {n: p.si for n, p in spec.parameters.items()} | {
        "v_rest": 0.0,
        "v_threshold": 20e-3,
        "tau_mem": 20e-3,
        "r": 1e6,
        "i_ext": 40e-9,
    }
    found = Stepper(spec, "exact", values, 0.5e-3).first_spike_s({"v": 0.0}, 100)
    assert found == pytest.approx(20e-3 * np.log(2), rel=1e-10)


def test_no_spike_is_nan():
    spec = neuron("lif")
    values = {n: p.si for n, p in spec.parameters.items()} | {"i_ext": 0.0}
    assert np.isnan(Stepper(spec, "exact", values, 1e-3).first_spike_s({"v": -70e-3}, 50))
