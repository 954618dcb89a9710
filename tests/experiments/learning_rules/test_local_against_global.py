"""The study of local rules: its short form, its table and figure, resuming, memory, and a rule added from outside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from spiketwin.experiments.protocol import ResultError, combine
from spiketwin.experiments.studies.learning_rules.local import local_against_global as study
from spiketwin.experiments.studies.learning_rules.local import memory
from spiketwin.experiments.studies.learning_rules.local.methods import METHODS, Method, classifier, teach
from spiketwin.rules.local import EProp

SMALL = replace(
    study.Config(), data="digits", training_samples=200, test_samples=100, hidden_layers="FC16R-FC12", methods=("eprop", "decolle"),
    epochs=1, batch_size=40, duration_ms=8.0, chunk_steps=4, memory_steps=(),
)  # fmt: skip


@pytest.fixture(scope="module")
def smoke():
    return study.smoke()


def test_smoke(smoke):
    assert set(smoke.config["methods"]) == set(METHODS)
    # two epochs on 400 images: the gradient and its nearest learn, chance is 10
    assert smoke.mean("bptt_test_accuracy") > 15 and smoke.mean("eprop_test_accuracy") > 15
    assert all(smoke.mean(f"{name}_spikes_per_neuron") > 0 for name in METHODS)
    assert len(smoke.curves["validation_accuracy"]["decolle"]) == 2


def test_table_and_figure_show_every_rule(smoke):
    lines = study.table(smoke).splitlines()
    assert len(lines) == 2 + len(METHODS) and len({line.count("|") for line in lines}) == 1
    assert f"{smoke.mean('bptt_test_accuracy'):.2f}" in lines[2] and lines[2].startswith("| BPTT |")
    three = combine([smoke, replace(smoke, seeds=(1,))])
    assert "± 0.00" in study.table(three)  # curves of several seeds are a list
    left, middle = study.draw(three).axes
    assert [t.get_text() for t in left.get_yticklabels()] == [knows["label"] for knows in study.knowledge(smoke).values()]
    assert len(left.lines[0].get_xdata()) == 2 and len(middle.patches) == len(METHODS)
    steps = {"config": {**smoke.config, "memory_steps": (10, 20)}}
    memory = {f"{name}_peak_mb_at_{n}_steps": {"mean": n / 10, "std": 0.0, "values": [n / 10]} for name in METHODS for n in (10, 20)}
    *_, right = study.draw(replace(smoke, **steps, metrics={**smoke.metrics, **memory})).axes
    assert [list(line.get_ydata()) for line in right.lines[: len(METHODS)]] == [[1, 2]] * len(METHODS)
    assert "| 1 | 2 |" in study.table(replace(smoke, **steps, metrics={**smoke.metrics, **memory}))


def test_a_stopped_run_goes_on_as_if_it_had_not_been(tmp_path):
    data = study.dataset(SMALL)
    whole, _ = teach("eprop", replace(SMALL, epochs=2), data, 0, quiet=True)

    def stopped(name, config, path):
        return teach(name, config, data, 0, checkpoint=path, quiet=True)[0]

    class Stop(Exception):
        pass

    calls = []

    class Stopping(EProp):
        def __call__(self, net, x, labels):
            calls.append(1)
            if len(calls) == 8:  # in the second epoch of five batches
                raise Stop
            return super().__call__(net, x, labels)

    METHODS["stopping"] = Method(lambda config, seed: Stopping(chunk_steps=config.chunk_steps), METHODS["eprop"].learning_rate)
    try:
        with pytest.raises(Stop):
            stopped("stopping", replace(SMALL, epochs=2), tmp_path / "c.safetensors")
    finally:
        del METHODS["stopping"]
    resumed = stopped("eprop", replace(SMALL, epochs=2), tmp_path / "c.safetensors")
    for a, b in zip(whole.net.parameters(), resumed.net.parameters()):
        assert torch.equal(a, b)


def test_methods_start_from_the_same_weights_and_see_the_same_test_spikes():
    data = study.dataset(SMALL)
    first, second = classifier(SMALL, data, 0), classifier(SMALL, data, 0)
    assert all(torch.equal(a, b) for a, b in zip(first.net.parameters(), second.net.parameters()))
    index = np.arange(10)
    assert torch.equal(first.feed(data.test, index, None), second.feed(data.test, index, None))
    drawn = first.feed(data.train, index, np.random.default_rng(0))
    assert drawn.shape == (8, 10, 64) and set(drawn.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(drawn, first.feed(data.train, index, np.random.default_rng(1)))


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="Did you mean 'decolle'"):
        teach("decole", SMALL, study.dataset(SMALL), 0, quiet=True)
    with pytest.raises(ValueError, match="Did you mean 'decolle'"):  # at once, not after the methods before it
        study.measure(replace(SMALL, methods=("bptt", "decole")), study.dataset(SMALL), 0, quiet=True)
    for changed, message in (
        (dict(training_samples=-5), "training_samples = -5 must be at least 1, or 0 for all"),
        (dict(input_weight_scale=float("nan")), "input_weight_scale = nan must be positive"),
        (dict(methods=()), "no methods to compare"),
        (dict(memory_steps=(25, 0)), "memory_steps = .* must all be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(SMALL, **changed)


def test_memory_needs_proc(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    with pytest.raises(ResultError, match="read from /proc"):
        memory.peaks_mb("bptt", SMALL, 64, 10)


@pytest.mark.skipif(not memory.CLEAR.exists(), reason="the peak of resident memory is read from Linux's /proc")
def test_memory_of_backpropagation_grows_with_the_trial():
    """Spikes of T steps are kept in 4 bytes each, at least those: 200 neurons, 20 trials, 2,000 steps are 32 MB."""
    config = replace(SMALL, hidden_layers="FC200", batch_size=20, memory_steps=(20, 2000))
    short, long = memory.peaks_mb("bptt", config, 30, 4)
    assert long - short > 20
