"""The study of ensembles: every kind has as many neurons, adaptive ones have adapted, settings are chosen on validation data."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from spiketwin.experiments.reservoirs.diagnostics import Probe
from spiketwin.experiments.studies.reservoirs.ensembles import liquid_ensembles as study
from spiketwin.experiments.studies.reservoirs.ensembles.figure import GROUPS
from spiketwin.experiments.studies.reservoirs.ensembles.kinds import CONTROLS, ENSEMBLES, KINDS, build
from spiketwin.experiments.studies.reservoirs.ensembles.liquid_ensembles import Config, best
from spiketwin.models.reservoirs import LiquidError

SETTINGS = [{"connection_scale": 0.5, "input_scale": 2.0}, {"connection_scale": 1.0, "input_scale": 2.0}]


@pytest.mark.parametrize("kind", [*ENSEMBLES, *CONTROLS])
def test_kinds_have_as_many_neurons(kind):
    made = build(kind, 12, 90, Probe().poisson(12, 1), seed=1, connection_scale=1.0, input_scale=2.0)
    assert made.size == (30 if kind == "third" else 90) and made.inputs == 12
    assert len(made.read) == (3 if kind in ("partitioned", "several_tau", "deep") else 1)
    inside = [p for p in made.network.projections if p.source in made.read and p.target in made.read]
    assert all((p.values() == 0).all() for p in inside) == (kind == "unconnected")


def test_adaptive_kinds_differ_from_one_liquid():
    heard, of = Probe().poisson(12, 4), {"seed": 1, "connection_scale": 1.0, "input_scale": 4.0}
    one, other = (build(kind, 12, 90, heard, **of).network for kind in ("one", "inhibitory_stdp"))
    changed = [p.name for p, q in zip(one.projections, other.projections) if not np.array_equal(p.values(), q.values())]
    assert changed == ["ie"]


def test_validation_chooses_and_settings_that_failed_are_left_out():
    good, better = {"validation": 60.0, "test": 70.0}, {"validation": 65.0, "test": 50.0}
    assert best("one", [good, better], SETTINGS) == (better, SETTINGS[1])
    assert best("critical", [good, None], SETTINGS) == (good, SETTINGS[0])
    with pytest.raises(LiquidError, match="no setting of 'critical' could adapt"):
        best("critical", [None, None], SETTINGS)
    with pytest.raises(ValueError, match="size = 100 must be a multiple of 3"):
        Config(size=100)


def test_a_small_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "KINDS", ("one", "deep"))
    monkeypatch.setattr(study, "draw", lambda result: Figure())  # which is of all kinds: below
    first = study.run(study.SMOKE, 0, folder=tmp_path, quiet=True)
    assert first.mean("gain_deep") == pytest.approx(first.mean("deep_test") - first.mean("one_test"))
    assert sum(first.curves["attention"]) == pytest.approx(1)
    assert first.curves["chosen"] == dict.fromkeys(("one", "deep"), {"connection_scale": 1.0, "input_scale": 4.0})
    monkeypatch.setattr(study, "accuracies", None)  # nothing is measured again
    assert study.run(study.SMOKE, 0, folder=tmp_path, quiet=True).metrics == first.metrics


def test_the_figure_shows_every_kind():
    shown = [*KINDS, "front_end", "deep_attention"]
    assert sorted(kind for group in GROUPS for kind in group) == sorted(shown)
    metrics = {f"{kind}_test": 50.0 + k for k, kind in enumerate(shown)}
    (axes,) = study.draw(study.single(study, study.SMOKE, 0, metrics)).axes
    assert len(axes.get_yticks()) == len(shown) and axes.get_xlim()[1] > 50 + len(KINDS)
