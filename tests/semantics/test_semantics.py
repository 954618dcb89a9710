"""Rules that contradict each other are refused; the counts that order and reset change are pinned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spiketwin.models.mapping import PhysicalLIF, RecurrentForm, to_recurrent
from spiketwin.models.recurrent import platform_table, run_recurrent_lif
from spiketwin.models.semantics import PLATFORMS, REFERENCE, Semantics, SemanticsError, semantics


@pytest.mark.parametrize(
    ("name", "spikes"),
    [
        # beta .9, I .4: 0.4, 0.76, 1.084 -> a spike every third step, first in step 2: 48/3
        ("snntorch_leaky_zero", 16),
        # the step after each spike is lost: every fourth step, 2, 6, ..., 46
        ("snntorch_rleaky_zero", 12),
        # subtraction of 1 after the decay (0.9 u + 0.4 - 1) or before it (0.9 (u - 1) + 0.4)
        ("snntorch_leaky", 16),
        ("snntorch_leaky_no_delay", 17),
    ],
)
def test_one_beta_many_counts(name, spikes):
    form = RecurrentForm(alpha=0.0, beta=0.9, semantics=PLATFORMS[name])
    assert run_recurrent_lif(form, np.full(50, 0.4)).spikes.sum() == spikes


def test_synaptic_zero_reset_swallows_the_input_of_the_step():
    """With alpha = 0 the synapse is the input: the count of RLeaky, 12, not that of Leaky, 16."""
    form = RecurrentForm(alpha=0.0, beta=0.9, semantics=PLATFORMS["snntorch_synaptic_zero"])
    run = run_recurrent_lif(form, np.full(50, 0.4))
    assert run.spikes.sum() == 12
    assert run.v[3] == 0.0  # step 3 follows the first spike and received 0.4


def test_gain_matters_and_decay_hardly_does():
    """I = 1.5 thresholds, tau 20 ms, dt/tau = .05: exact and Euler both 45 spikes/s, unit gain fires in every step.

    T = tau ln(1.5/0.5) = 21.97 ms, 22 steps: 45 spikes in 1000 steps.
    """
    box = PLATFORMS["norse_lif_box"]
    counts = {}
    for gain, decay in (("euler", "euler"), ("exact", "exp"), ("unit", "exp")):
        form = to_recurrent(PhysicalLIF(20.0), 1.0, replace(box, decay=decay, input_gain=gain))
        counts[gain] = run_recurrent_lif(form, np.full(1000, 1.5)).spikes.sum()
    assert counts == {"euler": 45, "exact": 45, "unit": 1000}


def test_weight_added_to_v_is_thresholded_one_step_later():
    form = to_recurrent(PhysicalLIF(20.0), 1.0, PLATFORMS["brian2_delta"])
    x = np.zeros(4)
    x[1] = 1.5
    run = run_recurrent_lif(form, x)
    np.testing.assert_array_equal(run.spikes, [0, 0, 1, 0])
    assert run.v[2] == pytest.approx(1.5 * np.exp(-1 / 20), rel=1e-15)


def test_comparison_decides_at_the_threshold():
    """v reaches exactly 1 = 0.5 + 0.5 in step 1: '>=' fires there, '>' waits."""
    for comparison, first in ((">=", 1), (">", 2)):
        rules = replace(PLATFORMS["snntorch_leaky_no_delay"], comparison=comparison)
        run = run_recurrent_lif(RecurrentForm(alpha=0.0, beta=1.0, semantics=rules), np.full(4, 0.5))
        assert run.spikes.argmax() == first


def test_multi_spike_gives_all_spikes_in_one_step():
    rules = replace(PLATFORMS["sinabs_lif_unnormalised"], order=("receive", "integrate", "threshold", "reset"))
    run = run_recurrent_lif(RecurrentForm(alpha=0.0, beta=0.5, semantics=rules), [3.5, 0.0])
    assert run.spikes.tolist() == [3, 0]
    assert run.v.tolist() == [3.5, 0.25]  # 3.5 - 3 left, then halved


def test_axes_after_time_are_independent_neurons():
    form = RecurrentForm(alpha=0.0, beta=np.array([0.9, 0.5]), semantics=PLATFORMS["snntorch_leaky_zero"])
    both = run_recurrent_lif(form, np.full((50, 3, 2), 0.4)).spikes
    assert both.shape == (50, 3, 2)
    assert both[:, 0, 0].sum() == 16
    assert both[:, 0, 1].sum() == 0  # 0.4/(1 - 0.5) = 0.8 stays below threshold


def test_reference_is_brian2():
    assert REFERENCE.order == ("count_down", "integrate", "threshold", "receive", "reset")
    assert (REFERENCE.latency, REFERENCE.comparison, REFERENCE.spike_label) == (1, ">", 0)


def test_every_platform_names_its_source():
    assert all(rules.source for rules in PLATFORMS.values())
    assert semantics("lava_lif") is PLATFORMS["lava_lif"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decay": "linear"}, "decay 'linear' of semantics 'x' is unknown; choose from exp, euler"),
        ({"order": ("receive", "integrate", "fire", "reset")}, "event 'fire'"),
        (
            {"order": ("receive", "receive", "integrate", "threshold", "reset")},
            "'receive' of semantics 'x' occurs twice",
        ),
        (
            {"order": ("receive", "integrate_membrane", "threshold", "reset")},
            "list 'integrate', or both",
        ),
        ({"order": ("receive", "integrate", "threshold")}, "lacks 'reset'"),
        ({"reset": "none"}, "must not list 'reset'"),
        ({"refractory": "hold"}, "lacks 'count_down'"),
        ({"decay": "euler", "input_gain": "exact"}, "no input gain makes its PSP exact"),
        ({"synapse": "current"}, "list 'integrate_membrane' as its only integration"),
    ],
)
def test_contradictions_are_refused(changes, message):
    good = {"name": "x", "order": ("receive", "integrate", "threshold", "reset")}
    Semantics(**good)
    with pytest.raises(SemanticsError, match=message):
        Semantics(**{**good, **changes})


def test_unknown_platform_suggests_a_name():
    with pytest.raises(SemanticsError, match="Did you mean 'norse_lif_cell'"):
        semantics("norse_lif_cel")


def test_input_with_nan_is_refused():
    form = RecurrentForm(alpha=0.0, beta=0.9, semantics=PLATFORMS["snntorch_leaky"])
    with pytest.raises(ValueError, match="finite"):
        run_recurrent_lif(form, [0.1, np.nan])


def test_documented_table_is_the_computed_one():
    """docs/semantics.md shows platform_table(); print it there again when this fails."""
    page = (Path(__file__).parents[2] / "docs" / "semantics.md").read_text(encoding="utf-8")
    assert platform_table() in page
