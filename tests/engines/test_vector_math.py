"""Vectorised elementary functions against 40 digits of mpmath, and that LLVM indeed vectorises them."""

import re

import mpmath
import numpy as np
import pytest
from numba import njit

from spiketwin.models.engines import vector_math
from spiketwin.models.engines.vector_math import DOUBLE, SINGLE

# as the module's docstring promises, in units in the last place
LARGEST_ERROR = {"exp": 1, "log": 1, "sigmoid": 2, "expm1": 2, "exprel": 2, "tanh": 3}
EXACT = {
    "exp": mpmath.exp,
    "log": mpmath.log,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "expm1": mpmath.expm1,
    "exprel": lambda x: mpmath.expm1(x) / x if x else mpmath.mpf(1),
    "tanh": mpmath.tanh,
}
PRECISIONS = {"float64": DOUBLE, "float32": SINGLE}


@pytest.fixture(scope="module")
def over_arrays():
    """(name, dtype name) -> a compiled loop that applies the function to an array."""

    def make(function):
        @njit(error_model="numpy")
        def loop(x, out):
            for n in range(x.size):
                out[n] = function(x[n])

        return loop

    return {name: make(function) for name, function in vector_math.FUNCTIONS.items()}


def apply(loop, x):
    out = np.empty_like(x)
    loop(x, out)
    return out


def arguments(name, dtype, rng):
    """Where the function is neither 0 nor infinite, near 0 and across the whole range of exponents."""
    info = np.finfo(dtype)
    if name == "log":
        # from the smallest subnormal number to the largest, and densely around 1, where log vanishes
        x = [
            2.0 ** rng.uniform(info.minexp - info.nmant, info.maxexp, 2000),
            rng.uniform(0.4, 2.5, 2000),
            1 + 10.0 ** rng.uniform(-7, -1, 500),
        ]
        return np.concatenate(x).astype(dtype)
    last = np.log(float(info.max))
    tiny = 10.0 ** rng.uniform(np.log10(float(info.tiny)), 0, 1000)
    low = -last - 36 * (dtype == np.float64) - 15 * (dtype == np.float32) if name == "exp" else -last
    return np.concatenate([rng.uniform(low, last, 2000), rng.uniform(-2, 2, 2000), tiny, -tiny]).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", LARGEST_ERROR)
def test_error_in_units_in_the_last_place(over_arrays, name, dtype):
    x = arguments(name, dtype, np.random.default_rng(0))
    got = apply(over_arrays[name], x)
    assert got.dtype == dtype
    with mpmath.workdps(40):
        exact = [EXACT[name](mpmath.mpf(float(value))) for value in x]
        unit = np.spacing(np.abs(np.array([float(e) for e in exact]).astype(dtype))).astype(float)
        error = np.array([float(abs(mpmath.mpf(float(g)) - e)) for g, e in zip(got, exact, strict=True)]) / unit
    worst = int(np.argmax(error))
    assert error[worst] <= LARGEST_ERROR[name], f"{name}({x[worst]!r}) = {got[worst]!r}"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", LARGEST_ERROR)
def test_limits_are_numpys(over_arrays, name, dtype):
    info = np.finfo(dtype)
    last = np.log(float(info.max))
    x = [
        0.0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        info.max,
        -info.max / 1e6,
        info.smallest_subnormal,
        -info.smallest_subnormal,
        info.tiny,
        1.0,
        -1.0,
    ]
    # around the ends of exp, of expm1/x a little further, and of its subnormal results
    x += [last * (1 - 1e-3), last * (1 + 1e-3), last + 4, last + 20, -last, -last - 10, -last - 40, -last - 1000]
    x = np.array(x, dtype=dtype)
    with np.errstate(all="ignore"):
        want = vector_math.FUNCTIONS[name](x)
        if name == "exprel":  # scipy's is infinite as soon as exp(x) is
            want = np.where((x > last) & np.isfinite(x), np.exp(x.astype(float) / 2) / x * np.exp(x.astype(float) / 2), want).astype(dtype)
    got = apply(over_arrays[name], x)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(want))
    finite = np.isfinite(want)
    # numpy's own error is up to 1 unit, exprel's 3; sigmoid and exprel are allowed to lose subnormal results
    units = (LARGEST_ERROR[name] + 3) * np.spacing(np.abs(want[finite]))
    lost = 1e7 * float(info.tiny) if name in ("sigmoid", "exprel") else 0.0
    assert (np.abs(got[finite] - want[finite]) <= np.maximum(units, np.where(np.abs(want[finite]) < lost, lost, 0))).all()
    if name in ("expm1", "tanh"):
        np.testing.assert_array_equal(np.signbit(got[finite]), np.signbit(want[finite]))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", LARGEST_ERROR)
def test_the_loop_is_vectorised_and_calls_nothing(over_arrays, name, dtype):
    loop = over_arrays[name]
    x = np.ones(5, dtype)
    apply(loop, x)
    (signature,) = (s for s in loop.signatures if str(s[0].dtype) == dtype)
    text = loop.inspect_llvm(signature)
    element = {"float64": "double", "float32": "float"}[dtype]
    assert re.search(rf"fmul <\d+ x {element}>|llvm.fma.v\d+", text), "no vector instruction"
    called = set(re.findall(r"call \S* ?@\"?([\w.]+)", text))
    assert not {c for c in called if re.search(r"^(exp|log|pow|tanh|expm1|fma)f?$", c)}


def test_a_value_does_not_depend_on_its_place_in_the_array(over_arrays):
    """The vector body and the scalar remainder of a loop must round alike, or results would depend on the number of threads."""
    x = np.random.default_rng(1).uniform(-5, 5, 61)
    for name, loop in over_arrays.items():
        x_of = np.abs(x) if name == "log" else x
        whole = apply(loop, x_of)
        assert [apply(loop, x_of[k : k + 1].copy())[0] for k in range(x.size)] == whole.tolist(), name


def test_whole_numbers_and_plain_python_are_served():
    @njit
    def of_integer(k):
        return vector_math.exp(k) + vector_math.tanh(0)

    assert of_integer(1) == pytest.approx(np.e, rel=1e-15)
    assert vector_math.exprel(0.0) == 1 and vector_math.sigmoid(0.0) == 0.5


@pytest.mark.parametrize("p", PRECISIONS.values(), ids=PRECISIONS)
def test_polynomials_are_as_close_as_the_comments_say(p):
    half = mpmath.log(2) / 2
    bound = {52: 2e-18, 23: 2e-9}[p.mantissa]
    with mpmath.workdps(40):
        for k in range(-50, 51):
            r = half * k / 50
            want = (mpmath.expm1(r) - r) / r**2 if k else mpmath.mpf("0.5")
            # the coefficients are rounded to the format: half a unit of 0.5 more
            assert abs(mpmath.polyval([mpmath.mpf(c) for c in p.em1[::-1]], r) - want) < bound + 2.0 ** -(p.mantissa + 2)
        assert mpmath.almosteq(mpmath.mpf(p.ln2_high) + mpmath.mpf(p.ln2_low), mpmath.log(2), 2.0 ** -(p.mantissa + 12))
