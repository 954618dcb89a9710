"""Conditions of a model: the threshold as a margin, positive (or not negative) at a spike; and, or, not as operators."""

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


def elementwise(condition: str) -> str:
    """`condition` with and, or, not written as &, |, ~, which arrays, tensors and sympy understand."""
    return ast.unparse(ast.fix_missing_locations(_Elementwise().visit(ast.parse(condition.strip(), mode="eval"))))


class _Elementwise(ast.NodeTransformer):
    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        operator = ast.BitAnd() if isinstance(node.op, ast.And) else ast.BitOr()
        first, *others = (self.visit(v) for v in node.values)
        for other in others:
            first = ast.BinOp(first, operator, other)
        return first

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        operator = ast.Invert() if isinstance(node.op, ast.Not) else node.op
        return ast.UnaryOp(operator, self.visit(node.operand))
