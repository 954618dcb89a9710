"""The threshold as a margin: a spike is where it is positive (or not negative)."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from spiketwin.models.spec import NeuronSpec, SpecError


def margin(spec: NeuronSpec) -> tuple[str, bool]:
    """Expression and strictness: spike iff margin > 0 (strict) or margin >= 0.

    'v > v_threshold' gives '(v) - (v_threshold)', True. A draw 'rand() < p' gives '(p) - (uniform)'.
    """
    tree = ast.parse(spec.threshold.strip(), mode="eval").body
    if not isinstance(tree, ast.Compare) or len(tree.ops) != 1:
        raise SpecError(f"threshold '{spec.threshold}' of '{spec.name}' is not one comparison such as 'v > v_threshold'")
    left, right, operator = ast.unparse(tree.left), ast.unparse(tree.comparators[0]), tree.ops[0]
    if isinstance(operator, ast.Lt | ast.LtE):
        left, right = right, left
    text = written_out(f"({left}) - ({right})", spec.subexpressions)
    return re.sub(r"\brand\(\)", "uniform", text), isinstance(operator, ast.Gt | ast.Lt)


def written_out(expression: str, subexpressions: Mapping[str, str]) -> str:
    """`expression` with subexpressions replaced by their text."""
    for name, value in reversed(subexpressions.items()):
        expression = re.sub(rf"\b{name}\b", f"({value})", expression)
    return expression
