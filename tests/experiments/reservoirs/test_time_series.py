"""The reservoirs by their equations, the read-out by scikit-learn's, the split by what must not matter; the study's smallest form."""

import importlib.util
import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge as Reference

from spiketwin.experiments.protocol import combine
from spiketwin.experiments.studies.reservoirs.time_series import forecast, models, tasks
from spiketwin.experiments.studies.reservoirs.time_series import time_series as study

needs_reservoirpy = pytest.mark.skipif(not importlib.util.find_spec("reservoirpy"), reason="needs spiketwin[reservoirs]")


def test_delays_are_the_last_inputs():
    line = models.Delays(1, 3)
    np.testing.assert_array_equal(line.follow(np.array([[1.0], [2.0], [3.0], [4.0]])), [[1, 0, 0], [2, 1, 0], [3, 2, 1], [4, 3, 2]])
    mark = line.mark()
    line.hear(np.array([9.0]))
    line.back(mark)
    np.testing.assert_array_equal(line.hear(np.array([5.0])), [5, 4, 3])


@needs_reservoirpy
def test_echo_state_follows_its_equation():
    reservoir = models.EchoState(1, 30, leak=0.3, radius=0.8, input_scale=0.5, bias=0.2, seed=3)
    u, node, x = np.random.default_rng(0).uniform(-1, 1, (20, 1)), reservoir._node, np.zeros(30)
    W, W_in, b = (np.asarray(m.todense() if hasattr(m, "todense") else m) for m in (node.W, node.Win, node.bias))
    assert np.abs(np.linalg.eigvals(W)).max() == pytest.approx(0.8, rel=1e-6)
    assert 0.4 < np.abs(W_in).max() <= 0.5 and 0.15 < np.abs(b).max() <= 0.2
    wanted = []
    for now in u:
        x = 0.7 * x + 0.3 * np.tanh(W @ x + W_in @ now + b.ravel())
        wanted.append(x)
    np.testing.assert_allclose(reservoir.follow(u), wanted, atol=1e-12)
    mark = reservoir.mark()
    alone = np.array([reservoir.hear(now) for now in u])
    reservoir.back(mark)
    np.testing.assert_allclose(reservoir.follow(u), alone, atol=1e-12)
    reservoir.restart()
    np.testing.assert_allclose(reservoir.follow(u), wanted, atol=1e-12)


def test_without_reservoirpy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "reservoirpy.nodes", None)
    with pytest.raises(ImportError, match=r"spiketwin\[reservoirs\]"):
        models.EchoState(1, 30, leak=0.3, radius=0.8, input_scale=0.5, bias=0.2, seed=3)


def test_read_out_is_ridge_regression():
    rng = np.random.default_rng(0)
    x, wanted = rng.standard_normal((80, 6)) * [1, 2, 3, 1, 1, 0.1] + 4, rng.standard_normal((80, 2))
    centred = x - x.mean(axis=0)
    for penalty in (1e-3, 1.0):
        alpha = penalty * np.sum(centred**2) / 6
        reference = Reference(alpha=alpha).fit(x, wanted)
        weights, constant = tasks.Ridge(x).learn(wanted).weights(penalty)
        np.testing.assert_allclose(weights.T, reference.coef_, rtol=1e-8)
        np.testing.assert_allclose(constant, reference.intercept_, rtol=1e-8)


def test_the_test_stretch_decides_nothing():
    rng, split = np.random.default_rng(1), tasks.Split.of(150, 60, 80, washout=20)
    u = tasks.uniform_input(split.test, rng)
    (narma, memory), rows = tasks.UNIFORM, models.Delays(1, 12).follow(u[:, None])
    assert split == (20, 170, 230, 310) and len(rows) == 310
    wanted = {task.name: task.wanted(u) for task in tasks.UNIFORM}
    choices = tasks.chosen(tasks.UNIFORM, rows, wanted, split)
    spoilt, other = rows.copy(), {name: of.copy() for name, of in wanted.items()}
    spoilt[split.validation :] = rng.random(rows[split.validation :].shape)
    for of in other.values():
        of[split.validation :] = 0.0
    assert tasks.chosen(tasks.UNIFORM, spoilt, other, split) == choices
    assert choices[narma.name].error < 0.9
    found, right = tasks.tested(rows, wanted[memory.name], split, choices[memory.name].penalty)
    assert found.shape == right.shape == (80, tasks.LAGS)
    # a line of 12 inputs knows those of 1 … 11 steps ago, and no others
    assert memory.score(found, right) == pytest.approx(11, abs=1.5)
    np.testing.assert_allclose(memory.curve(found, right)[:11], 1, atol=1e-4)
    assert memory.curve(found, right)[12:].max() < 0.3


def test_scores_of_bits():
    (xor,) = tasks.BITS
    u = np.array([1.0, 1.0, -1.0, 1.0])
    wanted = xor.wanted(u)
    np.testing.assert_array_equal(wanted[:, 0], [1, -1, 1, 1])  # the bit before the first is 0
    assert xor.score(wanted, wanted) == 100 and xor.score(-wanted, wanted) == 0
    np.testing.assert_array_equal(xor.curve(wanted * [1] + 2 * (np.arange(10) == 0), wanted), [75, *[100] * 9])


def test_a_line_of_inputs_goes_on_alone_with_a_sine():
    # x(t+1) = 2 cos(w) x(t) - x(t-1): two inputs foretell a sine for good
    x = np.sin(0.3 * np.arange(forecast.LEARNT + 100)) + 3
    given = forecast.Series(x, float(x[: forecast.LEARNT].mean()), float(x[: forecast.LEARNT].std()))
    line, columns = models.Delays(1, 2), {"inputs": slice(None)}
    choice = forecast.validated(line, columns, [given, given])["inputs"]
    assert choice.error < 0.1 and choice.penalty == min(forecast.TRIED)
    np.testing.assert_allclose(forecast.foretold(line, slice(None), given, choice.penalty), x[forecast.LEARNT :], atol=0.02)


def test_series_begin_half_a_lyapunov_time_apart():
    first, third = forecast.series(range(0, 3, 2), 1)
    np.testing.assert_allclose(third.x[: -forecast.POINTS], first.x[forecast.POINTS :])
    assert len(first.x) == 11 * 75
    np.testing.assert_allclose([first.heard[:750].mean(), first.heard[:750].std()], [0, 1], atol=1e-9)


def test_what_is_counted_is_one_or_more():
    for of in ({"settings": 0}, {"repeats": 0}, {"size": -3}, {"train": 2.5}):
        with pytest.raises(ValueError, match=f"{next(iter(of))} = .* must be a whole number and at least 1"):
            study.Config(**of)


@pytest.fixture(scope="module")
def smoke():
    return study.smoke()


@needs_reservoirpy
def test_smoke(smoke):
    for metric in ("narma10_nrmse", "memory_capacity", "delayed_xor_accuracy", "mackey_glass_smape"):
        found = {name.removeprefix(f"{metric}_") for name in smoke.metrics if name.startswith(metric)}
        assert found == {"inputs", "echo_state", "liquid", "liquid_rich"} - ({"inputs"} if metric == "memory_capacity" else set())
    assert smoke.mean("narma10_nrmse_echo_state") < 1 and smoke.mean("memory_capacity_liquid_rich") > 1
    assert smoke.mean("delayed_xor_accuracy_liquid_rich") > 50


@needs_reservoirpy
def test_figure_shows_every_seed(smoke):
    alone, two = study.draw(smoke), study.draw(combine([smoke, replace(smoke, seeds=(1,))]))
    narma, memory, xor, glass = two.axes
    assert len(narma.patches) == 4 and all(len(line.get_xdata()) == 2 for line in narma.lines)
    np.testing.assert_allclose(memory.lines[-1].get_ydata(), smoke.curves["memory_capacity_liquid_rich"])
    np.testing.assert_allclose(glass.lines[0].get_ydata(), smoke.curves["mackey_glass"])
    assert len(xor.lines) == len(alone.axes[2].lines) == 5
