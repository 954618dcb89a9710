"""exp and its relatives as LLVM can vectorise them: polynomials, no branch, no call, in double and single precision.

Inside numba code these replace math.exp and the like, whose calls keep a loop scalar:

    from spiketwin.models.engines.vector_math import exp

    @njit(error_model="numpy")  # else each division asks whether to raise
    def decay(x, out):
        for n in range(x.size):
            out[n] = exp(-x[n])

A float32 argument is computed in float32, all else in float64. Each compiled function rounds alike in the vector
body of a loop, in its remainder and in scalar code: results do not depend on where a neuron lies in an array.
Called from plain Python they are numpy's functions.

Largest error in units in the last place (tests/engines/test_vector_math.py measures it): exp 1, log 1, sigmoid 2,
expm1 2, exprel 2, tanh 3. Overflow, underflow, infinities and NaN come out as in numpy, subnormal numbers included;
but sigmoid is 0 as soon as exp(-x) overflows, and exprel loses digits where it is below 1e-301 (1e-31 in float32).

Method: x = n ln 2 + r with |r| <= ln(2)/2, exp(x) = 2^n exp(r) (Cody & Waite 1980); the polynomials are minimax
fits by the Remez exchange. log: fdlibm's series in f/(2 + f) (Sun Microsystems 1993), fitted anew.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.extending import intrinsic, overload

# Into the caller: only there can a loop be vectorised.
INLINE: dict[str, Any] = dict(forceinline=True, error_model="numpy")


def _has_fma() -> bool:
    """Whether the processor that numba compiles for multiplies and adds in one instruction; else LLVM would call a slow function."""
    if config.CPU_NAME == "generic":
        return False
    if platform.machine().lower() in ("arm64", "aarch64"):
        return True
    return "+fma" in config.CPU_FEATURES if config.CPU_FEATURES else bool(llvm.get_host_cpu_features().get("fma"))


HAS_FMA = _has_fma()

# -- what Python cannot say --------------------------------------------------------------------------


def _multiply_add(builder: ir.IRBuilder, a, b, c):
    return builder.fma(a, b, c) if HAS_FMA else builder.fadd(builder.fmul(a, b), c)


def _fma(_typing, a, b, c):
    """fma(a, b, c): a b + c for three floats of one type, rounded once where the processor can."""

    def build(_context, builder, _signature, arguments):
        return _multiply_add(builder, *arguments)

    return a(a, a, a), build


fma: Callable = intrinsic(_fma)


def polynomial(*coefficients: float) -> Callable:
    """p(x) = coefficients[0] + coefficients[1] x + …, in the type of x, for use in numba code."""

    @intrinsic
    def p(_typing, x):
        def build(_context, builder, _signature, arguments):
            (value,) = arguments
            *lower, total = (ir.Constant(value.type, c) for c in coefficients)
            for c in reversed(lower):
                total = _multiply_add(builder, total, value, c)
            return total

        return x(x), build

    return p


@dataclass(frozen=True)
class Precision:
    """A float format, and the constants of the method in it.

    round_up: 1.5 · 2^mantissa; x + round_up - round_up is x rounded to a whole number, and the last bits of
    x + round_up are that number.  ln2_low + ln2_high: ln 2, the second with so few bits that n ln2_high is exact.
    em1: (exp(r) - 1 - r)/r² for |r| <= ln(2)/2.  log: (2 artanh(s) - 2 s)/s³ in s², for |s| <= 0.1716.
    lowest … highest: outside, exp is 0 or infinite.  flat: below, expm1 is -1.  tiny: below, expm1(x) is x.
    """

    real: type[np.floating]
    bits: int
    mantissa: int
    ln2_high: float
    ln2_low: float
    em1: tuple[float, ...]
    log: tuple[float, ...]
    lowest: float
    highest: float
    flat: float
    tiny: float

    @property
    def bias(self) -> int:
        return (1 << (self.bits - self.mantissa - 2)) - 1

    @property
    def round_up(self) -> float:
        return 1.5 * 2.0**self.mantissa

    @property
    def round_up_bits(self) -> int:
        """round_up as an integer."""
        return ((self.bias + self.mantissa) << self.mantissa) + (1 << (self.mantissa - 1))


DOUBLE = Precision(
    real=np.float64,
    bits=64,
    mantissa=52,
    ln2_high=float.fromhex("0x1.62e42feep-1"),
    ln2_low=float.fromhex("0x1.a39ef35793c76p-33"),
    # error 1.4e-18
    em1=(
        0.5,
        0.1666666666666667,
        0.041666666666666685,
        0.008333333333326134,
        0.0013888888888874396,
        0.00019841269874821957,
        2.4801587347346783e-05,
        2.755725539874195e-06,
        2.7557252905997574e-07,
        2.5105217543350842e-08,
        2.0921591355558057e-09,
    ),
    # error 3e-16 of a term that is at most 0.03 of the sum
    log=(
        0.666666666666667,
        0.39999999999898384,
        0.28571428626427425,
        0.22222211068255812,
        0.18182893551853724,
        0.15331585912281792,
        0.14618008980788832,
    ),
    lowest=-746.0,
    highest=720.0,
    flat=-40.0,
    tiny=2.0**-54,
)
SINGLE = Precision(
    real=np.float32,
    bits=32,
    mantissa=23,
    ln2_high=float.fromhex("0x1.63p-1"),
    ln2_low=float.fromhex("-0x1.bd0106p-13"),
    # error 1.3e-9
    em1=(0.5, 0.1666666716337204, 0.04166646674275398, 0.00833328627049923, 0.0013933652080595493, 0.0001990758755709976),
    # error 1.1e-9
    log=(0.6666666655297427, 0.4000012279127651, 0.28550732867450723, 0.23332498092065648),
    lowest=-105.0,
    highest=95.0,
    flat=-20.0,
    tiny=2.0**-25,
)


def _scalers(p: Precision) -> tuple[Callable, Callable]:
    """times_power(x, t): x 2^n, rounded once, for t = n + round_up; power(t): 2^(n - 16), which is finite a little beyond the end of expm1."""
    integer = ir.IntType(p.bits)
    shift = ir.Constant(integer, p.mantissa)

    @intrinsic
    def times_power(_typing, x, t):
        def build(_context, builder, _signature, arguments):
            x, t = arguments
            # 2^n itself may be no normal number: two factors, each the exponent of half of n
            both = builder.add(builder.bitcast(t, integer), ir.Constant(integer, 2 * p.bias - p.round_up_bits))
            first = builder.lshr(both, ir.Constant(integer, 1))
            for exponent in (first, builder.sub(both, first)):
                x = builder.fmul(x, builder.bitcast(builder.shl(exponent, shift), x.type))
            return x

        return x(x, t), build

    @intrinsic
    def power(_typing, t):
        def build(_context, builder, _signature, arguments):
            (t,) = arguments
            exponent = builder.add(builder.bitcast(t, integer), ir.Constant(integer, p.bias - 16 - p.round_up_bits))
            return builder.bitcast(builder.shl(exponent, shift), t.type)

        return t(t), build

    return times_power, power


def _splitters(p: Precision) -> tuple[Callable, Callable]:
    """significand(x) in sqrt(1/2) … sqrt(2) and exponent(x), a whole number as a float, with x = significand 2^exponent."""
    integer = ir.IntType(p.bits)
    root = int(np.sqrt(p.real(0.5)).view(f"u{p.bits // 8}"))  # the bits of sqrt(1/2)

    def exponent_bits(builder, x):
        """The biased exponent, of a number that counts as 1 … 2 where it is sqrt(1/2) … sqrt(2)."""
        moved = builder.add(builder.bitcast(x, integer), ir.Constant(integer, (p.bias << p.mantissa) - root))
        return builder.lshr(moved, ir.Constant(integer, p.mantissa))

    @intrinsic
    def significand(_typing, x):
        def build(_context, builder, _signature, arguments):
            (x,) = arguments
            away = builder.sub(exponent_bits(builder, x), ir.Constant(integer, p.bias))
            bits = builder.sub(builder.bitcast(x, integer), builder.shl(away, ir.Constant(integer, p.mantissa)))
            return builder.bitcast(bits, x.type)

        return x(x), build

    @intrinsic
    def exponent(_typing, x):
        def build(_context, builder, _signature, arguments):
            (x,) = arguments
            number = builder.add(exponent_bits(builder, x), ir.Constant(integer, p.round_up_bits - p.bias))
            return builder.fsub(builder.bitcast(number, x.type), ir.Constant(x.type, p.round_up))

        return x(x), build

    return significand, exponent


# -- the functions -----------------------------------------------------------------------------------


def _functions(p: Precision) -> dict[str, Callable]:
    """The functions in one precision. Conditional expressions become selects: both sides are always computed."""
    number = p.real
    zero, one, two, half, infinity, nan = (number(x) for x in (0, 1, 2, 0.5, math.inf, math.nan))
    log2_e, round_up, ln2_high, ln2_low = (number(x) for x in (1 / math.log(2), p.round_up, p.ln2_high, p.ln2_low))
    lowest, highest, flat, tiny = (number(x) for x in (p.lowest, p.highest, p.flat, p.tiny))
    shrunk, grown = number(2.0**-16), number(2.0**16)
    smallest, subnormal_scale, subnormal_shift = number(np.finfo(number).tiny), number(2.0**54), number(54)
    em1, log_series = polynomial(*p.em1), polynomial(*p.log)
    times_power, power = _scalers(p)
    significand, exponent = _splitters(p)

    def exp(x):
        x = lowest if x < lowest else x
        x = highest if x > highest else x
        t = fma(x, log2_e, round_up)
        n = t - round_up
        r = fma(n, -ln2_low, fma(n, -ln2_high, x))
        return times_power(fma(r, fma(r, em1(r), one), one), t)

    def expm1_shrunk(x):
        # expm1(x) 2^-16, because expm1(x)/x is finite where expm1(x) is not any more
        x = flat if x < flat else x
        x = highest if x > highest else x
        t = fma(x, log2_e, round_up)
        n = t - round_up
        r = fma(n, -ln2_low, fma(n, -ln2_high, x))
        scale = power(t)
        return fma(scale, fma(r * r, em1(r), r), scale - shrunk)

    def expm1(x):
        return x if abs(x) < tiny else expm1_shrunk_(x) * grown

    def exprel(x):
        divisor = highest if x > highest else x
        return one if abs(x) < tiny else expm1_shrunk_(x) / divisor * grown

    def tanh(x):
        # of |x|, so that nothing overflows
        e = expm1_shrunk_(-two * abs(x)) * grown
        t = -e / (two + e)
        t = -t if x < zero else t
        return x if abs(x) < tiny else t

    def sigmoid(x):
        return one / (one + exp_(-x))

    def log(x):
        is_subnormal = x < smallest
        y = x * subnormal_scale if is_subnormal else x
        m, n = significand(y), exponent(y)
        n = n - subnormal_shift if is_subnormal else n
        f = m - one
        s = f / (two + f)
        z = s * s
        h = half * f * f
        result = fma(n, ln2_high, f - (h - fma(s, h + z * log_series(z), n * ln2_low)))
        result = x if x == infinity else result
        result = -infinity if x == zero else result
        return result if x >= zero else nan

    exp_, expm1_shrunk_ = njit(**INLINE)(exp), njit(**INLINE)(expm1_shrunk)
    return dict(exp=exp, expm1=expm1, exprel=exprel, tanh=tanh, sigmoid=sigmoid, log=log)


_OF = {types.float64: _functions(DOUBLE), types.float32: _functions(SINGLE)}


def exp(x):
    """e^x."""
    return np.exp(x)


def expm1(x):
    """e^x - 1, accurate near 0."""
    return np.expm1(x)


def exprel(x):
    """(e^x - 1)/x, 1 at 0."""
    from scipy.special import exprel

    return exprel(x)


def tanh(x):
    """Hyperbolic tangent."""
    return np.tanh(x)


def sigmoid(x):
    """1/(1 + e^-x)."""
    from scipy.special import expit

    return expit(x)


def log(x):
    """Natural logarithm; -inf at 0, NaN below."""
    return np.log(x)


FUNCTIONS = {f.__name__: f for f in (exp, expm1, exprel, tanh, sigmoid, log)}


def _compile_for_numba(function: Callable) -> None:
    @overload(function, jit_options=INLINE)
    def choose(x):
        if x in _OF:
            return _OF[x][function.__name__]
        if isinstance(x, types.Number) and not isinstance(x, types.Complex):
            return lambda x: function(np.float64(x))
        return None


for _function in FUNCTIONS.values():
    _compile_for_numba(_function)
