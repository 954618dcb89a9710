"""Liquids: weights by their potential, names, life, ensembles, and errors that name the argument."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from spiketwin.models import Network, PoissonSource, Population, Spikes, theory
from spiketwin.models.engines import get_engine
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.neurons import NEURONS, cuba_lif, fast_slow_lif, neuron
from spiketwin.models.reservoirs import (
    INPUT,
    ByKind,
    Liquid,
    LiquidError,
    check_alive,
    deep,
    fast_slow_liquid,
    liquid,
    maass_column,
    partitioned,
    several_time_constants,
)
from spiketwin.models.reservoirs.maass import AMPLITUDE_NA, DYNAMICS, Dynamics
from spiketwin.models.reservoirs.response import holding_current, psp_area_s, psp_height, receptor, receptors, threshold_distance
from spiketwin.models.reservoirs.strengths import drawn
from spiketwin.models.reservoirs.topology import small_world
from spiketwin.models.stacks.heterogeneity import each, lognormal, of_both_signs
from spiketwin.rules import rule


def projection(made, name):
    return next(p for p in made.network.projections if p.name == name)


# -- what a spike does -----------------------------------------------------------------------------


def test_potentials_of_linear_neurons_are_the_closed_forms():
    # cuba: r w (tau_syn/tau_mem)^(tau_mem/(tau_mem - tau_syn)) high, r w tau_syn its area
    height = psp_height(cuba_lif, "i_syn")
    assert height == pytest.approx(100e6 * theory.psp_peak(tau_mem_ms=20, tau_syn_ms=5)[1], rel=1e-5)  # on a grid of .05 ms
    assert psp_area_s(cuba_lif, "i_syn") == pytest.approx(100e6 * 5e-3)
    fast, slow = (psp_height(fast_slow_lif, f"i_{name}") for name in ("fast", "slow"))
    assert fast == pytest.approx(100e6 * theory.psp_peak(tau_mem_ms=20, tau_syn_ms=2)[1], rel=1e-4)
    assert slow == pytest.approx(100e6 * theory.psp_peak(tau_mem_ms=20, tau_syn_ms=100)[1], rel=1e-4)
    # jumps of v: 20 mV to threshold are a weight of 20 mV; a current of 20 mV/100 MΩ holds there
    assert receptor(neuron("lif_delta"), "v").weight == pytest.approx(20)
    assert holding_current(cuba_lif) == ("i_ext", pytest.approx(0.2e-9))
    # conductances: at rest inhibition pulls by 20 mV, excitation by 60, both with 1/g_leak; positive weights move v down there
    exc, inh = receptors(neuron("coba_lif"))
    assert (exc.name, inh.name, exc.unit) == ("g_exc", "g_inh", "nS")
    assert 10 / exc.weight == pytest.approx(60 * theory.psp_peak(tau_mem_ms=20, tau_syn_ms=5)[1] / 10, rel=1e-4)
    assert inh.weight < 0 and 10 / -inh.weight == pytest.approx(20 * theory.psp_peak(tau_mem_ms=20, tau_syn_ms=10)[1] / 10, rel=1e-4)


@pytest.mark.parametrize("name", ["coba_lif", "adex", "izhikevich"])
def test_a_weight_of_a_tenth_moves_any_neuron_a_tenth_of_the_way(name):
    """Simulated, a small potential has the height that was asked for; .01 so that curvature near rest costs little."""
    spec = neuron(name)
    at = receptors(spec)[0]
    made = liquid(1, 1, neuron=spec, background=0, input_strength=each(0.01), excitatory=1)
    assert projection(made, "input_to_liquid").weights.data[0] == pytest.approx(0.01 * at.weight)
    # after a second, in which every model comes to rest
    spikes = Spikes([9999], [0], [0], (10500, 1, 1), 0.1)
    run = get_engine("scipy").run(made.network, {INPUT: spikes}, dt_ms=0.1, record={"liquid": ("v",)})
    v = run.states["liquid"]["v"][:, 0, 0]
    assert v[10000:].max() - v[9999] == pytest.approx(0.01 * threshold_distance(spec), rel=0.03)


# -- one liquid ------------------------------------------------------------------------------------


def test_kinds_signs_scales_and_delays():
    plain, scaled = liquid(12, 60, seed=3), liquid(12, 60, seed=3, connection_scale=2.0, inhibition=0.5, input_scale=3.0)
    assert (plain.size, plain.inputs, plain.read) == (60, 12, ("liquid",)) and plain.is_excitatory.sum() == 48
    for kind, factor, delay in (("ee", 2.0, 1.5), ("ei", 2.0, 0.8), ("ie", 1.0, 0.8), ("ii", 1.0, 0.8), ("input_to_liquid", 3.0, 0.0)):
        one, other = projection(plain, kind), projection(scaled, kind)
        np.testing.assert_allclose(other.weights.toarray(), factor * one.weights.toarray())
        assert one.delay_ms == delay and ((one.weights.data > 0) == (kind[:2] not in ("ie", "ii"))).all()
        if len(kind) == 2:
            entries = one.weights.tocoo()
            assert (plain.is_excitatory[entries.col] == (kind[0] == "e")).all() and (
                plain.is_excitatory[entries.row] == (kind[1] == "e")
            ).all()


@pytest.mark.parametrize("name, at", [("cuba_lif", ("i_syn", "i_syn")), ("coba_lif", ("g_exc", "g_inh"))])
def test_channels_that_inhibit_enter_where_inhibition_does(name, at):
    both = of_both_signs(each(0.01), 0.75)
    made = liquid(12, 2000, neuron=name, input_strength=both, seed=4)
    exciting, inhibiting = projection(made, "input_to_liquid"), projection(made, "inhibiting_input_to_liquid")
    assert (exciting.receptor, inhibiting.receptor) == at
    assert exciting.weights.nnz + inhibiting.weights.nnz == 8 * 2000 and exciting.weights.nnz == pytest.approx(0.75 * 8 * 2000, rel=0.02)
    # each moves a resting neuron by a hundredth of the way to threshold, one up and one down
    for part, there, sign in zip((exciting, inhibiting), receptors(neuron(name)), (1, -1), strict=True):
        np.testing.assert_allclose(part.weights.data, sign * 0.01 * there.weight)
    # a channel that excites is drawn the same whether others inhibit or not
    alone = projection(liquid(12, 2000, neuron=name, input_strength=each(0.01), seed=4), "input_to_liquid").weights.toarray()
    np.testing.assert_array_equal(np.where(exciting.weights.toarray() > 0, alone, 0), exciting.weights.toarray())
    silenced = liquid(12, 20, neuron=name, input_strength=of_both_signs(each(0.01), 0.0))
    assert projection(silenced, "input_to_liquid").weights.nnz == 0


def test_a_seed_is_one_liquid_and_parts_are_drawn_apart():
    one, same, other = liquid(12, 60, seed=1), liquid(12, 60, seed=1), liquid(12, 60, seed=2)
    for name in ("ee", "input_to_liquid"):
        assert np.array_equal(projection(one, name).weights.toarray(), projection(same, name).weights.toarray())
        assert not np.array_equal(projection(one, name).weights.toarray(), projection(other, name).weights.toarray())
    heterogeneous = liquid(12, 60, seed=1, parameters={"tau_mem": lognormal(20, 0.3), "tau_ref": 3})
    np.testing.assert_array_equal(projection(heterogeneous, "ee").weights.toarray(), projection(one, "ee").weights.toarray())
    tau = heterogeneous.network.population("liquid").parameter_values()["tau_mem"]
    assert tau.shape == (60,) and np.log(tau / 20e-3).std() == pytest.approx(0.3, rel=0.3)


@pytest.mark.parametrize(("inputs", "rate_hz"), [(20, 10), (80, 50)])
@pytest.mark.parametrize(
    "build",
    [liquid, maass_column, fast_slow_liquid, partial(liquid, topology=small_world(20, 0.1)), partial(liquid, neuron="coba_lif")],
    ids=["random", "column", "fast_slow", "small_world", "coba"],
)
def test_defaults_are_alive_and_irregular(build, inputs, rate_hz, echo):
    made = build(inputs=inputs, seed=0)
    scheme = "exact" if "g_exc" not in made.network.populations[0].neuron.inputs else "exponential_euler"
    run = echo(made, rate_hz, scheme=scheme, trials=2, dt_ms=0.5)
    assert 2 < check_alive(run, made) < 40
    spikes, cv = run.spikes["liquid"], []
    for n in range(made.size):
        times = spikes.step[(spikes.neuron == n) & (spikes.batch == 0)]
        if len(times) > 5:
            cv.append(np.std(np.diff(times)) / np.mean(np.diff(times)))
    assert len(cv) > 20 and np.mean(cv) > 0.4  # 0 would be regular, 1 Poisson
    # asynchronous: no step in which half of the neurons fire
    assert np.bincount(spikes.step[spikes.batch == 0]).max() < 0.5 * made.size


def test_dead_liquids_are_told_what_to_move(echo):
    silent, loud = (
        liquid(20, 50, input_scale=0, background=0),
        liquid(20, 50, connection_scale=50, inhibition=0, background=5, parameters={"tau_ref": 0}),
    )
    with pytest.raises(
        LiquidError, match="silent: 0 Hz.*100% of 50 neurons never fired; raise input_scale or background, or lower inhibition"
    ):
        check_alive(echo(silent, duration_ms=200), silent)
    with pytest.raises(LiquidError, match="saturated: its neurons fire at every step.*lower connection_scale, raise inhibition"):
        check_alive(echo(loud, duration_ms=200), loud)
    refractory = liquid(20, 50, connection_scale=50, inhibition=0)
    with pytest.raises(LiquidError, match="fire .*% as often as they can"):
        check_alive(echo(refractory, duration_ms=200), refractory)


# -- the column ------------------------------------------------------------------------------------


def test_the_columns_amplitudes_are_the_papers_or_their_steady_share():
    # by hand, EE at 20 Hz: u = .5/(1 - .5 e^-1) = .6127, R = (1 - e^-(50/1100))/(1 - .3873 e^-(50/1100)) = .0444/.6299 = .0705
    assert DYNAMICS.ee.steady_share(20.0) == pytest.approx(0.6127 * 0.0705, rel=2e-3)
    # slow spikes find all resources; U = 1 without recovery transmits one spike's worth per tau_rec
    assert Dynamics(0.5, 100, 1).steady_share(0.01) == pytest.approx(0.5)
    assert Dynamics(1.0, 1000, 1).steady_share(100.0) == pytest.approx(0.01, rel=0.01)
    means, static = dict.fromkeys(("ee", "ei", "ie", "ii"), 0.0), dict.fromkeys(("ee", "ei", "ie", "ii"), 0.0)
    depression = rule("short_term_depression")
    dynamic = ByKind(
        *(depression.with_parameters(U=d.U, tau_rec=d.tau_rec_ms, tau_facil=d.tau_facil_ms) for d in (DYNAMICS[k] for k in means))
    )
    for seed in range(10):
        for made, into in ((maass_column(4, rule=dynamic, seed=seed), means), (maass_column(4, seed=seed), static)):
            for kind in means:
                into[kind] += projection(made, kind).weights.data.mean() / 10
    for kind in means:
        assert means[kind] == pytest.approx(AMPLITUDE_NA[kind], rel=0.2)  # some hundred gamma weights
        assert static[kind] == pytest.approx(means[kind] * DYNAMICS[kind].steady_share(20.0), rel=1e-9)
    assert projection(maass_column(4, rule=dynamic), "ei").rule.values["tau_facil"] == 1.2


def test_a_column_from_another_start_is_the_same_column():
    one, other = maass_column(4, start=0), maass_column(4, start=1)
    assert np.array_equal(projection(one, "ee").weights.toarray(), projection(other, "ee").weights.toarray())
    v = [made.network.population("liquid").initial_values()["v"] for made in (one, other)]
    assert not np.array_equal(*v) and all((13.5e-3 <= x).all() and (x <= 15e-3).all() for x in v)
    refractory = one.network.population("liquid").parameter_values()["tau_ref"]
    np.testing.assert_allclose(refractory, np.where(one.is_excitatory, 3e-3, 2e-3))


# -- ensembles -------------------------------------------------------------------------------------


def test_parts_hear_only_their_channels_and_do_as_they_would_alone(poisson, echo):
    made = partitioned(30, [[0, 1, 2, 3], list(range(10, 30))], size=40, seed=5)
    assert made.read == ("part0_liquid", "part1_liquid") and made.size == 80 and made.inputs == 30
    first = projection(made, "part0_input_to_liquid").weights.toarray()
    assert first.shape == (40, 30) and not first[:, 4:].any() and (first[:, :4] > 0).all()
    spikes = poisson(30, 25.0)
    together = CompiledEngine(threads=1).run(made.network, {INPUT: spikes}, dt_ms=1.0).spikes["part1_liquid"]
    from spiketwin.models.reservoirs.ensembles import _seeds

    alone = liquid(inputs=20, size=40, seed=_seeds(5, 2)[1])
    part = type(spikes).from_dense(spikes.dense()[:, :, 10:], 1.0)
    assert len(together) > 200 and together.equals(CompiledEngine(threads=1).run(alone.network, {INPUT: part}, dt_ms=1.0).spikes["liquid"])


def test_liquids_with_several_time_constants():
    made = several_time_constants(20, (5, 20, 80), size=30)
    taus = [made.network.population(name).parameter_values()["tau_mem"] for name in made.read]
    assert made.read == ("tau5_liquid", "tau20_liquid", "tau80_liquid") and np.allclose(taus, [5e-3, 20e-3, 80e-3])
    # weights are by potential: the slower membrane needs more current for as high a one
    strength = [abs(projection(made, f"{name[:-6]}ee").weights.data).mean() for name in made.read]
    assert strength[0] < strength[1] < strength[2]


def test_encoders_between_layers_compete_and_feed_the_next(echo):
    made, free = (deep(40, (80, 80), encoders=12, lateral=lateral) for lateral in (0.3, 0.0))
    assert made.read == ("layer0_liquid", "layer1_liquid") and made.size == 160
    feed = projection(made, "feed0")
    assert not feed.weights.toarray()[:, ~made.is_excitatory[:80]].any(), "encoders hear excitatory neurons alone"
    assert projection(made, "layer1_input_to_liquid").source == "encoder0" and projection(made, "layer0_input_to_liquid").source == INPUT
    lateral = projection(made, "lateral0").weights.toarray()
    assert (np.diag(lateral) == 0).all() and (lateral[~np.eye(12, dtype=bool)] < 0).all()

    def together(run):
        """Mean correlation of two encoders' counts in windows of 20 ms."""
        counts = run.spikes["encoder0"].dense()[:, 0].astype(float).reshape(-1, 20, 12).sum(axis=1)
        of_pairs = np.corrcoef(counts[:, counts.any(axis=0)].T)
        return of_pairs[~np.eye(len(of_pairs), dtype=bool)].mean()

    run, loose = echo(made, 40.0, duration_ms=2000), echo(free, 40.0, duration_ms=2000)
    assert together(run) < 0.5 * together(loose), "who fires silences the others for a while"
    assert check_alive(run, made) > 2 and len(run.spikes["layer1_liquid"]) > 300


def test_slow_connections_are_trainable_beside_fast_fixed_ones():
    made = fast_slow_liquid(20, 60, tau_slow_ms=lognormal(100, 0.2))
    names = {p.name: (p.receptor, p.trainable) for p in made.network.projections}
    assert all(names[k] == ("i_fast", False) and names[f"slow_{k}"] == ("i_slow", True) for k in ("ee", "ei", "ie", "ii"))
    rows = sum(projection(made, k).weights.sum(axis=1) for k in ("ee", "ei", "ie", "ii"))
    np.testing.assert_allclose(rows, 0, atol=1e-12)
    assert made.network.population("liquid").parameter_values()["tau_slow"].shape == (60,)


def test_ensembles_of_ensembles():
    made = partitioned(20, 2, build=partial(deep, layers=(30, 30), encoders=5))
    assert made.size == 120 and made.read[3] == "part1_layer1_liquid"


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: liquid(10, neuron="lif"), "'lif' has no receptor"),
        (lambda: liquid(10, neuron="leaky_readout"), "'leaky_readout' never spikes, so a liquid of it is silent"),
        (lambda: liquid(10, neuron="if_neuron"), "'if_neuron' has no leak.*set background = 0"),
        (lambda: liquid(10, neuron="hh_traub_miles", background=0), "'hh_traub_miles' does not rest without input"),
        (lambda: liquid(10, neuron="cuba"), "Did you mean 'cuba_lif'"),
        (lambda: liquid(10, connection_scale=-1), "connection_scale = -1 must be finite and not negative"),
        (lambda: liquid(10, input_scale=float("nan")), "input_scale = nan"),
        (lambda: liquid(0), "inputs = 0 must be a whole number and at least 1"),
        (lambda: liquid(10, 0), "size = 0 must be a whole number and at least 1"),
        (lambda: liquid(10, 2.5), "size = 2.5 must be a whole number"),
        (lambda: liquid(10, topology="ring"), "topology = 'ring' is no function"),
        (lambda: maass_column(4, wiring=8), "wiring = 8 is no function"),
        (lambda: fast_slow_liquid(4, slow_topology="ring"), "slow_topology = 'ring' is no function"),
        (lambda: liquid(10, seed=-1), "seed = -1 must be a whole number and at least 0"),
        (lambda: maass_column(0), "inputs = 0"),
        (lambda: maass_column(4, (-15, -3, 3)), r"shape\[0\] = -15 must be a whole number and at least 1"),
        (lambda: maass_column(4, ()), r"shape = \(\) has no dimension"),
        (lambda: maass_column(4, start=-1), "start = -1"),
        (lambda: fast_slow_liquid(10, 20, slow_scale=-1), "slow_scale = -1 must be finite and not negative"),
        (lambda: liquid(10, strengths=drawn(0.1), excitatory=2), "excitatory = 2"),
        (lambda: partitioned(3, 4), "parts = 4 of an input of 3 channels; give 1 … 3"),
        (lambda: partitioned(3, 1.5), "parts = 1.5 must be a whole number"),
        (lambda: partitioned(3, []), "parts is empty"),
        (lambda: partitioned(3, [[0, 3]]), "part 0 has the channels"),
        (lambda: partitioned(3, [[1], [0, 0]]), "part 1 names a channel twice"),
        (lambda: partitioned(3, 2, seed=-1), "seed = -1"),
        (lambda: several_time_constants(3, ()), "taus_ms is empty"),
        (lambda: several_time_constants(3, np.array([5.0, -5.0]), size=10), "'tau_mem' = -5.0 ms"),
        (lambda: deep(3, ()), "layers is empty"),
        (lambda: deep(3, (20, 0)), "size = 0"),
        (lambda: deep(3, drive=-1), "drive = -1 must be finite and not negative"),
        (lambda: deep(3, lateral=-1), "lateral = -1 must be finite and not negative"),
        (lambda: deep(3, encoders=1), "encoders = 1"),
        (lambda: Liquid(Network([Population("a", cuba_lif, 2)], (), [PoissonSource("x", 2)]), ("a",), np.ones(2)), "named 'input'"),
        (lambda: Liquid(liquid(3, 30).network, ("liquid",), np.ones(2)), r"shape \(2,\), but 30 neurons are read"),
    ],
)
def test_bad_input(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_every_spiking_model_that_rests_makes_a_liquid():
    made = [name for name, spec in NEURONS.items() if spec.threshold and spec.inputs and name not in ("if_neuron", "hh_traub_miles")]
    assert len(made) > 10
    for name in made:
        assert liquid(5, 10, neuron=name).size == 10
