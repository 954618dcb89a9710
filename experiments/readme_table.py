"""The tables of models, schemes and learning rules in README.md, made from the registries: python -m spiketwin.experiments.readme_table"""

from __future__ import annotations

import math
import re
from pathlib import Path

from spiketwin.experiments.protocol import COMMITTED, write_text
from spiketwin.models.discretisation import SCHEMES, unsupported_reason
from spiketwin.models.neurons import NEURONS
from spiketwin.rules import table

README = COMMITTED.parent.parent / "README.md"


def models() -> str:
    """One row per registered model."""
    rows = []
    for name, spec in NEURONS.items():
        schemes = [s for s in SCHEMES if not unsupported_reason(spec, s)]
        rows.append(
            (f"[`{name}`](docs/models/{name}.png)", ", ".join(spec.states), ", ".join(spec.inputs), ", ".join(schemes), spec.source)
        )
    return _table(("model", "states", "receptors", "schemes", "source"), rows)


def schemes() -> str:
    """One row per scheme."""
    rows = []
    for scheme in SCHEMES.values():
        order = "exact" if math.isinf(scheme.order) else f"{scheme.order:g}"
        strong = "" if scheme.strong_order is None else f"{scheme.strong_order:g}"
        rows.append((f"`{scheme.name}`", order, strong, scheme.summary))
    return _table(("scheme", "order", "with noise", "what it does"), rows)


def rules() -> str:
    """One row per registered learning rule."""
    return _table(("rule", "pre", "post", "own", "third factor", "source"), [(f"`{name}`", *known) for name, _, *known in table.rows()])


def render(text: str) -> str:
    """The README with its tables as the registries have them now. Raises ValueError when a table's marks are missing."""
    for name, made in (("models", models()), ("schemes", schemes()), ("rules", rules())):
        marks = rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)"
        text, found = re.subn(marks, lambda m, t=made: f"{m[1]}\n{t}\n{m[2]}", text, flags=re.DOTALL)
        if found != 1:
            raise ValueError(f"README.md has {found} tables between <!-- {name} --> and <!-- end of {name} -->; it needs one")
    return text


def is_stale(readme: Path = README) -> bool:
    return readme.read_text() != render(readme.read_text())


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ("---",) * len(head), *rows))


if __name__ == "__main__":
    print(f"written to {write_text(README, render(README.read_text()))}")
