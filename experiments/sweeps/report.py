"""What a sweep found: the best settings, the effect of each, all of it as one JSON file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spiketwin.experiments.sweeps.objective import accuracies
from spiketwin.experiments.sweeps.space import Range, SweepError, Values
from spiketwin.experiments.sweeps.trial import Trial

BINS = 5


def finished(trials: Sequence[Trial]) -> list[Trial]:
    """Those that did not fail. Raises SweepError, with the reason of the last failure, when none is left."""
    good = [t for t in trials if not t.error]
    if not good:
        reason = f": {trials[-1].error}" if trials else ""
        raise SweepError(f"no trial of {len(trials)} ended well{reason}")
    return good


def best(trials: Sequence[Trial]) -> Trial:
    """The trial of the highest mean objective, by default validation accuracy; the first of equals."""
    return max(finished(trials), key=lambda t: (t.value, -t.number))


def best_table(trials: Sequence[Trial], rows: int = 5) -> str:
    """The best settings as a Markdown table: accuracies in percent, mean ± std over seeds, seconds, and what was varied."""
    ranked = sorted(finished(trials), key=lambda t: (-t.value, t.number))[:rows]
    training, chosen_by, test = accuracies(ranked[0].objective)
    shown = [name for name in (chosen_by, training, test) if all(name in t.metrics for t in ranked)]
    head = ["", *ranked[0].settings, *(f"{name.replace('_', ' ')} (%)" for name in shown), "run time (s)"]
    lines = [head, ["---"] * len(head)]
    for rank, t in enumerate(ranked, 1):
        reached = [_spread(t.metrics[name]) for name in shown]
        lines.append([str(rank), *map(_value, t.settings.values()), *reached, f"{t.run_s:.1f}"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def per_value(trials: Sequence[Trial], name: str, axis: Values | Range) -> list[dict[str, Any]]:
    """Effect of one setting: a row for each of its values, over all others. For a range, for each fifth of the trials.

    A row: value (of a range: its median), trials, run_s, cpu_s and accuracies: name -> {"mean", "std"}, std the sample standard
    deviation over trials, 0 for one.
    """
    good = finished(trials)
    if isinstance(axis, Values):
        groups = [(value, [t for t in good if t.settings[name] == value]) for value in axis.options]
    else:
        ordered = sorted(good, key=lambda t: t.settings[name])
        parts = [[ordered[k] for k in part] for part in np.array_split(np.arange(len(ordered)), min(BINS, len(ordered)))]
        groups = [(float(np.median([t.settings[name] for t in part])), part) for part in parts]
    rows = []
    for value, group in groups:
        if group:
            known = [a for a in accuracies(group[0].objective) if all(a in t.metrics for t in group)]
            reached = {a: _mean_std([t.metrics[a]["mean"] for t in group]) for a in known}
            times = {name: _mean_std([getattr(t, name) for t in group]) for name in ("run_s", "cpu_s")}
            rows.append({"value": value, "trials": len(group), **times, "accuracies": reached})
    return rows


def explained(trials: Sequence[Trial], name: str, axis: Values | Range) -> float:
    """Share of the variance of the objective that lies between the means of one setting's values; 0 if all are equal.

    Of a whole grid the shares of all settings and of their interplay add up to 1: the sums of squares of a one-way ANOVA.
    """
    good, rows = finished(trials), per_value(trials, name, axis)
    mean, total = np.mean([t.value for t in good]), np.var([t.value for t in good])
    between = sum(row["trials"] * (row["accuracies"][good[0].objective]["mean"] - mean) ** 2 for row in rows) / len(good)
    return float(between / total) if total else 0.0


def importance(trials: Sequence[Trial], axes: Mapping[str, Values | Range]) -> dict[str, float]:
    """Share of the variance of the objective that each setting explains by itself, largest first; together 1.

    axes: the settings to look at; others may vary.
    Functional ANOVA over a random forest: Hutter, Hoos & Leyton-Brown 2014.  {} for fewer than four trials, or if all are equal.
    """
    import optuna

    good = finished(trials)
    if len(good) < 4 or len({t.value for t in good}) < 2:
        return {}
    distributions = {name: axis.distribution() for name, axis in axes.items()}
    study = optuna.create_study(direction="maximize")
    params = [{name: t.settings[name] for name in axes} for t in good]
    study.add_trials([optuna.trial.create_trial(params=p, distributions=distributions, value=t.value) for p, t in zip(params, good)])
    return optuna.importance.get_param_importances(study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0))


def effects(trials: Sequence[Trial], axes: Mapping[str, Values | Range]) -> dict[str, Any]:
    """`importance` and `per_value` of all settings; {} while no trial has ended well."""
    if all(t.error for t in trials):
        return {}
    return {"importance": importance(trials, axes), "per_value": {name: per_value(trials, name, axis) for name, axis in axes.items()}}


def content(mark: Mapping[str, Any], question: str, trials: Sequence[Trial], provenance: Mapping[str, Any]) -> dict[str, Any]:
    """All trials, as the results file holds them."""
    good = [t for t in trials if not t.error]
    return {
        **mark,
        "question": question,
        "best": {"number": best(trials).number, "settings": best(trials).settings} if good else None,
        "trials": [
            {
                "number": t.number,
                "settings": t.settings,
                "metrics": t.metrics,
                "run_s": round(t.run_s, 3),
                "cpu_s": round(t.cpu_s, 3),
                **({"error": t.error} if t.error else {}),
            }
            for t in trials
        ],
        "provenance": {**provenance, "trials_s": round(sum(t.run_s for t in trials), 1)},
    }


def short(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_value(value)}" for name, value in settings.items())


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _spread(metric: Mapping[str, Any]) -> str:
    return f"{metric['mean']:.2f}" + (f" ± {metric['std']:.2f}" if len(metric["values"]) > 1 else "")


def _mean_std(values: Sequence[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0}
