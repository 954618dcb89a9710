"""What makes a good liquid: accuracy and diagnostics over connection scale, inhibition, time constants, heterogeneity and size.

    best_*, plain_*          of the liquid that validation chose among all of one size, and of the plain one, all factors 1
    unconnected_*            of one without recurrent synapses;  front_end_*: of the input's own spikes with the same read-out
    rho_NAME                 Spearman's correlation of validation accuracy with a diagnostic, over random liquids of one size;
                             rank_difference is kernel quality minus generalisation rank, edge_distance |exponent| with its sign reversed
    edge_best_scale          connection scale at which validation accuracy peaks, and edge_lyapunov_scale, edge_growth_scale: at which a
                             difference of 5 % of the way to threshold, and one input spike more, begin to grow (the ends of the line if never)
    size_N                   test accuracy of N neurons, all factors 1

Source of the predictions: Legenstein & Maass 2007, Neural Networks 20:323; Bertschinger & Natschläger 2004, Neural Comput. 16:1413.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from spiketwin.experiments.data.images import digits
from spiketwin.experiments.progress import progress
from spiketwin.experiments.protocol import Result, measured, single
from spiketwin.experiments.reservoirs.kept import Kept
from spiketwin.experiments.studies.reservoirs.good_liquid.figure import draw
from spiketwin.experiments.studies.reservoirs.good_liquid.points import Point, Task, measure, points

QUESTION = "What makes a good liquid: do kernel quality minus generalisation rank, and the edge of chaos, tell which one reads digits best?"
OBJECTIVE = "best_validation"
SPLIT = f"{digits.SPLIT}; train and validation together: liquids are compared by four folds of them, the chosen one is tested once"
DIAGNOSTICS = ("rank_difference", "kernel", "generalisation", "memory", "branching", "lyapunov_per_s", "growth_per_s", "edge_distance")

__all__ = ["OBJECTIVE", "QUESTION", "Config", "draw", "run", "smoke"]


@dataclass(frozen=True)
class Config:
    """Which liquids, and what they hear."""

    size: int = 200
    """Neurons of all liquids but those of the axis of sizes."""
    connection_scales: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
    """Factors on the recurrent weights, the line on which the edge of chaos is sought."""
    inhibitions: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    """Factors on inhibition."""
    tau_mem_ms: tuple[float, ...] = (5.0, 10.0, 20.0, 40.0, 80.0)
    """Membrane time constants in ms."""
    spreads: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0)
    """Heterogeneity: standard deviations of ln tau_mem."""
    sizes: tuple[int, ...] = (50, 100, 200, 400, 800)
    """Neurons."""
    random: int = 100
    """Liquids with all factors drawn at random, the same for all seeds."""
    samples: int = 1437
    """Digits for training and validation."""
    row_ms: float = 30.0
    """How long a row of a digit is shown, in ms."""
    rate_hz: float = 60.0
    """Rate of an input channel for a pixel one standard deviation away from the mean."""
    dt_ms: float = 1.0
    """Time step in ms."""

    def __post_init__(self) -> None:
        if not {0.0, 1.0} <= {*self.connection_scales}:
            raise ValueError(f"connection_scales = {self.connection_scales} must hold 0 and 1, the unconnected liquid and the plain one")

    @property
    def axes(self) -> dict[str, tuple]:
        return {
            "connection_scale": self.connection_scales,
            "inhibition": self.inhibitions,
            "tau_mem_ms": self.tau_mem_ms,
            "spread": self.spreads,
            "size": self.sizes,
        }


def run(config: Config, seed: int, *, folder: Path | None = None, quiet: bool = False) -> Result:
    """Accuracies in percent; curves: 'points', all that was measured of each liquid. A stopped run goes on from `folder`."""
    kept = Kept(folder / f"good_liquid_seed_{seed}_points.json" if folder else None, {**asdict(config), "seed": seed})
    wanted = list(points(config.size, config.axes, config.random))
    with measured(seed=seed, split=SPLIT) as provenance, progress(f"good_liquid, seed {seed}", len(wanted), quiet=quiet) as show:
        task = Task(config.samples, config.row_ms, config.rate_hz, config.dt_ms)
        front_end = kept.get("front end", lambda: task.accuracies(task.front_end))
        found = []
        for k, (axis, point) in enumerate(wanted):
            found.append({"axis": axis, **kept.get(str(point), lambda point=point: measure(point, task, seed))})
            show.update(k + 1, str(point))
    metrics = summarised(found, config.size, front_end)
    result = single(sys.modules[__name__], config, seed, metrics, curves={"points": found}, provenance=provenance)
    if folder:
        draw(result).savefig(folder / f"good_liquid_seed_{seed}.png", dpi=150)
    return result


SMOKE = Config(30, (0.0, 1.0, 3.0), (0.5, 1.0), (20.0,), (0.0, 0.5), (30,), random=2, samples=120, row_ms=10.0)


def smoke() -> Result:
    """Few small liquids: seconds."""
    return run(SMOKE, seed=0, quiet=True)


def summarised(found: Sequence[Mapping[str, Any]], size: int, front_end: Mapping[str, float]) -> dict[str, float]:
    """The metrics of all points."""
    own = {str(_point(p)): p for p in found}
    of_size = [p for p in found if p["size"] == size]
    named = {
        "best": max(of_size, key=lambda p: p["validation"]),
        "plain": own[str(Point(size))],
        "unconnected": own[str(replace(Point(size), connection_scale=0.0))],
        "front_end": front_end,
    }
    metrics = {f"{who}_{part}": float(of[part]) for who, of in named.items() for part in ("test", "validation")}
    random = [p for p in found if p["axis"] == "random"]
    metrics |= {f"rho_{name}": correlation(random, name) for name in DIAGNOSTICS}
    line = [p for p in found if p["axis"] == "connection_scale"]
    scales = np.array([p["connection_scale"] for p in line])
    metrics["edge_best_scale"] = float(scales[np.argmax([p["validation"] for p in line])])
    metrics["edge_lyapunov_scale"] = crossing(scales, [p["lyapunov_per_s"] for p in line])
    metrics["edge_growth_scale"] = crossing(scales, [p["growth_per_s"] for p in line])
    return metrics | {f"size_{p['size']}": p["test"] for p in found if p["axis"] == "size"}


def diagnostic(point: Mapping[str, Any], name: str) -> float:
    """A diagnostic of a measured point, nan where it has none."""
    if name == "rank_difference":
        return float(point["kernel"] - point["generalisation"])
    value = point["growth_per_s" if name == "edge_distance" else name]
    value = float("nan") if value is None else float(value)
    return -abs(value) if name == "edge_distance" else value


def correlation(found: Sequence[Mapping[str, Any]], name: str) -> float:
    """Spearman's correlation with validation accuracy over the points that have the diagnostic; 0 where nothing varies."""
    pairs = np.array([(diagnostic(p, name), p["validation"]) for p in found]).reshape(-1, 2)
    x, y = pairs[np.isfinite(pairs).all(axis=1)].T
    return float(spearmanr(x, y).statistic) if len(x) > 2 and np.ptp(x) and np.ptp(y) else 0.0


def crossing(x: np.ndarray, y: Sequence[float | None]) -> float:
    """Where y first rises through 0, between the points of a line; its first x if y begins above, its last if it never does."""
    known = [(a, b) for a, b in zip(x, y) if b is not None]
    if known[0][1] > 0:
        return float(known[0][0])
    for (a, low), (b, high) in zip(known, known[1:]):
        if low <= 0 < high:
            return float(a + (b - a) * -low / (high - low))
    return float(known[-1][0])


def _point(found: Mapping[str, Any]) -> Point:
    return Point(**{name: found[name] for name in asdict(Point(1))})
