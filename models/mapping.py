"""Physical and recurrent form of a leaky integrate-and-fire neuron, mapped both ways.

    physical                                        recurrent
    tau_mem dv/dt     = -v + r i                    v[n+1] = beta v[n] + gain i[n]
    tau_syn di/dt     = -i,  i <- i + w at spikes   i[n+1] = alpha i[n] + jump w s[n]

v is measured from rest. Which alpha, beta, gain and jump belong to given tau, r and dt depends on the
rules of the simulator (`Semantics`). One spike of weight w gives, after n updates of v,

    equation   v = r w tau_syn/(tau_mem - tau_syn) (exp(-t/tau_mem) - exp(-t/tau_syn)),   t = n dt
    loop       v = gain jump w alpha^k (beta^n - alpha^n)/(beta - alpha)

with k the decays of the synapse before it first drives v (0 or 1). With alpha = exp(-dt/tau_syn) and
beta = exp(-dt/tau_mem) both have the same shape: the loop is wrong by one factor, and one factor on the
weights (or on the gain) makes it exact at every grid point.

Source: Gerstner et al. 2014, Neuronal Dynamics, eq. 1.5-1.9; Rotter & Diesmann 1999, Biol. Cybern. 81, for
the exact propagator; Neftci, Mostafa & Zenke 2019 for the recurrent form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from spiketwin.models import theory
from spiketwin.models.semantics import PLATFORMS, REFERENCE, Semantics, SemanticsError
from spiketwin.models.spec import NeuronSpec, SpecError
from spiketwin.models.spikes import timestep

Number = float | np.ndarray


@dataclass(frozen=True)
class PhysicalLIF:
    """Parameters of the equation: one number each, or arrays with one entry per neuron.

    tau_syn_ms: None for a neuron without synaptic state (input is a current, or a delta).
    Weights and currents are in nA, so that r_mohm times a weight is in mV.
    Raises ValueError for a time constant, resistance or distance to threshold that is not positive.
    """

    tau_mem_ms: Number
    tau_syn_ms: Number | None = None
    r_mohm: Number = 1.0
    v_rest_mv: Number = 0.0
    v_threshold_mv: Number = 1.0
    v_reset_mv: Number = 0.0
    tau_ref_ms: Number = 0.0

    def __post_init__(self) -> None:
        for name in ("tau_mem_ms", "tau_syn_ms", "r_mohm"):
            value = getattr(self, name)
            if value is not None and not (np.asarray(value) > 0).all():
                raise ValueError(f"{name} = {value} must be positive")
        if not (np.asarray(self.v_threshold_mv) > self.v_rest_mv).all():
            raise ValueError(
                f"v_threshold_mv = {self.v_threshold_mv} must lie above v_rest_mv = {self.v_rest_mv}: a neuron at rest must be silent"
            )
        if not (np.asarray(self.tau_ref_ms) >= 0).all():
            raise ValueError(f"tau_ref_ms = {self.tau_ref_ms} must not be negative")


@dataclass(frozen=True)
class RecurrentForm:
    """Numbers of the loop v[n+1] = beta v + gain i, i[n+1] = alpha i + jump x, and the rules that run it.

    gain: mV per nA.  threshold, reset: mV above rest.  alpha: 0 where there is no synaptic state.
    rest: carried along, so that the way back to physical parameters is complete.
    """

    alpha: Number
    beta: Number
    semantics: Semantics
    gain: Number = 1.0
    jump: Number = 1.0
    threshold: Number = 1.0
    reset: Number = 0.0
    rest: Number = 0.0
    refractory_steps: int | np.ndarray = 0

    def normalised(self) -> RecurrentForm:
        """The same neuron with v in units of the distance from rest to threshold, so that threshold is 1 and rest 0."""
        scale = self.threshold
        return replace(
            self,
            gain=self.gain / scale,
            threshold=self.threshold / scale,
            reset=self.reset / scale,
            rest=0.0 * self.rest,
        )

    @property
    def psp_factor(self) -> Number:
        """The factor gain jump alpha^k in front of (beta^n - alpha^n)/(beta - alpha)."""
        return self.gain * self.jump * self.alpha**self.semantics.early_decays


def matched(semantics: Semantics) -> Semantics:
    """The same order of events, with the decays and the input gain that make a PSP exact at the grid points.

    Attached to the numbers of a trained network, these rules read them as what they are, not as what
    their simulator says they are: tau_mem = -dt/ln(beta).
    """
    return replace(
        semantics,
        decay="exp",
        input_gain="unit" if semantics.synapse == "delta" else "exact",
        jump="unit",
    )


def to_recurrent(physical: PhysicalLIF, dt_ms: float, semantics: Semantics = REFERENCE) -> RecurrentForm:
    """What a simulator with these rules makes of the physical parameters.

    Raises ValueError for dt_ms that is not positive or, with Euler decays, not below each time constant
    (the state would change sign from step to step); SemanticsError when tau_syn_ms is missing or superfluous.
    """
    if not dt_ms > 0:
        raise ValueError(f"dt_ms = {dt_ms} must be positive")
    if (physical.tau_syn_ms is None) == (semantics.synapse == "exponential"):
        fix = "give tau_syn_ms" if physical.tau_syn_ms is None else "set tau_syn_ms to None"
        raise SemanticsError(f"'{semantics.name}' has synapse '{semantics.synapse}' but tau_syn_ms = {physical.tau_syn_ms}; {fix}")
    tau_mem, tau_syn, r = physical.tau_mem_ms, physical.tau_syn_ms, physical.r_mohm
    beta = _decay(tau_mem, dt_ms, semantics.decay)
    alpha = _decay(tau_syn, dt_ms, semantics.decay) if tau_syn is not None else 0.0
    jump = dt_ms / tau_syn if semantics.jump == "pulse" else 1.0
    return RecurrentForm(
        alpha=alpha,
        beta=beta,
        semantics=semantics,
        gain=r * _gain_per_ohm(tau_mem, tau_syn, dt_ms, semantics),
        jump=jump,
        threshold=physical.v_threshold_mv - physical.v_rest_mv,
        reset=physical.v_reset_mv - physical.v_rest_mv,
        rest=physical.v_rest_mv,
        refractory_steps=timestep(physical.tau_ref_ms, dt_ms),
    )


def to_physical(form: RecurrentForm, dt_ms: float) -> PhysicalLIF:
    """The physical parameters from which the form's rules make these numbers: the inverse of to_recurrent.

    Read a form with `exact_reading` instead to learn which equation its loop follows.
    A refractory period comes back rounded down to the grid; a jump that does not follow the rules goes into r.
    Raises ValueError when beta (or alpha) is not between 0 and 1, where no time constant belongs to it.
    """
    rules = form.semantics
    tau_mem = _time_constant(form.beta, dt_ms, rules.decay, "beta")
    tau_syn = _time_constant(form.alpha, dt_ms, rules.decay, "alpha") if rules.synapse == "exponential" else None
    jump = dt_ms / tau_syn if rules.jump == "pulse" else 1.0
    return PhysicalLIF(
        tau_mem_ms=tau_mem,
        tau_syn_ms=tau_syn,
        r_mohm=form.gain * form.jump / (jump * _gain_per_ohm(tau_mem, tau_syn, dt_ms, rules)),
        v_rest_mv=form.rest,
        v_threshold_mv=form.threshold + form.rest,
        v_reset_mv=form.reset + form.rest,
        tau_ref_ms=form.refractory_steps * dt_ms,
    )


def exact_reading(form: RecurrentForm, dt_ms: float) -> PhysicalLIF:
    """The equation whose PSP the loop follows at every grid point, whatever the simulator calls its parameters.

    beta = 0.9 at dt = 1 ms is tau_mem = 9.49 ms, also where the simulator wrote it as 1 - dt/(10 ms).
    """
    return to_physical(replace(form, semantics=matched(form.semantics)), dt_ms)


def retarget(form: RecurrentForm, dt_from_ms: float, dt_to_ms: float) -> RecurrentForm:
    """The same neuron for another time step: same PSP at common grid points, same threshold and reset.

    A trained network as a whole, with its biases, delays and norms: models/engines/torch/stacks/retarget.py.
    Where the simulator's gain is fixed, multiply the weights by new.gain/form.gain and keep the gain.
    The latency stays the same number of steps, so it changes in ms, and a subtracting reset that comes
    after the decay changes by a factor beta.
    """
    finer = to_recurrent(exact_reading(form, dt_from_ms), dt_to_ms, matched(form.semantics))
    return replace(finer, semantics=form.semantics)


def corrected_weight(weight: Number, physical: PhysicalLIF, dt_ms: float, semantics: Semantics) -> Number:
    """The weight to give a simulator so that its PSP equals that of `weight` in the equation, at every grid point.

    weight: number or array, any unit; the result has the same.
    Raises SemanticsError for Euler decays, whose PSP has another shape.
    """
    if semantics.decay != "exp":
        raise SemanticsError(
            f"'{semantics.name}' decays by 1 - dt/tau, so its PSP has another shape and no weight makes it exact;"
            " set its decays to exp(-dt/tau), as matched(semantics) does"
        )
    exact, own = (to_recurrent(physical, dt_ms, rules).psp_factor for rules in (matched(semantics), semantics))
    return weight * exact / own


class GainError(NamedTuple):
    """Relative errors of the loop's PSP, and the factor on the weights that removes the first.

    peak: of every value on the grid, so of the peak too (.16 means 16 % too large).
    area: of dt times the sum over the grid, against the integral of the equation's PSP.
    weight: multiply weights with it and the PSP is exact at the grid points.
    """

    peak: Number
    area: Number
    weight: Number


def naive_gain_error(tau_mem_ms: Number, tau_syn_ms: Number, dt_ms: float) -> GainError:
    """What the usual loop I[n+1] = alpha I + W S, U[n+1] = beta U + I, with both decays exponential, does to a PSP.

    The loop says nothing of r. It is the Euler step U + dt/tau_mem (-U + r I) with its decay, but not
    its gain r dt/tau_mem, made exact; that gain is 1 when r = tau_mem/dt. So the equation to compare with is
    tau_mem dU/dt = -U + r I with r = tau_mem/dt, that is dU/dt = -U/tau_mem + I/dt. Then, with
    p = tau_mem tau_syn/(tau_mem - tau_syn) (beta - alpha)/dt  (exp(-dt/tau) where the two tau are equal),

        peak = 1/p - 1,    area = dt/tau_mem dt/tau_syn / ((1 - beta)(1 - alpha)) - 1,    weight = p;

    to first order both errors are dt/2 (1/tau_mem + 1/tau_syn).
    """
    physical = PhysicalLIF(tau_mem_ms, tau_syn_ms, r_mohm=tau_mem_ms / dt_ms)
    euler_gain = replace(PLATFORMS["recurrent_mapping"], input_gain="euler")
    weight = corrected_weight(1.0, physical, dt_ms, euler_gain)
    form = to_recurrent(physical, dt_ms, euler_gain)
    area = dt_ms * form.psp_factor / ((1 - form.alpha) * (1 - form.beta))
    return GainError(peak=1 / weight - 1, area=area / (physical.r_mohm * tau_syn_ms) - 1, weight=weight)


def psp_mv(physical: PhysicalLIF, time_ms, weight_na: Number = 1.0):
    """Exact response of v - v_rest in mV to one spike of `weight_na` at time 0; theory.psp_mv times r w."""
    return physical.r_mohm * weight_na * theory.psp_mv(time_ms, tau_mem_ms=physical.tau_mem_ms, tau_syn_ms=physical.tau_syn_ms)


def psp_peak_ms(physical: PhysicalLIF) -> Number:
    """Time of the largest psp_mv: ln(tau_mem/tau_syn) / (1/tau_syn - 1/tau_mem), tau where the two are equal."""
    ratio = np.log(np.asarray(physical.tau_mem_ms / physical.tau_syn_ms))
    # tau_mem - tau_syn = tau_syn (e^ratio - 1)
    return physical.tau_mem_ms / _exprel(ratio)


def recurrent_form(
    spec: NeuronSpec,
    parameters: Mapping[str, object],
    dt_ms: float,
    semantics: Semantics = REFERENCE,
) -> RecurrentForm:
    """Recurrent form of a declared current-based LIF (states v and i_syn; tau_mem, tau_syn, r, v_rest, v_threshold).

    parameters: values that differ from the model's, as a Population takes them.  The comparison, the
    reset and whether there is a refractory period are the model's; the rest is `semantics`.
    Raises SpecError when the equations are not those of this module.
    """
    from spiketwin.models.network import Population

    size = max((np.size(v) for v in parameters.values() if not isinstance(v, str)), default=1)
    p = Population(spec.name, spec, size, parameters).parameter_values()
    _check_cuba(spec, p)
    rules = _rules_of(spec, semantics)
    physical = PhysicalLIF(
        tau_mem_ms=p["tau_mem"] * 1e3,
        tau_syn_ms=p["tau_syn"] * 1e3,
        r_mohm=p["r"] * 1e-6,
        v_rest_mv=p["v_rest"] * 1e3,
        v_threshold_mv=p["v_threshold"] * 1e3,
        v_reset_mv=(_reset_value(spec, p) if spec.reset else p["v_rest"]) * 1e3,
        tau_ref_ms=p[spec.refractory] * 1e3 if spec.refractory else 0.0,
    )
    return to_recurrent(physical, dt_ms, rules)


def _check_cuba(spec: NeuronSpec, values: Mapping[str, np.ndarray]) -> None:
    """Compare the declared equations with this module's at a few points, so that their spelling does not matter."""
    from spiketwin.models.expressions import evaluate

    what = f"'{spec.name}' is not a current-based LIF with states v and i_syn and parameters tau_mem, tau_syn, r, v_rest, v_threshold"
    if set(spec.states) != {"v", "i_syn"} or not {
        "tau_mem",
        "tau_syn",
        "r",
        "v_rest",
        "v_threshold",
    } <= set(values):
        raise SpecError(f"{what}; its states are {', '.join(spec.states)}, its parameters {', '.join(values)}")
    for v, i_syn in ((-0.06, 0.0), (-0.05, 1e-9), (0.01, -3e-10)):
        point = {**values, **dict.fromkeys(spec.drives, 0.0), "v": v, "i_syn": i_syn}
        expected = {
            "v": (values["v_rest"] - v + values["r"] * i_syn) / values["tau_mem"],
            "i_syn": -i_syn / values["tau_syn"],
        }
        for state, rate in expected.items():
            if not np.allclose(evaluate(spec.rates[state], point, spec.subexpressions), rate, rtol=1e-9, atol=1e-15):
                raise SpecError(f"{what}: d{state}/dt = {spec.rates[state]}")
    if spec.refractory_kind == "condition" or [s.target for s in spec.reset_statements] not in (
        [],
        ["v"],
    ):
        raise SpecError(
            f"'{spec.name}' needs a reset of v alone and a refractory period that is a time;"
            f" got reset '{spec.reset}', refractory '{spec.refractory}'"
        )


def _rules_of(spec: NeuronSpec, semantics: Semantics) -> Semantics:
    """`semantics` with the comparison, reset and refractory rule of the model, and without the events it does not have."""
    kind = "none" if not spec.reset else "value" if spec.reset_statements[0].operator == "=" else "subtract"
    refractory = ("hold" if "v" in spec.gated else "silence") if spec.refractory else "none"
    if refractory != "none" and "count_down" not in semantics.order:
        raise SemanticsError(f"'{spec.name}' has a refractory period but '{semantics.name}' has no count_down event; add one to its order")
    dropped = {"reset"} if kind == "none" else set()
    dropped |= {"count_down"} if refractory == "none" else set()
    return replace(
        semantics,
        name=f"{spec.name} by {semantics.name}",
        order=tuple(event for event in semantics.order if event not in dropped),
        comparison=">=" if ">=" in spec.threshold else ">",
        reset=kind,
        refractory=refractory,
    )


def _reset_value(spec: NeuronSpec, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """The voltage a neuron exactly at threshold is reset to."""
    from spiketwin.models.expressions import evaluate

    statement = spec.reset_statements[0]
    v = values["v_threshold"]
    amount = evaluate(statement.expression, {**values, "v": v}, spec.subexpressions)
    return {"=": amount, "+=": v + amount, "-=": v - amount}[statement.operator]


# -- closed forms ----------------------------------------------------------------------------------


def _exprel(x: Number) -> Number:
    """(e^x - 1)/x, 1 at 0."""
    x = np.asarray(x, dtype=float)
    safe = np.where(x == 0, 1.0, x)
    return np.where(x == 0, 1.0, np.expm1(safe) / safe)[()]


def _propagator(tau_mem: Number, tau_syn: Number, t: Number) -> Number:
    """v(t) per unit r i(0): tau_syn/(tau_mem - tau_syn) (exp(-t/tau_mem) - exp(-t/tau_syn)), without the 0/0.

    The larger time constant leads, so that nothing overflows.
    """
    slow = np.maximum(tau_mem, tau_syn)
    x = np.abs(1 / np.asarray(tau_syn) - 1 / np.asarray(tau_mem)) * t
    return t / tau_mem * np.exp(-t / slow) * _exprel(-x)


def _decay(tau: Number, dt: float, rule: str) -> Number:
    if rule == "exp":
        return np.exp(-dt / np.asarray(tau))[()]
    if not (np.asarray(tau) > dt).all():
        raise ValueError(
            f"dt = {dt} ms is not below the time constant {np.min(tau)} ms, so 1 - dt/tau is not positive; take a smaller dt or decay 'exp'"
        )
    return 1 - dt / tau


def _time_constant(decay: Number, dt: float, rule: str, name: str) -> Number:
    inside = (np.asarray(decay) > 0) & (np.asarray(decay) < 1)
    if not inside.all():
        raise ValueError(
            f"{name} = {decay} is not between 0 and 1, so no time constant belongs to it; 1 is an integrator, 0 forgets at once"
        )
    return -dt / np.log(decay) if rule == "exp" else dt / (1 - decay)


def _gain_per_ohm(tau_mem: Number, tau_syn: Number | None, dt: float, rules: Semantics) -> Number:
    match rules.input_gain:
        case "unit":
            return 1.0
        case "euler":
            return dt / tau_mem
        case "one_minus_beta":
            return 1 - _decay(tau_mem, dt, rules.decay)
        case _ if tau_syn is None:
            return -np.expm1(-dt / tau_mem)  # a current that is constant over the step
    jump = dt / tau_syn if rules.jump == "pulse" else 1.0
    return _propagator(tau_mem, tau_syn, dt) / (jump * _decay(tau_syn, dt, "exp") ** rules.early_decays)
