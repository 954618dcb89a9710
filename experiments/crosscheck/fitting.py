"""Steps of one neuron with the derived numpy step, its first spike between grid points, and order fits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import brentq

from spiketwin.models.discretisation import derive, margin
from spiketwin.models.discretisation.functions import numpy_functions
from spiketwin.models.spec import NeuronSpec


class Stepper:
    """One neuron advanced by the derived step, without reset: values are floats in SI."""

    def __init__(self, spec: NeuronSpec, scheme: str, values: Mapping[str, float], dt_s: float) -> None:
        step = derive(spec, scheme)
        self.spec, self.scheme, self.given, self.dt_s = spec, scheme, values, dt_s
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
        """Time of the first threshold crossing; NaN if none.

        The step that crosses is taken again, ever shorter, until it ends on the threshold: its error is the scheme's own.
        """
        text, strict = margin(self.spec)
        code = compile(text, f"<threshold of {self.spec.name}>", "eval")
        functions = numpy_functions()

        def level(at: Mapping[str, float]) -> float:
            return float(eval(code, {"__builtins__": {}, **functions}, {**self.values, **at}))  # printed by us

        for n in range(steps):
            after = self.step(state)
            above = level(after)
            if above > 0 if strict else above >= 0:
                share = brentq(lambda s, start=state: level(self._shortened(s).step(start)), 1e-12, 1.0, xtol=1e-13)
                return (n + share) * self.dt_s
            state = after
        return float("nan")

    def _shortened(self, share: float) -> Stepper:
        return Stepper(self.spec, self.scheme, self.given, share * self.dt_s)


def fitted_order(dt: np.ndarray, error: np.ndarray, floor: float, points: int = 3) -> tuple[float, slice]:
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


def plateau(error: np.ndarray) -> float:
    """Five times the level at which the errors stop falling, where the truth's own error shows; 0 if they still fall."""
    last = error[-2:]
    return 5 * float(last.min()) if len(last) == 2 and last[1] > last[0] / 1.5 else 0.0
