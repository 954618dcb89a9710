"""A recording in other people's formats, and as a picture."""

import sys

import numpy as np
import pytest

from spiketwin.models.network import Network, Population
from spiketwin.models.neurons import neuron
from spiketwin.models.recording import Recording
from spiketwin.models.spikes import Spikes
from spiketwin.models.units import UnitError

T, B, DT_MS = 40, 2, 0.5
NETWORK = Network([Population("cells", neuron("adex"), 3), Population("silent", neuron("lif"), 1)])


@pytest.fixture
def recording():
    """Two trials: neuron 0 of trial 0 spikes at 1 and 4.5 ms, neuron 2 of trial 1 at 2 ms; the last population never."""
    spikes = Spikes([2, 9, 4], [0, 0, 1], [0, 0, 2], (T, B, 3), DT_MS)
    v = np.linspace(-0.07, -0.05, T * B * 3).reshape(T, B, 3)
    states = {"cells": {"v": v, "w": np.full((T, B, 3), 5e-11)}}
    return Recording("compiled", "rk4", DT_MS, {"cells": spikes, "silent": Spikes([], [], [], (T, B, 1), DT_MS)}, states, seed=3)


def test_a_state_in_its_unit(recording):
    # -70 mV at the first step of the first neuron
    assert recording.in_unit("cells", "v", "mV")[0, 0, 0] == pytest.approx(-70)
    assert recording.in_unit("cells", "w", "pA") == pytest.approx(50)


def test_its_text_fits_on_a_line(recording):
    assert repr(recording) == "Recording(compiled, rk4, dt=0.5 ms, 40 steps; spikes cells: 3, silent: 0; states cells.v, cells.w)"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("cell", "v", "mV"), ValueError, "unknown population.*'cell'.*Did you mean 'cells'"),
        (("cells", "vm", "mV"), ValueError, r"unknown recorded state 'vm' of 'cells'.*record=\{'cells'"),
        (("cells", "v", "mVolt"), UnitError, "'mVolt'.*is not a unit"),
    ],
)
def test_what_was_not_recorded_is_named(recording, arguments, error, message):
    with pytest.raises(error, match=message):
        recording.in_unit(*arguments)


def test_pandas(recording):
    pytest.importorskip("pandas", reason="needs spiketwin[neo]")
    spikes, states = recording.to_pandas()
    assert list(spikes.columns) == ["population", "trial", "neuron", "step", "time_ms"]
    assert spikes.values.tolist() == [["cells", 0, 0, 2, 1.0], ["cells", 1, 2, 4, 2.0], ["cells", 0, 0, 9, 4.5]]
    frame = states["cells"]
    assert frame.index.tolist() == recording.time_ms.tolist()
    np.testing.assert_array_equal(frame[("v", 1, 2)], recording.states["cells"]["v"][:, 1, 2])
    np.testing.assert_array_equal(frame["w"].to_numpy().reshape(T, B, 3), recording.states["cells"]["w"])


def test_neo(recording):
    pytest.importorskip("neo", reason="needs spiketwin[neo]")
    block = recording.to_neo(NETWORK)
    assert block.annotations == {"engine": "compiled", "scheme": "rk4", "dt_ms": DT_MS, "seed": 3}
    assert [len(s.spiketrains) for s in block.segments] == [4, 4]
    first = block.segments[0].spiketrains[0]
    assert first.rescale("ms").magnitude.tolist() == [1.0, 4.5] and first.annotations == {"population": "cells", "neuron": 0}
    assert first.t_stop.rescale("ms") == 20
    assert [len(t) for t in block.segments[1].spiketrains] == [0, 0, 1, 0]
    v, w = block.segments[1].analogsignals
    np.testing.assert_allclose(v.rescale("mV").magnitude, 1e3 * recording.states["cells"]["v"][:, 1])
    assert w.rescale("pA").magnitude == pytest.approx(50)
    assert v.times.rescale("ms").magnitude == pytest.approx(recording.time_ms)


def test_neo_without_the_network_claims_no_unit_it_does_not_know(recording):
    pytest.importorskip("neo", reason="needs spiketwin[neo]")
    v, w = recording.to_neo().segments[0].analogsignals
    assert v.dimensionality.string == "V" and w.dimensionality.string == "dimensionless"


def test_a_missing_library_names_the_extra(recording, monkeypatch):
    for library, convert in (("neo", recording.to_neo), ("pandas", recording.to_pandas)):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(ImportError, match=rf"{library}.*pip install 'spiketwin\[neo\]'"):
            convert()


def test_plot_shows_spikes_and_states_in_their_units(recording):
    axes = recording.plot(network=NETWORK)
    assert [ax.get_ylabel() for ax in axes] == ["neuron", "neuron", "v (mV)", "w (nA)"]
    assert axes[0].get_title(loc="left") == "cells: 2 spikes"
    assert axes[0].lines[0].get_xydata().tolist() == [[1.0, 0.0], [4.5, 0.0]]
    assert len(axes[2].lines) == 3 and axes[2].lines[0].get_ydata()[0] == pytest.approx(-70)
    assert axes[-1].get_xlabel() == "time (ms)"
    plain = recording.plot(trial=1, neurons=1)
    assert [ax.get_ylabel() for ax in plain] == ["neuron", "neuron", "v (mV)", "w (SI)"]
    assert len(plain[2].lines) == 1
    from matplotlib import pyplot

    axes[0].figure.canvas.draw()
    pyplot.close("all")
