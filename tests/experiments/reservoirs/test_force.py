"""A driven liquid is the liquid that an engine runs with the same current; FORCE keeps a sine when learning has stopped."""

import numpy as np
import pytest

from spiketwin.experiments.reservoirs.force import USUAL_HZ, Driven, Force
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.neurons import cuba_lif
from spiketwin.models.reservoirs import INPUT, liquid, maass_column
from spiketwin.models.reservoirs.response import holding_current, threshold_distance
from spiketwin.models.spikes import Spikes
from spiketwin.models.stacks.heterogeneity import uniform

EVERY, TAUS = 5, (10.0, 40.0)


@pytest.fixture(scope="module")
def weights():
    return np.random.default_rng(1).uniform(-1, 1, (30, 2))


@pytest.fixture(scope="module")
def driven(weights):
    return Driven(liquid(1, 30), weights, every_ms=EVERY, taus_ms=TAUS, membranes=True)


@pytest.mark.parametrize("declared", [{}, {"tau_mem": 10.0, "v_threshold": "-52 mV"}])
def test_driven_is_the_engines_run_with_the_same_current(declared, weights):
    u = np.random.default_rng(2).uniform(-1, 2, (40, 2))
    made = liquid(1, 30, neuron=cuba_lif.with_defaults(**declared))
    driven = Driven(made, weights, every_ms=EVERY, taus_ms=TAUS, membranes=True)
    rows = driven.follow(u)
    cells = made.network.populations[0]
    drive, holding = holding_current(cells.neuron)
    current = cells.drive_values()[drive] + np.repeat(u @ weights.T, EVERY, axis=0)[:, None] * holding
    silent = Spikes([], [], [], (len(current), 1, 1), 1.0)
    answer = CompiledEngine(threads=1).run(
        made.network, {INPUT: silent, f"liquid.{drive}": current}, dt_ms=1.0, scheme="exact", record={"liquid": ("v",)}
    )
    spikes, at = answer.spikes["liquid"], np.arange(EVERY, len(current) + 1, EVERY)[None]
    assert len(spikes) == driven.spikes > 20
    assert driven.rate_hz() == pytest.approx(spikes.rates_hz().mean())
    rates = []
    for tau in TAUS:  # every spike and every read, one by one
        age = np.maximum(at[0][:, None] - spikes.step, 0)
        left = age / tau * np.exp(-age / tau)
        total = np.stack([left[:, spikes.neuron == n].sum(axis=1) for n in range(30)], axis=1)
        rates.append(total / (1e-3 * tau * USUAL_HZ))
    v = answer.states["liquid"]["v"][:, 0].reshape(len(u), EVERY, 30).mean(axis=1)
    share = (v - cells.parameter_values()["v_rest"]) / threshold_distance(cells.neuron)
    assert rows.shape == (40, driven.width)
    np.testing.assert_allclose(rows, np.hstack([*rates, share]), rtol=1e-9, atol=1e-9)


def test_back_goes_back(driven):
    u = np.random.default_rng(3).uniform(-1, 1, (20, 2))
    driven.restart()
    driven.follow(u[:10])
    moment = driven.mark()
    first = driven.follow(u[10:])
    driven.back(moment)
    np.testing.assert_array_equal(driven.follow(u[10:]), first)
    driven.restart()
    assert not np.array_equal(driven.follow(u[10:]), first)


@pytest.mark.parametrize("seed", [0, 3])
def test_a_loop_closed_after_learning_keeps_a_sine_of_5_hz(seed):
    every_ms, size = 4, 200
    made = liquid(1, size, parameters={"tau_syn": 40.0}, background=uniform(1.1, 1.4), connection_scale=0.12, seed=seed)
    weights = 2 * np.random.default_rng(seed).uniform(-1, 1, (size, 1))
    force = Force(Driven(made, weights, every_ms=every_ms, taus_ms=(20.0,)), alpha=0.02)
    time = np.arange(0, 5, every_ms * 1e-3)
    target, learnt = np.sin(2 * np.pi * 5 * time)[:, None], round(4 / (every_ms * 1e-3))
    silent = force.run(10)
    assert not silent.any()
    force.driven.restart()
    taught = force.learn(target[:learnt])
    found = force.run(len(time) - learnt)
    error = np.sqrt(np.mean((found - target[learnt:]) ** 2) / np.mean(target[learnt:] ** 2))
    assert error < 0.25  # 1 is silence, sqrt(2) a sine of another phase; about .1 here, of the phase that drifts
    assert np.abs(taught[:20] - target[:20]).max() > 2 * np.abs(taught[-250:] - target[learnt - 250 : learnt]).mean()
    # five periods in the second, nothing near as strong beside them
    power = np.abs(np.fft.rfft(found[:, 0])) ** 2
    assert power.argmax() == 5 and power[5] > 0.95 * power.sum()


def test_what_does_not_fit_is_named(weights):
    with pytest.raises(ValueError, match="maass_lif"):
        Driven(maass_column(1), np.ones((135, 1)))
    with pytest.raises(ValueError, match=r"shape \(30,\)"):
        Driven(liquid(1, 30), np.ones(30))
    with pytest.raises(ValueError, match="every_ms"):
        Driven(liquid(1, 30), weights, every_ms=0.5)
    with pytest.raises(ValueError, match="taus_ms"):
        Driven(liquid(1, 30), weights, taus_ms=(0.0,))
    with pytest.raises(ValueError, match="taus_ms is empty"):
        Driven(liquid(1, 30), weights, taus_ms=())
    with pytest.raises(ValueError, match="weights hold NaN"):
        Driven(liquid(1, 30), np.full((30, 1), np.nan))
    one = Driven(liquid(1, 30), np.ones((30, 1)))
    for u in ([np.nan], [1.0, 2.0], 1.0):
        with pytest.raises(ValueError, match="give 1 finite numbers"):
            one.hear(u)
    with pytest.raises(ValueError, match=r"target has shape \(5,\); give \[T, 1\]"):
        Force(one).learn(np.zeros(5))
    with pytest.raises(ValueError, match="hears 2 numbers, but 1"):
        Force(Driven(liquid(1, 30), weights))
