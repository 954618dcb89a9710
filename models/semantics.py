"""What a simulator does with one time step of a leaky integrate-and-fire neuron, as an object.

Two programs that integrate the same equation still disagree when they do the same things in another
order. So the order is the heart of a `Semantics`: a tuple of events, executed once per step, left to
right. Latency, reset time and the input that a reset swallows are not entered by hand; they follow.

    count_down           the refractory counter, set at a spike, falls by one
    receive              x, the weighted spikes that arrive in this step, enters
                             exponential synapse:  i <- i + jump x        (i is a state)
                             current input:        i <- x                 (i lasts until the next receive)
                             delta synapse:        v <- v + gain x
    integrate            v and i advance together; v uses the i from before:
                             v, i <- beta v + gain i, alpha i
    integrate_synapse    i <- alpha i
    integrate_membrane   v <- beta v + gain i, with i as it is now
    threshold            s <- 1 if v > v_threshold (or >=) and the neuron is not held, else 0;
                         a spike sets the refractory counter.  The v of a step is the v seen here.
    reset                where s: v <- v_reset ("value"), or v <- v - s (v_threshold - v_reset) ("subtract")

v is measured from rest. `s` keeps its value until the next threshold, so a reset listed before the
threshold acts on the spike of the step before. `spiketwin.models.recurrent` executes these events.

The reference is Brian2's schedule: count_down, integrate, threshold, receive, reset. A spike labelled
n is one whose threshold was crossed while v advanced from n dt to (n+1) dt; a current synapse that
receives in step n moves v in step n+1; a weight added straight to v is thresholded one step later, and
wiped when the neuron spikes in the same step, because the reset comes last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

EVENTS = (
    "count_down",
    "receive",
    "integrate",
    "integrate_synapse",
    "integrate_membrane",
    "threshold",
    "reset",
)
CHOICES = {
    "decay": ("exp", "euler"),
    "input_gain": ("exact", "euler", "unit", "one_minus_beta"),
    "jump": ("unit", "pulse"),
    "synapse": ("exponential", "current", "delta"),
    "reset": ("value", "subtract", "none"),
    "comparison": (">", ">="),
    "refractory": ("none", "hold", "block", "silence"),
}


class SemanticsError(ValueError):
    """A set of rules that contradicts itself, or cannot do what is asked. The message says what would."""


@dataclass(frozen=True)
class Semantics:
    """The rules by which a simulator advances a leaky integrate-and-fire neuron.

    order: event names as in the module's docstring.
    decay: what a time constant becomes: 'exp' exp(-dt/tau), 'euler' 1 - dt/tau.
    input_gain: what multiplies the current when it enters v: 'exact' what makes a PSP equal the
        equation's at the grid points (needs decay 'exp'), 'euler' r dt/tau_mem, 'unit' r,
        'one_minus_beta' r (1 - beta).
    jump: of i per unit weight: 'unit' 1, 'pulse' dt/tau_syn (the spike is a pulse one step long in
        tau_syn di/dt = -i + w s).
    synapse: 'exponential', 'current' (no synaptic state), 'delta' (input adds straight to v).
    reset: 'value', 'subtract' or 'none'.  comparison: '>' or '>='.
    refractory: while the counter is positive 'hold' keeps v fixed, ignores delta input and does not
        spike, 'block' lets v decay without input, 'silence' only suppresses spikes; 'none' for no
        refractory period. How many steps that makes follows from where count_down stands in the order.
    multi_spike: a step gives floor(v/v_threshold) spikes, not at most one.
    spike_label: the step a spike is labelled with, counted from the step that tested it (1 for NEST,
        which labels the end of the step).
    source: where the rules were read.  note: what else differs there.

    Raises SemanticsError when the order and the other rules contradict each other.
    """

    name: str
    order: tuple[str, ...]
    decay: str = "exp"
    input_gain: str = "unit"
    jump: str = "unit"
    synapse: str = "exponential"
    reset: str = "value"
    comparison: str = ">"
    refractory: str = "none"
    multi_spike: bool = False
    spike_label: int = 0
    source: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", tuple(self.order))
        _validate(self)

    @property
    def reset_time(self) -> str:
        """'same' or 'next' step as the threshold test, or 'none'."""
        if self.reset == "none":
            return "none"
        return "same" if self.order.index("reset") > self.order.index("threshold") else "next"

    @property
    def reset_relative_to_decay(self) -> str:
        """Whether v decays between the threshold test and the reset: 'before' the decay, 'after' it, or 'none'.

        This, not the step, is what changes spike times: a reset in the next step, but before its decay,
        is a same-step reset looked at earlier.
        """
        if self.reset == "none":
            return "none"
        return "after" if _MEMBRANE & set(self._between("threshold", "reset")) else "before"

    @property
    def swallows_input(self) -> bool:
        """Whether a spike wipes input that reached v after the threshold test."""
        between = self._between("threshold", "reset") if self.reset == "value" else ()
        return bool(_MEMBRANE & set(between)) or (self.synapse == "delta" and "receive" in between)

    @property
    def early_decays(self) -> int:
        """How often the synapse decays between receiving a spike and first driving v."""
        membrane = next(event for event in self.order if event in _MEMBRANE)
        return self._between("receive", membrane).count("integrate_synapse")

    @property
    def refractory_offset(self) -> int:
        """Steps without integration after the spiking step, less the counter's start value.

        -1 where count_down comes before the integration (Brian2: a neuron with tau_ref = k dt rests for
        k - 1 further steps), 0 where it comes after (NEST: k further steps).
        """
        membrane = next(event for event in self.order if event in _MEMBRANE)
        return -1 if self.refractory != "none" and self.order.index("count_down") < self.order.index(membrane) else 0

    @property
    def latency(self) -> int:
        """Steps from an input spike to the first threshold test that sees v > 0, found by running the loop."""
        from spiketwin.models.recurrent import unit_response

        return int((unit_response(self).v > 0).argmax())

    def _between(self, first: str, last: str) -> tuple[str, ...]:
        """Events strictly between two events, going round the step."""
        start = self.order.index(first)
        circle = self.order[start + 1 :] + self.order[: start + 1]
        return circle[: circle.index(last)]


_MEMBRANE = {"integrate", "integrate_membrane"}


def _validate(rules: Semantics) -> None:
    who = f"semantics '{rules.name}'"
    for field, choices in CHOICES.items():
        if getattr(rules, field) not in choices:
            raise SemanticsError(f"{field} '{getattr(rules, field)}' of {who} is unknown; choose from {', '.join(choices)}")
    for event in rules.order:
        if event not in EVENTS:
            raise SemanticsError(f"event '{event}' of {who} is unknown; choose from {', '.join(EVENTS)}")
        if rules.order.count(event) > 1:
            raise SemanticsError(f"event '{event}' of {who} occurs twice in the order; each event happens once per step")
    integrations = {"integrate", "integrate_membrane", "integrate_synapse"} & set(rules.order)
    if rules.synapse == "exponential" and integrations not in (
        {"integrate"},
        {"integrate_membrane", "integrate_synapse"},
    ):
        raise SemanticsError(f"{who} has an exponential synapse: list 'integrate', or both 'integrate_synapse' and 'integrate_membrane'")
    if rules.synapse != "exponential" and integrations != {"integrate_membrane"}:
        raise SemanticsError(f"{who} has no synaptic state: list 'integrate_membrane' as its only integration")
    needed = {"receive", "threshold"}
    needed |= {"reset"} if rules.reset != "none" else set()
    needed |= {"count_down"} if rules.refractory != "none" else set()
    for event in (*EVENTS[:2], *EVENTS[-2:]):
        if (event in needed) != (event in rules.order):
            verb = "lacks" if event in needed else "must not list"
            raise SemanticsError(f"the order of {who} {verb} '{event}' (reset '{rules.reset}', refractory '{rules.refractory}')")
    if rules.input_gain == "exact" and rules.decay != "exp":
        raise SemanticsError(f"{who} decays by 1 - dt/tau, so no input gain makes its PSP exact; use decay 'exp', or input_gain 'euler'")
    if rules.synapse == "delta" and rules.input_gain != "unit":
        raise SemanticsError(f"{who} adds its input straight to v; use input_gain 'unit'")
    if rules.jump == "pulse" and rules.synapse != "exponential":
        raise SemanticsError(f"jump 'pulse' of {who} needs an exponential synapse")


def _platforms(*rules: Semantics) -> Mapping[str, Semantics]:
    return MappingProxyType({r.name: r for r in rules})


_BRIAN = ("count_down", "integrate", "threshold", "receive", "reset")
_NEW_CURRENT = ("integrate_synapse", "receive", "integrate_membrane")

PLATFORMS = _platforms(
    Semantics(
        "brian2_exact",
        _BRIAN,
        input_gain="exact",
        refractory="hold",
        source="Brian2 2.9, core/network.py:412, groups/neurongroup.py:223,517",
        note="the threshold is the user's expression; '>' is the convention of this project",
    ),
    Semantics(
        "brian2_euler",
        _BRIAN,
        decay="euler",
        input_gain="euler",
        refractory="hold",
        source="Brian2 2.9, user/numerical_integration.rst; same schedule as brian2_exact",
    ),
    Semantics(
        "brian2_delta",
        ("count_down", "integrate_membrane", "threshold", "receive", "reset"),
        synapse="delta",
        refractory="hold",
        source="Brian2 2.9, on_pre='v += w'; Brian2 issue 1332 on the threshold one step later",
    ),
    Semantics(
        "nest_iaf_psc_exp",
        ("integrate", "count_down", "receive", "threshold", "reset"),
        input_gain="exact",
        comparison=">=",
        refractory="hold",
        spike_label=1,
        source="NEST, models/iaf_psc_exp.cpp:293-347, 369",
        note="every connection adds a delay of at least one step",
    ),
    Semantics(
        "snntorch_leaky",
        ("receive", "integrate_membrane", "reset", "threshold"),
        synapse="current",
        reset="subtract",
        source="snnTorch, _neurons/leaky.py:196-250, reset_mechanism='subtract'",
    ),
    Semantics(
        "snntorch_leaky_zero",
        ("reset", "receive", "integrate_membrane", "threshold"),
        synapse="current",
        source="snnTorch, _neurons/leaky.py:196-250, reset_mechanism='zero'",
    ),
    Semantics(
        "snntorch_leaky_no_delay",
        ("receive", "integrate_membrane", "threshold", "reset"),
        synapse="current",
        reset="subtract",
        source="snnTorch, _neurons/leaky.py, reset_delay=False",
        note="holds while v < 2 v_threshold; above, snnTorch's guard against a double reset acts too",
    ),
    Semantics(
        "snntorch_rleaky_zero",
        ("receive", "integrate_membrane", "reset", "threshold"),
        synapse="current",
        source="snnTorch, _neurons/rleaky.py:310-411, reset_mechanism='zero'",
    ),
    Semantics(
        "snntorch_synaptic",
        (*_NEW_CURRENT, "reset", "threshold"),
        reset="subtract",
        source="snnTorch, _neurons/synaptic.py:216-289, reset_mechanism='subtract'",
    ),
    Semantics(
        "snntorch_synaptic_zero",
        (*_NEW_CURRENT, "reset", "threshold"),
        source="snnTorch, _neurons/synaptic.py:216-289, reset_mechanism='zero'",
    ),
    Semantics(
        "snntorch_synaptic_nir",
        (*_NEW_CURRENT, "reset", "threshold"),
        decay="euler",
        source="snnTorch, export_nir.py:67-83, import_nir.py:226-276: tau = dt/(1 - beta)",
    ),
    Semantics(
        "snntorch_lapicque",
        ("receive", "integrate_membrane", "reset", "threshold"),
        decay="euler",
        input_gain="euler",
        synapse="current",
        reset="subtract",
        source="snnTorch, _neurons/lapicque.py:273-278, 308-330",
        note="a beta given by the user becomes RC = dt/ln(1/beta) and then 1 - dt/RC: 0.9 acts as 0.8946",
    ),
    Semantics(
        "norse_lif_cell",
        ("receive", "integrate", "threshold", "reset"),
        decay="euler",
        input_gain="euler",
        source="Norse, torch/functional/lif.py:334-347",
    ),
    Semantics(
        "norse_lif_refrac",
        ("receive", "integrate", "count_down", "threshold", "reset"),
        decay="euler",
        input_gain="euler",
        refractory="hold",
        source="Norse, torch/functional/lif_refrac.py:85-92",
    ),
    Semantics(
        "norse_lif_box",
        ("receive", "integrate_membrane", "threshold", "reset"),
        decay="euler",
        input_gain="euler",
        synapse="current",
        source="Norse, torch/functional/lif_box.py:99-108, reset_value",
    ),
    Semantics(
        "spikingjelly_lif",
        ("receive", "integrate_membrane", "threshold", "reset"),
        decay="euler",
        input_gain="euler",
        synapse="current",
        comparison=">=",
        source="SpikingJelly, activation_based/functional/neuron.py:849-852, decay_input=True",
        note="tau counts steps, dt = 1; v_reset is also the resting potential",
    ),
    Semantics(
        "spikingjelly_lif_undecayed_input",
        ("receive", "integrate_membrane", "threshold", "reset"),
        decay="euler",
        synapse="current",
        comparison=">=",
        source="SpikingJelly, activation_based/neuron/lif.py:91-94, 216, decay_input=False",
        note="tau counts steps, dt = 1",
    ),
    Semantics(
        "spytorch",
        ("threshold", "integrate", "receive", "reset"),
        source="spytorch, Tutorial 1 cells 33 and 39, Tutorial 4 cell 20",
        note="the text of the tutorial subtracts at a spike, the code multiplies by 1 - s",
    ),
    Semantics(
        "recurrent_mapping",
        ("threshold", "integrate", "receive", "reset"),
        reset="subtract",
        source="Neftci, Mostafa & Zenke 2019, IEEE Signal Process. Mag. 36(6): I[t+1] = alpha I + W S, U[t+1] = beta U + I - S",
        note="with threshold 1, reset 0, r 1",
    ),
    Semantics(
        "bindsnet_lif",
        ("receive", "integrate_membrane", "count_down", "threshold", "reset"),
        synapse="current",
        comparison=">=",
        refractory="block",
        source="BindsNET, network/nodes.py:500-523",
        note="one more step between layers unless one_step=True",
    ),
    Semantics(
        "bindsnet_current_lif",
        ("count_down", *_NEW_CURRENT, "threshold", "reset"),
        comparison=">=",
        refractory="block",
        source="BindsNET, network/nodes.py:769-785",
        note="one more step between layers unless one_step=True",
    ),
    Semantics(
        "mlgenn_lif",
        (*_NEW_CURRENT, "threshold", "reset"),
        reset="subtract",
        comparison=">=",
        source="mlGeNN, neurons/leaky_integrate_fire.py:39-128, relative_reset=True, scale_i=False",
    ),
    Semantics(
        "lava_lif",
        (*_NEW_CURRENT, "threshold", "reset"),
        decay="euler",
        source="Lava, proc/lif/models.py:45-69, 232-234, floating point; du = dt/tau_syn, dv = dt/tau_mem",
    ),
    Semantics(
        "rockpool_lif_torch",
        ("receive", "integrate_synapse", "integrate_membrane", "threshold", "reset"),
        reset="subtract",
        comparison=">=",
        multi_spike=True,
        source="Rockpool, nn/modules/torch/lif_torch.py:685-709",
    ),
    Semantics(
        "rockpool_lif_ode_jax",
        (*_NEW_CURRENT, "threshold", "reset"),
        decay="euler",
        input_gain="euler",
        jump="pulse",
        reset="subtract",
        comparison=">=",
        multi_spike=True,
        source="Rockpool, nn/modules/jax/jax_lif_ode.py:95-108",
    ),
    Semantics(
        "sinabs_lif",
        ("receive", "integrate_synapse", "integrate_membrane", "threshold", "reset"),
        input_gain="one_minus_beta",
        reset="subtract",
        comparison=">=",
        multi_spike=True,
        source="Sinabs, layers/functional/lif.py:19-45, norm_input=True",
        note="tau counts steps, dt = 1",
    ),
    Semantics(
        "sinabs_lif_unnormalised",
        ("receive", "integrate_synapse", "integrate_membrane", "threshold", "reset"),
        reset="subtract",
        comparison=">=",
        multi_spike=True,
        source="Sinabs, layers/functional/lif.py:19-45, norm_input=False",
        note="tau counts steps, dt = 1",
    ),
    Semantics(
        "nir_reference",
        ("integrate", "receive", "threshold", "reset"),
        decay="euler",
        input_gain="euler",
        jump="pulse",
        reset="subtract",
        source="NIR paper, 03_rnn/extras/debug_CubaLIF/nir_reference_impl.py",
        note="the specification says v <- v_reset",
    ),
    Semantics(
        "spyx_lif",
        ("threshold", "receive", "integrate_membrane", "reset"),
        synapse="current",
        reset="subtract",
        source="Spyx, src/spyx/nn.py:214-216",
    ),
)

REFERENCE = PLATFORMS["brian2_exact"]

NOT_EXPRESSED: Mapping[str, str] = MappingProxyType(
    {
        "nengo LIF": "spike times and refractory periods are interpolated within the step (neurons.py:667-699)",
        "lava-dl CUBA": "states are integers and decays are rounded to 12 bits (leaky_integrator.py:210-259)",
        "Lava LIF, fixed point": "decays are integers, offset by one for the current and not for the voltage (models.py:94-95)",
        "Sinabs MembraneReset": "a reset value other than 0 is added to every neuron, spiking or not (reset_mechanism.py:18-23)",
        "Spyx CuBaLIF": "the threshold is subtracted twice, once before the decay and once after (nn.py, CuBaLIF)",
    }
)


def semantics(name: str) -> Semantics:
    """The rules of a platform by name. Raises SemanticsError for an unknown name."""
    from spiketwin.models.spec import unknown

    if name not in PLATFORMS:
        raise SemanticsError(unknown(name, "platform", "PLATFORMS", PLATFORMS))
    return PLATFORMS[name]
