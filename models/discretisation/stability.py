"""The largest time step at which an explicit scheme is stable."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import sympy

from spiketwin.models.discretisation.functions import numpy_functions
from spiketwin.models.discretisation.printing import code
from spiketwin.models.discretisation.symbols import system
from spiketwin.models.spec import NeuronSpec

# |dt λ| on the negative real axis up to which the scheme does not grow (Hairer & Wanner, Solving ODEs II, IV.2)
REAL_STABILITY = {"euler": 2.0, "euler_maruyama": 2.0, "heun": 2.0, "rk4": 2.785293563405282}


def stability_limit(spec: NeuronSpec, scheme: str, values: Mapping[str, np.ndarray]) -> float:
    """Largest stable dt in seconds of the equations linearised at the state in `values`; inf for exact and exponential schemes.

    values: every parameter, drive and state in SI. Nonlinear models can need less while they spike.
    """
    if scheme not in REAL_STABILITY:
        return float("inf")
    shape = np.broadcast_shapes(*(np.shape(v) for v in values.values()))
    namespace = {**numpy_functions(), **values}
    n = len(spec.states)
    jacobian = np.empty((*shape, n, n))
    for i, row in enumerate(_jacobian(spec)):
        for j, entry in enumerate(row):
            jacobian[..., i, j] = eval(entry, {"__builtins__": {}}, namespace)  # printed by us
    eigenvalues = np.linalg.eigvals(jacobian)
    fastest = np.max(np.where(eigenvalues.real < 0, -eigenvalues.real, 0.0), initial=0.0)
    return REAL_STABILITY[scheme] / fastest if fastest > 0 else float("inf")


@lru_cache(maxsize=128)
def _jacobian(spec: NeuronSpec) -> tuple[tuple[str, ...], ...]:
    s = system(spec)
    x = sympy.Symbol("_x", real=True)
    rows = []
    for rate in s.rates.values():
        f = s.substituted(rate)
        # exprel has no sympy derivative; (exp(x) - 1)/x has one, away from x = 0
        f = f.replace(lambda e: e.func.__name__ == "exprel", lambda e: ((sympy.exp(x) - 1) / x).subs(x, e.args[0] + sympy.Float(1e-9)))
        rows.append(tuple(code(sympy.diff(f, y), "numpy") for y in s.states))
    return tuple(rows)
