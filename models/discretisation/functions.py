"""The functions that derived code calls, for numpy and torch arrays and for scalars."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np

from spiketwin.models.units import UNITS


def _numpy_exp_dd(*points):
    """Divided difference of exp over the points, as the corner of the exponential of a bidiagonal matrix (Opitz 1964)."""
    from scipy.linalg import expm
    from scipy.special import exprel

    if len(points) == 2:
        # in closed form; a matrix exponential wakes the threads of the linear algebra library, for milliseconds
        return np.exp(np.maximum(*points)) * exprel(-np.abs(np.subtract(*points)))
    points = np.broadcast_arrays(*(np.asarray(p, dtype=float) for p in points))
    n = len(points)
    matrix = np.zeros((*points[0].shape, n, n))
    for k, p in enumerate(points):
        matrix[..., k, k] = p
        if k + 1 < n:
            matrix[..., k, k + 1] = 1.0
    return expm(matrix)[..., 0, n - 1]


@cache
def numpy_functions() -> dict:
    from scipy.special import exprel

    names = "exp log sqrt sin cos tan sinh cosh tanh arctan clip minimum maximum floor ceil expm1 log1p where".split()
    return {n: getattr(np, n) for n in names} | {
        "Abs": np.abs,
        "abs": np.abs,
        "atan": np.arctan,
        "exprel": exprel,
        "exp_dd": _numpy_exp_dd,
        "int": lambda x: np.asarray(x).astype(int),
    }


@cache
def torch_functions() -> dict:
    import torch

    def exp_dd(*points):
        points = torch.broadcast_tensors(*(torch.as_tensor(p) for p in points))
        n = len(points)
        dtype = next(p.dtype for p in points if p.is_floating_point())
        rows = []
        zero, one = torch.zeros_like(points[0], dtype=dtype), torch.ones_like(points[0], dtype=dtype)
        for k, p in enumerate(points):
            rows.append(torch.stack([p.to(dtype) if c == k else one if c == k + 1 else zero for c in range(n)], dim=-1))
        return torch.matrix_exp(torch.stack(rows, dim=-2))[..., 0, n - 1]

    def exprel(x):
        # (e^x - 1)/x; the branch not taken gets a harmless argument so that its gradient is finite
        small = x.abs() < 1e-4
        safe = torch.where(small, torch.ones_like(x), x)
        return torch.where(small, 1 + x / 2 + x * x / 6, torch.expm1(safe) / safe)

    def where(condition, a, b):
        if not torch.is_tensor(a) and not torch.is_tensor(b):
            raise TypeError("where() needs a tensor")
        return torch.where(condition, a, b)

    def lerp(target, x, decay):
        if not torch.is_tensor(target) or not torch.is_tensor(decay):
            return target + (x - target) * decay
        return torch.lerp(target, x, decay)

    def lift(name):
        # plain numbers such as dt stay numbers: as tensors they would be rounded to float32
        function, of_number = getattr(torch, name), getattr(np, name)
        return lambda x: function(x) if torch.is_tensor(x) else float(of_number(x))

    names = "exp log sqrt sin cos tan sinh cosh tanh arctan floor ceil expm1 log1p".split()
    return {n: lift(n) for n in names} | {
        "Abs": torch.abs,
        "abs": torch.abs,
        "atan": torch.arctan,
        "clip": lambda x, a, b: torch.clamp(x, a, b),
        "minimum": torch.minimum,
        "maximum": torch.maximum,
        "where": where,
        "lerp": lerp,
        "exprel": exprel,
        "exp_dd": exp_dd,
        "int": lambda x: x.to(torch.int64),
    }


def clip_scalar(x, low, high):
    """x limited to low … high."""
    return min(max(x, low), high)


# what scalar (numba) code may call besides math functions and those of engines/vector_math.py; compiled by the engine
scalar_functions = SimpleNamespace(clip=clip_scalar)


@cache
def torch_namespace() -> dict:
    """The globals of a validated expression that is evaluated on tensors: functions, and units as factors to SI."""
    units = {name: factor for name, (factor, _) in UNITS.items()}
    # the first comparison of two numbers has torch import itself, by the builtins of whoever compares
    return {"__builtins__": {"__import__": __import__}, **units, **torch_functions()}
