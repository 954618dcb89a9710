"""Sessions of the compiled engine: runs that continue each other, bit for bit, and what can be read and set between them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse

from spiketwin.models import Network, PoissonSource, Population, Projection, Spikes, SpikeSource, neuron
from spiketwin.models.engines.compiled import CompiledEngine, source
from spiketwin.models.plasticity import Normalisation
from spiketwin.rules.plasticity.diehl_cook import diehl_cook
from spiketwin.rules.plasticity.pair import additive

ENGINE = CompiledEngine()
DT_MS = 0.5
FAST = diehl_cook.with_parameters(nu_pre=0.02, nu_post=0.1)


def learning_network(seed=1, size=12, inputs=8, rule=FAST):
    """Plastic input with delays up to 10 ms, static recurrence with delays, refractory neurons."""
    rng = np.random.default_rng(seed)
    recurrent = scipy.sparse.random_array(
        (size, size), density=0.3, format="csr", rng=rng, data_sampler=lambda size: rng.normal(0, 60, size)
    )
    delays = recurrent.copy()
    delays.data = rng.uniform(0, 5, recurrent.nnz)
    return Network(
        [Population("cells", neuron("cuba_lif"), size, drives={"i_ext": rng.uniform(0.1e-9, 0.19e-9, size)})],
        [
            Projection(
                "input", "cells", rng.random((size, inputs)), "i_syn", "nA", rng.uniform(0, 10, (size, inputs)),
                name="learning", rule=rule, normalisation=Normalisation(4.0),
            ),
            Projection("cells", "cells", recurrent, "i_syn", "pA", delays),
        ],
        [SpikeSource("input", inputs)],
    )  # fmt: skip


NETWORK = learning_network()


def given(rng, duration_ms, size=8, share=0.01):
    return Spikes.from_dense((rng.random((round(duration_ms / DT_MS), 1, size)) < share).astype(int), DT_MS)


def start(network=NETWORK, **options):
    return ENGINE.start(network, dt_ms=DT_MS, **options)


def assert_same(a, b):
    mine, other = a._snapshot(), b._snapshot()
    assert mine.keys() == other.keys()
    for snapshot in (mine, other):  # in whatever order synapses of different neurons learn
        snapshot["due0"] = snapshot["due0"][:, np.lexsort(snapshot["due0"])]
    for name in set(mine) - {"runs"}:
        np.testing.assert_array_equal(mine[name], other[name], err_msg=name)


def test_pieces_are_the_whole_bit_for_bit():
    spikes = given(np.random.default_rng(2), 400)
    whole = ENGINE.run(NETWORK, {"input": spikes}, dt_ms=DT_MS, record={"cells": ("v",)})
    assert len(whole.spikes["cells"]) > 50
    session, steps, v, w = start(), [], [], []
    for first, last in ((0, 1), (1, 300), (300, 301), (301, 800)):
        piece = (spikes.step >= first) & (spikes.step < last)
        part = Spikes(spikes.step[piece] - first, spikes.batch[piece], spikes.neuron[piece], (last - first, 1, 8), DT_MS)
        run = session.run({"input": part}, duration_ms=(last - first) * DT_MS, record={"cells": ("v",)})
        steps.append(run.spikes["cells"].step + first)
        v.append(run.states["cells"]["v"])
        w.append(run.spikes["cells"].neuron)
    np.testing.assert_array_equal(np.concatenate(steps), whole.spikes["cells"].step)
    np.testing.assert_array_equal(np.concatenate(w), whole.spikes["cells"].neuron)
    np.testing.assert_array_equal(np.concatenate(v), whole.states["cells"]["v"])
    np.testing.assert_array_equal(session.weights("learning"), NETWORK.projections[0].matrix(whole.weights["learning"][0]))
    assert session.time_ms == 400
    assert not np.array_equal(session.weights("learning"), NETWORK.projections[0].weights)


def test_saved_and_loaded_it_goes_on_bit_for_bit(tmp_path):
    rates = np.linspace(0, 60, 8)
    one = start(seed=7)
    one.run({"input": rates}, duration_ms=200)
    path = one.save(tmp_path / "session.npz", seen=np.arange(3))
    with np.load(path) as saved:
        assert saved["beside/seen"].tolist() == [0, 1, 2]
    two = start(seed=0).load(path)
    for session in (one, two):
        session.normalise()
    runs = [session.run({"input": rates}, duration_ms=150) for session in (one, two)]
    assert len(runs[0].spikes["cells"]) > 10 and runs[0].spikes["cells"].equals(runs[1].spikes["cells"])
    assert_same(one, two)
    assert [p.name for p in tmp_path.iterdir()] == ["session.npz"]
    with pytest.raises(ValueError, match="of another network, scheme or dt"):
        start(scheme="euler").load(path)
    with pytest.raises(ValueError, match="differ in size"):
        start(learning_network(size=13)).load(path)
    with np.load(path) as saved:
        np.savez(tmp_path / "older.npz", **{name: saved[name] for name in saved.files if name != "peaks0"})
    with pytest.raises(ValueError, match=r"older\.npz was saved by another version of spiketwin, without 'peaks0'"):
        start().load(tmp_path / "older.npz")


def test_a_saved_session_is_known_by_its_equations_not_by_the_code_that_runs_them(tmp_path, monkeypatch):
    one = start(seed=7)
    one.run({"input": 50.0}, duration_ms=100)
    path = one.save(tmp_path / "session.npz")
    slower = learning_network(rule=FAST.with_parameters(nu_post=0.01))  # values may differ: learning goes on with another rate
    assert start(slower).load(path).time_ms == 100
    with pytest.raises(ValueError, match="of another network, scheme or dt"):
        start(learning_network(rule=additive)).load(path)
    with np.load(path) as saved:  # rows of what is on its way are as long as the population, however the engine lays them out
        assert saved["flight0"].shape == (21, 12)
    monkeypatch.setattr("spiketwin.models.engines.compiled.source.HEADER", source.HEADER + "# newer kernels\n")
    source.source.cache_clear()
    newer = start(seed=0).load(path)
    for session in (one, newer):
        session.run({"input": 50.0}, duration_ms=100)
    assert_same(one, newer)
    source.source.cache_clear()


def test_rates_may_change_with_every_run_and_what_is_drawn_is_sent():
    network = Network(
        [Population("p", neuron("cuba_lif"), 1)], [Projection("input", "p", np.ones((1, 3)), "i_syn", "pA")], [SpikeSource("input", 3)]
    )
    a = start(network, seed=4)
    drawn = a.draw({"input": np.array([0.0, 50.0, 200.0])}, duration_ms=100)["input"]
    assert 0 not in drawn.neuron and (drawn.neuron == 2).sum() > (drawn.neuron == 1).sum() > 0
    # what is drawn next is what the run sends
    a.run({"input": np.array([0.0, 50.0, 200.0])}, duration_ms=100)
    c = start(network, seed=4)
    c.run({"input": drawn}, duration_ms=100)
    np.testing.assert_array_equal(a.state("p", "i_syn"), c.state("p", "i_syn"))
    assert not a.draw({"input": 100.0}, duration_ms=100)["input"].equals(c.draw({"input": 50.0}, duration_ms=100)["input"])


def test_the_weights_that_reach_a_neuron_are_summed():
    session = start()
    session.run({"input": 60.0}, duration_ms=100)
    sums = np.asarray(session.weights("learning")).sum(axis=1)
    np.testing.assert_allclose(session.total("learning"), sums, rtol=1e-12)
    np.testing.assert_allclose(session.total("learning", np.array([7, 2])), sums[[7, 2]], rtol=1e-12)
    with pytest.raises(ValueError, match="unknown plastic projection 'other'"):
        session.total("other")


def test_parameters_of_a_rule_may_change_between_runs():
    """As a network with the new values would go on from there, and with the old ones again as if nothing had been."""
    one, other, back = start(seed=3), start(learning_network(rule=FAST.with_parameters(nu_post=0.02)), seed=3), start(seed=3)
    one.set_parameters("learning", nu_post=0.02)
    back.set_parameters("learning", nu_post=0.02)
    back.set_parameters("learning", nu_post=FAST.values["nu_post"])
    unchanged = start(seed=3)
    for session in (one, other, back, unchanged):
        session.run({"input": 60.0}, duration_ms=200)
    np.testing.assert_array_equal(one.weights("learning"), other.weights("learning"))
    np.testing.assert_array_equal(back.weights("learning"), unchanged.weights("learning"))
    assert not np.array_equal(one.weights("learning"), unchanged.weights("learning"))
    for values, message in (
        ({"tau_pre": 10}, "'tau_pre' of 'diehl_cook' is part of its traces or bounds"),
        ({"w_max": 2}, "'w_max' of 'diehl_cook' is part of its traces or bounds"),
        ({"nu_post": -1}, "nu_post"),
        ({"eta": 1}, "unknown parameter 'eta'"),
    ):
        with pytest.raises(ValueError, match=message):
            one.set_parameters("learning", **values)


def test_an_input_that_ends_before_the_run_is_a_stimulus_and_a_rest():
    whole, parts = start(), start()
    ran = whole.run({"input": 80.0}, duration_ms=30, input_ms=20)
    shown, rest = parts.run({"input": 80.0}, duration_ms=20), parts.run(duration_ms=10)
    expected = np.concatenate([shown.spikes["cells"].step, rest.spikes["cells"].step + shown.spikes["cells"].shape[0]])
    assert len(expected) and np.array_equal(ran.spikes["cells"].step, expected)
    assert np.array_equal(whole.weights("learning"), parts.weights("learning"))
    with pytest.raises(ValueError, match="input_ms = 31"):
        whole.run({"input": 80.0}, duration_ms=30, input_ms=31)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_series_of_stimuli_is_one_run_after_the_other(threads, monkeypatch):
    """Bit for bit, weights scaled before each, whatever the number of threads."""
    monkeypatch.setattr("spiketwin.models.engines.compiled.program.WORTH_MEETING", 1)
    base = learning_network(size=130)
    (learning, recurrent), stimuli = base.projections, np.random.default_rng(4).uniform(0, 150, (5, 8))
    regularly = replace(learning, normalisation=replace(learning.normalisation, every_ms=40.0))
    whole = CompiledEngine(threads=threads).start(replace(base, projections=(regularly, recurrent)), dt_ms=DT_MS, seed=6)
    assert whole._team.parts == threads
    # of one type for all threads: numba would compile the network for each type anew
    assert {whole._team.array(name, part).dtype for name in ("begin0", "end0") for part in range(threads)} == {np.dtype(np.uint64)}
    drawn = whole.draw({"input": stimuli}, duration_ms=200)["input"]
    ran = whole.run({"input": stimuli}, duration_ms=200, input_ms=30).spikes["cells"]
    one_by_one, steps, neurons = start(base, seed=6), [], []
    for k, rates in enumerate(stimuli):
        one_by_one.normalise()
        spikes = one_by_one.run({"input": rates}, duration_ms=40, input_ms=30).spikes["cells"]
        steps.append(spikes.step + 80 * k)
        neurons.append(spikes.neuron)
    assert len(ran) > 50
    np.testing.assert_array_equal(ran.step, np.concatenate(steps))
    np.testing.assert_array_equal(ran.neuron, np.concatenate(neurons))
    assert_same(whole, one_by_one)
    # what is drawn for all of a stimulus begins as what was drawn for some of it
    again = CompiledEngine(threads=threads).start(replace(base, projections=(regularly, recurrent)), dt_ms=DT_MS, seed=6)
    kept = drawn.step % 80 < 60
    shown = Spikes(drawn.step[kept], drawn.batch[kept], drawn.neuron[kept], drawn.shape, DT_MS)
    assert again.run({"input": shown}, duration_ms=200).spikes["cells"].equals(ran)


def test_weights_out_of_bounds_before_the_first_run_are_not_forgotten():
    """Scaled beyond the bounds, a weight is clipped by the first spike that arrives, as in Brian2."""
    learning = Projection("input", "cells", np.array([[0.5, 0.1]]), "i_syn", "nA", name="w", rule=FAST, normalisation=Normalisation(3.0))
    session = start(Network([Population("cells", neuron("cuba_lif"), 1)], [learning], [SpikeSource("input", 2)]))
    session.normalise()
    assert session.weights("w")[0].tolist() == pytest.approx([2.5, 0.5])
    session.run({"input": Spikes([1], [0], [0], (4, 1, 2), DT_MS)}, duration_ms=2)
    assert session.weights("w")[0].tolist() == pytest.approx([1.0, 0.5])


def test_a_poisson_source_fires_in_a_session_as_in_a_run():
    base = learning_network()
    network = Network(base.populations, base.projections, [PoissonSource("input", 8, 30.0)])
    whole = ENGINE.run(network, dt_ms=DT_MS, duration_ms=300, seed=5)
    session = start(network, seed=5)
    counts = sum(session.run(duration_ms=d).spikes["cells"].counts() for d in (100, 200))
    assert counts.sum() > 20
    np.testing.assert_array_equal(counts, whole.spikes["cells"].counts())
    np.testing.assert_array_equal(session.weights("learning"), network.projections[0].matrix(whole.weights["learning"][0]))


def test_a_source_of_its_own_rate_and_noise_go_on_too():
    network = Network(
        [Population("noisy", neuron("noisy_lif"), 3), Population("escape", neuron("escape_lif"), 3, drives={"i_ext": "0.23 nA"})],
        [Projection("input", "noisy", np.full((3, 2), 0.1), "i_syn", "nA")],
        [PoissonSource("input", 2, 200.0)],
    )
    runs = []
    for _ in range(2):
        session = start(network, scheme="heun", seed=3)
        runs.append([session.run(duration_ms=100) for _ in range(2)])
    for name in ("noisy", "escape"):
        assert len(runs[0][1].spikes[name]) > 0
        assert runs[0][1].spikes[name].equals(runs[1][1].spikes[name])
        assert not runs[0][0].spikes[name].equals(runs[0][1].spikes[name])


def test_weights_read_and_set():
    session = start()
    new = np.random.default_rng(3).random((12, 8))
    session.set_weights("learning", new)
    np.testing.assert_array_equal(session.weights("learning"), new)
    session.weights("learning")[:] = 0  # a copy
    np.testing.assert_array_equal(session.weights("learning"), new)
    for bad, message in (
        (new + 1, "outside the bounds"),
        (new[:, :7], "other synapses"),
        (scipy.sparse.csr_array(new > 0.5) * 0.5, "other synapses"),
    ):
        with pytest.raises(ValueError, match=message):
            session.set_weights("learning", bad)
    with pytest.raises(ValueError, match="unknown plastic projection 'lerning'"):
        session.weights("lerning")


def test_spikes_on_their_way_carry_the_weights_they_will_arrive_with():
    """Weights set or scaled while a spike travels for 10 steps: it delivers the new ones, as in Brian2."""
    learning = Projection(
        "input", "cells", np.array([[0.5, 0.5]]), "i_syn", "nA", 5.0, name="w", rule=FAST, normalisation=Normalisation(0.4)
    )
    network = Network([Population("cells", neuron("cuba_lif"), 1)], [learning], [SpikeSource("input", 2)])
    spike = Spikes([0], [0], [1], (4, 1, 2), DT_MS)
    for change, factor in (
        (lambda s: s.set_weights("w", np.array([[0.1, 0.9]])), 0.9),
        (lambda s: s.normalise(), 0.2),
        (lambda s: None, 0.5),
    ):
        session = start(network)
        session.run({"input": spike}, duration_ms=2)
        change(session)
        trace = session.run(duration_ms=10, record={"cells": ("i_syn",)}).states["cells"]["i_syn"][:, 0, 0]
        # fired in step 0, it acts at the end of step 10, so from step 11 on: 7 steps into this run
        assert trace[6] == 0
        assert trace[7] == pytest.approx(factor * 1e-9, rel=1e-12)


def test_states_can_be_set():
    session = start()
    session.state("cells", "v")[:] = -50.5e-3
    assert session.run(duration_ms=DT_MS, record={"cells": ("v",)}).states["cells"]["v"][0, 0, 3] == -50.5e-3
    with pytest.raises(ValueError, match="unknown state 'u'"):
        session.state("cells", "u")


def test_interrupted_it_stands_at_the_last_step_done():
    session = start()

    def stop(share):
        raise KeyboardInterrupt

    session._budget = 100  # steps of one call
    with pytest.raises(KeyboardInterrupt):
        session.run({"input": 30.0}, duration_ms=500, progress=stop)
    assert session.time_ms == 50
    seen = []
    session.run({"input": 30.0}, duration_ms=500, progress=seen.append)
    assert session.time_ms == 550 and seen[-1] == 1 and len(seen) > 1


def test_a_call_that_took_long_once_does_not_slow_down_what_follows():
    """On a busy machine any call may last; steps would be called one by one ever after."""
    session = start()
    session._budget, calls = 1, []
    session.run({"input": 30.0}, duration_ms=2000, progress=calls.append)
    # 1 + 4 + 16 + … reach 4000 steps in 7 calls; a few more where the machine is busy now
    assert len(calls) < 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(duration_ms=0.1), "0 steps of 0.5 ms"),
        (dict(inputs={"inptu": 5.0}, duration_ms=5), "unknown source 'inptu'"),
        (dict(inputs={"input": -1.0}, duration_ms=5), "rates of 'input' must be finite, not negative"),
        (dict(inputs={"input": np.full(8, np.nan)}, duration_ms=5), "rates of 'input' must be finite"),
        (dict(inputs={"input": np.ones(7)}, duration_ms=5), "one value, 8, or 8 for each stimulus, got shape \\(7,\\)"),
        (dict(inputs={"input": np.ones((2, 7))}, duration_ms=5), "or 8 for each stimulus, got shape \\(2, 7\\)"),
        (dict(inputs={"input": np.ones((3, 8))}, duration_ms=5), "the run has 10 steps of 0.5 ms, no multiple of the 3 stimuli"),
        (dict(inputs={"input": np.ones((2, 8))}, duration_ms=5, input_ms=3), "input_ms = 3 is 6 steps of 0.5 ms; give 1 … 5"),
        (
            dict(inputs={"input": np.ones((0, 8))}, duration_ms=5),
            "must have as many stimuli for each source, at least one, but they have {'input': 0}",
        ),
        (dict(inputs={"input": np.full((2, 8), -1.0)}, duration_ms=5), "must be finite, not negative"),
        (dict(record={"cells": ("u",)}, duration_ms=5), "unknown state to record 'u'"),
        (dict(record={"learning": ("w",)}, duration_ms=5), "unknown population to record 'learning'"),
        (dict(inputs={"input": Spikes([0], [0], [0], (9, 1, 8), DT_MS)}, duration_ms=5), "but the run needs"),
    ],
)
def test_a_mistake_is_named_and_changes_nothing(arguments, message):
    session = start()
    with pytest.raises(ValueError, match=message):
        session.run(arguments.pop("inputs", None), **arguments)
    assert session.time_ms == 0


def test_silence_stays_fast():
    """Conductances that decay for seconds must not crawl among the denormal numbers."""
    import time

    session = CompiledEngine(dtype="float32").start(learning_network(size=200), dt_ms=DT_MS, scheme="euler")
    session.run({"input": 50.0}, duration_ms=100)
    session.state("cells", "i_syn")[:] = 1e-9
    seconds = []
    for _ in range(12):  # after 12 s at a factor of .9 per step nothing is left
        start_s = time.process_time()
        session.run(duration_ms=1000)
        seconds.append(time.process_time() - start_s)
    assert min(seconds[6:]) < 3 * min(seconds[:2])
