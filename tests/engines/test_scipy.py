"""The adaptive engine against closed forms: it is the truth of the cross-check, so it must be near machine precision."""

import numpy as np
import pytest

from spiketwin.models import (
    Network,
    NeuronSpec,
    Parameter,
    Population,
    Projection,
    Spikes,
    SpikeSource,
    neuron,
)
from spiketwin.models.engines.brian import BrianEngine
from spiketwin.models.engines.scipy import ScipyEngine

ENGINE = ScipyEngine()
DT = 0.5


def test_f_i_curve_of_the_leaky_integrate_and_fire_neuron():
    """f = 1/(t_ref + tau ln((RI - Vr)/(RI - Vth))) for tau 20, Vth 20, Vr 10, t_ref 2: independently computed values."""
    golden = {1.01: 12.401, 1.1: 26.430, 1.5: 63.040, 2: 98.919, 3: 154.730, 5: 229.586}
    drive = np.array(list(golden)) * 20e-3 / 100e6
    p = Population("p", neuron("lif"), 6, dict(v_rest=0, v_threshold=20, v_reset=10, tau_ref=2), {"i_ext": drive})
    spikes = ENGINE.run(Network((p,)), dt_ms=DT, duration_ms=300).spikes["p"]
    for n, (ratio, listed) in enumerate(golden.items()):
        interval_s = np.diff(spikes.time_ms[spikes.neuron == n]) * 1e-3
        assert len(interval_s) >= 2
        rate = 1 / (2e-3 + 20e-3 * np.log((20 * ratio - 10) / (20 * ratio - 20)))
        np.testing.assert_allclose(1 / interval_s, rate, rtol=1e-9)
        assert rate == pytest.approx(listed, abs=5e-4)  # as printed


def one_cell(spec="cuba_lif", weight=1.0, unit="nA", receptor="i_syn", delay_ms=0.0, drives=None, **parameters):
    return Network(
        (Population("p", neuron(spec), 1, parameters, drives or {}),),
        (Projection("s", "p", np.array([[weight]]), receptor, unit, delay_ms=delay_ms),),
        (SpikeSource("s", 1),),
    )


def given(*steps, length=100, dt_ms=DT):
    return {"s": Spikes(steps, [0] * len(steps), [0] * len(steps), (length, 1, 1), dt_ms)}


def test_postsynaptic_potential_from_the_exact_time_of_arrival():
    """A spike labelled 3 acts at 4·dt = 2 ms, and 0.7 ms later with that delay; it is not put on the grid."""
    r = ENGINE.run(one_cell(delay_ms=0.7, v_threshold=0), given(3), dt_ms=DT, record={"p": ("v", "i_syn")})
    t = np.maximum(np.arange(100) * DT - 2.7, 0)
    expected = 100e-3 * 5 / (5 - 20) * (np.exp(-t / 5) - np.exp(-t / 20))
    np.testing.assert_allclose(r.states["p"]["v"][:, 0, 0] + 70e-3, expected, rtol=0, atol=1e-12)
    # without delay the state at the grid point of arrival is the one after it
    i = ENGINE.run(one_cell(v_threshold=0), given(3), dt_ms=DT, record={"p": ("i_syn",)}).states["p"]["i_syn"][:, 0, 0]
    assert i[3] == 0 and i[4] == pytest.approx(1e-9, rel=1e-12)


def test_spike_time_of_a_psp_that_crosses():
    """At tau_syn = tau_mem the PSP is r w (t/tau) exp(-t/tau); with w = 1 nA it reaches 20 mV at t = -tau W(-1/5)."""
    from scipy.special import lambertw

    spikes = ENGINE.run(one_cell(tau_syn=20, tau_ref=200), given(0), dt_ms=DT).spikes["p"]
    expected = DT - 20 * lambertw(-0.2).real
    assert spikes.time_ms.tolist() == pytest.approx([expected], abs=1e-9)
    assert spikes.step.tolist() == [int(expected / DT)]


def test_a_membrane_jump_over_threshold_spikes_at_once_and_is_lost_while_refractory():
    """Jumps of 25 mV over a threshold 20 mV away; tau_ref 2 ms. Spikes labelled 0, 3, 4, 5 act at 0.5, 2, 2.5, 3 ms."""
    network = one_cell("lif_delta", weight=25, unit="mV", receptor="v", tau_ref=2, v_reset=-70)
    times = ENGINE.run(network, given(0, 3, 4, 5), dt_ms=DT).spikes["p"].time_ms
    # the period is 0.5 … 2.5 ms; what arrives as it ends is lost too, as in the schedule of the grid engines
    np.testing.assert_allclose(times, [0.5, 3.0], atol=1e-9)


def test_recurrent_spikes_arrive_after_the_delay_and_cascade_without_one():
    """a is driven over threshold at tau ln 2 (r i = 40 mV, threshold 20 mV); it kicks b after 1.23 ms, b kicks c at once."""
    delta = neuron("lif_delta")
    network = Network(
        (Population("a", delta, 1, {"tau_ref": 100}, {"i_ext": "0.4 nA"}), Population("b", delta, 1), Population("c", delta, 1)),
        (
            Projection("a", "b", np.array([[30.0]]), "v", "mV", delay_ms=1.23),
            Projection("b", "c", np.array([[30.0]]), "v", "mV"),
        ),
    )
    spikes = ENGINE.run(network, dt_ms=DT, duration_ms=40).spikes
    first = 20 * np.log(2)
    assert spikes["a"].time_ms.tolist() == pytest.approx([first], abs=1e-9)
    assert spikes["b"].time_ms.tolist() == pytest.approx([first + 1.23], abs=1e-9)
    assert spikes["c"].time_ms.tolist() == pytest.approx([first + 1.23], abs=1e-9)


def test_neurons_that_spike_together_do_not_stop_each_other():
    """Two equal neurons inhibit each other without delay: both have spiked already, and their resets wipe the jump."""
    network = Network(
        (Population("p", neuron("lif_delta"), 2, {"tau_ref": 0}, {"i_ext": "0.4 nA"}),),
        (Projection("p", "p", np.array([[0.0, -30.0], [-30.0, 0.0]]), "v", "mV"),),
    )
    spikes = ENGINE.run(network, dt_ms=DT, duration_ms=20).spikes["p"]
    assert spikes.neuron.tolist() == [0, 1]
    np.testing.assert_allclose(spikes.time_ms, 20 * np.log(2), atol=1e-9)


def test_drive_holds_for_its_step_and_trials_are_separate():
    drive = np.zeros((4, 2, 1))
    drive[1, 0], drive[2, 1] = 1e-10, 2e-10
    network = Network((Population("p", neuron("if_neuron"), 1),))
    v = ENGINE.run(network, {"p.i_ext": drive}, dt_ms=DT, record={"p": ("v",)}).states["p"]["v"][:, :, 0] + 70e-3
    # 0.1 nA for 0.5 ms on 200 pF: 0.25 mV
    np.testing.assert_allclose(v[:, 0], [0, 0, 0.25e-3, 0.25e-3], atol=1e-14)
    np.testing.assert_allclose(v[:, 1], [0, 0, 0, 0.5e-3], atol=1e-14)


def test_final_state_follows_the_last_arrival():
    final = ENGINE.run(one_cell(), given(9, length=10), dt_ms=DT).final["p"]["i_syn"]
    assert final[0, 0] == pytest.approx(1e-9, rel=1e-12)


def test_hodgkin_huxley_rate():
    """10 uA/cm2 with NEURON's leak reversal: 68.39 Hz, from an independent RK4 program."""
    network = Network((Population("p", neuron("hh_neuron"), 1, drives={"i_ext": 0.1}),))
    times = ENGINE.run(network, dt_ms=DT, duration_ms=62).spikes["p"].time_ms
    # the limit cycle is reached to 5e-3 Hz by the third interval
    assert 1e3 / (times[-1] - times[-2]) == pytest.approx(68.39, abs=0.02)


def test_the_grid_engines_approach_it():
    """Half the step, half the error of the spike times: the label and the grid are of first order even for 'exact'."""
    rng = np.random.default_rng(0)
    spikes = Spikes.from_dense(rng.random((100, 1, 1)) < 0.2, DT)
    network = one_cell(weight=0.6)
    truth = ENGINE.run(network, {"s": spikes}, dt_ms=DT).spikes["p"].time_ms
    assert len(truth) >= 3
    for factor in (8, 32):
        fine = spikes.refined(factor)
        grid = BrianEngine(codegen="numpy").run(network, {"s": fine}, dt_ms=fine.dt_ms, scheme="exact").spikes["p"]
        assert len(grid) == len(truth)
        # each of the refractory periods before a spike is short by one step at most, and so is the label
        assert np.abs(grid.times_ms() - truth).max() <= 2 * fine.dt_ms * len(truth)


def test_weak_inequality_spikes_at_equality():
    def cell(threshold):
        return NeuronSpec(
            "cell", "dv/dt = 0*v/tau : volt", {"tau": Parameter(1, "ms")}, threshold=threshold, reset="v = 0*mV", inputs=("v",)
        )

    for threshold, expected in (("v >= 1*mV", 1), ("1*mV <= v", 1), ("v > 1*mV", 0)):
        network = Network(
            (Population("p", cell(threshold), 1),), (Projection("s", "p", np.array([[1.0]]), "v", "mV"),), (SpikeSource("s", 1),)
        )
        assert len(ENGINE.run(network, given(2), dt_ms=DT).spikes["p"]) == expected


def test_what_it_cannot_do_is_said():
    for name in ("noisy_lif", "escape_lif"):
        network = Network((Population("p", neuron(name), 1),))
        assert "stochastic" in ENGINE.unsupported(network)[0]
        with pytest.raises(ValueError, match="stochastic"):
            ENGINE.run(network, dt_ms=DT, duration_ms=1)
    assert "1000 neurons" in ENGINE.unsupported(Network((Population("p", neuron("lif"), 1000),)))[0]
    with pytest.raises(ValueError, match="DOP853, Radau, LSODA"):
        ScipyEngine(method="euler")


def test_a_reset_above_threshold_is_an_error_and_no_endless_loop():
    network = Network((Population("p", neuron("if_neuron"), 1, {"v_reset": -40}, {"i_ext": "1 nA"}),))
    with pytest.raises(RuntimeError, match="neuron 0 of 'p'"):
        ENGINE.run(network, dt_ms=DT, duration_ms=20)
