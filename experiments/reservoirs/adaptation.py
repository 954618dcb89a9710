"""Liquids that adapt to their input before the read-out is trained. An adaptation takes a liquid and input spikes, and returns a liquid.

    settled = in_turn(InhibitoryStdp(rho_0_hz=8), Critical(target=0.8))
    lsm = LiquidStateMachine(adapted(liquid, settled, heard), …)        heard, _ = sense.fit(X).spikes(X, dt_ms=1, duration_ms=300)

    Stdp                    synapses between excitatory neurons, by a rule of rules/plasticity
    InhibitoryStdp          synapses from inhibitory to excitatory neurons, until these fire at a rate     Vogels et al. 2011
    IntrinsicPlasticity     thresholds, until each neuron fires at a rate                                 Lazar, Pipa & Triesch 2009
    Critical                all recurrent weights by one factor, until a branching ratio is reached       (criticality.py)

The liquid hears the trials one after the other, as one long run. What it has learnt then stays: the liquid that comes back has other weights
or thresholds, and no rule, so that its answer to a sample depends on that sample alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from spiketwin.experiments.reservoirs.criticality import Critical, check_heard
from spiketwin.models.encoders.shared import positive, whole
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.engines.compiled.session import Session
from spiketwin.models.network import Network, Population, Projection
from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.reservoirs import INPUT, Liquid
from spiketwin.models.reservoirs.kinds import Ends
from spiketwin.models.reservoirs.response import threshold_distance
from spiketwin.models.spec import NeuronSpec
from spiketwin.models.spikes import Spikes
from spiketwin.models.units import unit
from spiketwin.rules.plasticity import inhibitory, intrinsic
from spiketwin.rules.plasticity.pair import additive

__all__ = ["Adaptation", "Critical", "InTurn", "InhibitoryStdp", "IntrinsicPlasticity", "Stdp", "adapted", "in_turn", "mirrored"]

Adaptation = Callable[[Liquid, Spikes], Liquid]
SHIFTED = re.compile(r"\s*\w+\s*>=?\s*v_threshold\s*(\+.*)?")  # a threshold that a value of v_threshold per neuron can shift


@dataclass(frozen=True)
class Stdp:
    """Spike-timing dependent plasticity of all synapses between excitatory neurons.

    rule: with the parameters eta and w_max, in which changes scale with w_max, such as those of rules/plasticity/pair.py.
    eta: learning rate.  most: the largest weight that a synapse may reach, in units of the largest that the liquid has; 1 or more.
    passes: how often all trials are heard.
    """

    rule: PlasticityRule = additive
    eta: float = 5e-3
    most: float = 1.0
    passes: int = 1

    def __call__(self, liquid: Liquid, spikes: Spikes) -> Liquid:
        rules = {p.name: bounded(self.rule, p, self.most, eta=self.eta) for p in of_kind(liquid, "ee")}
        return _relearnt(liquid, rules, live(liquid, spikes, rules=rules, passes=self.passes))


@dataclass(frozen=True)
class InhibitoryStdp:
    """Inhibition that excitatory neurons receive grows or shrinks until they fire at rho_0_hz.

    eta: learning rate, as a share of the largest weight.  most, passes: as in Stdp; inhibition must have room to grow.
    The rate is exact where spikes on both sides are independent; in a liquid it comes to lie up to a fifth above rho_0_hz.
    Source: Vogels, Sprekeler, Zenke, Clopath & Gerstner 2011, Science 334:1569, eq. 1.
    """

    rho_0_hz: float = 8.0
    eta: float = 1e-3
    most: float = 10.0
    passes: int = 1

    def __call__(self, liquid: Liquid, spikes: Spikes) -> Liquid:
        positive(rho_0_hz=self.rho_0_hz)
        rules = {}
        for p in of_kind(liquid, "ie"):
            rule = bounded(inhibitory.with_parameters(rho_0=self.rho_0_hz), p, self.most)
            rules[p.name] = rule.with_parameters(eta=self.eta * rule.values["w_max"])
        return _relearnt(liquid, rules, live(liquid, spikes, rules=rules, passes=self.passes))


@dataclass(frozen=True)
class IntrinsicPlasticity:
    """Each neuron's threshold moves until it fires at rho_hz; what it has come to is then the neuron's v_threshold.

    step: rise of the threshold at a spike, as a share of the way from rest to threshold.  passes: as in Stdp.
    Source: Lazar, Pipa & Triesch 2009, Front. Comput. Neurosci. 3:23, eq. 4 (rules/plasticity/intrinsic.py).
    """

    rho_hz: float = 8.0
    step: float = 0.005
    passes: int = 1

    def __call__(self, liquid: Liquid, spikes: Spikes) -> Liquid:
        positive(rho_hz=self.rho_hz, step=self.step)
        session = live(liquid, spikes, neuron=self._of, passes=self.passes)
        settled = [
            _shifted(p, session.state(p.name, "theta_ip"), self.step) if p.name in liquid.read else p for p in liquid.network.populations
        ]
        return replace(liquid, network=replace(liquid.network, populations=settled))

    def _of(self, spec: NeuronSpec) -> NeuronSpec:
        if not SHIFTED.fullmatch(spec.threshold):
            raise ValueError(
                f"the threshold '{spec.threshold}' of '{spec.name}' is not of the form 'v > v_threshold …', so that a liquid cannot keep what "
                "intrinsic plasticity finds; build it of a model that has one, such as 'cuba_lif'"
            )
        step = self.step * threshold_distance(spec)
        return intrinsic(spec, rho_ip=self.rho_hz, step_ip=f"{1e3 * step!r} mV" if spec.si_unit("v") == "volt" else step)


@dataclass(frozen=True)
class InTurn:
    """Several adaptations, one after the other, on the same spikes."""

    adaptations: tuple[Adaptation, ...]

    def __call__(self, liquid: Liquid, spikes: Spikes) -> Liquid:
        return reduce(lambda so_far, adaptation: adaptation(so_far, spikes), self.adaptations, liquid)


def in_turn(*adaptations: Adaptation) -> InTurn:
    return InTurn(adaptations)


@dataclass(frozen=True, eq=False)
class Adapted:
    """Builds liquids and lets them adapt. Made by adapted()."""

    build: Callable[..., Liquid]
    adaptation: Adaptation
    spikes: Spikes

    def __call__(self, inputs: int, **options: Any) -> Liquid:
        return self.adaptation(self.build(inputs=inputs, **options), self.spikes)


def adapted(build: Callable[..., Liquid], adaptation: Adaptation, spikes: Spikes) -> Adapted:
    """A function that builds as `build` does, then adapts: LiquidStateMachine(adapted(liquid, Stdp(), heard)), partitioned(build=…).

    spikes: what the liquid hears while it adapts [T, B, inputs], of training samples only.
    """
    return Adapted(build, adaptation, spikes)


# -- what adaptations are made of ----------------------------------------------------------------------


def of_kind(liquid: Liquid, kind: str) -> list[Projection]:
    """The projections between neurons that are read whose synapses are all of this kind ('ee', 'ei', 'ie', 'ii').

    Raises ValueError where there is none, or one has a rule already.
    """
    edges = np.cumsum([0, *(liquid.network.population(name).size for name in liquid.read)])
    is_excitatory = {name: liquid.is_excitatory[a:b] for name, a, b in zip(liquid.read, edges, edges[1:])}
    found = []
    for p in liquid.network.projections:
        if p.source in is_excitatory and p.target in is_excitatory:
            pre, post, *_ = p.synapses()
            at_post, at_pre = Ends(is_excitatory[p.target], is_excitatory[p.source]).are(kind)
            if len(pre) and at_pre[pre].all() and at_post[post].all():
                found.append(p)
    if not found:
        raise ValueError(
            f"the liquid has no recurrent synapses of kind '{kind}' that could adapt; raise connectivity, or adapt another kind"
        )
    if ruled := [p for p in found if p.rule]:
        raise ValueError(f"'{ruled[0].name}' follows rule '{ruled[0].rule.name}' already; adapt a liquid that is built without it")
    return found


def bounded(rule: PlasticityRule, projection: Projection, most: float, **parameters: float) -> PlasticityRule:
    """The rule for these weights: w_max is `most` times the largest of them; mirrored where they are negative.

    Raises ValueError for most < 1, or for weights of both signs.
    """
    if not most >= 1:
        raise ValueError(f"most = {most} must be 1 or more: the largest weight that there is lies within the bounds")
    values = projection.values()
    if values.min() < 0 < values.max():
        raise ValueError(f"the weights of '{projection.name}' have both signs; a rule changes weights of one sign")
    own = rule.with_parameters(w_max=most * float(np.abs(values).max()), **parameters)
    return mirrored(own) if values.min() < 0 else own


def mirrored(rule: PlasticityRule) -> PlasticityRule:
    """The same rule for weights that are negative, as those of inhibition on a receptor that takes both signs: it changes -w.

    Raises ValueError for statements other than 'w = …', or bounds that do not begin at 0.
    """
    low, high = rule.bounds
    if low != "0":
        raise ValueError(f"rule '{rule.name}' is bounded by {low} … {high}; only a rule from 0 upwards has a mirror image")

    def turned(text: str) -> str:
        statements = []
        for s in (part.strip() for part in re.split(r"[;\n]", text) if part.strip()):
            if re.match(r"w\s*[-+*/]=", s):
                raise ValueError(f"rule '{rule.name}' says '{s}'; write 'w = …' to mirror it")
            target, operator, value = re.fullmatch(r"(\w+\s*)([-+*/]?=)(.*)", s).groups()
            value = re.sub(r"\bw\b", "(-w)", value)
            statements.append(f"w = -({value.strip()})" if target.strip() == "w" else f"{target}{operator}{value}")
        return "; ".join(statements)

    texts = {name: turned(getattr(rule, name)) for name in ("on_pre", "on_post", "every_step")}
    return replace(rule, name=f"{rule.name}_mirrored", bounds=(f"-({high})", "0"), **texts)


def live(
    liquid: Liquid,
    spikes: Spikes,
    *,
    rules: Mapping[str, PlasticityRule] | None = None,
    neuron: Callable[[NeuronSpec], NeuronSpec] | None = None,
    passes: int = 1,
    scheme: str = "exact",
) -> Session:
    """The liquid after all trials, one after the other.

    rules: of projections, by name.  neuron: what becomes of the model of the neurons that are read.
    Raises ValueError for spikes that do not fit, or none at all.
    """
    whole(1, passes=passes)
    check_heard(liquid, spikes)
    network, rules = liquid.network, rules or {}
    changing = Network(
        [replace(p, neuron=neuron(p.neuron)) if neuron and p.name in liquid.read else p for p in network.populations],
        [replace(p, rule=rules[p.name]) if p.name in rules else p for p in network.projections],
        network.sources,
    )
    session = CompiledEngine(threads=1).start(changing, dt_ms=spikes.dt_ms, scheme=scheme)
    for _ in range(passes):
        for b in range(spikes.shape[1]):
            session.run({INPUT: spikes.trial(b)}, duration_ms=spikes.shape[0] * spikes.dt_ms)
    return session


def _relearnt(liquid: Liquid, rules: Mapping[str, PlasticityRule], session: Session) -> Liquid:
    network = liquid.network
    learnt = [replace(p, weights=session.weights(p.name)) if p.name in rules else p for p in network.projections]
    return replace(liquid, network=replace(network, projections=learnt))


def _shifted(population: Population, theta: np.ndarray, step: float) -> Population:
    """The population with theta [size], in SI, added to the thresholds it has; these stay a step above the reset.

    A threshold that moves may pass below the reset for a while; one that stays there makes the neuron fire all the time.
    """
    values, parameter = population.parameter_values(), population.neuron.parameters["v_threshold"]
    level = values["v_threshold"] + theta
    if "v_reset" in values:
        level = np.maximum(level, values["v_reset"] + step * threshold_distance(population.neuron))
    return replace(population, parameters={**population.parameters, "v_threshold": level / unit(parameter.unit)[0]})
