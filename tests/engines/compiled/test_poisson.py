"""Poisson trains: their statistics, and that every engine draws the same ones, whatever else runs."""

import numpy as np
import pytest
import torch

from spiketwin.models import Network, PoissonSource, Population, Projection, get_engine, neuron
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.engines.poisson import draw_step, line, mark, poisson, stream
from spiketwin.models.engines.torch import TorchNetwork


def test_trains_have_their_rate():
    # 20 neurons for 2 s at 200 Hz, steps of 0.1 ms: 40,000 expected per 100 trials … here 8,000, of standard deviation 89;
    # 1 % of the steps that hold a spike hold two, which count once
    spikes = poisson(200.0, 20_000, 1, 20, 0.1, stream(3, 0))
    assert abs(len(spikes) - 8000 * 0.99) < 4 * 89


def test_each_neuron_has_its_own_rate_and_silent_ones_none():
    rates = np.array([0.0, 500.0, 0.0, 20.0, 2000.0, 0.0])
    steps, dt_ms = 200_000, 0.5
    counts = poisson(rates, steps, 1, 6, dt_ms, stream(0, 0)).counts()[0]
    share = -np.expm1(-rates * dt_ms * 1e-3)
    deviation = np.sqrt(steps * share * (1 - share))
    assert (np.abs(counts - steps * share) <= 4 * deviation).all()


def test_steps_trials_and_neurons_are_independent():
    spikes = poisson(400.0, 4000, 2, 50, 0.5, stream(1, 0)).dense().astype(float)
    flat = spikes.reshape(4000, 100) - spikes.mean()
    correlation = np.corrcoef(flat.T)
    np.fill_diagonal(correlation, 0)
    # 4,950 coefficients of standard deviation 1/sqrt(4000) = 0.016: the largest is below 5 of them
    assert np.abs(correlation).max() < 5 / np.sqrt(4000)
    following = (flat[1:] * flat[:-1]).mean() / flat.var()
    assert abs(following) < 4 / np.sqrt(flat.size)
    # intervals are geometric: their squared coefficient of variation is 1 - p
    step, train = np.nonzero(spikes.reshape(4000, 100))
    order = np.lexsort((step, train))
    gaps = np.diff(step[order])[np.diff(train[order]) == 0]
    assert gaps.var() / gaps.mean() ** 2 == pytest.approx(1 - spikes.mean(), abs=0.05)


def test_a_step_does_not_depend_on_how_much_is_drawn():
    long, short = poisson(100.0, 50, 3, 30, 1.0, stream(7, 2)), poisson(100.0, 20, 2, 30, 1.0, stream(7, 2))
    np.testing.assert_array_equal(long.dense()[:20, :2], short.dense())
    assert len(short) > 40
    for key in (stream(8, 2), stream(7, 1)):
        assert not poisson(100.0, 20, 2, 30, 1.0, key).equals(short)


@pytest.mark.parametrize("shape", ["even", "skewed", "gaps", "short", "one"])
def test_a_point_falls_on_the_first_neuron_that_ends_beyond_it(shape):
    rng = np.random.default_rng(5)
    rates = {
        "even": np.full(300, 7.0),
        "skewed": 10 ** rng.uniform(-3, 4, 300),
        "gaps": rng.random(300) * (rng.random(300) < 0.2),
        "short": np.where(rng.random(300) < 0.5, 5e-324, 0),
        "one": np.eye(300)[299],
    }[shape]
    ends, drawn, out = line(rates, 300, 1000.0), [], np.empty(300, np.uint32)
    marks = mark(ends)
    assert len(marks) == 301 and (np.diff(marks.astype(int)) >= 0).all() and marks.max() < 300
    for step in range(200):
        drawn.append(out[: draw_step(ends, marks, stream(0, 0), 0, step, out)].copy())
    # with the marks of another line, all wrong, the search takes longer and finds the same
    for misled in (np.zeros_like(marks), np.full_like(marks, 299)):
        for step in range(200):
            np.testing.assert_array_equal(out[: draw_step(ends, misled, stream(0, 0), 0, step, out)], drawn[step])
    assert set(np.concatenate(drawn)) <= set(np.flatnonzero(np.diff(ends, prepend=0)))
    if shape == "short":
        assert not len(np.concatenate(drawn))
    else:
        counts = np.bincount(np.concatenate(drawn), minlength=300)
        share = -np.expm1(-rates)
        assert (np.abs(counts - 200 * share) <= 5 * np.sqrt(200 * share * (1 - share)) + 1).all()


def test_high_rates_fill_every_step():
    spikes = poisson(1e7, 30, 2, 5, 1.0, stream(0, 0))
    assert len(spikes) == 30 * 2 * 5  # each step is missed with probability exp(-10000)


def network(size=20):
    rng = np.random.default_rng(0)
    return Network(
        [Population("p", neuron("cuba_lif"), size)],
        [
            Projection("fast", "p", rng.uniform(0, 120, (size, 30)), "i_syn", unit="pA", name="a", delay_ms=1.0),
            Projection("slow", "p", rng.uniform(0, 120, (size, 40)), "i_syn", unit="pA", name="b"),
            Projection("p", "p", rng.uniform(-60, 60, (size, size)), "i_syn", unit="pA", name="c"),
        ],
        [PoissonSource("fast", 30, 120.0), PoissonSource("slow", 40, rng.uniform(0, 100, 40))],
    )


def test_all_engines_draw_the_same_trains():
    runs = {
        name: get_engine(name).run(network(), dt_ms=0.5, duration_ms=100, trials=3, seed=5, record={"p": ("v",)})
        for name in ("brian", "torch", "compiled")
    }
    assert len(runs["compiled"].spikes["p"]) > 60
    for run in runs.values():
        assert run.spikes["p"].equals(runs["compiled"].spikes["p"])
        np.testing.assert_allclose(run.states["p"]["v"], runs["compiled"].states["p"]["v"], rtol=0, atol=1e-12)
    other = get_engine("compiled").run(network(), dt_ms=0.5, duration_ms=100, trials=3, seed=6)
    assert not other.spikes["p"].equals(runs["compiled"].spikes["p"])


def test_threads_and_other_trials_change_nothing():
    many = [CompiledEngine(threads=k).run(network(), dt_ms=0.5, duration_ms=100, trials=4, seed=5).spikes["p"] for k in (1, 2, 4)]
    assert len(many[0]) > 80
    assert all(m.equals(many[0]) for m in many)
    assert CompiledEngine().run(network(), dt_ms=0.5, duration_ms=100, trials=1, seed=5).spikes["p"].equals(many[0].trial(0))


def test_spikes_that_are_given_take_the_place_of_the_drawn_ones():
    given = poisson(120.0, 200, 1, 30, 0.5, stream(9, 0))
    run = [get_engine(n).run(network(), {"fast": given}, dt_ms=0.5, seed=5).spikes["p"] for n in ("torch", "compiled")]
    assert len(run[0]) > 10 and run[0].equals(run[1])


def test_the_torch_module_draws_from_its_generator():
    module = TorchNetwork(network(), dt_ms=0.5, dtype=torch.float64)
    first, same = (module(steps=200, trials=2, generator=torch.Generator().manual_seed(1)).spikes["p"] for _ in range(2))
    other = module(steps=200, trials=2, generator=torch.Generator().manual_seed(2)).spikes["p"]
    assert first.sum() > 20 and torch.equal(first, same) and not torch.equal(first, other)
