"""Every learning rule in a table, one rule in full, and its figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spiketwin.models.plasticity import PlasticityRule
from spiketwin.rules.figures import frequency_curve, window
from spiketwin.rules.locality import what_a_synapse_knows
from spiketwin.rules.plasticity import RULES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENGINES = "brian, compiled"  # what run a PlasticityRule
HEADS = ("rule", "engines", "pre", "post", "own", "third factor", "source")


def rows() -> list[tuple[str, ...]]:
    """Of each rule what HEADS name."""
    found = []
    for name, rule in RULES.items():
        known = what_a_synapse_knows(rule)
        found.append((name, ENGINES, known["pre"], known["post"], known["own"], known["third"], rule.source))
    return found


def listing() -> list[str]:
    """Lines of two tables: rules of simulations, and supervised local rules of trainable networks."""
    from spiketwin.rules.local import localities

    supervised = localities()
    return [
        "what a synapse must know, rules of simulations (brian, compiled)",
        *_aligned([HEADS[:1] + HEADS[2:], *(r[:1] + r[2:] for r in rows())]),
        "",
        "supervised local rules (torch)",
        *_aligned([tuple(supervised[0]), *(tuple(r.values()) for r in supervised)]),
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
    return [*lines, f"{'engines':<28}{ENGINES}"]


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
