"""Learning rules against numbers worked by hand, published numbers, and their own formulas."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest
import scipy.sparse

from spiketwin.experiments.studies.learning_rules.rules_in_engines import BOUND, LIVELY, Config, compare
from spiketwin.models import Network, Parameter, PoissonSource, Population, Projection, SpecError, Spikes, SpikeSource, get_engine, neuron
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.neurons import cuba_lif, if_neuron, lif_delta
from spiketwin.models.neurons.listening import listening, modulated
from spiketwin.models.plasticity import PlasticityRule
from spiketwin.rules import RULES, frequency_curve, rule, together, window
from spiketwin.rules.plasticity.calcium import CURVES
from spiketwin.rules.plasticity.homeostasis import unconditional
from spiketwin.rules.plasticity.stochastic import bits_per_synapse
from spiketwin.rules.protocols import Protocol, pairs, weight_changes

DELTAS_MS = np.array([-40, -20, -10, -5, 5, 10, 20, 40.0])


# -- pairs ------------------------------------------------------------------------------------------------


def test_one_pair_changes_the_weight_by_the_formula_of_the_window():
    """eta a_plus exp(-dt/20 ms) after pre before post, -eta a_minus exp(dt/20 ms) the other way round."""
    up, down = 0.01 * np.exp(-DELTAS_MS[4:] / 20), -0.0105 * np.exp(DELTAS_MS[:4] / 20)
    np.testing.assert_allclose(window(rule("pair_additive"), DELTAS_MS, count=1).change, [*down, *up], rtol=1e-9)
    anti = window(rule("pair_anti_hebbian"), DELTAS_MS, count=1).change
    np.testing.assert_allclose(anti, [*-down, *-up], rtol=1e-9)


def test_the_window_of_the_running_rule_is_the_formula():
    """In the compiled engine, by neurons that a teacher makes fire: spike times lie on the grid, so equality is of rounding alone."""
    there = window(rule("pair_additive"), DELTAS_MS, count=1, engine="compiled").change
    up, down = 0.01 * np.exp(-DELTAS_MS[4:] / 20), -0.0105 * np.exp(DELTAS_MS[:4] / 20)
    np.testing.assert_allclose(there, [*down, *up], rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "up", "down"),
    [
        ("pair_multiplicative", 0.8, 0.2),  # w_max - w and w at w = .2
        ("pair_power_law", 0.8**0.4, 0.2**0.4),
    ],
)
def test_how_changes_depend_on_the_weight(name, up, down):
    changes = weight_changes(rule(name), [pairs(10, count=1), pairs(-10, count=1)], weight=0.2)
    np.testing.assert_allclose(changes, [0.01 * up * exp(-0.5), -0.0105 * down * exp(-0.5)], rtol=1e-9)


def test_all_pairs_and_nearest_neighbours():
    """Two arrivals 10 ms apart, then a spike 5 ms later: exp(-15/20) + exp(-5/20) for all pairs, exp(-5/20) for the nearest."""
    protocol = [Protocol([100, 110], [115])]
    assert weight_changes(rule("pair_additive"), protocol)[0] == pytest.approx(0.01 * (exp(-0.75) + exp(-0.25)), rel=1e-9)
    assert weight_changes(rule("pair_nearest"), protocol)[0] == pytest.approx(0.01 * exp(-0.25), rel=1e-9)


def test_a_protocol_that_cannot_be_run_is_refused():
    with pytest.raises(ValueError, match="0 pairs at 1.0 Hz: both must be positive"):
        pairs(10, count=0)
    with pytest.raises(ValueError, match="before the second step"):
        weight_changes(rule("pair_additive"), [Protocol([0.0], [5.0])], engine="compiled")
    with pytest.raises(ValueError, match="asks for 2 postsynaptic spikes, but 'lif_delta' fired 1 times"):
        weight_changes(rule("pair_additive"), [Protocol([50.0], [60.0, 60.04])], engine="compiled")
    with pytest.raises(ValueError, match="60 pairs at inf Hz"):
        frequency_curve(rule("pair_additive"), [np.inf])
    with pytest.raises(ValueError, match="count = 2.5 pairs must be a whole number"):
        pairs(10, count=2.5)
    for name in ("pair_additive", "calcium"):  # event by event, and in an engine
        with pytest.raises(ValueError, match=f"weight = 5 is not a number within the bounds 0 … 1 of rule '{name}'"):
            window(rule(name), [10], weight=5)
        with pytest.raises(ValueError, match="weight = nan is not a number"):
            window(rule(name), [10], weight=np.nan)
        with pytest.raises(ValueError, match="protocol 1 has a spike at nan ms"):
            window(rule(name), [10, np.nan])
        assert window(rule(name), []).change.shape == (0,)
    with pytest.raises(ValueError, match="dt_ms = 0 must be positive"):
        window(rule("calcium"), [10], dt_ms=0)


# -- triplets -----------------------------------------------------------------------------------------------


def test_pairs_and_triplets_of_the_hippocampal_set():
    """60 pairs and triplets at 1 Hz; computed by an independent program."""
    made = rule("triplet_hippocampus")
    np.testing.assert_allclose(window(made, DELTAS_MS).change, [-0.043, -0.077, -0.104, -0.120, 0.272, 0.202, 0.111, 0.034], atol=5.1e-4)
    at = 100 + 1000 * np.arange(60.0)
    two, one = np.sort(np.concatenate([at, at + 10])), at + 5
    np.testing.assert_allclose(weight_changes(made, [Protocol(two, one), Protocol(one, two)]), [0.043, 0.358], atol=5.1e-4)


@pytest.mark.parametrize(
    ("name", "a2", "a3", "tau_x", "tau_y"),  # (a+, a-) and ms: the full models of tables 3 and 4
    [
        ("triplet_cortex", (5e-10, 7e-3), (6.2e-3, 2.3e-4), 101, 125),
        ("triplet_cortex_nearest", (8.8e-11, 6.6e-3), (5.3e-2, 3.1e-3), 714, 40),
        ("triplet_hippocampus", (6.1e-3, 1.6e-3), (6.7e-3, 1.4e-3), 946, 27),
        ("triplet_hippocampus_nearest", (4.6e-3, 3e-3), (9.1e-3, 7.5e-9), 575, 47),
    ],
)
def test_triplets_by_hand(name, a2, a3, tau_x, tau_y):
    """The neuron fires at 90, 115 and 120 ms, spikes arrive at 100 and 110. Of nearest spikes, each meets the last one of either side."""
    all_count = not name.endswith("nearest")
    arrivals = exp(-10 / 33.7) * a2[1] + exp(-20 / 33.7) * (a2[1] + a3[1] * exp(-10 / tau_x))
    r1 = [exp(-near / 16.8) + all_count * exp(-(near + 10) / 16.8) for near in (5, 10)]
    o2 = [exp(-25 / tau_y), exp(-5 / tau_y) + all_count * exp(-30 / tau_y)]
    fired = sum(r * (a2[0] + a3[0] * o) for r, o in zip(r1, o2, strict=True))
    assert weight_changes(rule(name), [Protocol([100, 110], [90, 115, 120])])[0] == pytest.approx(fired - arrivals, rel=1e-9)


def test_post_before_pre_turns_to_potentiation_as_pairs_come_faster():
    """Cortex: at -10 ms depression at low rates, potentiation at 50 Hz; no rule of pairs does that."""
    made = rule("triplet_cortex").with_parameters(w_max=10)
    changes = frequency_curve(made, [1, 50], weight=5.0).change / 10
    assert changes[1, 0] < -0.1 < 0.3 < changes[1, 1]
    assert abs(changes[0, 0]) < 0.1 < changes[0, 1], "at +10 ms and low rates hardly anything, as in the slices"
    assert (frequency_curve(rule("pair_additive"), [1, 50], count=10).change[1] < 0).all()


# -- other rules ----------------------------------------------------------------------------------------------


def test_inhibitory_rule_by_hand():
    """An arrival alone takes eta 2 rho_0 tau = .01 · 2 · 5/s · .02 s = .002; near a spike dt away both add eta exp(-dt/tau)."""
    near = 0.01 * exp(-0.5)
    changes = weight_changes(rule("inhibitory"), [Protocol([100], []), pairs(10, count=1), pairs(-10, count=1)])
    np.testing.assert_allclose(changes, [-0.002, near - 0.002, near - 0.002], rtol=1e-9)


def test_rules_of_rates_by_hand():
    """Spikes arrive at 100 and 110 ms, the neuron fires at 115, 125 and 135; traces decay with 100 ms, the threshold of BCM with 10 s."""
    x = [exp(-near / 100) + exp(-(near + 10) / 100) for near in (5, 15, 25)]
    y = [0, exp(-0.1), exp(-0.2) + exp(-0.1)]  # as before each spike

    def change(name):
        return weight_changes(rule(name), [Protocol([100, 110], [115, 125, 135])])[0]

    assert change("hebb") == pytest.approx(1e-3 * sum(x), rel=1e-9)
    w = 0.5
    for a, b in zip(x, y, strict=True):
        w += 1e-3 * (a - w * b)
    assert change("oja") == pytest.approx(w - 0.5, rel=1e-9)
    theta = exp(-0.1) * 0.1 / 10 * exp(-10 / 10_000)  # what the second spike left for the third; the first left nothing
    assert change("bcm") == pytest.approx(1e-3 * (x[1] * y[1] + x[2] * (y[2] - theta)), rel=1e-9)


def test_eligibility_waits_for_reward():
    """A pair at +10 ms leaves c = exp(-1/2). A reward of 1 that comes T later changes w by eta c ∫ exp(-(T + s)/tau_c - s/tau_d) ds."""
    made = rule("reward_izhikevich")
    cells = Population("cells", modulated(lif_delta), 2, {"tau_ref": 0})
    one_to_one = scipy.sparse.eye_array(2, format="csr")
    links = [
        Projection("input", "cells", 0.5 * one_to_one, "v", "nV", name="studied", rule=made),
        Projection("teacher", "cells", 100 * one_to_one, "v", "mV"),
        Projection("reward", "cells", one_to_one, "d", "1"),
    ]
    network = Network([cells], links, [SpikeSource(n, 2) for n in ("input", "teacher", "reward")])
    steps, dt = 20_000, 0.1
    inputs = {
        "input": Spikes([1000, 1000], [0, 0], [0, 1], (steps, 1, 2), dt),
        "teacher": Spikes([1099, 1099], [0, 0], [0, 1], (steps, 1, 2), dt),
        "reward": Spikes([6100], [0], [0], (steps, 1, 2), dt),  # .5 s after the pair, for the first neuron alone
    }
    run = get_engine("compiled").run(network, inputs, dt_ms=dt, scheme="exact")
    change = run.weights["studied"][0] - 0.5
    together_s = 1 / (1 / 1.0 + 1 / 0.2)
    expected = 0.1 * exp(-0.5) * exp(-0.5) * together_s * (1 - exp(-1.39 / together_s))
    # Euler at .1 ms, and a reward that is felt from the step after its arrival on: one step of 167 ms
    assert change[0] == pytest.approx(expected, rel=2e-3)
    assert change[1] == 0


def test_the_window_of_a_rewarded_rule_is_that_of_its_eligibility():
    """While the neuromodulator is held at d, a pair leaves c, which earns eta d c tau_c = 1/s · .1 · 25 ms c."""
    made = rule("reward_florian")
    up, down = np.exp(-DELTAS_MS[4:] / 20), -np.exp(DELTAS_MS[:4] / 20)
    found = window(made, DELTAS_MS, count=1).change
    # Euler in steps of .1 ms of tau_c, of which 200 ms leave exp(-8)
    np.testing.assert_allclose(found, 1.0 * 0.1 * 0.025 * np.array([*down, *up]), rtol=5e-3)
    np.testing.assert_allclose(window(made, DELTAS_MS, count=1, modulator=-0.2).change, -2 * found, rtol=1e-9)


def test_calcium_counts_time_above_the_threshold():
    """One presynaptic spike of size 2 lies above theta_d = 1 for 20 ms ln 2: w = 1/2 shrinks by exp(-200 · 20 ms ln 2/150 s)."""
    made = rule("calcium").with_parameters(c_pre=2, gamma_p=0)
    change = weight_changes(made, [Protocol([100], [])], dt_ms=0.01)[0]
    assert change == pytest.approx(0.5 * (exp(-200 * 0.02 * np.log(2) / 150) - 1), rel=3e-3)  # steps of .01 ms; the wells hardly pull


@pytest.mark.parametrize(
    ("name", "deltas", "signs"),
    [
        ("DP", (-40, -20, 10, 30), "--++"),
        ("DPD", (-60, -20, -10, 5, 20, 30, 60), "0--+--0"),
        ("DPD'", (-40, -10, 5, 20, 40), "--+--"),
        ("P", (-80, -20, 0, 20, 80), "0+++0"),
        ("D", (-40, -10, -5, 0, 5, 10, 40), "00---00"),  # .6 + .6 exp(-dt/20 ms) passes theta_d = 1 where pairs are closer than 8.1 ms
        ("D'", (-40, -10, 10, 40), "----"),
    ],
)
def test_calcium_windows_are_those_of_the_paper(name, deltas, signs):
    """60 pairs at 1 Hz, all six sets of constants: the shapes of fig. 2, and the size that follows from the times a and b that a pair's
    calcium spends above theta_p and theta_d. It moves w by gamma_p a (1 - w) - gamma_d b w, per tau; then the wells pull for a second."""
    made, late_ms = CURVES[name]
    protocols = [Protocol(p.pre_ms + late_ms, p.post_ms) for p in (pairs(d) for d in deltas)]
    found, c = weight_changes(made, protocols, dt_ms=0.02), made.values
    assert "".join("-0+"[int(x) + 1] for x in np.sign(np.round(found, 3))) == signs
    at = np.arange(-100, 900, 0.01)  # ms since a pair's presynaptic spike, late_ms before its calcium
    for delta, change in zip(deltas, found, strict=True):
        rises = ((late_ms, c["c_pre"]), (delta, c["c_post"]))
        level = sum(jump * np.exp(-(at - t) / 20) * (at >= t) for t, jump in rises)
        up, down = (c[gamma] * np.mean(level > c[theta]) for gamma, theta in (("gamma_p", "theta_p"), ("gamma_d", "theta_d")))
        w, push = 0.5, up + down
        for _ in range(60):
            w = up / push + (w - up / push) * exp(-push / 150) if push else w
            w -= w * (1 - w) * (0.5 - w) / 150
        # times above the thresholds are wrong by a step of .02 ms in each pair, of some 10 ms
        assert change == pytest.approx(w - 0.5, abs=60 * (c["gamma_p"] + c["gamma_d"]) * 0.02e-3 / 150), delta


def test_short_term_plasticity_follows_the_recursion_of_the_paper():
    """Regular trains at 20 Hz: what each spike transmits, R_n u_n of Tsodyks, Pawelzik & Markram 1998, written out."""
    for name in ("short_term_depression", "short_term_facilitation"):
        made, gap = rule(name), 50.0
        U, recovery, facilitation = (made.values[p] * (1 if p == "U" else 1e3) for p in ("U", "tau_rec", "tau_facil"))
        u, free, sent = U, 1.0, []
        for _ in range(8):
            sent.append(u * free)
            free = 1 + (free - u * free - 1) * exp(-gap / recovery)
            u = U + u * (1 - U) * exp(-gap / facilitation)
        # an integrator without leak shows what arrives, added up
        cells = Population("cells", if_neuron, 1)
        network = Network([cells], [Projection("input", "cells", np.array([[1.0]]), "v", "mV", rule=made)], [SpikeSource("input", 1)])
        spikes = {"input": Spikes(np.arange(8) * 50, [0] * 8, [0] * 8, (401, 1, 1), 1.0)}
        v = get_engine("compiled").run(network, spikes, dt_ms=1.0, scheme="exact", record={"cells": ("v",)}).states["cells"]["v"][:, 0, 0]
        np.testing.assert_allclose(np.diff(v[[0, *range(50, 401, 50)]]) * 1e3, sent, rtol=1e-9)
        rising = sent[-1] > sent[0]
        assert rising == (name == "short_term_facilitation")


# -- chance ---------------------------------------------------------------------------------------------------


def test_a_synapse_switches_with_the_probability_that_the_trace_gives():
    """2,000 synapses, a pair at +10 ms: a share p_plus exp(-1/2) goes up; within four standard deviations."""
    n, p = 2000, 0.6 * exp(-0.5)
    changes = weight_changes(rule("stochastic_traces").with_parameters(p_plus=0.6), [pairs(10, count=1)] * n, weight=0.0)
    assert set(changes) == {0.0, 1.0}
    assert abs(changes.mean() - p) < 4 * np.sqrt(p * (1 - p) / n)


def test_what_remains_unchanged_after_repeated_pairs_shrinks_geometrically():
    n, p = 2000, 0.1 * exp(-0.25)
    changes = weight_changes(rule("stochastic_traces").with_parameters(p_minus=0), [pairs(5, count=10, rate_hz=2)] * n, weight=0.0)
    left = (1 - p) ** 10
    assert abs((changes == 0).mean() - left) < 4 * np.sqrt(left * (1 - left) / n)


def test_a_window_depresses_what_was_silent():
    made = rule("stochastic_window").with_parameters(p_plus=1, p_minus=1)
    recent, long_ago, never = Protocol([100], [119]), Protocol([100], [125]), Protocol([], [100])
    assert weight_changes(made, [recent, long_ago, never], weight=1.0).tolist() == [0, -1, -1]
    assert weight_changes(made, [recent, long_ago, never], weight=0.0).tolist() == [1, 0, 0]


def test_a_graded_window_goes_up_the_more_rarely_the_longer_ago():
    """At +10 ms a share p_plus exp(-1/2) goes up, none down; at +30 ms, outside the window, a share p_minus goes down."""
    made, n = rule("stochastic_graded").with_parameters(p_plus=0.6, p_minus=0.3), 2000
    for delta, start, p, step in ((10, 0.0, 0.6 * exp(-0.5), 1), (10, 1.0, 0, -1), (30, 1.0, 0.3, -1), (30, 0.0, 0, 1)):
        changes = weight_changes(made, [pairs(delta, count=1)] * n, weight=start)
        assert set(changes) <= {0.0, step}
        assert abs((changes == step).mean() - p) <= 4 * np.sqrt(p * (1 - p) / n)


def test_levels_and_their_bits():
    made = rule("stochastic_traces").with_parameters(levels=5, p_plus=1, p_minus=1)
    # a trace of nearest spikes 1e-3 ms away is 1 but for 5e-5: each pair moves by one level of four
    changes = weight_changes(made, [pairs(0.1, count=k) for k in (1, 2, 3)], weight=0.25)
    np.testing.assert_allclose(changes, [0.25, 0.5, 0.75])
    assert bits_per_synapse(rule("stochastic_traces")) == 1 and bits_per_synapse(rule("pair_additive")) == 32
    assert bits_per_synapse(made) == pytest.approx(np.log2(5))
    with pytest.raises(SpecError, match="parameter 'levels' = 2.5 must be a whole number within"):
        made.with_parameters(levels=2.5)
    with pytest.raises(SpecError, match="lies outside"):
        made.with_parameters(levels=1)


# -- rates ----------------------------------------------------------------------------------------------------


def test_scaling_brings_a_neuron_to_its_rate():
    """Rates far above and below rho_0 move there, in some time constants; without the rule they stay."""
    made = RULES["synaptic_scaling"].with_parameters(tau_rate="1 second", tau_scaling="5 second", rho_0="10 Hz")
    for start in (0.15, 0.5):
        cells = Population("cells", cuba_lif, 4, {"r": 8})
        learning = Projection("input", "cells", np.full((4, 100), start), "i_syn", "nA", rule=made, name="learning")
        network = Network([cells], [learning], [PoissonSource("input", 100, 20.0)])
        spikes = CompiledEngine().run(network, dt_ms=1.0, scheme="exact", duration_ms=60_000, seed=1).spikes["cells"]
        late = (spikes.step >= 40_000).sum() / 4 / 20
        early = (spikes.step < 1_000).sum() / 4
        assert abs(late - 10) < 2 < abs(early - 10), (start, early, late)


def test_rules_compose():
    both = together(rule("pair_additive"), RULES["synaptic_scaling"])
    assert set(both.traces["post"]) == {"y", "z"} and both.every_step and both.name == "pair_additive_and_synaptic_scaling"
    alone = weight_changes(rule("pair_additive"), [pairs(10, count=1)])[0]
    # scaling a silent neuron's weight of .5 for the some 300 ms of the protocol adds .5 · 300/100,000
    assert weight_changes(both, [pairs(10, count=1)])[0] == pytest.approx(alone + 0.5 * 0.3 / 100, rel=0.1)
    with pytest.raises(SpecError, match="needs one rule at least"):
        together()
    with pytest.raises(SpecError, match="both have a trace or state 'x'"):
        together(rule("pair_additive"), rule("inhibitory"))


@pytest.mark.parametrize("name", ["clopath", "reward_florian"])
def test_rules_with_a_condition_compose_with_rules_without(name):
    """What holds now and then, beside what always holds: each as alone, and equal in all engines."""
    made = rule(name).with_parameters(**LIVELY.get(name, {}))
    protocols = [pairs(d, count=5, rate_hz=20) for d in (10, -10)]
    alone = weight_changes(made, protocols, dt_ms=0.5)
    np.testing.assert_allclose(weight_changes(unconditional(made), protocols, dt_ms=0.5), alone, rtol=1e-12)
    resting = RULES["synaptic_scaling"].with_parameters(tau_scaling="1e9 second")
    np.testing.assert_allclose(weight_changes(together(made, resting), protocols, dt_ms=0.5), alone, rtol=1e-6)
    both = together(made, RULES["synaptic_scaling"].with_parameters(tau_rate="1 second", tau_scaling="2 second"))
    found = compare(Config(duration_ms=400), both, 0)
    assert found["spikes"] > 50 and found["moved"] > 50 and (alone != 0).all()
    assert found["differing"] == 0 and found["difference"] < BOUND


# -- what a rule may ask for ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"every_step_if": "y > 1"}, "has every_step_if = 'y > 1', but no every_step"),
        ({"every_step": "y += 1"}, "every_step of rule 'own' sets the trace 'y'"),
        ({"every_step": "w += 1", "every_step_if": "x > 1"}, "every_step_if of rule 'own' reads 'x'; it may read"),
        ({"synapse_states": "dc/dt = (1 - c)/tau : 1"}, "the synapse state 'c' of rule 'own' does not decay"),
        ({"efficacy": "1 - y"}, "efficacy of rule 'own' reads 'y'"),
        ({"efficacy": "x*rand()"}, "efficacy of rule 'own' draws a random number"),
        ({"on_post": "y += rand(); w = 1"}, "sets the trace 'y' from 'a random number'"),
        ({"on_pre": "x += dt; w = 0"}, "unknown name in on_pre 'dt'"),
        ({"on_post": "w = clip(w + rand(2), 0, 1)"}, "gives rand an argument: 'w = clip"),
        ({"on_post": "w = is_on"}, "unknown name in on_post 'is_on'"),
        ({"on_post": "is_on = 1; w = 0"}, "sets 'is_on', which is a constant or belongs to Brian2"),
        ({"synapse_states": "number : 1"}, "'number' of rule 'own' is a name that the rule's code in Brian2 uses itself"),
    ],
)
def test_a_mistake_is_named(changes, message):
    arguments = {
        "pre_traces": "dx/dt = -x/tau : 1",
        "post_traces": "dy/dt = -y/tau : 1",
        "on_post": "y += 1; w = clip(w + x, 0, 1)",
        "parameters": {"tau": Parameter(20, "ms", "(0, inf)")},
    }
    with pytest.raises(SpecError, match=message):
        PlasticityRule("own", **(arguments | changes))


def test_a_neuron_gets_the_states_that_a_rule_reads():
    assert listening(neuron("lif_delta"), ["v"]) is neuron("lif_delta")
    made = listening(neuron("cuba_lif"), rule("clopath").post_states)
    assert made.states[-2:] == ("v_minus", "v_plus") and made.initial["v_minus"] == neuron("cuba_lif").initial["v"]
    with pytest.raises(SpecError, match="unknown state 'dopamine' of 'lif_delta'"):
        listening(neuron("lif_delta"), ["dopamine"])
