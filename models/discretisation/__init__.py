"""Discrete steps derived from a model's equations: `derive(spec, scheme)`.

The equations are read once (symbols.py), a scheme turns them into assignments (schemes.py, exact.py),
and a printer turns those into numpy, torch, numba or Brian2 code, prose or LaTeX (printing.py).
"""

from spiketwin.models.discretisation.conditions import margin
from spiketwin.models.discretisation.stability import stability_limit
from spiketwin.models.discretisation.step import SCHEMES, Scheme, SchemeError, Step, derive, unsupported_reason

__all__ = ["SCHEMES", "Scheme", "SchemeError", "Step", "derive", "margin", "stability_limit", "unsupported_reason"]
