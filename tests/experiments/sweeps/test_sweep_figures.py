"""What a sweep found, as table and figures, by hand."""

from dataclasses import dataclass

import pytest

from spiketwin.experiments.sweeps import Trial, axes, best_table, draw_importance, draw_parallel, draw_parameters, importance, per_value
from spiketwin.experiments.sweeps.report import explained


@dataclass(frozen=True)
class Config:
    width: int = 4
    rate: float = 0.01


def trial(number, width, rate, accuracy, run_s):
    metrics = {"validation_accuracy": {"mean": accuracy, "std": 0.5, "values": [accuracy - 0.5, accuracy + 0.5]}}
    return Trial(number, {"width": width, "rate": rate}, metrics, run_s)


TRIALS = [trial(0, 4, 0.1, 50.0, 1.0), trial(1, 4, 0.2, 60.0, 3.0), trial(2, 8, 0.1, 80.0, 5.0), trial(3, 8, 0.2, 84.0, 6.0)]


@pytest.fixture
def space():
    return axes(Config(), {"width": (4, 8), "rate": (0.1, 0.2)})


def test_the_effect_of_a_value_is_the_mean_over_all_other_settings(space):
    first, second = per_value(TRIALS, "width", space["width"])
    # 50 and 60: mean 55, deviations of 5 over n - 1 = 1: sqrt(50)
    assert first["accuracies"]["validation_accuracy"] == pytest.approx({"mean": 55.0, "std": 50**0.5})
    assert first["run_s"] == pytest.approx({"mean": 2.0, "std": 2**0.5})
    assert (second["value"], second["trials"], second["accuracies"]["validation_accuracy"]["mean"]) == (8, 2, 82.0)


def test_the_effect_of_a_range_is_that_of_its_fifths():
    trials = [trial(k, 4, (k + 1) / 10, float(k), 1.0) for k in range(10)]
    rows = per_value(trials, "rate", axes(Config(), ["rate=0..2"])["rate"])
    assert [row["value"] for row in rows] == pytest.approx([0.15, 0.35, 0.55, 0.75, 0.95])
    assert [row["accuracies"]["validation_accuracy"]["mean"] for row in rows] == [0.5, 2.5, 4.5, 6.5, 8.5]


def test_the_table_ranks_by_validation_accuracy():
    lines = best_table(TRIALS, rows=2).splitlines()
    assert lines[0] == "|  | width | rate | validation accuracy (%) | run time (s) |"
    assert lines[2:] == ["| 1 | 8 | 0.2 | 84.00 ± 0.50 | 6.0 |", "| 2 | 8 | 0.1 | 80.00 ± 0.50 | 5.0 |"]


def test_what_changes_most_is_most_important(space):
    shares = importance(TRIALS, space)
    assert list(shares) == ["width", "rate"] and sum(shares.values()) == pytest.approx(1) and shares["width"] > 0.7
    assert importance(TRIALS[:3], space) == {}  # too few
    assert importance(TRIALS, {"rate": space["rate"]}) == {"rate": 1}  # though width varies
    bars = draw_importance(TRIALS, space).axes[0].patches
    assert [bar.get_width() for bar in bars] == pytest.approx([shares["rate"], shares["width"]])


def test_what_is_explained_are_the_squares_between_the_means(space):
    # 50 60 80 84: mean 68.5, squares 342.25 + 72.25 + 132.25 + 240.25 = 787; means 55 and 82: 4 * 13.5^2 = 729; 65 and 72: 4 * 3.5^2
    assert explained(TRIALS, "width", space["width"]) == pytest.approx(729 / 787)
    assert explained(TRIALS, "rate", space["rate"]) == pytest.approx(49 / 787)
    assert explained(TRIALS[:1], "rate", space["rate"]) == 0


def test_the_figure_of_each_setting_has_accuracy_and_run_time_with_spread(space):
    above, _, below, _ = draw_parameters(TRIALS, space).axes
    assert list(above.lines[0].get_ydata()) == [55.0, 82.0] and list(below.lines[0].get_ydata()) == [2.0, 5.5]
    (spread,) = (c for c in above.collections if len(c.get_segments()) == 2)
    ends = spread.get_segments()[0][:, 1]
    assert ends == pytest.approx([55 - 50**0.5, 55 + 50**0.5])
    assert (above.get_ylabel(), below.get_ylabel()) == ("accuracy (%)", "run time (s)")


def test_parallel_coordinates_lead_through_the_settings_to_the_accuracy(space):
    plot = draw_parallel(TRIALS, space).axes[0]
    lines = [list(line.get_ydata()) for line in plot.lines if len(line.get_ydata()) == 3]
    assert lines == [[0, 0, 0], [0, 1, pytest.approx(10 / 34)], [1, 0, pytest.approx(30 / 34)], [1, 1, 1]]
    assert [line.get_linewidth() for line in plot.lines[:4]] == [1, 1, 1, 3]
    logarithmic = axes(Config(), ["rate=0.01..1:log"])
    plot = draw_parallel([trial(k, 4, r, r, 1.0) for k, r in enumerate((0.01, 0.1, 1.0))], logarithmic).axes[0]
    assert [line.get_ydata()[0] for line in plot.lines[:3]] == pytest.approx([0, 0.5, 1])
