"""The study of images through liquids."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spiketwin.experiments.data import load
from spiketwin.experiments.studies.reservoirs import liquid_images


def test_smoke(data_dir) -> None:
    data_dir("mnist")
    result = liquid_images.smoke()
    # 600 digits and a hundred neurons; chance is 10 %
    for name in ("pixels", "rate_liquid_100", "rate_unconnected_100", "rows_liquid_100", "rows_unconnected_100"):
        assert result.mean(f"test_accuracy_mnist_{name}") > 60, name
        assert result.mean(f"validation_accuracy_mnist_{name}") > 60, name
    (axes,) = liquid_images.draw(result).axes
    drawn = [line.get_xdata()[0] for line in axes.lines]
    assert drawn[1] == result.mean("test_accuracy_mnist_rate_liquid_100") and drawn[-2] == result.mean("test_accuracy_mnist_pixels")


def test_a_stopped_run_goes_on_with_the_next_listener(data_dir, tmp_path, monkeypatch) -> None:
    data_dir("mnist")
    config, whole = replace(liquid_images.Config(), rate_sizes=(50,), row_sizes=()), load("mnist")
    data = replace(whole, train=whole.train[:300], validation=whole.validation[:100], test=whole.test[:100])
    uninterrupted = liquid_images.measure(config, data, 0, quiet=True)

    asked, judge = [], liquid_images.judge

    def judge_or_stop(rows, *rest):
        asked.append(rows.shape)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return judge(rows, *rest)

    monkeypatch.setattr(liquid_images, "judge", judge_or_stop)
    with pytest.raises(KeyboardInterrupt):
        liquid_images.measure(config, data, 0, tmp_path, quiet=True)
    resumed = liquid_images.measure(config, data, 0, tmp_path, quiet=True)
    # the pixels and the liquid were judged before the stop, the unconnected neurons at it and after it
    assert asked == [(500, 784), (500, 50), (500, 50), (500, 50)]
    assert {n: v for n, v in resumed.items() if "accuracy" in n} == {n: v for n, v in uninterrupted.items() if "accuracy" in n}
    assert 0 < resumed["minutes_mnist"]
    assert [p.name for p in tmp_path.iterdir()] == ["mnist_seed_0.json"]  # states are gone, they are large


def test_unconnected_neurons_have_no_synapses_among_them() -> None:
    config = liquid_images.Config()

    for way, shape in (("rate", (2, 784)), ("rows", (2, 28, 28))):
        for connected in (True, False):
            states = liquid_images.states_of(config, way, 50, connected, seed=1).fit(np.zeros(shape))
            inside = [p for p in states.liquid_.network.projections if p.source != "input"]
            assert any(np.any(p.synapse_values()) for p in inside) == connected
            assert states.duration_ms == {"rate": 100, "rows": 280}[way]


def test_a_share_of_channels_beyond_all_is_refused() -> None:
    with pytest.raises(ValueError, match="exciting = 1.5 is a share of the channels"):
        liquid_images.Config(exciting=1.5)
