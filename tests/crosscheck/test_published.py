"""What is published of trained networks says what the reports say, and the page shows it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from spiketwin.experiments import cli, protocol, results_page
from spiketwin.experiments.crosscheck import networks, published
from spiketwin.experiments.crosscheck.checks import Check, Report
from spiketwin.experiments.protocol import ResultError

RIGHT = Check("toy", "identity", "same prediction", 100.0, (100, 100), "percent")


def report(network, *accuracy, is_held=False, agreement=98.75):
    curves = {"dt_ms": [1.0, 0.5], "accuracy": list(accuracy), "agreement": [agreement, 90.0], "reference": 96.25}
    curves |= {"samples": 80, "spikes": 12345, "differing_spikes": 2}
    origin = {"network": network, "seed": 3, "samples": 1000, "once_per_step": is_held}
    return Report((RIGHT,), {"accuracy": curves}, origin)


@pytest.fixture
def committed(tmp_path, monkeypatch):
    monkeypatch.setattr(results_page, "COMMITTED", tmp_path)
    monkeypatch.setattr(results_page, "BENCHMARKS", tmp_path / "benchmarks")
    monkeypatch.setattr(protocol, "COMMITTED", tmp_path)
    return tmp_path


def test_a_network_is_a_row_with_both_ways_to_refine_its_step():
    first, second = published.rows([report("a", 97.5, 90.0), report("a", 97.5, 95.0, is_held=True), report("b", 50.0, 40.0)])
    # 98.75 % of the 80 samples that there were, not of the 1,000 that were asked for
    assert (first["network"], first["seed"], first["samples"], first["same_predictions"]) == ("a", 3, 80, 79)
    assert (first["spikes"], first["differing_spikes"], first["torch_accuracy"]) == (12345, 2, 96.25)
    assert first["accuracy"] == [97.5, 90.0] and first["accuracy_once_per_step"] == [97.5, 95.0]
    assert second["network"] == "b" and second["accuracy_once_per_step"] is None


def test_the_command_publishes_and_the_page_shows_it(committed, tmp_path, monkeypatch, capsys):
    asked = {}

    def check(experiment, config, seed, **how):
        asked[seed] = how["once_per_step"]
        yield report("braille", 97.5, 3.75), tmp_path
        yield report("braille", 97.5, 97.5, is_held=True), tmp_path

    monkeypatch.setattr(networks, "crosscheck_networks", check)
    assert cli.main(["run", "braille", "--crosscheck-only", "--publish", "--seeds", "3"]) == 0
    assert asked == {3: (False, True)}
    assert f"written to {committed / 'crosscheck' / 'braille.json'}" in capsys.readouterr().out.replace("\n", "")
    page = results_page.render()
    assert (
        "| network | seed | same predictions | differing spikes | dt, ms | torch | Brian2 at dt, dt/2 | at most one spike per dt |" in page
    )
    assert "| braille | 3 | 79 of 80 | 2 of 12,345 | 1 | 96.2 | 97.5, 3.8 | 97.5, 97.5 |" in page
    assert "# Trained networks in Brian2" in page and "braille: Made with `" in page


def test_without_publishing_nothing_is_left_and_one_way_is_run(committed, tmp_path, monkeypatch):
    asked = []

    def check(experiment, config, seed, **how):
        asked.append(how["once_per_step"])
        yield report("braille", 97.5, 97.5), tmp_path

    monkeypatch.setattr(networks, "crosscheck_networks", check)
    for more in ([], ["--crosscheck-once-per-step"]):
        cli.main(["run", "braille", "--crosscheck-only", "--seeds", "3", *more])
    assert asked == [(False,), (True,)] and not published.load_all(committed)


def test_a_file_that_is_none_and_steps_that_differ_are_named(committed):
    published.publish(committed, "toy", [{"network": "toy"}], {})
    with pytest.raises(ResultError, match=r"toy.json is no cross-check of trained networks \(KeyError: 'seed'\)"):
        published.load_all(committed)
    rows = published.rows([report("a", 1.0, 1.0)])
    files = [{"experiment": "a", "rows": rows}, {"experiment": "b", "rows": [{**rows[0], "dt_ms": [1.0, 0.25]}]}]
    with pytest.raises(ResultError, match="steps of different fineness"):
        published.heads(files)


def test_the_finest_steps_may_be_left_out():
    (row,) = published.rows([report("a", 1.0, 1.0)])
    fewer = {"experiment": "b", "rows": [{**row, "dt_ms": [1.0], "accuracy": [97.5]}]}
    files = [{"experiment": "a", "rows": [row]}, fewer]
    assert published.fractions(files) == (1.0, 2.0) and published.heads(files)[6] == "Brian2 at dt, dt/2"
    assert next(published.cells(fewer, 2))[6] == "97.5, –"


def test_a_network_with_a_refractory_period_keeps_it(monkeypatch, tmp_path):
    """Then there is one report, where two are asked for."""
    neurons = SimpleNamespace(neuron=SimpleNamespace(refractory="tau_ref"))
    known = SimpleNamespace(name="toy", network=SimpleNamespace(populations=[neurons]))
    monkeypatch.setattr(networks, "subject", lambda network, name: known)
    monkeypatch.setattr(networks.trained, "check", lambda *a, **k: ([RIGHT], {}))
    monkeypatch.setattr(networks, "write_report", lambda *a: None)
    toy = SimpleNamespace(__name__="some.toy", networks=lambda *a, **k: {"toy": None})
    how = {"folder": tmp_path, "samples": 1, "factors": (1,), "quiet": True}
    assert len(list(networks.crosscheck_networks(toy, None, 0, once_per_step=(False, True), **how))) == 1
