"""Homeostasis: weights change slowly so that a neuron keeps its rate. Composes with other rules, as together(stdp, scaling).

    z decays with tau_rate and rises by 1 at each postsynaptic spike: the neuron's rate times tau_rate
    dw/dt = w (rho_0 - z/tau_rate)/(rho_0 tau_scaling)

All weights of a neuron grow or shrink by the same factor. Other homeostatic means are not rules of synapses: the sum of weights is kept by
a projection's Normalisation, the threshold adapts in neurons such as diehl_cook_exc, or in any with intrinsic() (intrinsic.py); synapses go and
come by structural.py.

Source: Turrigiano et al. 1998, Nature 391:892; van Rossum, Bi & Turrigiano 2000, J. Neurosci. 20:8812, eq. 5, without its integral term.
"""

from __future__ import annotations

from dataclasses import replace

from spiketwin.models.plasticity import WEIGHT, PlasticityRule
from spiketwin.models.spec import Parameter, SpecError, parse_statements

scaling = PlasticityRule(
    name="synaptic_scaling",
    post_traces="dz/dt = -z/tau_rate : 1",
    on_post="z += 1",
    every_step="w = clip(w + w*dt*(rho_0 - z/tau_rate)/(rho_0*tau_scaling), 0, w_max)",
    parameters=dict(
        tau_rate=Parameter(10, "second", "(0, inf)", "time over which the neuron's rate is estimated"),
        tau_scaling=Parameter(100, "second", "(0, inf)", "time constant of scaling while the neuron is silent"),
        rho_0=Parameter(5, "Hz", "(0, inf)", "rate that the neuron shall have"),
        w_max=Parameter(1, "1", "(0, inf)", "largest weight"),
    ),
    bounds=("0", "w_max"),
    source="Turrigiano et al. 1998; van Rossum, Bi & Turrigiano 2000, eq. 5",
)


def together(*rules: PlasticityRule, name: str = "") -> PlasticityRule:
    """One rule that does what each of these does, in this order. Where they go on in every step under different conditions, each keeps its own.

    Parameters of one name must be equal in all of them, except that w_max and bounds are those of the first.
    Raises SpecError when two rules use one name for different things, or for no rule at all.
    """
    if not rules:
        raise SpecError("together() needs one rule at least, such as together(rule('pair_additive'), rule('synaptic_scaling'))")
    first, *others = rules
    made = first
    for other in others:
        parameters = {**other.parameters, **made.parameters}
        if clash := [n for n, p in other.parameters.items() if n != "w_max" and parameters[n] != p]:
            raise SpecError(
                f"rules '{made.name}' and '{other.name}' have different parameters '{clash[0]}'; rename one, or give both one value"
            )
        own = {*made.decay_rates} & {*other.decay_rates}
        if own:
            raise SpecError(
                f"rules '{made.name}' and '{other.name}' both have a trace or state '{sorted(own)[0]}'; rename it in one of them"
            )
        if made.efficacy and other.efficacy:
            raise SpecError(f"rules '{made.name}' and '{other.name}' both say what a spike transmits; keep one of them")
        if made.every_step_if != other.every_step_if and made.every_step and other.every_step:
            made, other = unconditional(made), unconditional(other)
        joined = {
            field: "\n".join(text for text in (getattr(made, field), getattr(other, field)) if text.strip())
            for field in ("on_pre", "on_post", "pre_traces", "post_traces", "synapse_states", "every_step")
        }
        made = replace(
            made,
            **joined,
            name=f"{made.name}_and_{other.name}",
            every_step_if=made.every_step_if or other.every_step_if,
            efficacy=made.efficacy or other.efficacy,
            parameters=parameters,
            post_states={**made.post_states, **other.post_states},
            source=f"{made.source}; {other.source}",
        )
    return replace(made, name=name) if name else made


def unconditional(rule: PlasticityRule) -> PlasticityRule:
    """The same rule, whose statements of every step say themselves when they hold. All its synapses are then looked at in
    every step, and what the statements compute must be finite also where they do not hold."""
    if not rule.every_step_if:
        return rule
    holds, lines = f"int({rule.every_step_if})", []
    for s in parse_statements(rule.every_step, "every_step"):
        if s.target not in (WEIGHT, *rule.memory):  # an intermediate result
            lines.append(f"{s.target} {s.operator} {s.expression}")
        elif s.operator == "=":
            lines.append(f"{s.target} = {holds}*({s.expression}) + (1 - {holds})*{s.target}")
        else:
            lines.append(f"{s.target} {s.operator} {holds}*({s.expression})")
    return replace(rule, every_step="\n".join(lines), every_step_if="")
