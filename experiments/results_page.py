"""docs/results.md and its figures, made from the committed result files and nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from spiketwin.experiments import EXPERIMENTS, experiment
from spiketwin.experiments.crosscheck import published
from spiketwin.experiments.protocol import COMMITTED, Result, ResultError, load, write_bytes, write_text
from spiketwin.experiments.studies.parameters import parameter_page

ROOT = COMMITTED.parent.parent
PAGE = ROOT / "docs" / "results.md"
BENCHMARKS = ROOT / "benchmarks" / "results"

HEADER = """# Results

Made by `make results` from the files in `experiments/results/` and `benchmarks/results/`; do not edit.
Every number is the mean over seeds ± the sample standard deviation. Accuracies and shares are in percent.
Settings and epochs were chosen on validation data; test data was looked at once.
"""


PEERS = ("snntorch", "spikingjelly", "norse", "bindsnet", "neuron")

TRAINED = """# Trained networks in Brian2

Made by `spiketwin run EXPERIMENT --crosscheck-only --publish`: test samples, run by torch in double precision and by Brian2 at the step
of training, dt, and at finer ones. Accuracies are in percent. A network that was trained in steps of dt fires at most once in each; its
equations may fire more often, and the last column tells what it reads where a refractory period of dt keeps them from it.
"""

SPEED = """# Speed

Made by `make bench`: each system in a process of its own, in turns. A time is the median over turns (least … largest), and a ratio says
how many times longer a system takes than spiketwin. No kernel can be faster than the bytes that it must move over the measured
bandwidth of a copy, or than its arithmetic over the measured rate of a matrix product: the last table of each benchmark says
how far from that *bound* ours are.
"""


def render() -> str:
    """The page as Markdown."""
    studies = [line for path in sorted(COMMITTED.glob("*.json")) for line in _study(path)]
    benchmarks = _benchmarks()
    parts = [HEADER, *(studies or ["No study has a committed result yet.", ""])]
    if files := published.load_all(COMMITTED):
        steps = len(published.fractions(files))
        parts += [TRAINED, *_table(published.heads(files), [row for data in files for row in published.cells(data, steps)])]
        parts += [line for data in files for line in (f"{data['experiment']}: {_provenance(data['provenance'])}", "")]
    if benchmarks:
        parts += [SPEED, *_overview(benchmarks), *(line for name, data in benchmarks.items() for line in _benchmark(name, data))]
    return "\n".join(parts).rstrip() + "\n"


def write_page() -> Path:
    """Write docs/results.md and the figures it shows. Raises ResultError outside a checkout, and for a file that cannot be read."""
    if not PAGE.parent.is_dir():
        raise ResultError(f"there is no folder {PAGE.parent}; run this in a checkout of the repository")
    for name, draw in _figures().items():
        write_bytes(_figure(name), draw())
    return write_text(PAGE, render())


def is_stale() -> bool:
    """Whether the page differs from what the result files say now, or lacks a figure."""
    missing = [name for name in _figures() if not _figure(name).is_file()]
    return bool(missing) or not PAGE.is_file() or PAGE.read_text() != render()


def _study(path: Path) -> Iterator[str]:
    result = load(path)
    yield from (f"## {result.experiment}", "", result.question, "")
    if parameter_page.is_parameter_study(result):
        yield from parameter_page.section(result, {part: _figure(f"{path.stem}_{part}").name for part in parameter_page.FIGURES})
    else:
        if said := _said_by_study(result):
            yield from (said, "")
        yield from _table(("quantity", "result"), [(name.replace("_", " "), spread(metric)) for name, metric in result.metrics.items()])
        if _has_figure(result):
            yield from (f"![{result.question}]({_figure(path.stem).name})", "")
    seeds = " ".join(map(str, result.seeds))
    said = (f"Seeds {seeds}.", _training(result), _provenance(result.provenance))
    yield from (" ".join(filter(None, said)), "")


def _figures() -> dict[str, Callable[[], bytes]]:
    """Name of each figure of the page -> what draws it as PNG."""
    found = {name: partial(_drawn, data["curves"]) for name, data in _benchmarks().items() if data.get("curves")}
    for path in sorted(COMMITTED.glob("*.json")):
        if parameter_page.is_parameter_study(result := load(path)):
            found |= {f"{path.stem}_{part}": partial(parameter_page.figure, result, part) for part in parameter_page.FIGURES}
        elif _has_figure(result):
            found[path.stem] = partial(_drawn_by_study, result)
    return found


def _has_figure(result: Result) -> bool:
    """Whether its study draws a figure from a result, by a function draw(result)."""
    return result.experiment in EXPERIMENTS and hasattr(experiment(result.experiment), "draw")


def _said_by_study(result: Result) -> str:
    """Markdown that its study puts above the numbers, by a function page(result); '' without one."""
    module = experiment(result.experiment) if result.experiment in EXPERIMENTS else None
    return vars(module)["page"](result) if hasattr(module, "page") else ""


def _training(result: Result) -> str:
    """How long its networks were trained, and whether that was before the run whose time the page gives; '' where no one noted it."""
    spent = training_minutes(result)
    if not spent:
        return ""
    processors = sum(result.metrics["processor_minutes"]["values"]) if "processor_minutes" in result.metrics else 0
    text = f"Training of all networks together: {_number(spent)} min" + (f", {_number(processors)} of processors" if processors else "")
    longer = 60 * spent > result.provenance.get("wall_s", math.inf)
    return text + ("; the run timed here went on from earlier ones, or trained several side by side." if longer else ".")


def training_minutes(result: Result) -> float:
    """Of all networks and seeds: the sum of the metrics training_minutes, else that of the seconds of epochs in the curves; 0 without any."""
    # the underscore leaves out pretraining_minutes
    noted = [sum(metric["values"]) for name, metric in result.metrics.items() if "_training_minutes" in f"_{name}"]
    return sum(noted) if noted else sum(_seconds(result.curves)) / 60


def _seconds(curves) -> Iterator[float]:
    """Numbers in curves that are called seconds, at any depth: of the epochs of training."""
    if isinstance(curves, list):
        yield from (s for each in curves for s in _seconds(each))
    elif isinstance(curves, Mapping):
        for name, held in curves.items():
            yield from _numbers(held) if name.startswith("seconds") else _seconds(held)


def _numbers(held) -> Iterator[float]:
    if isinstance(held, list):
        yield from (number for each in held for number in _numbers(each))
    elif isinstance(held, int | float):
        yield held


def _drawn_by_study(result: Result) -> bytes:
    """A PNG of the figure that the study draws of its result."""
    import io

    png = io.BytesIO()
    vars(experiment(result.experiment))["draw"](result).savefig(png, format="png", dpi=150, metadata={"Software": None})
    return png.getvalue()


def _benchmarks() -> dict[str, dict[str, Any]]:
    """Name -> content of each benchmark's result file. Raises ResultError that names a file which is none."""
    found = {}
    for path in sorted(BENCHMARKS.glob("*.json")):
        try:
            data = json.loads(path.read_text())
            if missing := [key for key in ("rows", "ratio_to_best_peer", "ratio_to", "roofline", "provenance") if key not in data]:
                raise KeyError(", ".join(missing))
            for row in data["rows"]:
                _times(row)
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ResultError(f"{path} is not a benchmark result ({type(error).__name__}: {error}); run the benchmark again") from None
        found[path.stem] = data
    return found


def _overview(benchmarks: Mapping[str, Mapping]) -> Iterator[str]:
    """One line per benchmark that has a peer."""
    rows = []
    for name, data in benchmarks.items():
        if data["ratio_to_best_peer"] is None:
            continue
        best = min(data["ratio_to"], key=lambda system: abs(data["ratio_to"][system] - data["ratio_to_best_peer"]))
        parts = "; ".join(f"{part} {_number(ratio)}" for part, ratio in data.get("ratio_to_best_peer_of_part", {}).items())
        rows.append((f"[{name}](#{name})", _number(data["ratio_to_best_peer"]), best, parts))
    if rows:
        yield from _table(("benchmark", "times as fast as the best peer", "which is", "of a part"), rows)


def _benchmark(name: str, data: Mapping) -> Iterator[str]:
    provenance = data["provenance"]
    notes = dict(provenance.get("notes", {}))
    size = notes.pop("size", "")
    yield from (f"## {name}", "", " ".join(filter(None, (provenance.get("question"), f"{size}." if size else ""))), "")
    heads = ("system", f"ms per {provenance.get('unit', 'run')}", "least … largest", "ratio", "peak MB", "threads", "turns")
    rows = [
        (
            row["system"],
            *_times(row),
            _number(data["ratio_to"].get(row["system"])),
            _whole(row.get("peak_mb")),
            row.get("threads", ""),
            row["runs"],
        )
        for row in data["rows"]
    ]
    yield from _table(heads, rows)
    if data.get("differs"):
        yield from ("What a system computes differently:", "")
        yield from (*(f"- {system}: {difference}." for system, difference in data["differs"].items()), "")
    yield from _roofline(data["roofline"])
    if notes:
        yield from (*(f"- {about}: {note}." for about, note in notes.items()), "")
    if data.get("curves"):
        yield from (f"![{'; '.join(data['curves'])}]({_figure(name).name})", "")
    yield from (_provenance(provenance), "")


def _roofline(roof: Mapping) -> Iterator[str]:
    if not roof.get("kernels"):
        return
    said = f"{_number(roof['copy_gb_per_s'])} GB/s and {_whole(roof['gemm_gflop_per_s'])} GFLOP/s on {roof['threads']} threads"
    rows = [
        (
            k["kernel"],
            _number(k["bytes"] / 1e6),
            _number(k["flops"] / 1e9),
            f"{_number(k['bound_ms'])} ({k['limited_by']})",
            _number(k["ms"]),
            _number(k["times_bound"]),
        )
        for k in roof["kernels"]
    ]
    yield from _table((f"kernel, at {said}", "MB", "GFLOP", "bound, ms", "ms", "times the bound"), rows)


def _times(row: Mapping) -> tuple[str, str]:
    return _number(row["median_ms"]), f"{_number(row['min_ms'])} … {_number(row['max_ms'])}"


def _figure(name: str) -> Path:
    return PAGE.parent / f"{name}.png"


def _drawn(curves: Mapping[str, Mapping]) -> bytes:
    """A PNG with a panel per curve, both axes logarithmic; the dotted line is proportional to x.

    curves: name -> {"x", "label" (of x), "series" (name -> values, None where there is none), "y" (label, by default ms)}.
    """
    import io

    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    from spiketwin.experiments.crosscheck.figures import COLOURS, MARKERS, STYLE

    columns = min(2, len(curves))
    lines = -(-len(curves) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.8 * columns, 2.6 * lines), layout="constrained")
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for ax in axes[len(curves) :]:
            ax.set_axis_off()
        for ax, (name, curve) in zip(axes, curves.items()):
            ax.set(xscale="log", yscale="log", title=name, xlabel=curve["label"], ylabel=curve.get("y", "ms"))
            for k, (series, values) in enumerate(curve["series"].items()):
                points = [(x, y) for x, y in zip(curve["x"], values, strict=True) if y is not None]
                ax.plot(*zip(*points), marker=MARKERS[k % len(MARKERS)], markersize=4, color=COLOURS[k % len(COLOURS)], label=series)
            # what is flat shall look flat, and the dotted line may leave the panel
            low, high = ax.get_ylim()
            ax.set_ylim(min(low, (low * high) ** 0.5 / 2), max(high, (low * high) ** 0.5 * 2))
            last_x, last_y = ax.lines[0].get_xydata()[-1]
            ax.plot(curve["x"], [last_y * x / last_x for x in curve["x"]], ":", color="#888888", zorder=0, scaley=False)
            for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
                axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 200 * low else (1,)))
                axis.set_major_formatter(
                    FuncFormatter(lambda value, _: f"{value:g}" if value < 1e4 else f"$10^{{{math.log10(value):.0f}}}$")
                )
                axis.set_minor_formatter(NullFormatter())
            if len(curve["series"]) > 1:
                ax.legend(fontsize=8)
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=150, metadata={"Software": None})
    return png.getvalue()


def _table(head: tuple[str, ...], rows: list[tuple]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(map(str, row))} |" for row in rows)
    yield ""


def spread(metric: Mapping) -> str:
    """The mean of a metric, and ± its standard deviation where there are several seeds; small numbers with two digits of their own."""
    return f"{_number(metric['mean'])}" + (f" ± {_number(metric['std'])}" if len(metric["values"]) > 1 else "")


def _whole(value) -> str:
    return "" if value is None else f"{value:.0f}"


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
        f"on {machine['cores']} cores" + (f" of {machine['model']}" if machine.get("model") else "") if machine.get("cores") else "",
        f"with a GPU, {machine['gpu']}" if machine.get("gpu") else "",
        "(" + ", ".join(f"{name} {versions[name]}" for name in ("torch", "brian2", "numpy", *PEERS) if name in versions) + ")"
        if versions
        else "",
    ]
    return " ".join(filter(None, said)).strip() + "."
