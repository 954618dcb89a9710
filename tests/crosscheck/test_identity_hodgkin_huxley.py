"""Identity level for the Hodgkin-Huxley models; a file of its own, since they need ten times the steps."""

from __future__ import annotations

import pytest

from spiketwin.experiments.crosscheck import cases, identity
from spiketwin.models.neurons import NEURONS, neuron


@pytest.mark.parametrize("name", [n for n in NEURONS if n.startswith("hh")])
def test_equal_spikes_in_all_engines(name):
    rows, _ = identity.check(name, cases.schemes(neuron(name))[0])
    assert not [f"{r.quantity}: {r.value:g} not in {r.bound}" for r in rows if not r.ok]
