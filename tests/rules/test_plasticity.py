"""Plasticity rules: what a declaration must say, and the trace rule of Diehl & Cook on spike pairs worked by hand."""

from __future__ import annotations

import pickle
from dataclasses import replace
from math import exp

import numpy as np
import pytest

from spiketwin.experiments.studies.learning_rules.rules_in_engines import BOUND, Config, compare
from spiketwin.models import (
    Network,
    Parameter,
    PoissonSource,
    Population,
    Projection,
    SpecError,
    Spikes,
    SpikeSource,
    UnitError,
    get_engine,
    neuron,
)
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.network import Convolution
from spiketwin.models.plasticity import Normalisation, PlasticityRule
from spiketwin.rules import RULES, rule
from spiketwin.rules.plasticity.diehl_cook import diehl_cook, exponential, power_law, symmetric

TAU = {"tau": Parameter(20, "ms", "(0, inf)"), "eta": Parameter(0.01)}


def declare(**changes):
    return PlasticityRule(
        **{
            "name": "pair",
            "pre_traces": "dx/dt = -x/tau : 1",
            "post_traces": "dy/dt = -y/tau : 1",
            "on_pre": "x += 1; w = w - eta*y",
            "on_post": "y += 1; w = w + eta*x",
            "parameters": TAU,
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"name": "two words"}, SpecError, "'two words' is not an identifier"),
        ({"on_pre": "", "on_post": ""}, SpecError, "never changes a weight"),
        ({"on_pre": "x += 1", "on_post": "y += 1"}, SpecError, "no statement of rule 'pair' changes the weight"),
        ({"on_pre": "y = 1; w = w - eta*y"}, SpecError, "sets 'y', a trace of the postsynaptic neuron; it must be set in on_post"),
        ({"on_pre": "x += w; w = w - eta*y"}, SpecError, "sets the trace 'x' from 'w'"),
        ({"on_pre": "x += 1; w = w - etta*y"}, SpecError, "unknown name in on_pre 'etta' of 'pair'. Did you mean 'eta'?"),
        ({"on_pre": "x += 1; w = w - tau"}, UnitError, "joins 1 and second"),
        ({"on_pre": "x += 1; w = tau"}, UnitError, "gives 'w' unit second, but 1 is needed"),
        ({"on_pre": "x += 1; eta = 2"}, SpecError, "sets 'eta', which is a constant"),
        ({"on_pre": "w = w - randn()"}, SpecError, "draws normal numbers, which engines could not draw alike; build them from rand"),
        ({"on_pre": "w * 2"}, SpecError, "on_pre 'w \\* 2' is not 'x = …'"),
        ({"pre_traces": "dx/dt = -x*x/tau : 1"}, SpecError, "'x' of rule 'pair' does not decay exponentially"),
        ({"pre_traces": "dx/dt = x/tau : 1"}, SpecError, "does not decay exponentially"),
        ({"pre_traces": "dx/dt = (1 - x)/tau : 1"}, SpecError, "does not decay exponentially"),
        ({"pre_traces": "dx/dt = -x : 1"}, UnitError, "the trace 'x' of rule 'pair' has rate 1"),
        ({"pre_traces": "x = 3 : 1"}, SpecError, "is not of the form 'dx/dt = -x/tau : 1'"),
        ({"pre_traces": "dw/dt = -w/tau : 1"}, SpecError, "'w' of rule 'pair' is declared twice"),
        ({"post_traces": "dx/dt = -x/tau : 1"}, SpecError, "'x' of rule 'pair' is declared twice"),
        ({"parameters": {**TAU, "tau": Parameter(-20, "ms", "(0, inf)")}}, SpecError, "parameter 'tau' = -20.0 ms lies outside"),
        ({"parameters": {**TAU, "i": Parameter(1)}}, SpecError, "'i' of rule 'pair' is no name that Brian2 takes"),
        ({"bounds": ("1", "0")}, SpecError, "bounds of 'pair' are 1 and 0: the first must be the smaller one; swap them"),
        ({"bounds": ("0", "tau")}, UnitError, "bound 'tau' of rule 'pair' has unit second"),
    ],
)
def test_a_mistake_in_a_declaration_is_named(changes, error, message):
    with pytest.raises(error, match=message):
        declare(**changes)


def test_a_rule_is_data():
    made = declare(bounds=("0", "inf"))
    assert made.traces == {"pre": ("x",), "post": ("y",)}
    assert made.decay_rates == pytest.approx({"x": 50.0, "y": 50.0})
    assert made.limits == (0.0, np.inf)
    assert pickle.loads(pickle.dumps(made)) == made and hash(made) == hash(declare(bounds=("0", "inf")))
    assert made.with_parameters(tau="10 ms", eta=0.5).values == pytest.approx({"tau": 0.01, "eta": 0.5})
    with pytest.raises(SpecError, match="unknown parameter 'etta'"):
        made.with_parameters(etta=1)
    for wrong in (-1, 0, np.nan, np.inf, "-5 ms"):
        with pytest.raises(SpecError, match="lies outside"):
            made.with_parameters(tau=wrong)
    with pytest.raises(SpecError, match="is one number for all synapses; got"):
        made.with_parameters(tau=[10, 20])
    with pytest.raises(SpecError, match="volt where ms"):
        made.with_parameters(tau="10 mV")
    with pytest.raises(SpecError, match="bounds of 'reward_izhikevich' are 2 and 1: the first must be the smaller one; swap them"):
        rule("reward_izhikevich").with_parameters(w_min=2)


def test_what_a_synapse_and_what_a_neuron_must_compute():
    def shown(statements):
        return [f"{s.target} {s.operator} {s.expression}" for s in statements]

    # the neuron keeps traces; of them a synapse reads what stood there before
    rule = declare(on_pre="x += 1; z = x*y; w = w - eta*z; x = 2*x", on_post="q = y; y += 1; w += eta*x*q")
    assert shown(rule.synapse_statements("pre")) == ["x += 1", "z = x*y", "w = w - eta*z"]
    assert shown(rule.synapse_statements("post")) == ["q = y", "w += eta*x*q"]
    assert shown(rule.trace_statements("pre")) == ["x += 1", "x = 2*x"]
    # what is set anew need not be known
    assert shown(declare(on_pre="x = 3; x += 1; w += x").synapse_statements("pre")) == ["x = 3", "x += 1", "w += x"]
    assert declare(on_pre="x += 1").synapse_statements("pre") == ()
    remembering = declare(synapse_states="dc/dt = -c/tau : 1", on_pre="x += 1; c += y", on_post="y += 1; w += c")
    assert shown(remembering.synapse_statements("pre")) == ["c += y"] and shown(remembering.synapse_statements("post")) == ["w += c"]


def test_the_registry():
    assert all(name == made.name and made.source for name, made in RULES.items())
    assert all(p.description for made in RULES.values() for p in made.parameters.values())
    assert rule("diehl_cook") is diehl_cook
    with pytest.raises(ValueError, match="Did you mean 'diehl_cook'"):
        rule("diehl_cock")


def plastic(weights=((0.5,),), receptor="v", target="lif_delta", **options):
    weights = weights if hasattr(weights, "shape") else np.asarray(weights)
    cells = Population("cells", neuron(target), weights.shape[0])
    options = {"unit": "uV", "rule": diehl_cook, "name": "learning", **options}
    return Network([cells], [Projection("input", "cells", weights, receptor, **options)], [SpikeSource("input", weights.shape[1])])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: plastic(np.array([[1.5]])), "1 weights of 'learning', such as 1.5, lie outside the bounds 0 … 1"),
        (lambda: plastic(np.array([[0.5]]), rule=None, normalisation=Normalisation(1)), "a normalisation but no rule"),
        (lambda: plastic(Convolution(np.full((1, 1, 1, 1), 0.5), 1, 1)), "give each synapse its own, weights.to_sparse()"),
        (lambda: plastic(rule="pair_additive"), "rule = 'pair_additive' of 'learning' is no PlasticityRule; take one by its name"),
        (lambda: plastic(normalisation=78.0), "normalisation = 78.0 of 'learning' is none; give Normalisation"),
        (
            lambda: plastic(rule=rule("reward_izhikevich")),
            r"unknown state of the target 'd' of 'lif_delta'.*listening\(neuron, rule.post_states\) adds it",
        ),
        (lambda: plastic(rule=rule("clopath")), r"the target 'v_minus' of .*listening\(neuron, rule.post_states\) adds it"),
        (lambda: Normalisation(0), "total = 0 of a normalisation must be positive"),
        (lambda: Normalisation(1, -5), "every_ms = -5"),
        (lambda: plastic(np.array([[0.5]]), rule=declare(post_states={"u": "volt"})), "unknown state of the target 'u' of 'lif_delta'"),
        (
            lambda: plastic(np.array([[0.5]]), rule=declare(post_states={"v": "amp"})),
            "reads 'v_post' in amp, but in 'lif_delta' it is in volt",
        ),
        (lambda: plastic(np.array([[0.5]]), "i_syn", "leaky_readout", unit="nA"), "'leaky_readout' never spikes"),
        (
            lambda: plastic(np.array([[0.5]]), rule=declare(parameters={**TAU, "v_post": Parameter(1)})),
            "parameter 'v_post' of rule 'pair' would mean 'v' of 'lif_delta' in Brian2",
        ),
    ],
)
def test_a_projection_that_a_rule_cannot_serve_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_places_of_a_convolution_learn_each_for_itself():
    """A convolution's synapses, with a weight each, in all engines; what was one number of the kernel becomes one for each place."""
    rng = np.random.default_rng(0)
    shared = Convolution(rng.uniform(0.3, 0.7, (2, 1, 3, 3)), 5, 5)
    cells = Population("cells", neuron("cuba_lif"), 18, {"r": 8}, {"i_ext": rng.uniform(2.2e-9, 2.9e-9, 18)})
    made = rule("pair_additive").with_parameters(eta=0.05)
    learning = Projection("input", "cells", shared.to_sparse(), "i_syn", "nA", 2.0, name="learning", rule=made)
    network = Network([cells], [learning], [PoissonSource("input", 25, 20.0)])
    runs = [get_engine(name).run(network, dt_ms=1.0, scheme="exact", duration_ms=600, seed=1) for name in ("brian", "compiled", "torch")]
    first, *others = (run.weights["learning"][0] for run in runs)
    assert first.shape == (2 * 9 * 9,) and len(runs[0].spikes["cells"]) > 50
    assert all(np.abs(first - other).max() < 1e-12 for other in others)
    at = 5 * np.arange(3)[:, None] + np.arange(3)  # the input under the kernel's first number, at each place of map 0
    before, after = (m.toarray()[np.arange(9), at.ravel()] for m in (shared.to_sparse(), learning.matrix(first)))
    assert np.ptp(before) == 0 and np.ptp(after) > 0.05


def test_the_engine_whose_weights_stand_still_says_so():
    reasons = get_engine("scipy").unsupported(plastic(np.array([[0.5]])), "euler")
    assert any("rule 'diehl_cook' changes the weights of 'learning'" in r and "brian, torch or compiled" in r for r in reasons)


# -- spike pairs by hand ---------------------------------------------------------------------------

DT_MS = 1.0
W = 0.5
PRE, POST = 1e-4, 1e-2  # learning rates


def weights_after(engine, pre, post, *, delay_ms=0.0, w=W, steps=80, made=diehl_cook):
    """The weight at the start of every step. pre: steps of presynaptic spikes, post: of postsynaptic ones.

    A teacher that acts at the end of step p - 1 with 100 mV makes the neuron fire at step p.
    """
    cells = Population("cells", neuron("lif_delta"), 1, {"tau_ref": 0})
    learning = Projection("input", "cells", np.array([[w]]), "v", "uV", delay_ms, rule=made, name="learning")
    network = Network(
        [cells],
        [learning, Projection("teacher", "cells", np.array([[100.0]]), "v", "mV")],
        [SpikeSource("input", 1), SpikeSource("teacher", 1)],
    )
    zeros = [0] * max(len(pre), len(post))
    inputs = {
        "input": Spikes(pre, zeros[: len(pre)], zeros[: len(pre)], (steps, 1, 1), DT_MS),
        "teacher": Spikes([p - 1 for p in post], zeros[: len(post)], zeros[: len(post)], (steps, 1, 1), DT_MS),
    }
    chosen = get_engine(engine) if isinstance(engine, str) else engine
    run = chosen.run(network, inputs, dt_ms=DT_MS, scheme="exact", record={"learning": ("w",)})
    assert run.spikes["cells"].step.tolist() == list(post)
    trace = run.states["learning"]["w"][:, 0, 0]
    return trace, run.weights["learning"][0, 0]


@pytest.mark.parametrize("engine", ["brian", "compiled"])
@pytest.mark.parametrize(
    ("pre", "post", "delay_ms", "change"),
    [
        # the neuron fired 5 ms ago: depression by the trace post1, e^(-5/20)
        ([15], [10], 0, -PRE * exp(-5 / 20)),
        # only the last postsynaptic spike counts, 3 ms ago, as post1 is set to 1
        ([15], [5, 12], 0, -PRE * exp(-3 / 20)),
        # the first postsynaptic spike after an input changes nothing, as post2 is 0 …
        ([10], [15], 0, 0.0),
        # … the second does: input 15 ms ago, the other spike 10 ms ago
        ([10], [15, 25], 0, POST * exp(-15 / 20) * exp(-10 / 40)),
        # of two inputs the nearer one counts, 5 ms ago
        ([2, 20], [1, 25], 0, -PRE * (exp(-1 / 20) + exp(-19 / 20)) + POST * exp(-5 / 20) * exp(-24 / 40)),
        # with a delay of 3 ms the input of step 10 arrives at step 13: 2 and 12 ms before the postsynaptic spikes
        ([10], [15, 25], 3, POST * exp(-12 / 20) * exp(-10 / 40)),
        # fired before the postsynaptic spike, arrived after it: depression, 1 ms
        ([8], [10], 3, -PRE * exp(-1 / 20)),
        # in one step the arrival comes first: it sees post1 of 6 ms ago, and the postsynaptic spike sees pre = 1
        ([20], [14, 20], 0, -PRE * exp(-6 / 20) + POST * exp(-6 / 40)),
        # spikes that are on their way do not count yet: at step 20 the input of step 19 has 2 ms to go
        ([10, 19], [14, 20], 3, POST * exp(-7 / 20) * exp(-6 / 40) - PRE * exp(-2 / 20)),
    ],
)
def test_pairs_of_diehl_and_cook_by_hand(engine, pre, post, delay_ms, change):
    _, last = weights_after(engine, pre, post, delay_ms=delay_ms)
    # 1e-15: a sum of a few numbers below 1
    assert last == pytest.approx(W + change, abs=1e-15, rel=0)


def test_the_three_other_rules_of_diehl_and_cook_by_hand():
    """Inputs at 10 and 20, spikes at 15 and 22: pre = e^(-5/20), then e^(-12/20) + e^(-2/20); post1 = e^(-5/20) at the second input."""
    pre, post = [exp(-5 / 20), exp(-12 / 20) + exp(-2 / 20)], exp(-5 / 20)

    def grown(w, x):
        return w + 0.1 * (x - 0.4) * (1 - w) ** 0.5

    changed = {"nu_post": 0.1, "mu": 0.5}
    last = weights_after("compiled", [10, 20], [15, 22], made=power_law.with_parameters(**changed))[1]
    assert last == pytest.approx(grown(grown(W, pre[0]), pre[1]), rel=1e-12)
    last = weights_after("compiled", [10, 20], [15, 22], made=symmetric.with_parameters(nu_pre=0.2, **changed))[1]
    w = grown(W, pre[0])
    assert last == pytest.approx(grown(w - 0.2 * post * w**0.5, pre[1]), rel=1e-12)
    w = W
    for x in pre:
        w += 0.1 * (x * exp(-3 * w) - 0.4 * exp(-3 * (1 - w)))
    assert weights_after("compiled", [10, 20], [15, 22], made=exponential.with_parameters(nu_post=0.1))[1] == pytest.approx(w, rel=1e-12)
    # of what was silent, a spike takes from a synapse
    assert weights_after("compiled", [], [15], made=power_law)[1] == pytest.approx(W - 0.01 * 0.4 * W, rel=1e-12)


@pytest.mark.parametrize("made", [power_law, exponential, symmetric], ids=lambda r: r.name)
def test_they_are_equal_in_all_engines(made):
    found = compare(Config(duration_ms=600.0), made.with_parameters(nu_post=0.1), 0)
    assert found["spikes"] > 20 and found["moved"] > 20
    assert found["differing"] == 0 and found["difference"] < BOUND and found["membrane"] < BOUND


@pytest.mark.parametrize("engine", ["brian", "compiled"])
def test_weights_stay_within_bounds_and_change_when_the_spikes_come(engine):
    strong = diehl_cook.with_parameters(nu_pre=0.4, nu_post=0.8)
    trace, last = weights_after(engine, [10, 31], [12, 14, 30], w=0.9, made=strong)
    # second postsynaptic spike: .9 + .8 e^(-4/20) e^(-2/40) = 1.52, so 1; input 1 ms after the third: 1 - .4 e^(-1/20)
    assert trace[14] == 0.9 and trace[15] == 1.0
    assert last == pytest.approx(1 - 0.4 * exp(-1 / 20), abs=1e-15)
    _, last = weights_after(engine, [11, 12], [10], w=0.3, made=strong)
    assert last == 0.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_small_traces_count_like_large_ones(dtype):
    """What a trace is measured in does not matter: it counts as zero once it is far below what it was, however little that is."""
    small = 2.0**-100  # a power of two, so that both round alike
    tiny = TAU | {"eta": Parameter(0.25 / small), "a": Parameter(small)}
    lasting, brief = [10, 30, 31, 70], [12, 33, 60]
    engine = CompiledEngine(dtype=dtype)
    ones = declare(on_pre="x += 1; w = w - eta*y", on_post="y += 1; w = w + eta*x", parameters=TAU | {"eta": Parameter(0.25)})
    smalls = declare(on_pre="x += a; w = w - eta*y", on_post="y += a; w = w + eta*x", parameters=tiny)
    one, other = (weights_after(engine, lasting, brief, made=made)[0] for made in (ones, smalls))
    np.testing.assert_array_equal(one, other)
    assert len(set(one.tolist())) == 1 + len(lasting) + len(brief) - 1  # the first spike finds no trace


def test_the_weight_acts_before_it_is_depressed():
    """An input 1 ms after a spike delivers .5 uV, not what is left of it."""
    strong = diehl_cook.with_parameters(nu_pre=0.5)
    cells = Population("cells", neuron("lif_delta"), 1, {"tau_ref": 0})
    network = Network(
        [cells],
        [
            Projection("input", "cells", np.array([[W]]), "v", "uV", rule=strong),
            Projection("teacher", "cells", np.array([[100.0]]), "v", "mV"),
        ],
        [SpikeSource("input", 1), SpikeSource("teacher", 1)],
    )
    for engine in ("brian", "compiled"):
        inputs = {"input": Spikes([11], [0], [0], (14, 1, 1), DT_MS), "teacher": Spikes([9], [0], [0], (14, 1, 1), DT_MS)}
        v = get_engine(engine).run(network, inputs, dt_ms=DT_MS, scheme="exact", record={"cells": ("v",)}).states["cells"]["v"][:, 0, 0]
        without = {**inputs, "input": Spikes([], [], [], (14, 1, 1), DT_MS)}
        u = get_engine(engine).run(network, without, dt_ms=DT_MS, scheme="exact", record={"cells": ("v",)}).states["cells"]["v"][:, 0, 0]
        assert v[12] - u[12] == pytest.approx(0.5e-6, rel=1e-6)  # a difference of voltages near 60 mV


def test_parameters_of_a_rule_share_compiled_code():
    from spiketwin.models.engines.compiled.plastic import rests, rule_source

    other = replace(diehl_cook.with_parameters(nu_pre=0.1), name="other")
    assert rule_source(other) == rule_source(diehl_cook)
    assert "w = clip(w - nu_pre*post1, 0, w_max)" in rule_source(diehl_cook)
    assert rests(diehl_cook)
    # where a target that never fired learns, too, every arrival must be looked at
    assert not rests(declare(on_pre="x += 1; w = w - eta*(1 - y)"))
    assert not rests(declare(on_pre="x += 1; w = clip(w - eta*y, 0, 1)"))  # clips to narrower bounds than declared
