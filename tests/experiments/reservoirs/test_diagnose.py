"""Diagnostics of whole liquids: feed-forward ones whose answers are known, and the report."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse

from spiketwin.experiments.reservoirs import LiquidStateMachine, LiquidStates
from spiketwin.experiments.reservoirs.diagnostics import (
    Probe,
    degrees,
    diagnose,
    fading_memory,
    generalisation_rank,
    kernel_quality,
    lyapunov_exponent,
    perturbation_growth,
    separation,
)
from spiketwin.experiments.reservoirs.diagnostics.probe import membranes, read_spikes
from spiketwin.models.engines.compiled import CompiledEngine
from spiketwin.models.network import Network
from spiketwin.models.recording import Recording
from spiketwin.models.reservoirs import LiquidError, liquid, partitioned
from spiketwin.models.reservoirs.response import threshold_distance
from spiketwin.models.reservoirs.topology import fixed_in_degree
from spiketwin.models.spikes import Spikes

TAU_MEM = 30.0
PROBE = Probe(duration_ms=200.0, engine=CompiledEngine(threads=1))


def feed_forward(heard: np.ndarray, *, background: float = 0.0, scale: float = 1.0):
    """A liquid without recurrent synapses, of weights [N, inputs] in the distance to threshold."""
    made = liquid(heard.shape[1], len(heard), parameters={"tau_mem": TAU_MEM}, background=background, topology=fixed_in_degree(1, 0))
    (source,) = (p for p in made.network.projections if p.source == "input")
    unit = np.median(source.values()) / 0.05
    weights = scipy.sparse.csr_array(scale * unit * heard)
    return replace(made, network=Network(made.network.populations, [replace(source, weights=weights)], made.network.sources))


@pytest.fixture(scope="module")
def quiet():
    """Far from threshold: nothing but the membrane remembers."""
    return feed_forward(np.random.default_rng(0).random((20, 5)), scale=0.01)


def test_membranes_forget_with_their_time_constant(quiet):
    found = fading_memory(quiet, PROBE, trials=3, window_ms=(40, 150))
    assert found.exponent_per_s == pytest.approx(-1e3 / TAU_MEM, rel=1e-6)
    assert found.left == pytest.approx(np.exp(-190 / TAU_MEM), rel=0.05)


def test_perturbations_of_membranes_decay_with_their_time_constant(quiet):
    found = perturbation_growth(quiet, PROBE, at_ms=40, trials=4, window_ms=(80, 150))  # the synapse's 5 ms are over by then
    assert found.distance.max() > 1e-4
    assert found.exponent_per_s == pytest.approx(-1e3 / TAU_MEM, rel=1e-3)
    assert lyapunov_exponent(quiet, PROBE, intervals=5) == pytest.approx(-1e3 / TAU_MEM, rel=1e-6)


def test_one_heard_channel_for_all_is_one_direction():
    """Neurons that are alike give states of rank 1; independent channels that each drive a neuron give full rank."""
    alike = feed_forward(np.tile([[2.0, 0, 0, 0]], (12, 1)))
    apart = feed_forward(2.0 * np.eye(12))
    assert kernel_quality(alike, PROBE).rank == 1
    quality = kernel_quality(apart, PROBE, inputs=40, threshold=1e-6)
    assert quality.rank == 12 and quality.most == 12
    blind = feed_forward(np.diag([2.0] * 7 + [0.0] * 5))
    assert kernel_quality(blind, PROBE, inputs=40, threshold=1e-6).rank == 7


def test_versions_of_one_input_span_less():
    many = feed_forward(2.0 * np.eye(12))
    assert generalisation_rank(many, PROBE, jitter_ms=0.01).rank == 1  # less than half a step: the same input again
    assert (
        generalisation_rank(many, PROBE, inputs=40, jitter_ms=2.0, threshold=0.1).rank
        < kernel_quality(many, PROBE, inputs=40, threshold=0.1).rank
    )


def test_separation_grows_with_the_distance_of_inputs():
    found = separation(feed_forward(2.0 * np.eye(20)), PROBE)
    late = found.late()
    assert np.all(np.diff(found.input_distance) > 0) and np.all(np.diff(late) > 0)
    # strong synapses: the start is forgotten with the filter, 100 ms and more ago, and does not separate
    assert late[0] > 3 * found.late_zero()
    for shares in ((0.0,), ()):
        with pytest.raises(ValueError, match="zero-distance curve is measured anyhow"):
            separation(feed_forward(np.eye(2)), PROBE, shares=shares)


def test_strong_recurrence_is_chaotic_and_none_is_not():
    strong, none = liquid(10, 60, seed=1), feed_forward(2.0 * np.eye(20))
    assert lyapunov_exponent(strong, PROBE, intervals=30) > 10
    # membranes forget with 30 ms, and faster with each reset, the same for both runs
    assert lyapunov_exponent(none, PROBE, intervals=30) < -0.8e3 / TAU_MEM
    assert fading_memory(strong, PROBE, trials=5).left > 0.2
    assert fading_memory(none, PROBE, trials=5).left < 0.02


def test_degrees_are_those_of_the_topology():
    found = degrees(liquid(10, 60, topology=fixed_in_degree(6, 3)))
    assert set(found.fan_in) == {9} and found.fan_out.sum() == 540
    assert (found.effective_in > 1).all() and (found.effective_in < 9).all()


def test_several_populations_are_read_as_one():
    parts = partitioned(4, 2, size=30)
    spikes = {name: Spikes([3], [0], [k], (10, 1, 30), 1.0) for k, name in enumerate(parts.read)}
    v = {name: {"v": np.full((10, 1, 30), 1e-3 * (k + 1))} for k, name in enumerate(parts.read)}
    recording = Recording("compiled", "exact", 1.0, spikes, v)
    assert parts.size == 60 and read_spikes(recording, parts).neuron.tolist() == [0, 31]
    theta = threshold_distance(parts.network.populations[0].neuron)
    np.testing.assert_allclose(membranes(recording, parts)[0, 0] * theta, [1e-3] * 30 + [2e-3] * 30)
    found = degrees(parts)
    assert found.fan_in.sum() == sum(len(p.synapses()[0]) for p in parts.network.projections if p.source in parts.read)


# -- the report ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 10, 5)), np.arange(30) % 2
    return LiquidStateMachine(size=40, duration_ms=200.0, threads=1).fit(X, y).diagnose(X)


def test_report_is_a_table_with_units(found):
    numbers = found.as_dict()
    assert 1 < numbers["rate"] < 100 and numbers["fan_in"] == 20
    assert 0 < numbers["generalisation_rank"] <= numbers["kernel_quality"] <= 40
    assert numbers["separation"] > numbers["zero_distance"] > 0
    assert 0 < numbers["linear_memory"] + numbers["nonlinear_memory"] <= 40
    text, page = str(found), found._repr_html_()
    assert text.startswith("40 neurons, 10 inputs at") and len(text.splitlines()) == 1 + len(numbers)
    assert page.count("<tr>") == len(numbers) and "kernel quality" in page and "of 40" in page


def test_page_has_every_panel(found, tmp_path):
    figure = found.figure()
    figure.set_layout_engine("none")  # placing takes longer than drawing
    figure.savefig(tmp_path / "page.png", dpi=40)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    for said in ("Spikes", "Rates", "Separation", "Kernel", "Memory", "difference", "Branching", "avalanches"):
        assert any(said in title for title in titles), said
    assert all(ax.has_data() for ax in figure.axes)
    raster = figure.axes[0]
    assert sum(len(line.get_xdata()) for line in raster.lines) == len(found.spikes.trial(0))


def test_what_cannot_be_diagnosed_says_so():
    silent = Spikes([], [], [], (50, 1, 10), 1.0)
    with pytest.raises(ValueError, match="no sample holds a spike"):
        diagnose(liquid(10, 20), silent)
    with pytest.raises(ValueError, match="build it with inputs=10"):
        diagnose(liquid(4, 20), silent)
    deaf = liquid(10, 20, input_scale=0.0, background=0.0)
    with pytest.raises(LiquidError, match="raise input_scale"):
        diagnose(deaf, Spikes([1], [0], [0], (50, 1, 10), 1.0))
    with pytest.raises(ValueError, match="raise input_scale"):
        perturbation_growth(deaf, PROBE)
    with pytest.raises(ValueError, match="lengthen duration_ms"):
        perturbation_growth(liquid(10, 20), PROBE, at_ms=500.0)
    for measure in (kernel_quality, generalisation_rank):
        with pytest.raises(ValueError, match="inputs = 0"):
            measure(liquid(10, 20), PROBE, inputs=0)
    with pytest.raises(ValueError, match="every_ms = -5"):
        separation(liquid(10, 20), PROBE, every_ms=-5)
    with pytest.raises(ValueError, match="interval_ms = 0.1 is shorter than dt_ms = 1"):
        lyapunov_exponent(liquid(10, 20), PROBE, interval_ms=0.1)
    with pytest.raises(ValueError, match="rate_hz = 0"):
        Probe(rate_hz=0.0)
    with pytest.raises(ValueError, match="samples = 0"):
        LiquidStates(size=20, duration_ms=50.0, threads=1).fit(np.eye(3)).diagnose(np.eye(3), samples=0)
