"""How many gradient steps an accuracy takes, and how many times fewer after pre-training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spiketwin.experiments.studies.semi_supervised.stdp_pretraining import Config


def steps_to(target: float, steps_per_look: int, accuracies: Sequence[float], chance: float = 10.0) -> float:
    """Gradient steps until the validation accuracy is `target`, between two looks by a straight line from `chance` at step 0 on.

    All steps where it is never reached.
    """
    before = chance
    for look, accuracy in enumerate(accuracies):
        if accuracy >= target:
            share = (target - before) / (accuracy - before) if accuracy > before else 0.0
            return steps_per_look * (look + max(share, 0.0))
        before = accuracy
    return float(steps_per_look * len(accuracies))


def speedups(config: Config, accuracy: dict[str, list[float]], images: int, look_s: float, pretraining_s: float) -> dict[str, float]:
    """Gradient steps and epochs to each accuracy, and how many times fewer there are after pre-training.

    accuracy: start -> validation accuracy at each look. look_s: time of a look and the gradient steps before it.
    """
    found: dict[str, float] = {}
    for target in config.targets:
        steps = {start: steps_to(target, config.steps_per_look, seen) for start, seen in accuracy.items()}
        for start, n in steps.items():
            found[f"steps_to_{target:g}_{start}"] = n
            found[f"epochs_to_{target:g}_{start}"] = n * config.batch_size / images
            found[f"reached_{target:g}_{start}"] = float(max(accuracy[start]) >= target)
            if start != "stdp":
                found[f"speedup_to_{target:g}_over_{start}"] = n / steps["stdp"]
        if target == config.target:
            step_s = look_s / config.steps_per_look
            found["speedup"] = steps["random"] / steps["stdp"]
            found["speedup_in_time"] = steps["random"] * step_s / (steps["stdp"] * step_s + pretraining_s)
    return found
