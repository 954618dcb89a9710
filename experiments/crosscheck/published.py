"""What the cross-check found of a study's trained networks, as a small file beside the study's result and a table of the results page.

    experiments/results/crosscheck/NAME.json    {"experiment", "rows", "provenance"}

A row is one network of one seed:

    network, seed, samples     the first so many test samples
    same_predictions           of these, on which Brian2 answers as torch does, at the step of training
    spikes, differing_spikes   of torch at that step, and how many are in one and not in the other
    torch_accuracy             in percent
    dt_ms, accuracy            time steps, the one of training first, and the accuracy in Brian2 at each
    accuracy_once_per_step     the same where neurons have a refractory period of one step of training; null if the model has its own
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spiketwin.experiments.crosscheck.checks import Report
from spiketwin.experiments.protocol import ResultError, write_json

FOLDER = "crosscheck"
ROW = ("network", "seed", "samples", "same_predictions", "spikes", "differing_spikes", "torch_accuracy", "dt_ms", "accuracy")


def rows(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """Of the reports of networks.crosscheck_networks(), those with at most one spike per step behind those without."""
    of = {(r.provenance["network"], r.provenance["seed"], r.provenance["once_per_step"]): r for r in reports}
    return [_row(report, of.get((network, seed, True))) for (network, seed, is_held), report in of.items() if not is_held]


def _row(report: Report, once_per_step: Report | None) -> dict[str, Any]:
    curves, origin = report.curves["accuracy"], report.provenance
    samples = curves["samples"]
    return {
        "network": origin["network"],
        "seed": origin["seed"],
        "samples": samples,
        "same_predictions": round(samples * curves["agreement"][0] / 100),
        "spikes": curves["spikes"],
        "differing_spikes": curves["differing_spikes"],
        "torch_accuracy": curves["reference"],
        "dt_ms": curves["dt_ms"],
        "accuracy": curves["accuracy"],
        "accuracy_once_per_step": once_per_step and once_per_step.curves["accuracy"]["accuracy"],
    }


def publish(folder: Path, experiment: str, rows: Sequence[Mapping[str, Any]], provenance: Mapping[str, Any]) -> Path:
    """Write the file of an experiment below `folder`, that of the committed results; returns its path."""
    return write_json(folder / FOLDER / f"{experiment}.json", {"experiment": experiment, "rows": list(rows), "provenance": provenance})


def load_all(folder: Path) -> list[dict[str, Any]]:
    """The files below `folder`, by name. Raises ResultError that names a file which is none."""
    found = []
    for path in sorted((folder / FOLDER).glob("*.json")):
        try:
            data = json.loads(path.read_text())
            if missing := [key for key in ("experiment", "provenance") if key not in data]:
                raise KeyError(missing[0])
            if missing := [key for row in data["rows"] for key in ROW if key not in row]:
                raise KeyError(missing[0])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ResultError(
                f"{path} is no cross-check of trained networks ({type(error).__name__}: {error}); "
                f"make it anew with: spiketwin run {path.stem} --crosscheck-only --publish"
            ) from None
        found.append(data)
    return found


def cells(data: Mapping[str, Any], steps: int) -> Iterator[tuple[str, ...]]:
    """The rows of a file as the page shows them, under `heads`. steps: how many time steps these name; a row may lack the finest."""
    for r in data["rows"]:
        name = data["experiment"] if r["network"] == data["experiment"] else f"{data['experiment']}, {r['network']}"
        yield (
            name,
            str(r["seed"]),
            f"{r['same_predictions']:,} of {r['samples']:,}",
            f"{r['differing_spikes']:,} of {r['spikes']:,}",
            f"{r['dt_ms'][0]:g}",
            _percent([r["torch_accuracy"]], 1),
            _percent(r["accuracy"], steps),
            _percent(r.get("accuracy_once_per_step") or [], steps),
        )


def fractions(files: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    """By what the step of training is divided, in the row with most. Raises ResultError where another has not the first of these."""
    steps = {tuple(round(r["dt_ms"][0] / dt_ms, 6) for dt_ms in r["dt_ms"]) for data in files for r in data["rows"]}
    longest = max(steps, key=len)
    if any(some != longest[: len(some)] for some in steps):
        raise ResultError(f"the cross-checks in {FOLDER} have steps of different fineness, {sorted(steps)}; run them with the same")
    return longest


def heads(files: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Of the columns. Raises ResultError where files have other steps than each other."""
    shown = ", ".join("dt" if f == 1 else f"dt/{f:g}" for f in fractions(files))
    return ("network", "seed", "same predictions", "differing spikes", "dt, ms", "torch", f"Brian2 at {shown}", "at most one spike per dt")


def _percent(values: Sequence[float], steps: int) -> str:
    """A dash for each step that was left out, one where all were."""
    return ", ".join([f"{v:.1f}" for v in values] + ["–"] * (steps - len(values))) if values else "–"
