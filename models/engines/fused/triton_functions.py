"""What generated Triton kernels call besides + - * /: elementary functions in the precision of their argument.

They use nothing but what Triton has on every backend (exp, log, sqrt, sin, cos), so that its interpreter on the CPU runs
the same code as a GPU. Where a difference would cancel, a series takes over: sixteen terms are exact to double
precision within the bounds given. Called from kernels only.
"""

from __future__ import annotations

import math
from importlib import import_module

# no import statement: a type checker has nothing to look at where triton is not installed
triton = import_module("triton")
tl = import_module("triton.language")

HALF_PI = tl.constexpr(math.pi / 2)


@triton.jit
def odd_series(z):
    """Σ z^k/(2k + 1) for |z| < 1/16: log((1 + s)/(1 - s)) is 2 s times that of s², arctan(y) is y times that of -y²."""
    total = z * 0.0
    for k in tl.static_range(15, -1, -1):
        total = total * z + 1.0 / (2 * k + 1)
    return total


@triton.jit
def exprel_series(x):
    """Σ x^k/(k + 1)! = 1 + x/2 (1 + x/3 (1 + …)) for |x| < .7."""
    total = x * 0.0 + 1.0
    for k in tl.static_range(17, 1, -1):
        total = 1.0 + total * x * (1.0 / k)
    return total


@triton.jit
def exprel_slope_series(x):
    """The derivative of exprel_series, term by term."""
    total = x * 0.0 + 1.0
    slope = x * 0.0
    for k in tl.static_range(18, 1, -1):
        slope = (total + slope * x) * (1.0 / k)
        total = 1.0 + total * x * (1.0 / k)
    return slope


@triton.jit
def exp(x):
    return tl.exp(x)


@triton.jit
def log(x):
    return tl.log(x)


@triton.jit
def sqrt(x):
    return tl.sqrt(x)


@triton.jit
def sin(x):
    return tl.sin(x)


@triton.jit
def cos(x):
    return tl.cos(x)


@triton.jit
def tan(x):
    return tl.sin(x) / tl.cos(x)


@triton.jit
def exprel(x):
    """(exp(x) - 1)/x, 1 at 0."""
    small = tl.abs(x) < 0.7
    safe = tl.where(small, 1.0, x)
    return tl.where(small, exprel_series(tl.where(small, x, 0.0)), (tl.exp(safe) - 1.0) / safe)


@triton.jit
def exprel_slope(x):
    """The derivative of exprel, (exp(x) (x - 1) + 1)/x²."""
    small = tl.abs(x) < 0.7
    safe = tl.where(small, 1.0, x)
    return tl.where(small, exprel_slope_series(tl.where(small, x, 0.0)), (tl.exp(safe) - exprel(safe)) / safe)


@triton.jit
def expm1(x):
    small = tl.abs(x) < 0.7
    return tl.where(small, x * exprel_series(tl.where(small, x, 0.0)), tl.exp(x) - 1.0)


@triton.jit
def log1p(x):
    small = tl.abs(x) < 0.4
    s = tl.where(small, x, 0.0) / (tl.where(small, x, 0.0) + 2.0)
    return tl.where(small, 2.0 * s * odd_series(s * s), tl.log(x + 1.0))


@triton.jit
def tanh(x):
    e = expm1(-2.0 * tl.abs(x))
    return -sign(x) * e / (e + 2.0)


@triton.jit
def sinh(x):
    e = expm1(tl.abs(x))
    return 0.5 * sign(x) * (e + tl.where(e > 1e30, 1.0, e / (e + 1.0)))  # e/(e + 1) is 1 where e overflows


@triton.jit
def cosh(x):
    e = tl.exp(tl.abs(x))
    return 0.5 * (e + 1.0 / e)


@triton.jit
def atan(x):
    beyond = tl.abs(x) > 1.0
    y = tl.where(beyond, 1.0 / tl.where(beyond, x, 1.0), x)
    y = y / (1.0 + tl.sqrt(1.0 + y * y))  # half the angle
    y = y / (1.0 + tl.sqrt(1.0 + y * y))
    angle = 4.0 * y * odd_series(-(y * y))
    return tl.where(beyond, HALF_PI * sign(x) - angle, angle)


@triton.jit
def power(base, exponent):
    return tl.exp(tl.log(base) * exponent)


@triton.jit
def sign(x):
    return tl.where(x > 0.0, 1.0, tl.where(x < 0.0, -1.0, 0.0)).to(x.dtype)


@triton.jit
def floor(x):
    return tl.floor(x)


@triton.jit
def ceil(x):
    return tl.ceil(x)


@triton.jit
def minimum(a, b):
    return tl.minimum(a, b)


@triton.jit
def maximum(a, b):
    return tl.maximum(a, b)


@triton.jit
def clip(x, low, high):
    return tl.minimum(tl.maximum(x, low), high)
