"""The study of good liquids: its points, how numbers become metrics, that a stopped sweep goes on, and a small run."""

from __future__ import annotations

import numpy as np
import pytest

from spiketwin.experiments.protocol import combine
from spiketwin.experiments.reservoirs.kept import Kept
from spiketwin.experiments.studies.reservoirs.good_liquid import good_liquid as study
from spiketwin.experiments.studies.reservoirs.good_liquid.good_liquid import Config, correlation, crossing, summarised
from spiketwin.experiments.studies.reservoirs.good_liquid.points import RANGES, Point, points


def measured(axis="random", size=20, scale=1.0, validation=50.0, test=49.0, kernel=10, generalisation=5, growth=1.0, lyapunov=1.0):
    return {
        "axis": axis,
        "size": size,
        "connection_scale": scale,
        "inhibition": 1.0,
        "tau_mem_ms": 20.0,
        "spread": 0.0,
        "validation": validation,
        "test": test,
        "kernel": kernel,
        "generalisation": generalisation,
        "memory": 1.0,
        "branching": 0.5,
        "growth_per_s": growth,
        "lyapunov_per_s": lyapunov,
    }


def test_each_axis_moves_one_factor_and_random_points_all_of_them():
    found = list(points(50, Config().axes, 20))
    for axis, point in found:
        moved = {n for n in vars(point) if getattr(point, n) != getattr(Point(50), n)}
        assert moved == {*RANGES, "spread"} if axis == "random" else moved <= {axis}
    assert [p for a, p in found if a == "random"] == [p for a, p in points(50, {}, 20)]  # the same for all seeds
    assert {p.size for a, p in found if a != "size"} == {50}


def test_a_point_builds_the_liquid_that_it_names():
    plain, strong, slow = (
        Point(40, **of).build(6, 1).network for of in ({}, {"connection_scale": 3.0}, {"tau_mem_ms": 60.0, "spread": 0.5})
    )
    for a, b in zip(plain.projections[1:], strong.projections[1:]):
        np.testing.assert_allclose(3 * a.values(), b.values())
    tau = slow.population("liquid").parameter_values()["tau_mem"]
    assert (
        np.log(tau / 60e-3).std() == pytest.approx(0.5, abs=0.15) and np.ptp(plain.population("liquid").parameter_values()["tau_mem"]) == 0
    )


def test_crossings_are_between_points():
    x = np.array([0.0, 1.0, 2.0])
    assert crossing(x, [-1.0, 3.0, 4.0]) == pytest.approx(0.25)
    assert crossing(x, [-1.0, None, 1.0]) == pytest.approx(1.0)
    assert crossing(x, [1.0, 3.0, 4.0]) == 0 and crossing(x, [-3.0, -2.0, -1.0]) == 2


def test_correlations_leave_out_what_has_no_number():
    found = [measured(validation=v, kernel=k, growth=g) for v, k, g in ((50, 6, 1.0), (60, 8, None), (70, 9, -30.0), (80, 12, -2.0))]
    assert correlation(found, "rank_difference") == pytest.approx(1)
    assert correlation(found, "growth_per_s") == pytest.approx(-0.5)  # ranks 3, 1, 2 of growth for 1, 2, 3: 1 - 6·6/(3·8)
    assert correlation(found, "edge_distance") == pytest.approx(-0.5)  # -1, -30, -2: ranks 3, 1, 2
    assert correlation(found, "branching") == 0  # all alike
    assert correlation([], "branching") == 0


def test_a_sweep_without_its_references_is_refused():
    with pytest.raises(ValueError, match=r"connection_scales = \(0.5, 1.0\) must hold 0 and 1"):
        Config(connection_scales=(0.5, 1.0))


def test_validation_chooses_and_test_is_reported():
    line = [measured("connection_scale", 20, s, v, t, lyapunov=y) for s, v, t, y in ((0, 40, 41, -5), (1, 60, 58, -1), (2, 65, 50, 1))]
    found = [*line, measured(validation=64, test=80), measured("size", 90, 1.0, 90, 89)]
    metrics = summarised(found, 20, {"validation": 30, "test": 31})
    assert metrics["best_validation"] == 65 and metrics["best_test"] == 50
    assert metrics["unconnected_test"] == 41 and metrics["front_end_test"] == 31 and metrics["size_90"] == 89
    assert metrics["edge_best_scale"] == 2 and metrics["edge_lyapunov_scale"] == pytest.approx(1.5)


def test_points_are_kept_and_those_of_other_settings_refused(tmp_path):
    path, made = tmp_path / "points.json", []
    kept = Kept(path, {"size": 3, "scales": (1, 2)})
    for name in ("a", "b", "a"):
        kept.get(name, lambda name=name: made.append(name) or {"x": len(made), "none": None})
    again = Kept(path, {"size": 3, "scales": (1, 2)})
    assert again.get("b", lambda: made.append("again")) == {"x": 2, "none": None} and made == ["a", "b"]
    with pytest.raises(ValueError, match=r"points\.json is from other settings \(size\)"):
        Kept(path, {"size": 4, "scales": (1, 2)})


def test_a_small_run_goes_on_and_draws(tmp_path, monkeypatch):
    first = study.run(study.SMOKE, 0, folder=tmp_path, quiet=True)
    assert (tmp_path / "good_liquid_seed_0.png").stat().st_size > 5000
    assert first.metrics["size_30"] == first.metrics["plain_test"]
    assert len(first.curves["points"]) == len(list(points(30, study.SMOKE.axes, 2)))
    monkeypatch.setattr(study, "measure", None)  # nothing is measured again
    again = study.run(study.SMOKE, 0, folder=tmp_path, quiet=True)
    assert again.metrics == first.metrics and again.curves == first.curves
    other = study.single(study, study.SMOKE, 1, {n: m["mean"] for n, m in first.metrics.items()}, curves=first.curves)
    assert len(study.draw(combine([first, other])).axes) == 8
