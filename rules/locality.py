"""What the synapse of a rule must know, read from the rule's own text."""

from __future__ import annotations

from spiketwin.models.neurons.listening import RECEPTORS
from spiketwin.models.plasticity import WEIGHT, PlasticityRule
from spiketwin.models.units import identifiers


def what_a_synapse_knows(rule: PlasticityRule) -> dict[str, str]:
    """'pre' and 'post': of either neuron; 'own': of itself besides its weight; 'third': what is broadcast. '-' for nothing."""
    read = {name for side in rule.statements.values() for s in side for name in identifiers(s.expression)}
    for text in (rule.every_step_if, rule.efficacy):
        read |= identifiers(text) if text else set()
    changes = any(s.target == WEIGHT for side in rule.statements.values() for s in side)

    def neuron(side: str, *states: str) -> str:
        kept = [x for x in rule.traces[side] if x in read]
        parts = ["spikes"] * bool(rule.statements[side]) + [f"trace{'s' * (len(kept) > 1)} {', '.join(kept)}"] * bool(kept)
        return ", ".join([*parts, *states]) or "-"

    third = [s for s in rule.post_states if s in RECEPTORS]
    own = [*rule.memory, *["a random number"] * bool(rule.draws)]
    return {
        "pre": neuron("pre"),
        "post": neuron("post", *(s for s in rule.post_states if s not in RECEPTORS)),
        "own": ", ".join(own) or ("-" if changes else "nothing: its weight stays"),
        "third": ", ".join(f"neuromodulator {s}" for s in third) or "-",
    }
