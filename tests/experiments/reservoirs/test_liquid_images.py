"""The study of images through liquids."""

from __future__ import annotations

import numpy as np
import pytest

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
