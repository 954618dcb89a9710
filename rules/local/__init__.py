"""Local supervised and three-factor rules, each called as rule(net, x, labels), and backpropagation through time beside them.

    lesson.py              what a rule returns, what its synapses must know (Locality), how it fits an optimiser
    bptt.py                the measure of the others
    eprop.py               e-prop: eligibility traces and the read-outs' error
    decolle.py             DECOLLE: a loss in each layer
    neuromodulated.py      a layer's own error and one number for the network
    stdp.py                STDP without labels, and the delta rule at the read-out
    feedback_alignment.py  random weights on the way back, from layer to layer or from the output to each

    sensitivity.py, traces.py, online.py, layers.py, feedback.py: what they share

LOCAL_RULES: name -> a rule with its defaults. A new rule is a file in this folder and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from spiketwin.models.spec import unknown
from spiketwin.rules.local.bptt import Bptt, true_signals
from spiketwin.rules.local.decolle import Decolle
from spiketwin.rules.local.eprop import EProp
from spiketwin.rules.local.feedback import Adaptive, Random, Symmetric
from spiketwin.rules.local.feedback_alignment import DirectFeedbackAlignment, FeedbackAlignment
from spiketwin.rules.local.lesson import LearningRule, Lesson, Locality
from spiketwin.rules.local.neuromodulated import Neuromodulated, failure, surprise
from spiketwin.rules.local.stdp import Stdp

LOCAL_RULES: Mapping[str, Callable[[], LearningRule]] = MappingProxyType(
    {
        "bptt": Bptt,
        "eprop": EProp,
        "eprop_random": lambda: EProp(Random()),
        "decolle": Decolle,
        "feedback_alignment": FeedbackAlignment,
        "direct_feedback_alignment": DirectFeedbackAlignment,
        "neuromodulated": Neuromodulated,
        "stdp": Stdp,
    }
)

__all__ = [
    "LOCAL_RULES",
    "Adaptive",
    "Bptt",
    "Decolle",
    "DirectFeedbackAlignment",
    "EProp",
    "FeedbackAlignment",
    "LearningRule",
    "Lesson",
    "Locality",
    "Neuromodulated",
    "Random",
    "Stdp",
    "Symmetric",
    "failure",
    "local_rule",
    "localities",
    "surprise",
    "true_signals",
]


def local_rule(name: str) -> LearningRule:
    """The rule of that name with its defaults. Raises ValueError that suggests the closest name."""
    if name not in LOCAL_RULES:
        raise ValueError(unknown(name, "local rule", "spiketwin", LOCAL_RULES))
    return LOCAL_RULES[name]()


def localities() -> list[dict[str, str]]:
    """A row for each rule: its name, source, and what a synapse must know."""
    rows = []
    for make in LOCAL_RULES.values():
        rule = make()
        known = rule.locality
        rows.append(
            {
                "rule": rule.name,
                "pre": known.pre,
                "post": known.post,
                "third factor": known.third,
                "weight transport": "yes" if known.transport else "no",
                "forward in time": "yes" if known.is_online else "no",
                "a layer waits for": known.waits,
                "source": rule.source,
            }
        )
    return rows
