"""One trial whose neurons are shared out over threads is the trial in one piece, to the last bit."""

import numpy as np
import pytest
import scipy.sparse

from spiketwin.experiments.studies.learning_rules.diehl_cook import EXCITATORY, INHIBITORY, INPUT, LEARNING, all_but_own, build
from spiketwin.models.engines.base import prepare
from spiketwin.models.engines.compiled import CompiledEngine, program
from spiketwin.models.network import Network, PoissonSource, Population, Projection, SpikeSource
from spiketwin.models.neurons import neuron
from spiketwin.models.spikes import Spikes
from spiketwin.rules.plasticity.diehl_cook import diehl_cook

SIZE, STEPS, DT_MS = 200, 100, 0.5


def network(model="cuba_lif", source="given"):
    """Everything that can differ between neurons does: parameters, drives, initial states, weights, delays."""
    rng = np.random.default_rng(0)
    sparse = scipy.sparse.csr_array(np.where(rng.random((SIZE, 30)) < 0.3, rng.uniform(0, 150, (SIZE, 30)), 0))
    delays = scipy.sparse.csr_array((rng.uniform(0, 4, sparse.nnz), sparse.indices, sparse.indptr), shape=sparse.shape)
    cells = Population(
        "cells",
        neuron(model),
        SIZE,
        parameters={"tau_mem": rng.uniform(10, 30, SIZE), "v_threshold": "-52 mV"},
        drives={"i_ext": rng.uniform(0.1e-9, 0.2e-9, SIZE)},
        initial={"v": rng.uniform(-70e-3, -55e-3, SIZE)},
    )
    others = Population("others", neuron("cuba_lif"), 130)
    return Network(
        [cells, others],
        [
            Projection("input", "cells", sparse, "i_syn", unit="pA", delay_ms=delays, name="sparse"),
            Projection("input", "cells", rng.uniform(0, 20, (SIZE, 30)), "i_syn", unit="pA", delay_ms=1.0, name="dense"),
            Projection("input", "others", rng.uniform(0, 200, (130, 30)), "i_syn", unit="pA", name="to_others"),
        ],
        [PoissonSource("input", 30, 80.0) if source == "poisson" else SpikeSource("input", 30)],
    )


def inputs(source, trials):
    rng = np.random.default_rng(1)
    varying = {"others.i_ext": rng.uniform(0.1e-9, 0.3e-9, (STEPS, 1, 130))}
    if source == "poisson":
        return varying
    return varying | {"input": Spikes.from_dense((rng.random((STEPS, trials, 30)) < 0.04).astype(int), DT_MS)}


@pytest.mark.parametrize(("model", "scheme"), [("cuba_lif", "exact"), ("noisy_lif", "euler_maruyama")])
@pytest.mark.parametrize(("source", "trials"), [("given", 1), ("poisson", 2)])
def test_blocks_give_what_one_piece_gives(monkeypatch, model, scheme, source, trials):
    monkeypatch.setattr(program, "WORTH_MEETING", 1)
    monkeypatch.setattr(program, "WORTH_WAKING", 1)
    net = network(model, source) if model == "cuba_lif" else Network([Population("cells", neuron(model), SIZE, drives={"i_ext": "0.2 nA"})])
    given = inputs(source, trials) if model == "cuba_lif" else {}
    arguments = dict(dt_ms=DT_MS, scheme=scheme, duration_ms=STEPS * DT_MS, trials=trials, record={"cells": ("v", "i_syn")}, seed=4)
    whole, *others = (CompiledEngine(threads=k).run(net, given, **arguments) for k in (1, 2 * trials, 3 * trials))
    assert len(whole.spikes["cells"]) > 50
    for other in others:
        for p in net.populations:
            assert other.spikes[p.name].equals(whole.spikes[p.name])
            for state in p.neuron.states:
                np.testing.assert_array_equal(other.final[p.name][state], whole.final[p.name][state])
        for state in ("v", "i_syn"):
            np.testing.assert_array_equal(other.states["cells"][state], whole.states["cells"][state])


def test_neurons_are_shared_out_only_where_it_pays():
    def count(net, threads, duration_ms):
        made = program.Program(prepare(net, dt_ms=0.1, scheme="exact", duration_ms=duration_ms), np.dtype("float64"))
        return made.parts(threads, made.run.steps)

    large = Network([Population("p", neuron("lif"), 10_000)])
    assert count(large, 2, 1000) == 2 and count(large, 4, 1000) == 4
    assert count(large, 4, 1) == 1  # the threads would cost more than they gain
    assert count(large, 1, 1000) == 1 and count(large, 0, 1000) == 1
    assert count(Network([Population("p", neuron("lif"), 100)]), 4, 100_000) == 1  # shorter than a meeting

    def heard(rule):
        every = Projection("input", "p", np.ones((400, 9000)), "i_syn", "nA", rule=rule)
        return Network([Population("p", neuron("cuba_lif"), 400)], [every], [PoissonSource("input", 9000, 5.0)])

    # synapses that learn are work, too
    assert count(heard(None), 2, 10_000) == 1 and count(heard(diehl_cook), 2, 10_000) == 2


def test_neurons_that_never_fire_have_nothing_to_meet_for():
    drive = np.linspace(0, 1e-9, 50_000)
    net = Network([Population("p", neuron("leaky_readout"), len(drive), drives={"i_ext": drive})])
    one, two = (CompiledEngine(threads=n).start(net, dt_ms=0.1, scheme="exact") for n in (1, 2))
    assert two._team.parts == 2
    for session in (one, two):
        session.run(duration_ms=3.0)
    np.testing.assert_array_equal(two.state("p", "v"), one.state("p", "v"))
    assert one.state("p", "v")[-1] != one.state("p", "v")[0]


def coupled(learning: bool) -> Network:
    """Neurons that excite and inhibit each other with delays, dense, sparse and gated; one projection may learn."""
    rng = np.random.default_rng(3)
    sparse = scipy.sparse.csr_array(np.where(rng.random((SIZE, SIZE)) < 0.1, rng.normal(0, 60, (SIZE, SIZE)), 0))
    delays = scipy.sparse.csr_array((rng.uniform(0.5, 6, sparse.nnz), sparse.indices, sparse.indptr), shape=sparse.shape)
    rule = diehl_cook if learning else None
    weights = rng.uniform(0, 0.3, (SIZE, 30))
    return Network(
        [
            Population("cells", neuron("cuba_lif"), SIZE, drives={"i_ext": rng.uniform(0.18e-9, 0.25e-9, SIZE)}),
            Population("others", neuron("diehl_cook_exc"), SIZE),
        ],
        [
            Projection("cells", "cells", sparse, "i_syn", unit="pA", delay_ms=delays, name="recurrent"),
            Projection("others", "cells", rng.uniform(0, 9, (SIZE, SIZE)), "i_syn", unit="pA", delay_ms=2.0, name="dense"),
            Projection("cells", "others", np.abs(sparse) * 0.05, "g_inh", unit="nS", name="inhibit"),
            Projection(
                "input", "others", weights, "g_exc", unit="nS", name="learning", delay_ms=rng.uniform(0, 5, weights.shape), rule=rule
            ),
        ],
        [PoissonSource("input", 30, 400.0)],
    )


@pytest.mark.parametrize(("learning", "input_first"), [(False, False), (True, False), (False, True), (True, True)])
def test_neurons_that_send_each_other_spikes_meet_after_each_step(monkeypatch, learning, input_first):
    """Projections from outside that come first are sent before the other threads are heard."""
    monkeypatch.setattr(program, "WORTH_MEETING", 1)
    monkeypatch.setattr(program, "WORTH_WAKING", 1)
    net = coupled(learning)
    if input_first:
        *inside, outside = net.projections
        net = Network(net.populations, [outside, *inside], net.sources)
    arguments = dict(dt_ms=DT_MS, scheme="euler", duration_ms=100, seed=2, trials=1, record={"cells": ("v",)})
    whole, *others = (CompiledEngine(threads=k).run(net, **arguments) for k in (1, 2, 3))
    assert len(whole.spikes["cells"]) > 50 and len(whole.spikes["others"]) > 10
    for other in others:
        for p in net.populations:
            assert other.spikes[p.name].equals(whole.spikes[p.name])
            for state in p.neuron.states:
                np.testing.assert_array_equal(other.final[p.name][state], whole.final[p.name][state])
        np.testing.assert_array_equal(other.states["cells"]["v"], whole.states["cells"]["v"])
        if learning:
            (before,) = (p.synapse_values() for p in net.projections if p.name == "learning")
            assert (other.weights["learning"] != before).any()
            np.testing.assert_array_equal(other.weights["learning"], whole.weights["learning"])


@pytest.mark.parametrize("length", [program.LIST_SIZE, 1])
def test_neurons_whose_spikes_stay_in_their_part_are_listed_apart(monkeypatch, length):
    """Excitatory spikes reach one inhibitory neuron each; lists of both fill up, at different steps of different parts."""
    monkeypatch.setattr(program, "WORTH_MEETING", 1)
    monkeypatch.setattr(program, "WORTH_WAKING", 1)
    net = build(150, inputs=40, seed=3, homeostasis={"theta_plus": 0.0}, inhibition=lambda n: all_but_own(n, 0.05))
    session = CompiledEngine(threads=1).start(net, dt_ms=DT_MS, scheme="euler", seed=5)
    whole = session.run({INPUT: 100.0}, duration_ms=400, record={EXCITATORY: ("v",)})
    assert len(whole.spikes[EXCITATORY]) > 100 and len(whole.spikes[INHIBITORY]) > 100
    monkeypatch.setattr(program, "LIST_SIZE", length)
    for threads in (2, 3):
        shared = CompiledEngine(threads=threads).start(net, dt_ms=DT_MS, scheme="euler", seed=5)
        assert shared._team.parts == threads and shared._team.reach == {1}
        parts = [shared.run({INPUT: 100.0}, duration_ms=some, record={EXCITATORY: ("v",)}) for some in (150, 250)]
        for name in (EXCITATORY, INHIBITORY):
            first, then, both = (run.spikes[name] for run in (*parts, whole))
            np.testing.assert_array_equal(np.concatenate([first.step, then.step + first.shape[0]]), both.step)
            np.testing.assert_array_equal(np.concatenate([first.neuron, then.neuron]), both.neuron)
        np.testing.assert_array_equal(np.concatenate([run.states[EXCITATORY]["v"] for run in parts]), whole.states[EXCITATORY]["v"])
        np.testing.assert_array_equal(shared.weights(LEARNING), session.weights(LEARNING))
        np.testing.assert_array_equal(shared.total(LEARNING), session.total(LEARNING))
        np.testing.assert_array_equal(shared.total(LEARNING, [149, 3]), session.total(LEARNING, [149, 3]))


def test_a_session_saved_with_one_number_of_threads_goes_on_with_another(monkeypatch, tmp_path):
    monkeypatch.setattr(program, "WORTH_MEETING", 1)
    net, found = coupled(True), []
    for before, after in ((1, 1), (2, 3), (3, 1)):
        session = CompiledEngine(threads=before).start(net, dt_ms=DT_MS, scheme="euler", seed=5)
        session.run(duration_ms=60)
        session.set_weights("learning", session.weights("learning") * 0.9)
        path = session.save(tmp_path / "session.npz")
        other = CompiledEngine(threads=after).start(net, dt_ms=DT_MS, scheme="euler", seed=5).load(path)
        spikes = other.run(duration_ms=60).spikes["others"]
        found.append((spikes, other.weights("learning"), other.state("others", "theta").copy()))
    assert len(found[0][0]) > 5
    for spikes, weights, theta in found[1:]:
        assert spikes.equals(found[0][0])
        np.testing.assert_array_equal(weights, found[0][1])
        np.testing.assert_array_equal(theta, found[0][2])


def test_ctrl_c_is_raised_when_all_parts_are_done():
    from spiketwin.models.engines.compiled.meeting import together

    first, second = [], []

    def interrupted():
        first.append("begun")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        together([interrupted, lambda: second.append("done")], lambda: bool(first))  # the second may be the quicker one
    assert (first, second) == (["begun"], ["done"])


def test_a_part_that_fails_is_heard_of():
    from spiketwin.models.engines.compiled.meeting import together

    def fail():
        raise ValueError("no")

    ran = set()
    with pytest.raises(ValueError, match="no"):
        together([lambda: ran.add(0), fail], lambda: 0 in ran)
    together([lambda: ran.add(1), lambda: ran.add(2)], lambda: 1 in ran)
    assert ran == {0, 1, 2}


def test_progress_of_blocks_reaches_the_end(monkeypatch):
    monkeypatch.setattr(program, "WORTH_MEETING", 1)
    monkeypatch.setattr(program, "WORTH_WAKING", 1)
    seen = []
    CompiledEngine(threads=2).run(Network([Population("p", neuron("lif"), 200)]), dt_ms=DT_MS, duration_ms=100, progress=seen.append)
    assert seen and seen[-1] == 1
