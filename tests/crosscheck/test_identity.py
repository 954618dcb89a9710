"""Identity level: every model, its usual scheme, in every engine; and that a difference would be seen."""

from __future__ import annotations

import pytest

from spiketwin.experiments.crosscheck import cases, identity
from spiketwin.models.neurons import NEURONS, neuron


@pytest.mark.parametrize("name", [n for n in NEURONS if not n.startswith("hh")])
def test_equal_spikes_in_all_engines(name):
    _holds(name)


def _holds(name: str) -> None:
    rows, curves = identity.check(name, cases.schemes(neuron(name))[0])
    assert len(rows) >= 4
    assert not [f"{r.quantity}: {r.value:g} not in {r.bound}" for r in rows if not r.ok]
    assert set(curves["overlay"][name]["engines"]) == {"brian", "torch", "compiled"}


def test_a_refractory_period_one_step_too_long_is_seen(monkeypatch):
    # the schedule error that real ports make: 180 spikes for 197
    from spiketwin.models.engines import base
    from spiketwin.models.engines.compiled import program
    from spiketwin.models.engines.torch import population

    original = base.refractory_steps

    def longer(*arguments):
        return original(*arguments) + 1

    for module in (base, program, population):
        if hasattr(module, "refractory_steps"):
            monkeypatch.setattr(module, "refractory_steps", longer)
    rows, _ = identity.check("lif", "exact", duration_ms=200.0)
    assert any(r.quantity.startswith("exact, single: spikes that differ") and r.value > 0 for r in rows)
    assert not all(r.ok for r in rows)
