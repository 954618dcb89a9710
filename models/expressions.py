"""Numerical value of an expression in Brian2 syntax, in SI, with numpy."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import numpy as np

from spiketwin.models.units import FUNCTIONS, UNITS, identifiers


@cache
def _compiled(expression: str):
    return compile(expression.strip(), f"<{expression}>", "eval")


@cache
def _known() -> Mapping[str, object]:
    """Units and functions by name."""
    from scipy.special import exprel

    functions = {name: getattr(np, name) for name in FUNCTIONS if hasattr(np, name)}
    return {name: factor for name, (factor, _) in UNITS.items()} | functions | {"exprel": exprel}


def evaluate(expression: str, values: Mapping[str, object], subexpressions: Mapping[str, str] = MappingProxyType({})):
    """Value of `expression`; names come from `values` (SI), else from `subexpressions`, units and numpy."""
    namespace = {**_known(), **values}

    def resolve(text: str) -> None:
        for name in identifiers(text):
            if name not in namespace and name in subexpressions:
                resolve(subexpressions[name])
                namespace[name] = eval(_compiled(subexpressions[name]), {"__builtins__": {}}, namespace)  # validated by NeuronSpec

    resolve(expression)
    return eval(_compiled(expression), {"__builtins__": {}}, namespace)  # validated by NeuronSpec
