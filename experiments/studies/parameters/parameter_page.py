"""What the results page shows of a parameter study: the claims of the thesis, effects, best settings, figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from spiketwin.experiments.protocol import Result
from spiketwin.experiments.studies.parameters.parameter_claims import claims, learned
from spiketwin.experiments.studies.parameters.parameter_study import ACCURACIES, trials
from spiketwin.experiments.sweeps import best_table, draw_parallel, draw_parameters, per_value
from spiketwin.experiments.sweeps.figures import as_png
from spiketwin.experiments.sweeps.report import explained, finished, short

if TYPE_CHECKING:
    from spiketwin.experiments.sweeps import Trial, Values

FIGURES = {
    "parameters": draw_parameters,
    "learned": lambda ran, axes: draw_parameters(learned(ran), axes),
    "parallel": lambda ran, axes: draw_parallel(learned(ran), axes),
}


def is_parameter_study(result: Result) -> bool:
    return "grid" in result.curves


def figure(result: Result, name: str) -> bytes:
    """One of FIGURES, as PNG."""
    return as_png(FIGURES[name](*trials(result)))


def section(result: Result, files: Mapping[str, str]) -> Iterator[str]:
    """Lines of Markdown. files: name of a figure -> the file it is in, seen from the page."""
    ran, axes = trials(result)
    good = finished(ran)
    size = " x ".join(str(len(axis.options)) for axis in axes.values())
    yield f"{len(good)} networks ({size} values), {result.config.get('epochs', '?')} epochs each. " + _published(result, good)
    yield from ("", "What the thesis says of them:", "")
    yield from (claim.line() for claim in claims(ran, axes))
    yield (
        "\nTwo values of a setting are compared over the pairs of networks that are alike in all else and both learned (reached a quarter "
        "of the best validation accuracy); ± is the standard error of the mean of the pairs, and a difference counts from two of them on."
    )
    yield from ("", "Best by validation accuracy:", "", best_table(ran))
    yield from (
        "Mean ± standard deviation over the networks of each value that learned, or over all where none has. Importance is the share of "
        "the variance of validation accuracy that a setting explains: over all networks (functional ANOVA), and between the means of "
        "those that learned:",
        "",
    )
    yield from _effects(result, ran, axes)
    yield from (f"![effect of each setting, all networks]({files['parameters']})", "")
    yield from (
        f"![the same, of the networks that learned]({files['learned']})",
        "",
        f"![each network that learned]({files['parallel']})",
        "",
    )


def _published(result: Result, good: Sequence[Trial]) -> str:
    held = result.curves["grid"]
    said = (held[0] if isinstance(held, list) else held).get("published", "")
    most = max(good, key=lambda t: t.metrics["training_accuracy"]["mean"])
    ours = f"the highest training accuracy here is {most.metrics['training_accuracy']['mean']:.2f} %, at {short(most.settings)}"
    return f"The thesis reports {said}; {ours}." if said else f"{ours[0].upper()}{ours[1:]}."


def _effects(result: Result, ran: Sequence[Trial], axes: Mapping[str, Values]) -> Iterator[str]:
    heads = (
        "setting",
        "value",
        "learned",
        *(f"{a.partition('_')[0]} (%)" for a in ACCURACIES),
        "run time (s)",
        "processor time (s)",
        "importance",
        "of those that learned",
    )
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for name, axis in axes.items():
        share = result.metrics.get(f"importance_{name}")
        well = {row["value"]: row for row in per_value(learned(ran), name, axis)}
        shares = f"{share['mean']:.0f} %" if share else "", f"{100 * explained(learned(ran), name, axis):.0f} %"
        for k, every in enumerate(per_value(ran, name, axis)):
            row = well.get(every["value"], every)
            count = f"{row['trials'] if every['value'] in well else 0} of {every['trials']}"
            cells = [*(row["accuracies"][a] for a in ACCURACIES), row["run_s"], row["cpu_s"]]
            spread = [f"{cell['mean']:.1f} ± {cell['std']:.1f}" for cell in cells]
            first, *last = (name.replace("_", " "), *shares) if k == 0 else ("", "", "")
            yield f"| {' | '.join([first, format(row['value'], 'g'), count, *spread, *last])} |"
    yield ""
