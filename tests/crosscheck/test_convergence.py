"""Convergence level: every model, every scheme that can integrate it."""

from __future__ import annotations

import pytest

from spiketwin.experiments.crosscheck import cases, convergence
from spiketwin.models.discretisation import SCHEMES
from spiketwin.models.neurons import NEURONS, neuron


@pytest.mark.parametrize("name", NEURONS)
def test_the_error_falls_with_the_declared_order(name):
    schemes = cases.schemes(neuron(name))
    rows, _ = convergence.check(name, schemes)
    assert len(rows) >= len(schemes)
    assert not [f"{r.quantity}: {r.value:g} not in {r.bound}" for r in rows if not r.ok]


def test_a_wrong_order_is_seen(monkeypatch):
    from dataclasses import replace

    wrong = {**SCHEMES, "euler": replace(SCHEMES["euler"], order=2)}
    monkeypatch.setattr(convergence, "SCHEMES", wrong)
    rows, _ = convergence.check("cuba_lif", ("euler",))
    assert not any(r.ok for r in rows)
