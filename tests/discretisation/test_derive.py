"""Derived steps against pen and paper, scipy's matrix exponential and each other."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from spiketwin.models.discretisation import SCHEMES, SchemeError, derive, margin, stability_limit, unsupported_reason
from spiketwin.models.spec import NeuronSpec, Parameter

LIF = NeuronSpec(
    name="lif_under_test",
    equations="""
        dv/dt = (v_rest - v + r*(i_syn + i_ext))/tau_mem : volt (unless refractory)
        di_syn/dt = -i_syn/tau_syn : amp
        i_ext : amp
    """,
    parameters=dict(
        tau_mem=Parameter(10, "ms", "(0, inf)"),
        tau_syn=Parameter(5, "ms", "(0, inf)"),
        tau_ref=Parameter(2, "ms", "[0, inf)"),
        r=Parameter(1, "Mohm"),
        v_rest=Parameter(0, "mV"),
        v_threshold=Parameter(1, "mV"),
        v_reset=Parameter(0, "mV"),
    ),
    threshold="v > v_threshold",
    reset="v = v_reset",
    refractory="tau_ref",
    inputs=("i_syn",),
)
ALPHA = NeuronSpec(
    name="alpha_under_test",
    equations="""
        dv/dt = -v/tau_mem + drive/tau_mem : 1
        dx/dt = (y - x)/tau_syn : 1
        dy/dt = -y/tau_syn : 1
        dw/dt = (x - w)/tau_mem : 1
        drive : 1
    """,
    parameters=dict(tau_mem=Parameter(10, "ms"), tau_syn=Parameter(10, "ms")),
)


def advance(step, values: dict, state: dict, dt_s: float, backend: str = "numpy", **extra) -> tuple:
    namespace = {**values, **step.constant_values(values, dt_s, backend), **state, "dt": dt_s, "active": np.True_, **extra}
    if backend == "torch":
        namespace["active"] = torch.tensor(True)
    return step.function(backend)(*(namespace[n] for n in step.arguments))


def test_euler_is_the_papers_equation():
    # v + dt/tau_mem (v_rest - v + r (i_syn + i_ext)) = 0.2 + 0.1 (0 - 0.2 + 0.5 + 0.3) mV = 0.26 mV; i: 0.5 (1 - 1/5) nA
    values = {n: p.si for n, p in LIF.parameters.items()} | {"i_ext": 0.3e-9}
    v, i = advance(derive(LIF, "euler"), values, {"v": 0.2e-3, "i_syn": 0.5e-9}, 1e-3)
    assert v == pytest.approx(0.26e-3, rel=1e-12)
    assert i == pytest.approx(0.4e-9, rel=1e-12)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("tau_syn_ms", [5.0, 10.0, 10.0 + 1e-7])
def test_exact_is_the_matrix_exponential_also_for_equal_time_constants(backend, tau_syn_ms):
    dt, tau_mem, tau_syn = 1e-3, 10e-3, tau_syn_ms * 1e-3
    values = {n: p.si for n, p in LIF.parameters.items()} | {"tau_syn": tau_syn, "i_ext": 0.7e-9}
    state = {"v": 0.2e-3, "i_syn": 0.5e-9}
    if backend == "torch":
        values = {n: torch.tensor(x, dtype=torch.float64) for n, x in values.items()}
        state = {n: torch.tensor(x, dtype=torch.float64) for n, x in state.items()}
    v, i = advance(derive(LIF, "exact"), values, state, dt, backend)
    # augmented system d(v, i, 1)/dt
    m = np.array([[-1 / tau_mem, 1e6 / tau_mem, 1e6 * 0.7e-9 / tau_mem], [0, -1 / tau_syn, 0], [0, 0, 0]])
    expected = scipy.linalg.expm(m * dt) @ [0.2e-3, 0.5e-9, 1]
    assert float(v) == pytest.approx(expected[0], rel=1e-12)
    assert float(i) == pytest.approx(expected[1], rel=1e-12)


def test_exact_handles_chains_double_poles_and_drives():
    dt = 3e-3
    values = {"tau_mem": 10e-3, "tau_syn": 10e-3, "drive": 0.4}
    state = {"v": 0.1, "x": 0.3, "y": 0.8, "w": -0.2}
    got = advance(derive(ALPHA, "exact"), values, state, dt)
    a = 100.0
    m = np.array([[-a, 0, 0, 0, a * 0.4], [0, -a, a, 0, 0], [0, 0, -a, 0, 0], [0, a, 0, -a, 0], [0, 0, 0, 0, 0]])
    expected = (scipy.linalg.expm(m * dt) @ [0.1, 0.3, 0.8, -0.2, 1])[:4]
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_gating_clamps_only_the_gated_state():
    for scheme in ("euler", "exponential_euler", "exact", "rk4", "heun"):
        values = {n: p.si for n, p in LIF.parameters.items()} | {"i_ext": 1e-9}
        v, i = advance(derive(LIF, scheme), values, {"v": 0.2e-3, "i_syn": 0.5e-9}, 1e-3, active=np.False_)
        assert v == 0.2e-3
        assert i < 0.5e-9


def test_noise_enters_with_the_square_root_of_dt():
    ou = NeuronSpec("ou", "dx/dt = -x/tau + sigma*xi : 1", dict(tau=Parameter(10, "ms"), sigma=Parameter(3, "second**-0.5")))
    values = {"tau": 10e-3, "sigma": 3.0}
    (x,) = advance(derive(ou, "euler_maruyama"), values, {"x": 1.0}, 1e-3, noise=0.5)
    assert x == pytest.approx(1 - 0.1 + 3 * np.sqrt(1e-3) * 0.5)
    (h,) = advance(derive(ou, "heun"), values, {"x": 1.0}, 1e-3, noise=0.5)
    kick = 3 * np.sqrt(1e-3) * 0.5
    ahead = 1 - 0.1 + kick
    assert h == pytest.approx(1 - 0.05 * (1 + ahead) + kick)


def test_what_a_scheme_cannot_do_is_an_error_that_says_what_can():
    square = NeuronSpec("square", "dx/dt = x**2/tau : 1", dict(tau=Parameter(1, "ms")))
    loop = NeuronSpec("loop", "dx/dt = (y - x)/tau : 1\n dy/dt = -x/tau : 1", dict(tau=Parameter(1, "ms")))
    assert "use rk4" in unsupported_reason(square, "exponential_euler")
    assert "nonlinearly" in unsupported_reason(square, "exact")
    assert "drive each other" in unsupported_reason(loop, "exact")
    assert "no noise" in unsupported_reason(square, "euler_maruyama")
    assert unsupported_reason(square, "rk4") == ""
    with pytest.raises(SchemeError, match="Did you mean 'euler'"):
        derive(square, "eulr")


def test_derived_text_is_readable_and_complete():
    text = derive(LIF, "exact").readable()
    assert "decay_mem = exp(-dt/tau_mem)" in text
    assert "v_inf + (v - v_inf)*decay_mem" in text
    assert "if v > v_threshold:\n    v = v_reset" in text
    assert r"\begin{align*}" in derive(LIF, "euler").latex()


def test_margin_of_a_threshold():
    assert margin(LIF) == ("(v) - (v_threshold)", True)
    draw = NeuronSpec("draw", "dv/dt = -v/tau : 1\n p = 1 - exp(-v) : 1", dict(tau=Parameter(1, "ms")), threshold="rand() <= p")
    assert margin(draw) == ("((1 - exp(-v))) - (uniform)", False)


def test_stability_limits_of_a_linear_equation():
    decay = NeuronSpec("decay", "dx/dt = -x/tau : 1", dict(tau=Parameter(4, "ms")))
    values = {"tau": 4e-3, "x": 1.0}
    assert stability_limit(decay, "euler", values) == pytest.approx(8e-3)
    assert stability_limit(decay, "rk4", values) == pytest.approx(2.785 * 4e-3, rel=1e-3)
    assert stability_limit(decay, "exact", values) == np.inf


def test_constants_are_differentiable_in_the_time_constant():
    step = derive(LIF, "exact")
    tau = torch.tensor(10e-3, dtype=torch.float64, requires_grad=True)
    values = {n: torch.tensor(p.si, dtype=torch.float64) for n, p in LIF.parameters.items()} | {"tau_mem": tau}
    step.constant_values(values, 1e-3, "torch")["decay_mem"].backward()
    # d exp(-dt/tau)/dtau = exp(-dt/tau) dt/tau²
    assert tau.grad.item() == pytest.approx(np.exp(-0.1) * 1e-3 / 1e-4, rel=1e-12)


def test_every_scheme_has_a_declared_order():
    assert {n: s.order for n, s in SCHEMES.items()} == {
        "euler": 1,
        "exponential_euler": 1,
        "exact": np.inf,
        "rk4": 4,
        "euler_maruyama": 1,
        "heun": 2,
    }
