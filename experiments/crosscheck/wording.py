"""How the report writes numbers, bounds and statuses, alike on every medium."""

from __future__ import annotations

import math
import re

from spiketwin.experiments.crosscheck.checks import Check

UNITS = {"1": "", "percent": "%", "percentage points": "points"}
# worst first: the status of a group of rows is that of its worst row
STATUSES = ("FAIL", "deviation gone", "known deviation", "pass")
MARKS = {"FAIL": "✗", "deviation gone": "✗", "known deviation": "≈", "pass": "✓", "missing": "–"}


def number(value: float | None, digits: int = 4) -> str:
    """Four digits, two if far from 1; whole numbers in full."""
    if value is None or math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    if value == round(value) and abs(value) < 1e6:
        return f"{value:.0f}"
    if not 1e-3 <= abs(value) < 1e5:
        return re.sub(r"e([-+])0*(\d)", lambda m: f"e{m[1].replace('+', '')}{m[2]}", f"{value:.1e}").replace(".0e", "e")
    return f"{value:.{digits}g}"


def measured(check: Check, digits: int = 4) -> str:
    """The value with its unit."""
    return f"{number(check.value, digits)} {UNITS.get(check.unit, check.unit)}".rstrip()


def bound(check: Check) -> str:
    """What the value is held against: '= 0', '≥ 90', '0 … 1e-9', or 'for information' where both ends are open."""
    low, high = check.bound
    if low is None and high is None:
        return "for information"
    if low is None:
        return f"≤ {number(high)}"
    if high is None:
        return f"≥ {number(low)}"
    return f"= {number(low)}" if low == high else f"{number(low)} … {number(high)}"


def status(checks) -> str:
    """The worst status among rows; 'missing' when there are none."""
    found = {c.status for c in checks}
    return next((s for s in STATUSES if s in found), "missing")
