"""The compiled engine against a loop in plain Python that shares no code with it, and what its design promises."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse

from spiketwin.models.discretisation import SCHEMES, derive, unsupported_reason
from spiketwin.models.engines import get_engine
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.engines.compiled.source import Cell, source
from spiketwin.models.network import Convolution, Network, Population, Projection, SpikeSource
from spiketwin.models.neurons import NEURONS, neuron
from spiketwin.models.spec import NeuronSpec, Parameter
from spiketwin.models.spikes import Spikes

DT_MS = 0.5


def slow_lif(parameters, drive, receptors, synapses, arrivals, steps, size):
    """Forward Euler of LIF neurons, one neuron and one synapse at a time, in the reference order of events.

    receptors: name -> time constant in s, None for jumps of v. synapses: (pre, post, receptor, weight, delay in steps);
    arrivals: the same for given spikes, with the step in place of pre. Returns spikes {(step, neuron)} and v [T, N].
    """
    dt, p = DT_MS * 1e-3, parameters
    v = [p["v_rest"]] * size
    current = {name: [0.0] * size for name, tau in receptors.items() if tau}
    free_from = [0] * size  # first step in which the neuron is active again
    held = round(p["tau_ref"] / dt)
    due = {}  # step -> what arrives then
    outgoing = {}
    for pre, *rest in synapses:
        outgoing.setdefault(pre, []).append(rest)
    for s, post, r, w, d in arrivals:
        due.setdefault(s + d, []).append((post, r, w))
    spikes, trace = set(), []
    for t in range(steps):
        trace.append(list(v))
        fired = []
        for n in range(size):
            total = drive[n] + sum(current[r][n] for r in current)
            active = t >= free_from[n]
            if active:
                v[n] += dt * (p["v_rest"] - v[n] + p["r"] * total) / p["tau_mem"]
            for r in current:
                current[r][n] += dt * -current[r][n] / receptors[r]
            if active and v[n] > p["v_threshold"]:
                fired.append(n)
                free_from[n] = t + max(held, 1)
        spikes |= {(t, n) for n in fired}
        for n in fired:
            for post, r, w, d in outgoing.get(n, []):
                due.setdefault(t + d, []).append((post, r, w))
        for post, r, w in due.pop(t, []):
            if r in current:
                current[r][post] += w
            elif t >= free_from[post]:
                v[post] += w
        for n in fired:
            v[n] = p["v_reset"]
    return spikes, np.array(trace)


def events(spikes, trial=0):
    mine = spikes.trial(trial)
    return set(zip(mine.step.tolist(), mine.neuron.tolist()))


def synapse_rows(projection):
    pre, post, weight, delay_ms = projection.synapses()
    steps = np.floor(delay_ms / DT_MS + 0.5).astype(int)
    return [(a, b, projection.receptor, w, d) for a, b, w, d in zip(pre.tolist(), post.tolist(), weight.tolist(), steps.tolist())]


def given(rng, steps, trials, size, share=0.1):
    return Spikes.from_dense((rng.random((steps, trials, size)) < share).astype(int), dt_ms=DT_MS)


def arrivals_of(projection, spikes, trial):
    by_pre = {}
    for pre, *rest in synapse_rows(projection):
        by_pre.setdefault(pre, []).append(rest)
    mine = spikes.trial(trial)
    return [(s, *rest) for s, n in zip(mine.step.tolist(), mine.neuron.tolist()) for rest in by_pre.get(n, [])]


def two_receptor_network(rng, size=24):
    """Excitation with a delay per synapse, inhibition with one delay, input at once: every way a spike can travel."""
    exc = np.where(rng.random((size, size)) < 0.2, rng.uniform(20, 90, (size, size)), 0)
    sparse = scipy.sparse.csr_array(exc)
    delays = scipy.sparse.csr_array((rng.uniform(0, 8, sparse.nnz), sparse.indices, sparse.indptr), shape=sparse.shape)
    return Network(
        [Population("p", neuron("cuba_lif_2"), size, drives={"i_ext": rng.uniform(0, 0.13e-9, size)})],
        [
            Projection("p", "p", sparse, "i_exc", unit="pA", delay_ms=delays, name="recurrent"),
            Projection("p", "p", rng.uniform(-8, 0, (size, size)), "i_inh", unit="pA", delay_ms=1.5, name="inhibition"),
            Projection("input", "p", rng.uniform(0, 60, (size, 10)), "i_exc", unit="pA", name="input"),
        ],
        [SpikeSource("input", 10)],
    )


def test_recurrent_network_with_delays_and_two_receptors_matches_the_slow_loop():
    rng = np.random.default_rng(1)
    network, steps, trials = two_receptor_network(rng), 400, 3
    spikes = given(rng, steps, trials, 10)
    got = get_engine("compiled").run(network, {"input": spikes}, dt_ms=DT_MS, scheme="euler", record={"p": ("v",)})
    p = network.population("p")
    parameters = {k: float(v) for k, v in p.parameter_values().items()}
    receptors = {"i_exc": parameters["tau_exc"], "i_inh": parameters["tau_inh"]}
    recurrent, inhibition, outside = network.projections
    for b in range(trials):
        want, v = slow_lif(
            parameters, p.drive_values()["i_ext"], receptors,
            synapse_rows(recurrent) + synapse_rows(inhibition), arrivals_of(outside, spikes, b), steps, p.size,
        )  # fmt: skip
        assert len({n for _, n in want}) > p.size / 2, "most neurons must fire for this to say anything"
        assert events(got.spikes["p"], b) == want
        # the two sum in another order: 1e-12 of the 10 mV from rest to threshold
        np.testing.assert_allclose(got.states["p"]["v"][:, b], v, rtol=0, atol=1e-14)


@pytest.mark.parametrize("delay_ms", [0.0, 1.0, "each its own"])
def test_jumps_of_v_are_lost_while_refractory(delay_ms):
    rng = np.random.default_rng(2)
    size, steps = 12, 300
    if delay_ms == "each its own":
        delay_ms = rng.uniform(0, 3, (size, size))
    network = Network(
        [Population("p", neuron("lif_delta"), size, drives={"i_ext": "0.1 nA"})],
        [
            Projection("p", "p", rng.uniform(-2, 4, (size, size)), "v", unit="mV", delay_ms=delay_ms, name="recurrent"),
            Projection("input", "p", 6 * np.eye(size), "v", unit="mV", name="input"),
        ],
        [SpikeSource("input", size)],
    )
    spikes = given(rng, steps, 1, size)
    got = get_engine("compiled").run(network, {"input": spikes}, dt_ms=DT_MS, scheme="euler")
    parameters = {k: float(v) for k, v in network.population("p").parameter_values().items()}
    recurrent, outside = network.projections
    want, _ = slow_lif(parameters, [0.1e-9] * size, {"v": None}, synapse_rows(recurrent), arrivals_of(outside, spikes, 0), steps, size)
    assert len(want) > 50
    assert events(got.spikes["p"]) == want


def test_neither_other_trials_nor_threads_change_a_trial():
    rng = np.random.default_rng(3)
    network, spikes = two_receptor_network(rng), given(rng, 300, 5, 10)
    runs = [CompiledEngine(threads=k).run(network, {"input": spikes}, dt_ms=DT_MS, record={"p": ("v",)}) for k in (1, 2, 5)]
    assert len(runs[0].spikes["p"]) > 100
    for other in runs[1:]:
        assert other.spikes["p"].equals(runs[0].spikes["p"])
        np.testing.assert_array_equal(other.states["p"]["v"], runs[0].states["p"]["v"])
    alone = CompiledEngine().run(network, {"input": spikes.trial(3)}, dt_ms=DT_MS, record={"p": ("v",)})
    assert alone.spikes["p"].equals(runs[0].spikes["p"].trial(3))
    np.testing.assert_array_equal(alone.states["p"]["v"][:, 0], runs[0].states["p"]["v"][:, 3])


def test_two_populations_dense_sparse_and_convolutional_weights_agree():
    rng = np.random.default_rng(4)
    convolution = Convolution(rng.uniform(0, 300, (2, 1, 3, 3)), height=4, width=4)
    results = []
    for weights in (convolution, convolution.to_sparse(), convolution.to_sparse().toarray()):
        network = Network(
            [Population("a", neuron("cuba_lif"), 16, drives={"i_ext": "0.25 nA"}), Population("b", neuron("cuba_lif"), 8)],
            [Projection("a", "b", weights, "i_syn", unit="pA", delay_ms=2)],
        )
        results.append(get_engine("compiled").run(network, dt_ms=DT_MS, duration_ms=200).spikes["b"])
    assert len(results[0]) > 20
    assert all(r.equals(results[0]) for r in results[1:])


def test_drives_that_vary_in_time_per_neuron_and_per_trial():
    """An integrator c dv/dt = i sums its drive: v after T steps is dt Σ i / c."""
    rng = np.random.default_rng(5)
    drive = rng.normal(0, 1e-12, (50, 3, 4))
    network = Network([Population("p", neuron("if_neuron"), 4, parameters={"c_mem": np.array([100, 200, 300, 400])})])
    rest = network.population("p").initial_values()["v"]
    for array, full in ((drive, drive), (drive[:, 0], drive[:, :1]), (drive[:, 0, 0], drive[:, :1, :1])):
        got = get_engine("compiled").run(network, {"p.i_ext": array}, dt_ms=DT_MS, scheme="euler", trials=3 if array.ndim == 3 else 1)
        want = rest + full.sum(axis=0) * 0.5e-3 / (np.array([100, 200, 300, 400]) * 1e-12)
        np.testing.assert_allclose(got.final["p"]["v"], want, rtol=1e-12)  # float64 rounding of 50 sums


def test_silence_and_every_neuron_at_every_step():
    silent = Network([Population("p", neuron("cuba_lif"), 9)])
    got = get_engine("compiled").run(silent, dt_ms=DT_MS, duration_ms=50)
    assert len(got.spikes["p"]) == 0 and got.spikes["p"].shape == (100, 1, 9)
    np.testing.assert_allclose(got.final["p"]["v"], -70e-3)
    # more spikes than a list holds, so that it is emptied on the way; 9 is no multiple of the 8 flags looked at together
    driven = NeuronSpec("always", "dv/dt = rate : 1\n rate : hertz", {"floor_": Parameter(-1.0)}, threshold="v >= floor_", reset="v = 0")
    got = get_engine("compiled").run(Network([Population("p", driven, 9)]), dt_ms=DT_MS, duration_ms=5000, scheme="euler", trials=2)
    assert len(got.spikes["p"]) == 10_000 * 2 * 9 > 1 << 16
    assert (got.spikes["p"].counts() == 10_000).all()


def test_noise_that_is_given_is_the_noise_that_is_used():
    """Escape noise: where the draw is 1 the neuron is silent, where it is 0 it fires as soon as it may."""
    network = Network([Population("p", neuron("escape_lif"), 2)])
    uniform = np.zeros((40, 1, 2))
    uniform[:, :, 1] = 1
    got = get_engine("compiled").run(network, dt_ms=DT_MS, duration_ms=20, noise={"p.rand": uniform})
    # refractory for 2 ms of 0.5 ms: every 4th step
    assert events(got.spikes["p"]) == {(t, 0) for t in range(0, 40, 4)}


def test_condition_that_keeps_a_neuron_refractory():
    """v rises by 1 a step from 0 and fires above 2.5; it may fire again only once it has been below 1.5 before a step."""
    equations, parameters = "dv/dt = rate : 1\n rate : hertz", {"top": Parameter(2.5)}
    spec = NeuronSpec("until_low", equations, parameters, threshold="v > top", reset="v -= 4", refractory="v > 1.5")
    network = Network([Population("p", spec, 1, drives={"rate": 1 / (DT_MS * 1e-3)})])
    got = get_engine("compiled").run(network, dt_ms=DT_MS, duration_ms=8, scheme="euler", record={"p": ("v",)})
    # 0 1 2 | 3 fires, -1: 0 1 2 3 fires …
    assert got.spikes["p"].step.tolist() == [2, 6, 10, 14]
    np.testing.assert_allclose(got.states["p"]["v"][:5, 0, 0], [0, 1, 2, -1, 0], atol=1e-12)


def test_single_precision_stays_close():
    rng = np.random.default_rng(6)
    network, spikes = two_receptor_network(rng), given(rng, 60, 1, 10)
    engines = [CompiledEngine(dtype=d) for d in ("float64", "float32")]
    double, single = (engine.run(network, {"input": spikes}, dt_ms=DT_MS, record={"p": ("v",)}) for engine in engines)
    assert single.states["p"]["v"].dtype == np.float32
    # up to the first spike that may flip by rounding, here none in 30 ms: 24 bits of 60 mV, 60 steps
    np.testing.assert_allclose(single.states["p"]["v"], double.states["p"]["v"], atol=1e-6)


def test_progress_reaches_the_end():
    seen = []
    get_engine("compiled").run(Network([Population("p", neuron("cuba_lif"), 3)]), dt_ms=DT_MS, duration_ms=1000, progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"record": {"p": ("u",)}}, "unknown state to record 'u'"),
        ({"scheme": "euler_maruyama"}, "no noise"),
        ({"inputs": {"p.i_ext": np.full(100, np.nan)}}, "NaN"),
    ],
)
def test_bad_requests_are_named(arguments, message):
    network = Network([Population("p", neuron("cuba_lif"), 3)])
    with pytest.raises(ValueError, match=message):
        get_engine("compiled").run(network, **{"dt_ms": DT_MS, "duration_ms": 50, **arguments})


def test_a_reset_that_draws_is_refused_with_a_way_out():
    spec = NeuronSpec("drawn", "dv/dt = -v/tau : 1", {"tau": Parameter(5, "ms")}, threshold="v > 1", reset="v = rand()")
    assert "draw them in the threshold" in get_engine("compiled").unsupported(Network([Population("p", spec, 1)]), "euler")[0]


PROGRAM = """
from spiketwin.models.engines import get_engine
from spiketwin.models.network import Network, Population
from spiketwin.models.neurons import neuron
network = Network([Population("p", neuron("lif"), 3, drives={"i_ext": "0.3 nA"})])
print(get_engine("compiled").run(network, dt_ms=0.5, duration_ms=100).spikes["p"].step.tolist())
"""


def test_two_processes_may_fill_a_new_cache_at_once(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | {"SPIKETWIN_CACHE": str(tmp_path)}
    running = [subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert printed[0] == printed[1] and len(printed[0]) > 20
    written = sorted(path.name for path in (tmp_path / "kernels").iterdir() if path.is_file())
    assert len(written) == 1 and written[0].endswith(".py")
    assert list((tmp_path / "kernels" / "__pycache__").glob("*.nbi")), "the compiled code must be kept for the next process"


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch):
    from spiketwin.models.engines.compiled import cache

    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("SPIKETWIN_CACHE", str(blocked))
    assert cache.load.__wrapped__("value = 7\n").value == 7


@pytest.mark.parametrize("name", NEURONS)
def test_every_number_of_a_step_has_the_precision_of_the_states(name):
    """A bare 1 or .5 beside a single-precision number would make numba compute the step in double."""
    spec = neuron(name)
    for scheme in (s for s in SCHEMES if not unsupported_reason(spec, s)):
        text = source((Cell(spec, scheme, (), (), ()),), ())
        assigned = [str(target) for target, _ in derive(spec, scheme).assignments]
        lines = [line for line in text.splitlines() if line.strip().partition(" = ")[0] in assigned and line.startswith(" " * 8)]
        assert len(lines) >= len(assigned)
        bare = [line for line in lines if re.search(r"(?<![\w.])\.?\d", re.sub(r"real\([^()]*\)", "", line))]
        assert not bare
