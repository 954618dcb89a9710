"""The report's rows: bounds, known deviations, coverage."""

from __future__ import annotations

import math

import pytest

from spiketwin.experiments.crosscheck.checks import Check, Deviation, Report, missing, with_deviations

GOOD = Check("lif", "identity", "spikes that differ", 0.0, (0, 0))
BAD = Check("lif", "identity", "spikes that differ", 3.0, (0, 0))


def test_a_value_holds_within_its_bound_and_nan_never_does():
    assert GOOD.ok and GOOD.status == "pass"
    assert not BAD.ok and BAD.status == "FAIL"
    assert not Check("lif", "identity", "x", math.nan, (None, None)).ok
    assert Check("lif", "identity", "x", 5.0, (None, 5.0)).ok


def test_a_known_deviation_excuses_a_row_and_fails_once_the_row_holds():
    known = Deviation("lif", "identity", "spikes*", "counted differently")
    (excused,), unused = with_deviations([BAD], [known])
    assert excused.ok and excused.status == "known deviation" and not unused
    (gone,), _ = with_deviations([GOOD], [known])
    assert not gone.ok and gone.status == "deviation gone"


def test_an_entry_that_covers_no_row_is_reported():
    known = Deviation("adex", "identity", "*", "reason")
    _, unused = with_deviations([GOOD], [known])
    assert unused == (known,)


def test_a_model_missing_from_a_level_is_a_problem():
    assert missing([GOOD], ["lif", "adex"], ["identity"]) == ("model 'adex' is missing from level 'identity'",)
    assert not Report((GOOD,), problems=("model missing",)).ok


@pytest.mark.parametrize(("rows", "ok"), [((GOOD,), True), ((GOOD, BAD), False), ((), False)])
def test_a_report_is_ok_when_it_has_rows_and_all_are(rows, ok):
    report = Report(rows)
    assert report.ok is ok
    assert report.to_json()["ok"] is ok
    assert [r["quantity"] for r in report.to_json()["checks"]] == [r.quantity for r in rows]
