"""docs/results.md, made from the committed result files and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from spiketwin.experiments.protocol import COMMITTED, ResultError, load, write_text

ROOT = COMMITTED.parent.parent
PAGE = ROOT / "docs" / "results.md"
BENCHMARKS = ROOT / "benchmarks" / "results"

HEADER = """# Results

Made by `make results` from the files in `experiments/results/` and `benchmarks/results/`; do not edit.
Every number is the mean over seeds ± the sample standard deviation. Accuracies and shares are in percent.
Settings and epochs were chosen on validation data; test data was looked at once.
"""


def render() -> str:
    """The page as Markdown."""
    studies = [line for path in sorted(COMMITTED.glob("*.json")) for line in _study(path)]
    speeds = [line for path in sorted(BENCHMARKS.glob("*.json")) for line in _benchmark(path)]
    parts = [HEADER, *(studies or ["No study has a committed result yet.", ""])]
    return "\n".join(parts + (["# Speed", "", *speeds] if speeds else [])).rstrip() + "\n"


def write_page() -> Path:
    """Write docs/results.md. Raises ResultError outside a checkout, and for a file that cannot be read."""
    if not PAGE.parent.is_dir():
        raise ResultError(f"there is no folder {PAGE.parent}; run this in a checkout of the repository")
    return write_text(PAGE, render())


def is_stale() -> bool:
    """Whether the page differs from what the result files say now."""
    return not PAGE.is_file() or PAGE.read_text() != render()


def _study(path: Path) -> Iterator[str]:
    result = load(path)
    yield from (f"## {result.experiment}", "", result.question, "")
    yield from _table(("quantity", "result"), [(name.replace("_", " "), _spread(metric)) for name, metric in result.metrics.items()])
    seeds = " ".join(map(str, result.seeds))
    yield from (f"Seeds {seeds}. {_provenance(result.provenance)}", "")


def _benchmark(path: Path) -> Iterator[str]:
    try:
        data = json.loads(path.read_text())
        rows = [
            (r["system"], *(_number(r[k]) for k in ("median_ms", "min_ms", "max_ms")), _number(r.get("peak_mb")), r["runs"])
            for r in data["rows"]
        ]
        ratio = data["ratio_to_best_peer"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ResultError(f"{path} is not a benchmark result ({type(error).__name__}: {error}); run the benchmark again") from None
    yield from (f"## {path.stem}", "", f"Times faster than the best other system: {_number(ratio)}.", "")
    yield from _table(("system", "median ms", "min ms", "max ms", "peak MB", "runs"), rows)
    yield from (_provenance(data.get("provenance", {})), "")


def _table(head: tuple[str, ...], rows: list[tuple]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(map(str, row))} |" for row in rows)
    yield ""


def _spread(metric: Mapping) -> str:
    return f"{_number(metric['mean'])}" + (f" ± {_number(metric['std'])}" if len(metric["values"]) > 1 else "")


def _number(value) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"


def _provenance(p: Mapping) -> str:
    versions, machine = p.get("versions", {}), p.get("machine", {})
    said = [
        f"Split: {p['split']}." if p.get("split") else "",
        f"Made with `{p['command']}`" if p.get("command") else "",
        f"at commit {p['commit']}" if p.get("commit") else "",
        f"in {p['wall_s']:.0f} s" if p.get("wall_s") else "",
        f"on {machine['cores']} cores" if machine.get("cores") else "",
        "(" + ", ".join(f"{name} {versions[name]}" for name in ("torch", "brian2", "numpy") if name in versions) + ")" if versions else "",
    ]
    return " ".join(filter(None, said)).strip() + "."
