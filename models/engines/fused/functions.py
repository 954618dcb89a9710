"""What generated kernels call besides + - * /: elementary functions of one number, in its precision, without a branch.

exp and its relatives are vector_math's; the rest are the compiler's own.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from spiketwin.models.engines.vector_math import INLINE, exp, exprel
from spiketwin.models.engines.vector_math import expm1 as expm1
from spiketwin.models.engines.vector_math import log as log
from spiketwin.models.engines.vector_math import tanh as tanh

inlined = njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, **INLINE)
# exprel'(x) = Σ (k + 1)/(k + 2)! x^k
_SERIES = tuple((k + 1) / math.factorial(k + 2) for k in range(16))


@inlined
def exprel_slope(x):
    """The derivative of exprel, (exp(x) (x - 1) + 1)/x²: from exprel itself, and where that cancels from its series."""
    total = x * 0
    for k in range(len(_SERIES) - 1, -1, -1):
        total = total * x + type(x)(_SERIES[k])
    small = abs(x) < type(x)(0.7)
    safe = type(x)(1) if small else x
    return total if small else (exp(safe) - exprel(safe)) / safe


@inlined
def clip(x, low, high):
    return min(max(x, low), high)


@inlined
def sign(x):
    return type(x)(1) if x > 0 else (type(x)(-1) if x < 0 else type(x)(0))


sqrt, sin, cos, tan, sinh, cosh, log1p, atan = math.sqrt, math.sin, math.cos, math.tan, math.sinh, math.cosh, math.log1p, math.atan
floor, ceil, minimum, maximum = np.floor, np.ceil, min, max

# by the names that generated code uses
FUNCTIONS = {
    f: globals()[f]
    for f in ("exp expm1 exprel exprel_slope log log1p sqrt sin cos tan sinh cosh tanh atan sign floor ceil clip minimum maximum".split())
}
