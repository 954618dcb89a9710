"""Several small liquids, deep ones and ones that adapt, against one liquid of as many neurons: digits that come row by row.

    KIND_test, gain_KIND     test accuracy, and what it is above that of `one`, in points
    one                      a random liquid of `size` neurons
    partitioned              three on parts of the input                    Wijesinghe et al. 2019
    several_tau              three with membranes of 10, 20 and 60 ms
    deep                     three layers with winner-take-all encoders between them, all read      Wang & Li 2016
    deep_attention           the same, compressed to a third by attention over the layers (experiments/reservoirs/attention.py)
    stdp, inhibitory_stdp, intrinsic, critical     one that has adapted to training digits;  all_rules: by the first three in turn
    unconnected              one without recurrent synapses;  third: one of a third of the neurons;  front_end: the input's own spikes

All are read by the same ridge regression. Connection and input scale are chosen on validation data for each kind alike.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spiketwin.experiments.progress import progress
from spiketwin.experiments.protocol import Result, measured, single
from spiketwin.experiments.reservoirs.attention import LayerAttention
from spiketwin.experiments.reservoirs.kept import Kept
from spiketwin.experiments.studies.reservoirs.ensembles.figure import draw
from spiketwin.experiments.studies.reservoirs.ensembles.kinds import KINDS, PARTS, build
from spiketwin.experiments.studies.reservoirs.good_liquid.good_liquid import SPLIT
from spiketwin.experiments.studies.reservoirs.good_liquid.points import Task, rows
from spiketwin.models.reservoirs import Liquid, LiquidError
from spiketwin.models.spikes import Spikes

QUESTION = "Do partitioned, deep or adaptive liquids read digits better than one liquid of as many neurons?"
OBJECTIVE = "one_validation"

__all__ = ["OBJECTIVE", "QUESTION", "Config", "draw", "run", "smoke"]


@dataclass(frozen=True)
class Config:
    """How large, and what is tried."""

    size: int = 600
    """Neurons in all, a multiple of three."""
    connection_scales: tuple[float, ...] = (0.5, 1.0, 1.5)
    """Factors on recurrent weights that validation chooses from; those of an adaptive liquid are where it begins."""
    input_scales: tuple[float, ...] = (4.0, 8.0)
    """Factors on the weights of the input that validation chooses from."""
    heard: int = 100
    """Training digits that adaptive liquids adapt to."""
    samples: int = 1437
    """Digits for training and validation."""
    row_ms: float = 30.0
    """How long a row of a digit is shown, in ms."""
    rate_hz: float = 60.0
    """Rate of an input channel for a pixel one standard deviation away from the mean."""
    dt_ms: float = 1.0
    """Time step in ms."""

    def __post_init__(self) -> None:
        if self.size < 1 or self.size % PARTS:
            raise ValueError(f"size = {self.size} must be a multiple of {PARTS}, so that parts have as many neurons as the whole")


def run(config: Config, seed: int, *, folder: Path | None = None, quiet: bool = False) -> Result:
    """Accuracies in percent; curves: the setting chosen for each kind, and the attention paid to each layer. Goes on from `folder`."""
    kept = Kept(folder / f"liquid_ensembles_seed_{seed}_points.json" if folder else None, {**asdict(config), "seed": seed})
    settings = [{"connection_scale": c, "input_scale": i} for c, i in itertools.product(config.connection_scales, config.input_scales)]
    total = len(KINDS) * len(settings) + 1
    with measured(seed=seed, split=SPLIT) as provenance, progress(f"liquid_ensembles, seed {seed}", total, quiet=quiet) as show:
        task = Task(config.samples, config.row_ms, config.rate_hz, config.dt_ms)
        heard, _ = task.sense.spikes(rows(task.train[: config.heard]), dt_ms=task.dt_ms, duration_ms=task.duration_ms)
        found = {"front_end": kept.get("front_end", lambda: task.accuracies(task.front_end))}
        chosen: dict[str, Mapping[str, float]] = {}
        for k, kind in enumerate(KINDS):
            tried = []
            for j, of in enumerate(settings):
                tried.append(kept.get(f"{kind} {of}", lambda kind=kind, of=of: accuracies(kind, of, config.size, task, heard, seed)))
                show.update(k * len(settings) + j + 1, kind)
            found[kind], chosen[kind] = best(kind, tried, settings)
        attended = kept.get("deep_attention", lambda: attention(chosen["deep"], config.size, task, heard, seed))
    found["deep_attention"] = attended["accuracies"]
    metrics = {f"{kind}_{part}": of[part] for kind, of in found.items() for part in ("test", "validation")}
    metrics |= {f"gain_{kind}": of["test"] - found["one"]["test"] for kind, of in found.items() if kind != "one"}
    curves = {"chosen": chosen, "attention": attended["weights"]}
    result = single(sys.modules[__name__], config, seed, metrics, curves=curves, provenance=provenance)
    if folder:
        draw(result).savefig(folder / f"liquid_ensembles_seed_{seed}.png", dpi=150)
    return result


SMOKE = Config(45, (1.0,), (4.0,), heard=4, samples=120, row_ms=15.0)


def smoke() -> Result:
    """Few neurons and digits: seconds."""
    return run(SMOKE, seed=0, quiet=True)


def accuracies(kind: str, of: Mapping[str, float], size: int, task: Task, heard: Spikes, seed: int) -> dict[str, float] | None:
    """Of one kind with one setting; None where criticality control does not reach its target."""
    try:
        made = build(kind, task.sense.inputs_, size, heard, seed=seed, **of)
    except LiquidError:
        return None
    return task.accuracies(lambda part: task.answers(made, part))


def attention(of: Mapping[str, float], size: int, task: Task, heard: Spikes, seed: int) -> dict[str, Any]:
    """Accuracies of a deep liquid that is compressed to one layer, and the weights of its layers, learnt on training data."""
    made: Liquid = build("deep", task.sense.inputs_, size, heard, seed=seed, **of)
    states = {id(part): task.answers(made, part) for part in (task.train, task.test)}
    compressed = LayerAttention(PARTS)
    found = task.accuracies(lambda part: states[id(part)], compressed)
    return {"accuracies": found, "weights": compressed.fit(states[id(task.train)], task.train.labels).weights_.tolist()}


def best(kind: str, tried: list[dict[str, float] | None], settings: list[dict[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """Accuracies and setting of the highest validation accuracy. Raises LiquidError where no setting worked."""
    worked = [(a, of) for a, of in zip(tried, settings, strict=True) if a is not None]
    if not worked:
        raise LiquidError(
            f"no setting of '{kind}' could adapt; try other connection_scales than {[of['connection_scale'] for of in settings]}"
        )
    return max(worked, key=lambda pair: pair[0]["validation"])
