"""Every learning rule in a table, one rule in full, and its figure."""

from __future__ import annotations

from functools import cache
from inspect import cleandoc, getmodule
from typing import TYPE_CHECKING, get_type_hints

import numpy as np

from spiketwin.models.engines import ENGINES, get_engine
from spiketwin.models.network import Network, Population, Projection, SpikeSource
from spiketwin.models.neurons import cuba_lif
from spiketwin.models.neurons.listening import listening
from spiketwin.models.plasticity import PlasticityRule
from spiketwin.rules.figures import frequency_curve, window
from spiketwin.rules.locality import what_a_synapse_knows
from spiketwin.rules.plasticity import OF_NEURONS, RULES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from spiketwin.rules.local import LearningRule

HEADS = ("rule", "engines", "pre", "post", "own", "third factor", "source")


@cache
def engines(rule: PlasticityRule) -> tuple[str, ...]:
    """Names of the engines that run it: those that have nothing against a network with one such synapse."""
    synapse = Projection("input", "cell", np.array([[_within(*rule.limits)]]), "i_syn", "nA", rule=rule)
    cell = Population("cell", listening(cuba_lif, rule.post_states), 1)
    return _engines(Network([cell], [synapse], [SpikeSource("input", 1)]))


@cache
def engines_of_neuron_rule(name: str) -> tuple[str, ...]:
    """The same of a rule of neurons."""
    return _engines(Network([Population("cell", OF_NEURONS[name](cuba_lif), 1)]))


def engines_of_local_rule(rule: LearningRule) -> tuple[str, ...]:
    """The engine whose networks a supervised rule takes, by the type that it declares."""
    taken = get_type_hints(type(rule).__call__)["net"].__module__
    return tuple(name for name in ENGINES if taken.startswith(f"spiketwin.models.engines.{name}."))


def rows() -> list[tuple[str, ...]]:
    """Of each rule what HEADS name."""
    found = []
    for name, rule in RULES.items():
        known = what_a_synapse_knows(rule)
        found.append((name, ", ".join(engines(rule)), known["pre"], known["post"], known["own"], known["third"], rule.source))
    return found


def listing() -> list[str]:
    """Lines of three tables: rules of synapses and of neurons in simulations, and supervised local rules of trainable networks."""
    from spiketwin.rules.local import LOCAL_RULES, localities

    supervised = localities()
    trained = [", ".join(engines_of_local_rule(make())) for make in LOCAL_RULES.values()]
    return [
        "rules of simulations: what a synapse must know",
        *_aligned([HEADS, *rows()]),
        "",
        "rules of neurons: what a neuron must know",
        *_aligned(
            [("rule", "engines", "own", "source"), *((n, ", ".join(engines_of_neuron_rule(n)), "spikes", _source(n)) for n in OF_NEURONS)]
        ),
        "  besides: thresholds that rise at each spike (models adaptive_lif, diehl_cook_exc); a projection's Normalisation(total), for which a neuron",
        "  must know the sum of its weights (Diehl & Cook 2015, section 2.4)",
        "",
        "supervised local rules: what a synapse must know",
        *_aligned(
            [
                ("name", "rule", "engines", *list(supervised[0])[1:]),
                *((n, r["rule"], e, *list(r.values())[1:]) for n, r, e in zip(LOCAL_RULES, supervised, trained, strict=True)),
            ]
        ),
    ]


def in_full(rule: PlasticityRule) -> list[str]:
    """Lines with all that a rule says."""
    known = what_a_synapse_knows(rule)
    lines = [f"{rule.name} ({rule.source})", ""]
    texts = {
        "presynaptic traces": rule.pre_traces,
        "postsynaptic traces": rule.post_traces,
        "states of a synapse": rule.synapse_states,
        "as a spike arrives": rule.on_pre,
        "as the neuron fires": rule.on_post,
        "in every step": rule.every_step,
        "where": rule.every_step_if,
        "a spike transmits w times": rule.efficacy,
    }
    for title, text in texts.items():
        parts = [p.strip() for p in text.replace(";", "\n").splitlines() if p.strip()]
        lines += [f"{title if k == 0 else '':<28}{part}" for k, part in enumerate(parts)]
    lines += ["", *(f"{n:<28}{p.value:g} {'' if p.unit == '1' else p.unit:<8}{p.description}" for n, p in rule.parameters.items())]
    lines += ["", f"{'a synapse must know':<28}pre: {known['pre']} · post: {known['post']} · own: {known['own']} · third: {known['third']}"]
    return [*lines, f"{'engines':<28}{', '.join(engines(rule))}"]


def neuron_rule_in_full(name: str) -> list[str]:
    """Lines with what a rule of neurons adds to one, such as cuba_lif."""
    before, after = cuba_lif, OF_NEURONS[name](cuba_lif)
    added = [line.strip() for line in after.equations.splitlines() if line.strip() and line not in before.equations.splitlines()]
    lines = [f"{name} ({_source(name)})", "", *(f"{'adds' if k == 0 else '':<28}{line}" for k, line in enumerate(added))]
    lines += [f"{'threshold':<28}{after.threshold}", f"{'reset':<28}{after.reset}", ""]
    new = {n: p for n, p in after.parameters.items() if n not in before.parameters}
    lines += [f"{n:<28}{p.value:g} {'' if p.unit == '1' else p.unit:<8}{p.description}" for n, p in new.items()]
    return [*lines, "", f"{'engines':<28}{', '.join(engines_of_neuron_rule(name))}"]


def local_rule_in_full(name: str) -> list[str]:
    """Lines with what a supervised local rule is: its equations and sources as its file has them, and what a synapse must know."""
    from spiketwin.rules.local import LOCAL_RULES, local_rule, localities

    rule = local_rule(name)
    (known,) = [row for n, row in zip(LOCAL_RULES, localities(), strict=True) if n == name]
    lines = [f"{name}: {known['rule']} ({known['source']})", "", *cleandoc(getmodule(type(rule)).__doc__ or "").splitlines(), ""]
    lines += [f"{head:<28}{text}" for head, text in known.items() if head not in ("rule", "source")]
    return [*lines, f"{'engines':<28}{', '.join(engines_of_local_rule(rule))}"]


def figure(rule: PlasticityRule) -> Figure:
    """The window and the change against the rate of pairs."""
    import matplotlib.pyplot as plt

    fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    window(rule, ax=left)
    frequency_curve(rule, ax=right)
    return fig


def _aligned(lines: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(line[k]) for line in lines) + 2 for k in range(len(lines[0]))]
    return ["  " + "".join(f"{text:<{w}}" for text, w in zip(line, widths, strict=True)).rstrip() for line in lines]


def _engines(network: Network) -> tuple[str, ...]:
    return tuple(name for name in ENGINES if not get_engine(name).unsupported(network, "euler"))


def _within(low: float, high: float) -> float:
    """A weight between the bounds."""
    return (low + high) / 2 if np.isfinite([low, high]).all() else min(max(0.0, low), high)


def _source(name: str) -> str:
    """What a rule of neurons adds to the source of a neuron."""
    return OF_NEURONS[name](cuba_lif).source.removeprefix(f"{cuba_lif.source}; ")
