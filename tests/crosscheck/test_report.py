"""The report: says the same on every medium, survives NaN, and is there in full or not at all."""

import json
import math
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from spiketwin.experiments.crosscheck import report as report_module
from spiketwin.experiments.crosscheck import wording
from spiketwin.experiments.crosscheck.checks import (
    LEVELS,
    Check,
    Deviation,
    Report,
    with_deviations,
)
from spiketwin.experiments.crosscheck.figures import draw, overlay
from spiketwin.experiments.crosscheck.report import (
    View,
    html,
    markdown,
    terminal_table,
    write_report,
)

CHECKS = (
    Check("lif", "identity", "exact, single: share of neurons that spike", 1.0, (0.5, 1.0)),
    Check("lif", "identity", "exact, single: spikes that differ, torch against brian", 0.0, (0, 0), "spikes"),
    Check("lif", "identity", "exact, single: state difference over scale, torch against brian", 3.2e-14, (0, 1e-9)),
    Check("lif", "convergence", "euler: order, state below threshold", 0.998, (0.9, 1.1)),
    Check("lif", "convergence", "euler: order, first spike time", 1.04, (0.9, 1.1)),
    Check("lif", "convergence", "exact: error, state below threshold", 2e-13, (0, 1e-8)),
    Check("lif", "consequence", "exact at 0.5 ms, float32: shift of the first spike", 0.31, (0, 1.0), "ms"),
    Check("lif", "consequence", "exact at 0.5 ms, float32: coincidence with the ODE", 0.97, (None, None)),
    Check("adex", "identity", "rk4, recurrent: spikes <differ> | torch", 2.0, (0, 0), "spikes"),
    Check("adex", "convergence", "rk4: order, state below threshold", 3.5, (3.9, 4.1)),
    Check("adex", "consequence", "rk4 at 0.1 ms, float32: error of the spike count", 4.0, (0, 12.5), "percent"),
    Check("trained_digits", "identity", "exact at 1 ms: same prediction, torch against brian", 100.0, (100.0, 100.0), "percent"),
    Check("trained_digits", "convergence", "change of the agreement over the last halving of dt", 0.4, (0, 2.0), "percentage points"),
    Check("trained_digits", "consequence", "Brian2 at 0.5 ms: accuracy", 95.5, (90.0, None), "percent"),
)
DEVIATIONS = (
    Deviation("adex", "convergence", "rk4*", "the upstroke is steeper than any fixed step resolves"),
    Deviation("adex", "identity", "rk4*", "two engines round exp(x) differently"),
)
PROVENANCE = {"command": "spiketwin crosscheck", "commit": "0123abc", "versions": {"numpy": "2.3.1", "torch": "2.13.0"}, "wall_s": 93.5}


def curves():
    rng = np.random.default_rng(0)
    t = np.arange(0, 100, 0.5)
    v = -70 + 15 * (t % 20) / 20
    trains = {"time_ms": np.sort(rng.integers(0, 1000, 300) * 0.5).tolist(), "neuron": rng.integers(0, 200, 300).tolist()}
    less = {k: x[:-2] for k, x in trains.items()}
    dt = 2.0 ** -np.arange(4)
    gamma = [rng.uniform(0.6, 1, (50, 7)).tolist() for _ in range(3)]
    gamma[1][0] = [math.nan] * 7
    return {
        "overlay": {
            "lif": {
                "time_ms": t.tolist(),
                "state": "v",
                "unit": "mV",
                "engines": {"brian": v.tolist(), "torch": (v + 1e-13).tolist(), "compiled": v.tolist()},
            },
            "adex": {"time_ms": t.tolist(), "state": "v", "unit": "mV", "engines": {"brian": v.tolist(), "torch": np.roll(v, 3).tolist()}},
        },
        "raster": {
            "lif": {"brian": trains, "torch": trains},
            "adex": {"brian": trains, "torch": less},
            "if_neuron": {"brian": {"time_ms": [], "neuron": []}},
        },
        "convergence": {
            "lif": {
                "euler · state below threshold": {"dt_ms": dt.tolist(), "error": (0.1 * dt).tolist(), "slope": 1.0, "order": 1},
                "exact · first spike time": {"dt_ms": dt.tolist(), "error": [1e-13, 0.0, 2e-13, math.nan], "slope": None, "order": None},
            },
            "adex": {"rk4 · state below threshold": {"dt_ms": [], "error": [], "slope": math.nan, "order": 4}},
        },
        "accuracy": {
            "dt_ms": [1.0, 0.5, 0.25],
            "accuracy": [96.1, 95.5, 95.2],
            "agreement": [100.0, 97.2, 96.0],
            "reference": 96.1,
            "label": "torch at the training step",
        },
        "distance": {"hidden": {"dt_ms": [1.0, 0.5, 0.25], "van_rossum": rng.uniform(0, 0.5, (3, 50)).tolist(), "coincidence": gamma}},
    }


@pytest.fixture(scope="module")
def good():
    return Report(with_deviations(CHECKS, DEVIATIONS)[0], curves(), PROVENANCE)


@pytest.fixture(scope="module")
def drawings(good):
    return draw(good.curves)


@pytest.fixture
def bad():
    broken = Check("lif", "consequence", "exact at 0.5 ms, float32: mean rate", math.nan, (1.0, None), "Hz")
    return Report((*CHECKS, broken), {}, PROVENANCE, ("model 'cuba_lif' is missing from level 'identity'",))


def shown(renderable, width=160):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # rich writes there until the process ends
    console.print(renderable)
    return console.export_text()


# -- files -----------------------------------------------------------------------------------------


def test_json_holds_every_row_and_the_provenance(good, tmp_path):
    write_report(replace(good, curves={}), tmp_path)
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["ok"] is True and data["provenance"] == PROVENANCE
    assert len(data["checks"]) == len(CHECKS)
    for row, check in zip(data["checks"], good.checks, strict=True):
        assert {"model", "level", "quantity", "value", "bound", "unit", "deviation"} <= set(row)
        assert (row["model"], row["quantity"], row["value"], row["deviation"]) == (
            check.model,
            check.quantity,
            check.value,
            check.deviation,
        )
    assert [r["bound"] for r in data["checks"]][-1] == [90.0, None]


def test_nan_is_null_in_json_and_words_elsewhere(bad, tmp_path):
    write_report(bad, tmp_path)
    data = json.loads((tmp_path / "report.json").read_text(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert data["ok"] is False and data["checks"][-1]["value"] is None
    for name in ("report.md", "report.html"):
        assert "not a number Hz" in (tmp_path / name).read_text()


def test_markdown_has_a_line_per_row(good):
    text = markdown(good)
    lines = [line.replace("\\|", "|") for line in text.splitlines()]
    for check in good.checks:
        found = [line for line in lines if line.startswith(f"| {check.model} | {check.quantity} | {wording.measured(check)} ")]
        assert len(found) == 1 and check.status in found[0] and check.deviation in found[0]
    # every table is a table: as many cells in each line as in its header
    for above, line in zip(lines, lines[1:], strict=False):
        if above.startswith("|") and line.startswith("|") and "<differ>" not in above + line:
            assert above.count("|") == line.count("|")


def test_html_begins_with_the_verdict_and_is_whole(good, drawings):
    page = html(good, drawings)
    assert page.index("all 14 checks of 3 models pass, 2 of them known deviations") < page.index("<table>")

    class Page(HTMLParser):
        open, tags, sources = [], {}, []

        def handle_starttag(self, tag, attrs):
            self.tags[tag] = self.tags.get(tag, 0) + 1
            self.sources += [v for k, v in attrs if k in ("src", "href")]
            if tag not in ("meta", "img"):
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    parsed = Page()
    parsed.feed(page)
    assert parsed.open == [] and parsed.tags["img"] == 5
    assert parsed.tags["details"] == 9  # three models, three levels
    # self-contained: pictures inside, links within the page
    assert all(s.startswith(("data:image/png;base64,", "#")) for s in parsed.sources)
    assert "&lt;differ&gt;" in page and "<differ>" not in page
    assert 'name="viewport"' in page


def test_a_failing_report_says_what_fails_first(bad):
    page = html(bad)
    assert "FAIL: 3 of 15 checks fail and 1 problem with the set of checks" in page
    assert page.index("What fails") < page.index("Every model at every level")
    assert "cuba_lif" in page and "cuba_lif" in markdown(bad)
    assert page.count("<details id=") == 9 and page.count(" open>") == 3


def test_a_known_deviation_that_holds_again_fails():
    row = Check("lif", "identity", "spikes that differ", 0.0, (0, 0), deviation="was rounded")
    text = markdown(Report((row,)))
    assert "FAIL: 1 of 1 checks fail" in text and "deviation gone" in text


def test_an_empty_report_is_no_success():
    report = Report(())
    assert not report.ok and "nothing was checked" in html(report) and "nothing was checked" in shown(terminal_table(report))


def test_an_old_report_survives_a_failure(good, tmp_path, monkeypatch):
    report = replace(good, curves={"accuracy": good.curves["accuracy"]})
    write_report(report, tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.rglob("*.*") if p.is_file()}
    assert {"report.json", "report.md", "report.html", "accuracy.png"} <= set(before)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_report(report, tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.rglob("*.*") if p.is_file()} == before


# -- the terminal ----------------------------------------------------------------------------------


def test_terminal_has_one_line_per_model_and_ends_with_the_verdict(good):
    lines = shown(terminal_table(good, "out/demo/report.html")).rstrip().splitlines()
    lif = next(line for line in lines if line.startswith("lif"))
    # of the two orders of euler the one farther from 1
    assert "✓ differ by 3.2e-14" in lif and "orders off by ≤ 0.04" in lif and "coincidence 0.97, shift 0.31 ms" in lif
    assert View(good).headline("lif", "convergence") == "euler 1.04, exact without error"
    assert next(line for line in lines if line.startswith("adex")).count("≈") == 2
    assert any(line.split() == ["Brian2,", "0.5", "ms", "95.50", "%", "-0.60", "97.20", "%"] for line in lines)
    assert lines[-2].startswith("all 14 checks") and lines[-1] == "report: out/demo/report.html"


def test_terminal_lists_failures(bad):
    text = shown(terminal_table(bad))
    assert "✗ lif, consequence, exact at 0.5 ms, float32: mean rate: not a number Hz, bound ≥ 1" in text
    assert "is missing from level" in text and "FAIL" in text.rstrip().splitlines()[-1]


# -- figures ---------------------------------------------------------------------------------------


def test_captions_say_what_one_sees(good, drawings):
    caption = {d.name: d.caption for d in drawings}
    assert set(caption) == {"overlay", "raster", "convergence", "accuracy", "distance"}
    assert "come apart in adex" in caption["overlay"]
    assert "adex (2)" in caption["raster"]
    assert "96.10 % correct at the step it was trained at (1 ms), 95.20 % at 0.25 ms, a change of -0.90 points" in caption["accuracy"]
    agreeing = {k: {"lif": v["lif"]} for k, v in good.curves.items() if k in ("overlay", "raster")}
    caption = {d.name: d.caption for d in draw(agreeing)}
    assert "inside the band" in caption["overlay"] and "there is none among" in caption["raster"]
    assert draw({}) == ()


def test_panels_follow_the_order_of_the_rows(good, monkeypatch):
    seen = []
    monkeypatch.setattr("spiketwin.experiments.crosscheck.figures.overlay", lambda curves: seen.extend(curves) or overlay(curves))
    draw({"overlay": good.curves["overlay"]}, ("cuba_lif", "adex"))
    assert seen == ["adex", "lif"]


def test_wording():
    assert [wording.number(x) for x in (0, 1.0, 3.2e-14, 1e-9, 0.99812, 123456.7, math.nan, math.inf)] == [
        "0",
        "1",
        "3.2e-14",
        "1e-9",
        "0.9981",
        "1.2e5",
        "not a number",
        "infinite",
    ]
    bounds = {(0, 0): "= 0", (None, None): "for information", (None, 2): "≤ 2", (1.5, None): "≥ 1.5", (0, 1e-9): "0 … 1e-9"}
    assert {b: wording.bound(Check("m", "identity", "q", 0, b)) for b in bounds} == bounds


def test_levels_are_explained(good):
    assert set(report_module.MEANING) == set(LEVELS)
    assert View(good).models == ("lif", "adex", "trained_digits")
