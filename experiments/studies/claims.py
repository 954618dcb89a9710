"""A sentence that somebody published, and what became of it here."""

from __future__ import annotations

from dataclasses import dataclass

HOLDS, PARTLY, FAILS, OPEN = "holds", "holds in part", "does not hold", "cannot be told"


@dataclass(frozen=True)
class Claim:
    """A sentence of the source, what became of it (HOLDS, PARTLY, FAILS or OPEN), and the numbers."""

    text: str
    verdict: str
    evidence: str

    def line(self) -> str:
        """As a line of a Markdown list."""
        return f"- {self.text}: **{self.verdict}**; {self.evidence}."
