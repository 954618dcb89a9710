"""Declarations: what they derive from their text, and every mistake named with its fix."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from spiketwin.models.neurons import neuron
from spiketwin.models.spec import NeuronSpec, Parameter, SpecError
from spiketwin.models.units import UnitError


def declare(**changes):
    """A small valid model with some fields changed."""
    fields = dict(
        name="tiny",
        equations="dv/dt = (r*i_ext - v)/tau_mem : volt (unless refractory)\n di_syn/dt = -i_syn/tau_mem : amp\n i_ext : amp",
        parameters=dict(
            tau_mem=Parameter(10, "ms", "(0, inf)"), tau_ref=Parameter(2, "ms"), r=Parameter(1, "Mohm"), v_threshold=Parameter(1, "mV")
        ),
        threshold="v > v_threshold",
        reset="v = 0*mV; i_syn += 1*nA",
        refractory="tau_ref",
        inputs=("i_syn",),
    )
    return NeuronSpec(**{**fields, **changes})


def test_what_a_declaration_says():
    spec = declare()
    assert spec.states == ("v", "i_syn")
    assert spec.drives == ("i_ext",)
    assert spec.gated == {"v"}
    assert spec.refractory_kind == "time"
    assert [(s.target, s.operator) for s in spec.reset_statements] == [("v", "="), ("i_syn", "+=")]
    assert spec.si_unit("v") == "volt" and spec.si_unit("tau_mem") == "second"
    assert not spec.is_noisy and not spec.has_random_threshold
    assert neuron("noisy_lif").is_noisy and neuron("escape_lif").has_random_threshold
    assert neuron("hh_1952").refractory_kind == "condition"
    assert neuron("rnn_lif").refractory_kind == "none"


def test_equations_may_run_over_lines_and_hold_comments():
    spec = declare(
        equations="dv/dt = (r*i_ext  # the drive\n  - v)/tau_mem : volt (unless refractory)\n di_syn/dt = -i_syn/tau_mem : amp\n i_ext : amp"
    )
    assert spec.rates["v"] == "(r*i_ext - v)/tau_mem"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            dict(equations="dv/dt = -v/tau : volt"),
            SpecError,
            r"unknown name in the equation of 'v' 'tau' of 'tiny'. Did you mean 'tau_\w+'\?",
        ),
        (
            dict(equations="dv/dt = -v : volt", reset="", refractory="", inputs=()),
            UnitError,
            "the equation of 'v' in 'tiny' has unit volt, but volt/second",
        ),
        (dict(equations="dv/dt = -v/tau_mem : mV"), UnitError, "declared in mV; equations take SI units: write 'volt'"),
        (dict(equations="dv/dt = -v/tau_mem : volt (event-driven)"), SpecError, "flag 'event-driven'"),
        (dict(equations="dv/dt = -v/tau_mem"), SpecError, "is not 'dx/dt"),
        (dict(equations="di/dt = -i/tau_mem : amp"), SpecError, "name 'i' of 'tiny' is reserved by Brian2; rename it, e.g. 'i_syn'"),
        (dict(equations="dmV/dt = -mV/tau_mem : volt"), SpecError, "name 'mV' of 'tiny' is a unit"),
        (dict(equations="dexp/dt = -exp/tau_mem : volt"), SpecError, "name 'exp' of 'tiny' is a function"),
        (dict(equations="dv_post/dt = -v_post/tau_mem : volt"), SpecError, "ends with '_pre' or '_post'"),
        (dict(threshold="v > tau_mem"), UnitError, "the threshold of 'tiny': .* joins volt and second"),
        (dict(threshold="v"), SpecError, "threshold 'v' of 'tiny' is not a condition"),
        (dict(reset="v := 0"), SpecError, "reset 'v := 0' is not"),
        (dict(reset="u = 0"), SpecError, "unknown reset target 'u' of 'tiny'"),
        (dict(reset="v = 1*nA"), UnitError, "the reset of 'v' in 'tiny' has unit amp, but volt"),
        (dict(refractory=""), SpecError, r"'v' of 'tiny' is '\(unless refractory\)' but the model has no refractory period"),
        (dict(refractory="r"), UnitError, "refractory parameter 'r' of 'tiny' has unit ohm; it must be a time"),
        (dict(refractory="2*ms"), SpecError, "neither a time parameter nor a condition"),
        (dict(inputs=("i",)), SpecError, "unknown input 'i' of 'tiny'; Brian2 reserves 'i'."),
        (dict(inputs=("i_ext",)), SpecError, "unknown input 'i_ext' of 'tiny'. Known: v, i_syn."),
        (dict(initial={"v": "r"}), UnitError, "the initial value of 'v' in 'tiny' has unit ohm, but volt"),
        (dict(spike_scale="v + r"), UnitError, "spike_scale of 'tiny'"),
        (dict(name="two words"), SpecError, "model name 'two words' is not an identifier"),
        (dict(reset="v = exp(-dt/tau_mem)*v"), SpecError, "unknown name in the reset 'dt'"),
    ],
)
def test_mistakes(changes, error, message):
    with pytest.raises(error, match=message):
        declare(**changes)


def test_a_name_is_declared_once():
    with pytest.raises(SpecError, match="'r' of 'tiny' is declared twice"):
        declare(equations=declare().equations + "\n r : ohm")


def test_dt_belongs_to_the_threshold_alone():
    draw = "rand() < 1 - exp(-dt/tau_mem)"
    assert declare(threshold=draw).has_random_threshold
    with pytest.raises(SpecError, match="'dt'.*Brian2 reserves 'dt'"):
        declare(equations="dv/dt = -v/dt : volt (unless refractory)\n di_syn/dt = -i_syn/tau_mem : amp")


def test_parameters_keep_to_their_bounds_and_units():
    with pytest.raises(SpecError, match=r"parameter 'tau_mem' = 0.* ms lies outside \(0, inf\) ms"):
        declare().with_defaults(tau_mem=0)
    with pytest.raises(SpecError, match="'tau_mem' = 5 mV: volt where ms"):
        declare().with_defaults(tau_mem="5 mV")
    with pytest.raises(SpecError, match="unknown parameter 'tau_m' of 'tiny'. Did you mean 'tau_mem'"):
        declare().with_defaults(tau_m=1)
    with pytest.raises(SpecError, match="'p' = nan"):
        Parameter(1).check("p", np.nan)
    with pytest.raises(SpecError, match="are not an interval"):
        Parameter(1, bounds="positive").check("p", 1)


def test_other_defaults():
    changed = declare().with_defaults(name="other", tau_mem="0.02 second", r=2)
    assert changed.name == "other"
    assert changed.parameters["tau_mem"].value == pytest.approx(20)
    assert changed.parameters["r"].si == pytest.approx(2e6)
    assert declare().parameters["tau_mem"].value == 10


def test_a_declaration_survives_pickling():
    spec = neuron("hh_1952")
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert hash(pickle.loads(pickle.dumps(spec))) == hash(spec)
