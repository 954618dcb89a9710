"""One row of the cross-check's report, and the report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace

LEVELS = ("identity", "convergence", "consequence")


@dataclass(frozen=True)
class Check:
    """A measured value against its bound.

    bound: (low, high), both ends included; None where an end is open.
    deviation: why the check may fail, '' when it may not (see deviations.py).
    """

    model: str
    level: str
    quantity: str
    value: float
    bound: tuple[float | None, float | None]
    unit: str = "1"
    deviation: str = ""

    @property
    def holds(self) -> bool:
        """Whether the value lies within the bound; NaN never does."""
        low, high = self.bound
        return not math.isnan(self.value) and (low is None or self.value >= low) and (high is None or self.value <= high)

    @property
    def ok(self) -> bool:
        """Whether the row is as it should be: within the bound, or a known deviation that still deviates."""
        return self.holds != bool(self.deviation)

    @property
    def status(self) -> str:
        """'pass', 'FAIL', 'known deviation', or 'deviation gone' (a known deviation that holds: remove its entry)."""
        if self.deviation:
            return "deviation gone" if self.holds else "known deviation"
        return "pass" if self.holds else "FAIL"


@dataclass(frozen=True)
class Deviation:
    """A known deviation: which rows, and the reason. '*' matches anything at the end of a field."""

    model: str
    level: str
    quantity: str
    reason: str

    def covers(self, check: Check) -> bool:
        pairs = ((self.model, check.model), (self.level, check.level), (self.quantity, check.quantity))
        return all(have == want or (want.endswith("*") and have.startswith(want[:-1])) for want, have in pairs)


@dataclass(frozen=True)
class Report:
    """All rows, the curves behind the figures, and where it comes from.

    problems: what is wrong with the set of rows itself (a model missing from a level, an unused deviation).
    """

    checks: tuple[Check, ...]
    curves: Mapping[str, dict] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems and bool(self.checks) and all(c.ok for c in self.checks)

    def to_json(self) -> dict:
        """The content of report.json."""
        rows = [{**asdict(c), "bound": list(c.bound), "status": c.status, "ok": c.ok} for c in self.checks]
        return {"ok": self.ok, "checks": rows, "problems": list(self.problems), "provenance": dict(self.provenance)}


def with_deviations(checks: Iterable[Check], deviations: Iterable[Deviation]) -> tuple[tuple[Check, ...], tuple[Deviation, ...]]:
    """The checks with the reasons of the deviations that cover them, and the deviations that covered none."""
    deviations = tuple(deviations)
    used: set[Deviation] = set()
    out = []
    for check in checks:
        for deviation in deviations:
            if deviation.covers(check):
                check = replace(check, deviation=deviation.reason)
                used.add(deviation)
                break
        out.append(check)
    return tuple(out), tuple(d for d in deviations if d not in used)


def missing(checks: Iterable[Check], models: Iterable[str], levels: Iterable[str] = LEVELS) -> tuple[str, ...]:
    """One sentence per registered model that a level leaves out."""
    seen = {(c.model, c.level) for c in checks}
    return tuple(f"model '{m}' is missing from level '{level}'" for m in models for level in levels if (m, level) not in seen)
