"""Physical and recurrent parameters: the way there and back, the gain error, and its removal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spiketwin.models.discretisation import derive
from spiketwin.models.mapping import (
    PhysicalLIF,
    RecurrentForm,
    corrected_weight,
    exact_reading,
    matched,
    naive_gain_error,
    psp_mv,
    psp_peak_ms,
    recurrent_form,
    retarget,
    to_physical,
    to_recurrent,
)
from spiketwin.models.network import Population
from spiketwin.models.neurons import NEURONS
from spiketwin.models.recurrent import run_recurrent_lif
from spiketwin.models.semantics import PLATFORMS, SemanticsError
from spiketwin.models.spec import NeuronSpec, SpecError

NEVER = 1e9  # mV
cuba_lif = NEURONS["cuba_lif"]
EXPONENTIAL = [name for name, rules in PLATFORMS.items() if rules.synapse == "exponential"]
EXACT_DECAYS = [name for name in EXPONENTIAL if PLATFORMS[name].decay == "exp"]

tau = st.floats(2.0, 200.0)
dt = st.sampled_from([0.1, 0.25, 0.5, 1.0])


def response(form, weight=1.0, steps=60):
    """v at the threshold test after one spike of `weight` in step 0."""
    x = np.zeros(steps)
    x[0] = weight
    return run_recurrent_lif(form, x).v


@given(
    tau,
    tau,
    st.floats(0.1, 500.0),
    st.floats(-80, -55),
    st.floats(1, 40),
    st.floats(-10, 0.5),
    st.integers(0, 30),
    dt,
    st.sampled_from(sorted(PLATFORMS)),
)
def test_there_and_back(tau_mem, tau_syn, r, rest, distance, reset, refractory_steps, dt_ms, name):
    rules = PLATFORMS[name]
    tau_syn = tau_syn if rules.synapse == "exponential" else None
    there = PhysicalLIF(tau_mem, tau_syn, r, rest, rest + distance, rest + reset, refractory_steps * dt_ms)
    back = to_physical(to_recurrent(there, dt_ms, rules), dt_ms)
    for field, value in vars(there).items():
        if value is None:
            assert getattr(back, field) is None
        else:
            # 1 - beta loses up to tau/dt = 2000 of the 2.2e-16 of a double; the gain repeats that
            assert getattr(back, field) == pytest.approx(value, rel=1e-11, abs=1e-11), field


def test_recurrent_form_as_arithmetic():
    form = to_recurrent(PhysicalLIF(20.0, 5.0, 100.0, -70.0, -50.0, -60.0, 2.0), 1.0, PLATFORMS["brian2_euler"])
    assert (form.alpha, form.beta) == (0.8, 0.95)
    assert form.gain == pytest.approx(100 / 20)  # mV per nA and step
    assert (form.threshold, form.reset, form.refractory_steps) == (20.0, 10.0, 2)
    unit = form.normalised()
    assert (unit.gain, unit.threshold, unit.reset, unit.rest) == (0.25, 1.0, 0.5, 0.0)


def test_normalised_neuron_spikes_alike():
    form = to_recurrent(PhysicalLIF(20.0, 5.0, 100.0, -70.0, -50.0, -60.0, 2.0), 1.0)
    x = np.random.default_rng(0).random(300) * 0.2
    spikes = run_recurrent_lif(form, x).spikes
    assert spikes.sum() > 10
    np.testing.assert_array_equal(run_recurrent_lif(form.normalised(), x).spikes, spikes)


def test_naive_loop_is_16_percent_too_strong():
    """dt 1, tau 10 and 5 ms: peak 2.903 against 2.500, area 57.97 against 50, that is +15.9 %.

    U[7] = (beta^7 - alpha^7)/(beta - alpha) = (.496585 - .246597)/.0861067 = 2.9032; the equation with
    r = tau_mem/dt = 10 peaks at 10 ln 2 ms with 10 (1/2 - 1/4) = 2.5 and has area r tau_syn = 50.
    """
    loop = RecurrentForm(
        alpha=np.exp(-1 / 5),
        beta=np.exp(-1 / 10),
        semantics=PLATFORMS["recurrent_mapping"],
        threshold=NEVER,
    )
    v = response(loop, steps=400)
    equation = PhysicalLIF(10.0, 5.0, r_mohm=10.0)
    peak = psp_mv(equation, psp_peak_ms(equation))
    assert psp_peak_ms(equation) == pytest.approx(10 * np.log(2))
    assert peak == pytest.approx(2.5, rel=1e-14)
    assert v.max() == pytest.approx(2.903, abs=5e-4)
    assert v.max() / peak - 1 == pytest.approx(0.161, abs=5e-4)
    assert v.sum() / 50 - 1 == pytest.approx(0.159, abs=5e-4)
    error = naive_gain_error(10.0, 5.0, 1.0)
    # v[n] of this loop is the response n - 1 steps after the spike: its latency is 2 and n = 1 is the first value
    np.testing.assert_allclose(v[2:40] / psp_mv(equation, np.arange(1, 39)) - 1, error.peak, rtol=1e-11)
    assert v.sum() / 50 - 1 == pytest.approx(error.area, rel=1e-10)
    corrected = response(loop, weight=error.weight)
    np.testing.assert_allclose(corrected[1:41], psp_mv(equation, np.arange(40)), rtol=0, atol=1e-12 * peak)


def test_gain_error_vanishes_with_the_step():
    """Leading order dt/2 (1/tau_mem + 1/tau_syn); the remainder is of second order in dt."""
    for dt_ms in (1e-2, 1e-3):
        error = naive_gain_error(10.0, 5.0, dt_ms)
        leading = dt_ms / 2 * (1 / 10 + 1 / 5)
        assert error.peak == pytest.approx(leading, rel=dt_ms)
        assert error.area == pytest.approx(leading, rel=dt_ms)


@given(tau, tau, dt, st.sampled_from(EXACT_DECAYS))
def test_corrected_weight_makes_the_psp_exact(tau_mem, tau_syn, dt_ms, name):
    rules, physical = PLATFORMS[name], PhysicalLIF(tau_mem, tau_syn, 3.0, v_threshold_mv=NEVER)
    v = response(to_recurrent(physical, dt_ms, rules), corrected_weight(1.0, physical, dt_ms, rules))
    exact = psp_mv(physical, np.arange(60) * dt_ms)
    shift = rules.latency - 1  # in steps: v of step n is the response at (n - shift) dt
    found = v[shift:] if shift >= 0 else np.concatenate([[0.0], v])
    steps = min(len(found), len(exact))
    np.testing.assert_allclose(found[:steps], exact[:steps], rtol=0, atol=1e-12 * exact.max())


@pytest.mark.parametrize("tau_syn", [10.0, 10.0 * (1 + 1e-15), 10.0 * (1 + 1e-9), 10.0 * (1 - 1e-6)])
def test_equal_time_constants_are_the_limit(tau_syn):
    """tau_syn -> tau_mem: v = r w t/tau exp(-t/tau), peak r w/e at t = tau."""
    physical = PhysicalLIF(10.0, tau_syn, 2.0, v_threshold_mv=NEVER)
    t = np.arange(60.0)
    limit = 2.0 * t / 10 * np.exp(-t / 10)
    close = 1e-12 + abs(tau_syn / 10 - 1)  # the response moves with tau_syn itself
    np.testing.assert_allclose(psp_mv(physical, t), limit, rtol=10 * close)
    np.testing.assert_allclose(response(to_recurrent(physical, 1.0))[1:], limit[1:], rtol=10 * close)
    assert psp_peak_ms(physical) == pytest.approx(10.0, rel=2 * close)
    assert psp_mv(physical, 10.0) == pytest.approx(2.0 / np.e, rel=2 * close)
    assert naive_gain_error(10.0, tau_syn, 1.0).peak == pytest.approx(np.exp(1 / 10) - 1, rel=20 * close)


def test_psp_solves_the_equation():
    """tau_mem dv/dt + v = r w exp(-t/tau_syn), by a fine difference quotient."""
    physical = PhysicalLIF(20.0, 5.0, 3.0)
    t, h = np.linspace(0.5, 60, 50), 1e-4
    slope = (psp_mv(physical, t + h, 0.7) - psp_mv(physical, t - h, 0.7)) / (2 * h)
    np.testing.assert_allclose(20 * slope + psp_mv(physical, t, 0.7), 3.0 * 0.7 * np.exp(-t / 5), rtol=0, atol=1e-7)


def test_tabulated_peak_of_the_equation():
    """tau 20 and 5 ms, one unit spike: 0.1575 at 20/3 ln 4 = 9.24 ms."""
    physical = PhysicalLIF(20.0, 5.0)
    assert psp_peak_ms(physical) == pytest.approx(20 / 3 * np.log(4))
    assert psp_mv(physical, psp_peak_ms(physical)) == pytest.approx(0.1575, abs=5e-5)


@pytest.mark.parametrize("name", EXPONENTIAL)
def test_retargeted_neuron_has_the_same_psp(name):
    """At dt/4 and the common grid points, for every platform's own numbers, also those with Euler decays."""
    rules = replace(PLATFORMS[name], order=("integrate", "receive", "threshold", "reset"), refractory="none")
    form = replace(
        to_recurrent(PhysicalLIF(20.0, 5.0, v_threshold_mv=NEVER), 1.0, replace(rules, input_gain="unit")),
        semantics=rules,
    )
    fine = retarget(form, 1.0, 0.25)
    coarse_v, fine_v = response(form, steps=60), response(fine, steps=240)
    assert coarse_v.max() > 1e-3
    np.testing.assert_allclose(fine_v[::4], coarse_v, rtol=0, atol=1e-12 * coarse_v.max())


@given(tau, tau, st.sampled_from(EXACT_DECAYS))
def test_retarget_there_and_back(tau_mem, tau_syn, name):
    form = to_recurrent(PhysicalLIF(tau_mem, tau_syn, 2.0, tau_ref_ms=3.0), 1.0, PLATFORMS[name])
    back = retarget(retarget(form, 1.0, 0.1), 0.1, 1.0)
    for field in ("alpha", "beta", "gain", "threshold", "refractory_steps"):
        assert getattr(back, field) == pytest.approx(getattr(form, field), rel=1e-10), field


def test_beta_in_milliseconds():
    """beta = 0.9 at 1 ms: 10 ms for a simulator that writes 1 - dt/tau, 9.49 ms in truth; 20 ms if dt is 2.1 ms."""
    form = RecurrentForm(alpha=0.8, beta=0.9, semantics=PLATFORMS["lava_lif"])
    assert to_physical(form, 1.0).tau_mem_ms == pytest.approx(10.0)
    truth = exact_reading(form, 1.0)
    assert truth.tau_mem_ms == pytest.approx(-1 / np.log(0.9))
    # the loop's response is gain (beta^n - alpha^n)/(beta - alpha); n = 3: (.729 - .512)/.1
    assert psp_mv(truth, 3.0) == pytest.approx(2.17, rel=1e-12)


def test_declared_model_becomes_the_same_loop():
    """cuba_lif: 20 ms, 5 ms, 100 Mohm, -70, -50, -60 mV, 2 ms at dt 0.5 ms."""
    form = recurrent_form(cuba_lif, {}, 0.5)
    expected = to_recurrent(PhysicalLIF(20.0, 5.0, 100.0, -70.0, -50.0, -60.0, 2.0), 0.5)
    for field in ("alpha", "beta", "gain", "threshold", "reset", "rest", "refractory_steps"):
        assert getattr(form, field) == pytest.approx(getattr(expected, field), rel=1e-12), field
    assert (form.semantics.comparison, form.semantics.reset, form.semantics.refractory) == (
        ">",
        "value",
        "hold",
    )


@pytest.mark.parametrize(("scheme", "rules"), [("euler", "brian2_euler"), ("exact", "brian2_exact")])
def test_mapping_is_the_derived_step(scheme, rules):
    """The step derived from the declaration with sympy, applied to unit vectors, gives alpha, beta and gain."""
    spec, dt_ms = NEURONS["rnn_lif"], 0.5
    step, form = derive(spec, scheme), recurrent_form(spec, {}, dt_ms, PLATFORMS[rules])
    parameters = Population("p", spec, 1).parameter_values()
    constants = step.constant_values(parameters, dt_ms * 1e-3)

    def advance(v, i_syn):
        values = {
            **parameters,
            **constants,
            "v": v,
            "i_syn": i_syn,
            "i_ext": 0.0,
            "dt": dt_ms * 1e-3,
        }
        return step.function("numpy")(*(values[name] for name in step.arguments))

    assert advance(1.0, 0.0) == pytest.approx((form.beta, 0.0), rel=1e-14)
    assert advance(0.0, 1e-9) == pytest.approx((form.gain * 1e-3, form.alpha * 1e-9), rel=1e-14)
    assert (form.threshold, form.reset, form.semantics.reset) == (1.0, 0.0, "subtract")


def test_declared_model_with_parameters_per_neuron():
    form = recurrent_form(cuba_lif, {"tau_mem": np.array([10.0, 20.0]), "v_reset": "-65 mV"}, 1.0)
    np.testing.assert_allclose(form.beta, np.exp([-0.1, -0.05]))
    assert form.reset == pytest.approx(5.0)
    assert run_recurrent_lif(form, np.full((200, 2), 0.1)).spikes.sum(0).min() > 3


def _variant(**changes):
    fields = {
        name: getattr(cuba_lif, name)
        for name in (
            "equations",
            "parameters",
            "threshold",
            "reset",
            "refractory",
            "inputs",
            "initial",
        )
    }
    return NeuronSpec("variant", **{**fields, **changes})


def test_spelling_of_the_equations_does_not_matter():
    subtracting = _variant(
        equations="""
            drive = r*i_syn : volt
            dv/dt = (drive - (v - v_rest))/tau_mem : volt
            di_syn/dt = -(1/tau_syn)*i_syn : amp
        """,
        threshold="v >= v_threshold",
        reset="v -= v_threshold - v_reset",
        refractory="",
    )
    form = recurrent_form(subtracting, {}, 1.0)
    assert (form.semantics.comparison, form.semantics.reset, form.semantics.refractory) == (
        ">=",
        "subtract",
        "none",
    )
    assert "count_down" not in form.semantics.order
    assert (form.threshold, form.reset) == (pytest.approx(20.0), pytest.approx(10.0))


def test_other_models_are_refused():
    twice = _variant(equations=cuba_lif.equations.replace("-i_syn/tau_syn", "-2*i_syn/tau_syn"))
    with pytest.raises(SpecError, match=r"not a current-based LIF.*di_syn/dt = -2\*i_syn/tau_syn"):
        recurrent_form(twice, {}, 1.0)
    with pytest.raises(SpecError, match="Did you mean 'tau_mem'"):
        recurrent_form(cuba_lif, {"tau_men": 10.0}, 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PhysicalLIF(-1.0, 5.0), "tau_mem_ms = -1.0 must be positive"),
        (
            lambda: PhysicalLIF(20.0, 5.0, v_rest_mv=-50.0, v_threshold_mv=-60.0),
            "must lie above v_rest_mv",
        ),
        (lambda: to_recurrent(PhysicalLIF(20.0, 5.0), 0.0), "dt_ms = 0.0 must be positive"),
        (
            lambda: to_recurrent(PhysicalLIF(20.0, 5.0), 5.0, PLATFORMS["brian2_euler"]),
            "not below the time constant 5.0 ms",
        ),
        (lambda: to_recurrent(PhysicalLIF(20.0), 1.0), "give tau_syn_ms"),
        (
            lambda: to_recurrent(PhysicalLIF(20.0, 5.0), 1.0, PLATFORMS["spyx_lif"]),
            "set tau_syn_ms to None",
        ),
        (
            lambda: to_physical(RecurrentForm(0.5, 1.0, PLATFORMS["spytorch"]), 1.0),
            "beta = 1.0 is not between 0 and 1",
        ),
        (
            lambda: corrected_weight(1.0, PhysicalLIF(20.0, 5.0), 1.0, PLATFORMS["lava_lif"]),
            "its PSP has another shape",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_matched_rules_keep_the_order():
    rules = matched(PLATFORMS["rockpool_lif_ode_jax"])
    assert rules.order == PLATFORMS["rockpool_lif_ode_jax"].order
    assert (rules.decay, rules.input_gain, rules.jump) == ("exp", "exact", "unit")
    with pytest.raises(SemanticsError):
        replace(rules, decay="euler")
