"""Steps of one neuron with the derived numpy step, its first spike between grid points, and order fits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spiketwin.models.discretisation import derive, margin
from spiketwin.models.expressions import evaluate
from spiketwin.models.spec import NeuronSpec


class Stepper:
    """One neuron advanced by the derived step, without reset: values are floats in SI."""

    def __init__(self, spec: NeuronSpec, scheme: str, values: Mapping[str, float], dt_s: float) -> None:
        step = derive(spec, scheme)
        self.spec, self.dt_s = spec, dt_s
        self.values = {**values, **step.constant_values(values, dt_s), "dt": dt_s, "active": np.True_}
        self.arguments, self.advance = step.arguments, step.function("numpy")

    def step(self, state: Mapping[str, float], noise: float = 0.0) -> dict[str, float]:
        """The state one step later."""
        namespace = {**self.values, **state, "noise": noise}
        return dict(zip(self.spec.states, self.advance(*(namespace[a] for a in self.arguments)), strict=True))

    def trajectory(self, state: Mapping[str, float], steps: int, noise: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """States [steps + 1] from `state` on."""
        rows = [dict(state)]
        for n in range(steps):
            rows.append(self.step(rows[-1], 0.0 if noise is None else noise[n]))
        return {name: np.array([row[name] for row in rows], dtype=float) for name in self.spec.states}

    def first_spike_s(self, state: Mapping[str, float], steps: int) -> float:
        """Time of the first threshold crossing, on the cubic through both ends of the step and their slopes; NaN if none.

        The cubic's own error is of order dt⁴, no worse than any scheme here.
        """
        expression, strict = margin(self.spec)

        def level(at: Mapping[str, float]) -> float:
            return float(evaluate(expression, {**self.values, **at}))

        def slope(at: Mapping[str, float]) -> float:
            # d margin/dt along the flow, by a central difference of length 1e-6 of a typical change
            rate = {x: float(evaluate(f, {**self.values, **at}, self.spec.subexpressions)) for x, f in self.spec.rates.items()}
            h = 1e-4 * self.dt_s
            ahead = {x: at[x] + h * rate[x] for x in at}
            behind = {x: at[x] - h * rate[x] for x in at}
            return (level(ahead) - level(behind)) / (2 * h)

        for n in range(steps):
            after = self.step(state)
            if (level(after) > 0) if strict else (level(after) >= 0):
                share = _cubic_root(level(state), level(after), slope(state) * self.dt_s, slope(after) * self.dt_s)
                return (n + share) * self.dt_s
            state = after
        return float("nan")


def _cubic_root(y0: float, y1: float, d0: float, d1: float) -> float:
    """Where in [0, 1] the Hermite cubic with these ends and slopes crosses zero; bisection."""
    low, high = 0.0, 1.0
    for _ in range(80):
        s = (low + high) / 2
        y = (1 + 2 * s) * (1 - s) ** 2 * y0 + s * (1 - s) ** 2 * d0 + s * s * (3 - 2 * s) * y1 + s * s * (s - 1) * d1
        low, high = (s, high) if y < 0 else (low, s)
    return (low + high) / 2


def fitted_order(dt: np.ndarray, error: np.ndarray, floor: float, points: int = 4) -> tuple[float, slice]:
    """Slope of log error against log dt over the finest `points` steps whose error is above `floor`, and which they are.

    dt must fall. NaN when there are not enough points.
    """
    usable = np.flatnonzero(np.isfinite(error) & (error > floor))
    if len(usable) < points:
        return float("nan"), slice(0, 0)
    last = usable[-1] + 1
    chosen = slice(last - points, last)
    if not np.all(np.isfinite(error[chosen]) & (error[chosen] > floor)):
        return float("nan"), slice(0, 0)
    return float(np.polyfit(np.log(dt[chosen]), np.log(error[chosen]), 1)[0]), chosen


