"""Known deviations: rows of the cross-check that are expected to miss their bound, each with the reason.

A row that deviates without an entry fails; so does an entry whose rows hold again, or that covers none.
"""

from __future__ import annotations

from spiketwin.experiments.crosscheck.checks import Deviation

DEVIATIONS: tuple[Deviation, ...] = ()
