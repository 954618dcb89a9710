"""Result files: complete or absent, several seeds, what an experiment must have, the results page."""

import dataclasses
import json
import os
from types import SimpleNamespace

import pytest

from spiketwin.experiments import EXPERIMENTS, experiment, protocol, results_page
from spiketwin.experiments.protocol import (
    Result,
    ResultError,
    combine,
    load,
    measured,
    run_seeds,
    single,
    summary,
    training_settings,
)


@dataclasses.dataclass(frozen=True)
class Config:
    size: int = 3


def study(name="some.study"):
    def run(config, seed, *, folder=None):
        with measured(split="none") as provenance:
            pass
        return single(module, config, seed, {"accuracy": 90.0 + seed}, curves={"loss": [1.0, 0.5]}, provenance=provenance)

    module = SimpleNamespace(__name__=name, QUESTION="What?", Config=Config, run=run)
    return module


def test_a_summary_has_the_sample_standard_deviation():
    # mean 2, deviations -1 0 1: sqrt(2/2) = 1
    assert summary([1, 2, 3]) == {"mean": 2.0, "std": 1.0, "values": [1.0, 2.0, 3.0]}
    assert summary([5])["std"] == 0.0


def test_seeds_are_run_in_order_and_gathered(tmp_path):
    saved = []
    result = run_seeds(study(), Config(), [0, 1, 2], done=saved.append)
    assert result.metrics["accuracy"] == {"mean": 91.0, "std": 1.0, "values": [90.0, 91.0, 92.0]}
    assert result.seeds == (0, 1, 2) and result.config == {"size": 3} and result.experiment == "study"
    assert [len(r.seeds) for r in saved] == [1, 2, 3]
    again = load(result.write(tmp_path / "study.json"))
    assert again.metrics == result.metrics and again.seeds == result.seeds
    assert {"command", "versions", "commit", "wall_s", "machine", "split"} <= set(again.provenance)
    assert again.provenance["machine"]["cores"] == os.cpu_count()


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_no_seed_or_the_same_seed_twice_is_an_error(seeds):
    with pytest.raises(ResultError, match="seed"):
        run_seeds(study(), Config(), seeds)


def test_results_of_other_settings_are_not_combined():
    with pytest.raises(ResultError, match="differ"):
        combine([study().run(Config(), 0), study().run(Config(size=4), 1)])


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = study().run(Config(), 0).write(tmp_path / "study.json")
    before = path.read_text()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(protocol.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study().run(Config(), 1).write(path)
    assert path.read_text() == before
    assert os.listdir(tmp_path) == ["study.json"]


def test_a_result_that_is_not_a_number_is_not_written(tmp_path):
    result = single(study(), Config(), 0, {"accuracy": float("nan")})
    with pytest.raises(ResultError, match="NaN"):
        result.write(tmp_path / "study.json")
    assert not list(tmp_path.iterdir())


def test_bad_result_files_are_named(tmp_path):
    with pytest.raises(ResultError, match="spiketwin run study"):
        load(tmp_path / "study.json")
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(ResultError, match="not JSON"):
        load(tmp_path / "study.json")
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(ResultError, match="lacks experiment"):
        load(tmp_path / "study.json")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_follows_the_protocol(name):
    module = experiment(name)
    assert module.QUESTION.endswith("?")
    config = module.Config()
    assert type(config).__dataclass_params__.frozen
    assert callable(module.run) and callable(module.smoke)
    for field in dataclasses.fields(config):
        assert not field.name.endswith(("_s", "_seconds")), "times are in ms"
    beside = getattr(config, "BESIDE_TRAINING", ())
    assert set(beside) == dataclasses.asdict(config).keys() - training_settings(config).keys(), "each names a field"


@pytest.mark.parametrize("path", sorted(protocol.COMMITTED.glob("*.json")), ids=lambda p: p.stem)
def test_committed_results_are_complete(path):
    result = load(path)
    assert result.experiment == path.stem and path.stem in EXPERIMENTS
    assert len(set(result.seeds)) >= getattr(experiment(path.stem), "SEEDS_TO_PUBLISH", protocol.SEEDS_TO_PUBLISH)
    for metric in result.metrics.values():
        assert summary(metric["values"]) == metric and len(metric["values"]) == len(result.seeds)
    assert result.provenance["split"] and result.provenance["command"]


def test_digits_smoke():
    result = experiment("digits_ttfs").smoke()
    assert result.mean("test_accuracy") > 10  # better than chance after two epochs
    assert result.mean("spikes_per_neuron") > 0
    assert len(result.curves["loss"]) == 2


def test_convolutional_smoke(data_dir):
    data_dir("mnist")
    result = experiment("conv_snn").smoke()
    # eighty batches teach something, whichever the loss
    assert result.mean("spikes_per_neuron_count") > 0
    assert result.mean("validation_accuracy_count") > 50 and result.mean("validation_accuracy_membrane") > 50


def test_braille_smoke(data_dir):
    data_dir("braille")
    result = experiment("braille").smoke()
    assert result.mean("spikes_per_neuron") > 0
    assert result.mean("validation_accuracy") > 30  # 27 classes


def test_snn_against_cnn_smoke(data_dir):
    data_dir("mnist")
    from spiketwin.experiments.studies.gradients import snn_vs_cnn

    # kernel 25 x channels x places, by hand
    assert snn_vs_cnn.macs(snn_vs_cnn.Config()) == (172_800, 1_228_800, 10_240)
    result = experiment("snn_vs_cnn").smoke()
    assert result.mean("validation_accuracy_cnn") > 50 and result.mean("validation_accuracy_snn_10") > 30
    # more steps, more spikes
    assert 0 < result.mean("kilo_operations_snn_5") < result.mean("kilo_operations_snn_10")
    assert result.mean("training_minutes_cnn") > 0 and result.mean("training_minutes_snn_10") > 0
    learning, timed, accuracy, ratio, energy = snn_vs_cnn.draw(result).axes
    assert [line.get_label() for line in learning.lines] == ["CNN", "5 steps", "10 steps"]
    assert list(timed.lines[0].get_ydata()) == list(learning.lines[0].get_ydata())
    assert timed.lines[0].get_xdata()[1] == pytest.approx(2 * result.mean("seconds_per_epoch_cnn") / 60)
    assert list(ratio.lines[-2].get_ydata()) == [result.mean("epoch_ratio_snn_5"), result.mean("epoch_ratio_snn_10")]
    assert energy.lines[-1].get_ydata()[0] == result.mean("energy_nj_cnn") and len(accuracy.lines) == 3


def test_the_additions_of_spikes_are_counted_synapse_by_synapse():
    """One spike in a corner of 12 x 12 reaches one place of each channel, one in the middle 25; one at the end 10 outputs."""
    import types

    import numpy as np
    import torch

    from spiketwin.experiments.studies.gradients import snn_vs_cnn

    one, two = torch.zeros(3, 1, 12, 12, 12), torch.zeros(3, 1, 64, 4, 4)
    one[0, 0, 3, 0, 0] = one[2, 0, 5, 6, 6] = two[1, 0, 7, 2, 2] = 1
    run = types.SimpleNamespace(spikes={"a": one, "b": two, "c": torch.zeros(3, 1, 10)})
    made = types.SimpleNamespace(net=torch.nn.Identity(), run=lambda samples, index: run)
    assert snn_vs_cnn.additions(made, snn_vs_cnn.Config(), np.zeros(1)) == 64 * (1 + 25) + 10


def test_parameter_study_smoke():
    from spiketwin.experiments.studies.parameters import parameter_study

    result = experiment("parameter_study_fashion").smoke()
    assert result.mean("points") == 4 and result.mean("failed") == 0
    # a price of .1 for a spike stops learning
    assert result.mean("span_regulariser") > 10
    cheap, dear = result.curves["effect"]["regulariser"]
    assert cheap["accuracies"]["validation_accuracy"]["mean"] > dear["accuracies"]["validation_accuracy"]["mean"]
    ran, _ = parameter_study.trials(result)
    assert all(t.cpu_s > 0 and t.run_s > 0 and set(parameter_study.KEPT) <= set(t.metrics) for t in ran)
    silent = [t.metrics["spikes_per_neuron"]["mean"] for t in ran if t.settings["regulariser"] == 0.1]
    assert len(ran) == 4 and silent == pytest.approx([0, 0], abs=0.01)


def test_parameter_study_of_braille_smoke(data_dir):
    data_dir("braille")
    result = experiment("parameter_study_braille").smoke()
    assert result.mean("points") == 4 and result.mean("span_regulariser") > 0


def test_fashion_smoke(data_dir):
    data_dir("fashion-mnist")
    result = experiment("fashion_ttfs").smoke()
    # four batches do not teach much, but Brian2 must agree on each of the twenty images
    assert result.mean("brian_agreement") == 100
    assert result.mean("spikes_per_neuron") > 0


# -- the page ------------------------------------------------------------------------------------------------


@pytest.fixture
def page(tmp_path, monkeypatch):
    for name, path in (("COMMITTED", "results"), ("BENCHMARKS", "benchmarks"), ("PAGE", "docs/results.md")):
        monkeypatch.setattr(results_page, name, tmp_path / path)
        (tmp_path / path).parent.mkdir(exist_ok=True)
    return tmp_path


TIMED = {"min_ms": 12, "max_ms": 13, "runs": 5, "threads": 2}
BENCHMARK = {
    "rows": [
        {"system": "spiketwin", "median_ms": 12.5, "peak_mb": 400.0, **TIMED},
        {"system": "spiketwin, main loop", "part": "main loop", "median_ms": 6.0, "peak_mb": None, **TIMED},
        {"system": "snnTorch", "median_ms": 78.125, "peak_mb": 512.4, **TIMED},
        {"system": "Norse", "median_ms": 125.0, "peak_mb": 512.4, **TIMED},
    ],
    "ratio_to_best_peer": 6.25,
    "ratio_to": {"snnTorch": 6.25, "Norse": 10.0},
    "ratio_to_best_peer_of_part": {"main loop": 3.5},
    "differs": {"Norse": "resets to 0"},
    "roofline": {
        "copy_gb_per_s": 10.0,
        "gemm_gflop_per_s": 100.0,
        "threads": 2,
        "kernels": [
            {
                "kernel": "hidden, forward",
                "bytes": 20e6,
                "flops": 1e8,
                "bound_ms": 2.0,
                "limited_by": "memory",
                "ms": 3.0,
                "times_bound": 1.5,
            }
        ],
    },
    "provenance": {
        "question": "How fast?",
        "unit": "training step",
        "notes": {"size": "784-200-10", "wanted": "5 times the best peer"},
        "command": "train.py",
    },
}
CURVES = {"steps": {"x": [10, 100], "label": "steps", "series": {"spiketwin": [1.0, 10.0], "peer": [5.0, None]}}}


def test_the_page_says_what_the_files_say_and_knows_when_it_is_stale(page):
    run_seeds(study(), Config(), [0, 1, 2]).write(page / "results" / "study.json")
    protocol.write_json(page / "benchmarks" / "training.json", BENCHMARK)
    assert results_page.is_stale()
    text = results_page.write_page().read_text()
    assert "91.00 ± 1.00" in text and "What?" in text and "Seeds 0 1 2" in text
    assert "How fast? 784-200-10." in text and "- wanted: 5 times the best peer." in text
    assert not results_page.is_stale()
    run_seeds(study(), Config(), [0, 1, 3]).write(page / "results" / "study.json")
    assert results_page.is_stale()


def test_the_page_shows_the_figure_that_a_study_draws(page):
    protocol.write_json(page / "results" / "reward.json", json.loads((protocol.COMMITTED / "reward.json").read_text()))
    assert "](reward.png)" in results_page.write_page().read_text() and not results_page.is_stale()
    assert (page / "docs" / "reward.png").read_bytes()[1:4] == b"PNG"
    (page / "docs" / "reward.png").unlink()
    assert results_page.is_stale()


def test_the_page_shows_times_ratios_and_the_roofline_of_a_benchmark(page):
    protocol.write_json(page / "benchmarks" / "training.json", BENCHMARK)
    text = results_page.write_page().read_text()
    assert "| [training](#training) | 6.25 | snnTorch | main loop 3.50 |" in text
    assert "How fast? 784-200-10." in text and "ms per training step" in text
    assert "| spiketwin | 12.50 | 12.00 … 13.00 |  | 400 | 2 | 5 |" in text
    assert "| Norse | 125.00 | 12.00 … 13.00 | 10.00 | 512 | 2 | 5 |" in text
    assert "- Norse: resets to 0." in text
    assert "kernel, at 10.00 GB/s and 100 GFLOP/s on 2 threads" in text
    assert "| hidden, forward | 20.00 | 0.10 | 2.00 (memory) | 3.00 | 1.50 |" in text
    assert "`train.py`" in text


def test_curves_become_a_figure(page):
    path = page / "benchmarks" / "scaling.json"
    protocol.write_json(path, BENCHMARK | {"ratio_to_best_peer": None, "ratio_to": {}, "curves": CURVES})
    text = results_page.write_page().read_text()
    assert "![steps](scaling.png)" in text and "(#scaling)" not in text  # no peer, no line in the overview
    picture = page / "docs" / "scaling.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert not results_page.is_stale()
    picture.unlink()
    assert results_page.is_stale()


@pytest.mark.parametrize("content", [{"rows": []}, {**BENCHMARK, "rows": [{"system": "spiketwin"}]}, []])
def test_a_bad_benchmark_file_is_named(page, content):
    protocol.write_json(page / "benchmarks" / "training.json", content)
    with pytest.raises(ResultError, match="training.json"):
        results_page.render()


def test_the_committed_page_is_up_to_date():
    assert not results_page.is_stale(), "docs/results.md differs from the result files; run: make results"


def test_result_files_hold_what_the_design_says():
    assert [f.name for f in dataclasses.fields(Result)] == ["experiment", "question", "config", "seeds", "metrics", "curves", "provenance"]
    assert json.dumps(dataclasses.asdict(study().run(Config(), 0)))
