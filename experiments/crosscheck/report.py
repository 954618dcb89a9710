"""The cross-check's report: report.json for programs, report.md and report.html for people, a table for the terminal."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from spiketwin.experiments.crosscheck import wording
from spiketwin.experiments.crosscheck.checks import LEVELS, Check, Report
from spiketwin.experiments.protocol import write_bytes, write_json, write_text

MEANING = {
    "identity": "The same scheme at the same time step in double precision: every engine must give the same spikes, and states that differ by rounding only.",
    "convergence": "The error against an adaptive, grid-free solution must fall with the order that the scheme declares: order 1 halves the error with the step, order 4 divides it by 16.",
    "consequence": "What the time step does to the result: the single-precision network at its usual step against the continuous-time model.",
}
TEMPLATE = Path(__file__).with_name("report.html.j2")


def write_report(report: Report, out: Path | str) -> Path:
    """Write report.json, report.md, report.html and the figures below `out`; returns the HTML file.

    Each file is there in full or not at all. The JSON has null where a value is NaN or infinite.
    """
    from spiketwin.experiments.crosscheck.figures import draw

    out = Path(out)
    drawings = draw(report.curves, View(report).models)
    for drawing in drawings:
        write_bytes(out / "figures" / f"{drawing.name}.png", drawing.png)
    write_json(out / "report.json", _finite(report.to_json()))
    write_text(out / "report.md", markdown(report, drawings))
    return write_text(out / "report.html", html(report, drawings))


def html(report: Report, drawings: Sequence = ()) -> str:
    """One self-contained page, figures included."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["base64"] = lambda png: base64.b64encode(png).decode()
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(report=report, view=View(report), drawings=drawings, levels=LEVELS, meaning=MEANING, wording=wording)


def markdown(report: Report, drawings: Sequence = ()) -> str:
    """The same content as text; figures are linked from figures/."""
    view = View(report)
    lines = [f"# Cross-check: {view.verdict}", ""]
    lines += [f"- {p}" for p in report.problems] + [""] * bool(report.problems)
    if view.failures:
        lines += [
            "## What fails",
            "",
            *_table(("model", "level", "quantity", "value", "bound"), [_cells(c, level=True) for c in view.failures]),
            "",
        ]
    lines += [
        "## Every model at every level",
        "",
        *_table(("model", *LEVELS), [(m, *(_mark(view.rows(m, level)) for level in LEVELS)) for m in view.models]),
        "",
    ]
    lines += ["✓ pass · ≈ known deviation · ✗ fail; the numbers count rows that are as they should be.", ""]
    if view.accuracy:
        lines += ["## The trained network", "", *_table(view.accuracy_header, view.accuracy), ""]
    lines += _linked(drawings, "trained")
    for level in LEVELS:
        lines += [f"## {level.capitalize()}", "", MEANING[level], "", *_linked(drawings, level)]
        rows = [(*_cells(c), c.status, c.deviation) for m in view.models for c in view.rows(m, level)]
        lines += [*_table(("model", "quantity", "value", "bound", "status", "reason"), rows), ""]
    lines += ["## Where this comes from", "", *_table(("", ""), view.provenance), ""]
    return "\n".join(lines)


def terminal_table(report: Report, path: Path | str | None = None):
    """A rich renderable: one line per model, the trained network, what fails, the verdict and where the report is.

    path: of report.html.  Print it with rich.console.Console().print(…).
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    view = View(report)
    colour = {"pass": "green", "known deviation": "yellow", "missing": "dim"}

    def cell(model: str, level: str, headline: str) -> Text:
        state = wording.status(view.rows(model, level))
        return Text.assemble((f"{wording.MARKS[state]} ", colour.get(state, "bold red")), headline)

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("model", "identity", "convergence", "consequence"):
        table.add_column(name, no_wrap=True)
    for model in view.models:
        table.add_row(model, *(cell(model, level, view.brief(model, level)) for level in LEVELS))
    parts: list = [table]
    if view.accuracy:
        trained = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name in view.accuracy_header:
            trained.add_column(name, justify="right")
        for row in view.accuracy:
            trained.add_row(*row)
        parts += ["", trained]
    if view.failures:
        parts.append("")
        # Text, not markup: a quantity may hold square brackets
        parts += [
            Text(f"✗ {c.model}, {c.level}, {c.quantity}: {wording.measured(c)}, bound {wording.bound(c)}", style="red")
            for c in view.failures
        ]
    parts += [Text(f"✗ {p}", style="red") for p in report.problems]
    parts += ["", Text(view.verdict, style="bold green" if report.ok else "bold red")]
    if path is not None:
        parts.append(Text(f"report: {path}", no_wrap=True, overflow="ignore"))
    return Group(*parts)


@dataclass(frozen=True)
class View:
    """A report as it is read: by model and level, with headlines."""

    report: Report

    @cached_property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(c.model for c in self.report.checks))

    @cached_property
    def _grouped(self) -> Mapping[tuple[str, str], list[Check]]:
        groups: dict[tuple[str, str], list[Check]] = {}
        for check in self.report.checks:
            groups.setdefault((check.model, check.level), []).append(check)
        return groups

    def rows(self, model: str, level: str) -> list[Check]:
        return self._grouped.get((model, level), [])

    @cached_property
    def failures(self) -> list[Check]:
        """Rows that are not as they should be, known deviations that are gone included."""
        return [c for c in self.report.checks if not c.ok]

    @cached_property
    def deviations(self) -> list[Check]:
        return [c for c in self.report.checks if c.status == "known deviation"]

    @property
    def verdict(self) -> str:
        """One sentence: does it hold?"""
        total, failed, known, problems = len(self.report.checks), len(self.failures), len(self.deviations), len(self.report.problems)
        if not total:
            return "FAIL: nothing was checked"
        if self.report.ok:
            return f"all {total} checks of {len(self.models)} models pass" + (f", {known} of them known deviations" if known else "")
        parts = ([f"{failed} of {total} checks fail"] if failed else []) + (
            [f"{problems} problem{'s' * (problems > 1)} with the set of checks"] if problems else []
        )
        return "FAIL: " + " and ".join(parts)

    def headline(self, model: str, level: str) -> str:
        """The number a reader looks for first: worst state difference, fitted orders, or spikes against the ODE."""
        rows = self.rows(model, level)
        match level:
            case "identity":
                return _identity_headline(rows)
            case "convergence":
                return _orders_headline(rows)
            case _:
                return _consequence_headline(rows)

    def brief(self, model: str, level: str) -> str:
        """The headline, short enough for one line per model in a terminal."""
        rows = self.rows(model, level)
        if level == "convergence" and (orders := [c for c in rows if ": order" in c.quantity]):
            return f"orders off by ≤ {wording.number(_worst([_distance(c) for c in orders]))}"
        return self.headline(model, level)

    accuracy_header = ("dt", "accuracy", "change", "same prediction")

    @cached_property
    def accuracy(self) -> list[tuple[str, ...]]:
        """The trained network's table: one row per dt."""
        curve = self.report.curves.get("accuracy") or {}
        if not curve.get("dt_ms"):
            return []
        reference = curve.get("reference")
        rows = [] if reference is None else [(curve.get("label", "reference"), f"{reference:.2f} %", "", "")]
        first = curve["accuracy"][0] if reference is None else reference
        agreement = curve.get("agreement") or [None] * len(curve["dt_ms"])
        for dt, share, same in zip(curve["dt_ms"], curve["accuracy"], agreement, strict=True):
            rows.append(
                (f"Brian2, {wording.number(dt)} ms", f"{share:.2f} %", f"{share - first:+.2f}", "" if same is None else f"{same:.2f} %")
            )
        return rows

    @cached_property
    def provenance(self) -> list[tuple[str, str]]:
        def text(value) -> str:
            return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)

        return [(key.replace("_", " "), text(value)) for key, value in self.report.provenance.items()]


def _identity_headline(rows: Sequence[Check]) -> str:
    states = [c.value for c in rows if " difference over scale" in c.quantity]
    spikes = [c.value for c in rows if "that differ" in c.quantity]
    parts = [f"differ by {wording.number(_worst(states))}"] if states else []
    if any(not v == 0 for v in spikes):
        parts.append(f"{wording.number(sum(spikes))} spikes")
    return ", ".join(parts)


def _orders_headline(rows: Sequence[Check]) -> str:
    worst: dict[str, Check] = {}
    exact = []
    for check in rows:
        scheme, _, what = check.quantity.partition(": ")
        if what.startswith("order"):
            # of several orders of a scheme the one closest to its bound
            if scheme not in worst or not _distance(check) <= _distance(worst[scheme]):
                worst[scheme] = check
        elif what.startswith("error") and scheme not in exact:
            exact.append(scheme)
    parts = [f"{s} {'NaN' if math.isnan(c.value) else format(c.value, '.2f')}" for s, c in worst.items()]
    without = [s for s in exact if s not in worst]
    if without and not parts:
        return "no error in any scheme"
    parts += [f"{s} without error" for s in without]
    return ", ".join(parts) or ", ".join(wording.measured(c) for c in rows[:1])


def _distance(check: Check) -> float:
    """How far an order is from the middle of its bound."""
    low, high = check.bound
    return abs(check.value - (low + high) / 2) if low is not None and high is not None else 0.0


def _consequence_headline(rows: Sequence[Check]) -> str:
    short = (
        ("coincidence", "coincidence "),
        ("shift of the first spike", "shift "),
        ("state difference", "differs by "),
        ("mean rate from", "rate off by "),
        (": accuracy", "accuracy "),
    )
    found = []
    for needle, words in short:
        # the finest step comes last
        match = [c for c in rows if needle in c.quantity]
        if match:
            found.append(words + wording.measured(match[-1], digits=3))
    return ", ".join(found) or ", ".join(wording.measured(c) for c in rows[:1])


def _worst(values: Sequence[float]) -> float:
    return math.nan if any(math.isnan(v) for v in values) else max(values)


def _mark(rows: Sequence[Check]) -> str:
    state = wording.status(rows)
    return wording.MARKS[state] + (f" {sum(c.ok for c in rows)}/{len(rows)}" if rows else "")


def _cells(check: Check, *, level: bool = False) -> tuple[str, ...]:
    where = (check.model, check.level) if level else (check.model,)
    return (*where, check.quantity, wording.measured(check), wording.bound(check))


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(str(c).replace("|", "\\|").replace("\n", " ") for c in cells) + " |"

    return [line(header), "|" + " --- |" * len(header), *(line(r) for r in rows)]


def _linked(drawings: Sequence, level: str) -> list[str]:
    return [line for d in drawings if d.level == level for line in (f"![{d.title}](figures/{d.name}.png)", "", d.caption, "")]


def _finite(value):
    """The same with None for NaN and infinities, which JSON cannot say."""
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
