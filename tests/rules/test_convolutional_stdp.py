"""STDP with shared kernels: latencies, spikes, winners and a change worked by hand; kernels become what they are shown."""

from __future__ import annotations

import numpy as np
import pytest

from spiketwin.rules.plasticity.convolutional import (
    ConvolutionalSTDP,
    Winner,
    fire,
    first_kernels,
    first_of_maps,
    latencies,
    pooled,
    unsettled,
)


def test_latencies_share_out_the_ranks():
    # four inputs above 0 in four steps: the first alone, two equal ones in the second, the last behind both, in the fourth; 0 stays silent
    assert latencies(np.array([0.9, 0.5, 0.5, 0.1, 0.0]), 4).tolist() == [0, 1, 1, 3, 4]
    # half as strong, the same order
    assert latencies(np.array([0.45, 0.25, 0.25, 0.05, 0.0]), 4).tolist() == [0, 1, 1, 3, 4]
    # two steps: ranks 0 and 1 of four in the first
    assert latencies(np.array([[4.0, 3.0], [2.0, 1.0]]), 2).tolist() == [[0, 0], [1, 1]]
    assert latencies(np.zeros(3), 5).tolist() == [5, 5, 5]
    with pytest.raises(ValueError, match="not be negative"):
        latencies(np.array([-0.1, 1.0]), 4)


def test_a_neuron_fires_when_enough_strength_has_come():
    kernels = np.array([[[[0.5, 0.25], [1.0, 0.0]]], [[[0.2, 0.2], [0.2, 0.2]]]])
    latency = np.array([[[0, 1, 3], [2, 0, 3]]])
    # map 0, left place: 0.5 at step 0, 0.75 at 1, 1.75 at 2. Right place: inputs 1 3 / 0 3: 1 at step 0, 1.5 at 1, 1.75 at 3
    # map 1, left: 0.4 (inputs 0 and 0), 0.6, 0.8; right: 0.2, 0.4, 0.4, 0.8
    step, v = fire(kernels, latency, 0.75, 4)
    assert step.tolist() == [[[1, 0]], [[2, 3]]]
    np.testing.assert_allclose(v, [[[0.75, 1.0]], [[0.8, 0.8]]], rtol=1e-6)
    # a threshold that map 1 never reaches: it is told by `steps`
    step, v = fire(kernels, latency, 1.5, 4)
    assert step.tolist() == [[[2, 1]], [[4, 4]]]
    np.testing.assert_allclose(v, [[[1.75, 1.5]], [[0.8, 0.8]]], rtol=1e-6)


def test_winners_keep_their_map_and_their_neighbourhood_from_winning():
    rule = ConvolutionalSTDP(threshold=1.0, winners=3, radius=1)
    step, v = np.full((3, 1, 6), 9), np.zeros((3, 1, 6))
    for m, x, t, height in ((0, 0, 2, 1.5), (0, 5, 3, 2.0), (1, 1, 4, 2.0), (1, 4, 6, 1.0), (2, 0, 2, 1.2), (2, 3, 6, 1.1), (2, 5, 7, 3.0)):
        step[m, 0, x], v[m, 0, x] = t, height
    # two fire at step 2: map 0 with the higher membrane. Its map is out, and all maps at 0 and 1, so map 1 cannot win at 1.
    # At step 6 map 2 at 3 has more than map 1 at 4, which then is a neighbour; nobody is left.
    assert rule.compete(step, v) == [Winner(0, 0, 0, 2), Winner(2, 0, 3, 6)]
    # without a neighbourhood maps only exclude one another at the same place
    assert ConvolutionalSTDP(1.0, 3, 0).compete(step, v) == [Winner(0, 0, 0, 2), Winner(1, 0, 1, 4), Winner(2, 0, 3, 6)]
    assert len(ConvolutionalSTDP(1.0, 1, 0).compete(step, v)) == 1


def test_one_change_by_hand():
    """Inputs at steps 0 and 1 reach 0.8 + 0.5 = 1.3 at step 1; the later spike and the silent input depress."""
    kernels = np.array([[[[0.8, 0.5], [0.5, 0.25]]]])
    rule = ConvolutionalSTDP(threshold=1.2, a_plus=0.1, a_minus=0.2)
    assert rule.learn(kernels, np.array([[[0, 1], [2, 3]]]), 3) == [Winner(0, 0, 0, 1)]
    # 0.8 + 0.1 (0.8 · 0.2),  0.5 + 0.1 (0.5 · 0.5),  0.5 - 0.2 (0.5 · 0.5),  0.25 - 0.2 (0.25 · 0.75)
    np.testing.assert_allclose(kernels, [[[[0.816, 0.525], [0.45, 0.2125]]]], rtol=1e-12)
    # nobody fires: nothing changes
    assert ConvolutionalSTDP(threshold=9.0).learn(kernels, np.array([[[0, 1], [2, 3]]]), 3) == []
    np.testing.assert_allclose(kernels, [[[[0.816, 0.525], [0.45, 0.2125]]]], rtol=1e-12)


def test_a_patch_that_is_repeated_becomes_the_kernel_of_its_winner():
    rng = np.random.default_rng(0)
    kernels, shown = first_kernels(3, 1, 3, rng), np.array([[[1, 1, 1], [0, 0, 1], [0, 0, 0]]])
    start = kernels.copy()
    rule = ConvolutionalSTDP(threshold=2.0, winners=1, a_plus=0.05, a_minus=0.05)
    won = {rule.learn(kernels, latencies(shown, 4), 4)[0].map for _ in range(400)}
    assert len(won) == 1
    (winner,) = won
    # 400 steps of 0.05 k(1 - k) move the logit by 20: from 0.8 to 1 - 5e-10 where there is ink, to 8e-9 elsewhere
    np.testing.assert_allclose(kernels[winner], shown, atol=1e-6)
    np.testing.assert_array_equal(np.delete(kernels, winner, 0), np.delete(start, winner, 0))
    assert unsettled(kernels[winner]) < 1e-6 < 0.1 < unsettled(start)


def test_two_patches_find_a_map_each_wherever_they_stand():
    """A horizontal and a vertical bar, at random places: kernels are shared, so that places do not matter."""
    rng = np.random.default_rng(1)
    kernels = first_kernels(2, 1, 3, rng)
    rule = ConvolutionalSTDP(threshold=2.5, winners=1, a_plus=0.1, a_minus=0.06)
    bars = np.zeros((2, 3, 3))
    bars[0, 1], bars[1, :, 1] = 1, 1
    for _ in range(300):
        which, (y, x) = rng.integers(2), rng.integers(0, 6, 2)
        image = np.zeros((1, 8, 8))
        image[0, y : y + 3, x : x + 3] = bars[which]
        rule.learn(kernels, latencies(image, 3), 3)
    # each kernel holds the three pixels of its bar, and no two hold the same
    fit = np.einsum("mcyx,byx->mb", np.round(kernels), bars)
    assert sorted(fit.argmax(axis=1)) == [0, 1] and (fit.max(axis=1) == 3).all()


def test_strong_is_what_usually_comes_first():
    """Where k is near 1/2, the mean change has the sign of p a_plus - (1 - p) a_minus: 3/7 is the share that keeps a synapse."""
    rule = ConvolutionalSTDP(threshold=0.4)
    for early, sign in ((4, 1), (2, -1)):  # of seven winners' spikes
        kernels = np.array([[[[0.5, 0.5], [0.0, 0.0]]]])
        for k in range(7):
            # the first input always makes the neuron fire; the second is as early, or silent
            rule.learn(kernels, np.array([[[0, 0 if k < early else 2], [2, 2]]]), 2)
        assert np.sign(kernels[0, 0, 0, 1] - 0.5) == sign and kernels[0, 0, 0, 0] > 0.5


def test_what_the_next_layer_hears():
    step = np.array([[[1, 5], [5, 3]], [[1, 2], [5, 2]]])
    v = np.array([[[2.0, 0.0], [0.0, 9.0]], [[3.0, 1.0], [0.0, 1.0]]])
    # equal times: the higher membrane; the earlier one else; where none fires, none
    assert first_of_maps(step, v, 5).tolist() == [[[5, 5], [5, 5]], [[1, 2], [5, 2]]]
    assert pooled(np.arange(25).reshape(1, 5, 5), 2).tolist() == [[[0, 2], [10, 12]]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(threshold=0.0), "threshold = 0.0 must be positive"),
        (dict(threshold=np.nan), "threshold = nan must be positive"),
        (dict(threshold=1.0, winners=0), "winners = 0 must be a whole number, at least 1"),
        (dict(threshold=1.0, winners=1.5), "winners = 1.5 must be a whole number"),
        (dict(threshold=1.0, radius=-1), "radius = -1 must be a whole number, at least 0"),
        (dict(threshold=1.0, radius=np.nan), "radius = nan must be"),
        (dict(threshold=1.0, a_plus=1.0), "a_plus = 1.0 must be at least 0 and below 1"),
    ],
)
def test_mistakes_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        ConvolutionalSTDP(**changed)


def test_inputs_that_do_not_fit_are_named():
    rule, kernels, latency = ConvolutionalSTDP(1.0), first_kernels(2, 1, 3, np.random.default_rng(0)), np.zeros((1, 6, 6), int)
    for wrong in (latency[0], latency.repeat(2, axis=0), latency[:, :2, :2]):
        with pytest.raises(ValueError, match=r"kernels \(2, 1, 3, 3\) do not fit inputs"):
            rule.learn(kernels, wrong, 5)
    with pytest.raises(ValueError, match=r"kernels \(2, 1, 2, 3\) do not fit inputs"):
        rule.learn(kernels[:, :, :2], latency, 5)
    for factor in (np.nan, -1, 3):
        with pytest.raises(ValueError, match="they must start within 0 … 1"):
            rule.learn(factor * kernels, latency, 5)
    with pytest.raises(ValueError, match="steps = 0 must be at least 1"):
        rule.learn(kernels, latency, 0)
    for steps in (0, 2.5):
        with pytest.raises(ValueError, match=f"steps = {steps} must be a whole number"):
            latencies(np.ones(3), steps)
    with pytest.raises(ValueError, match="must not be negative"):
        latencies(np.array([np.nan, 1.0]), 4)
    with pytest.raises(ValueError, match="there are no intensities"):
        latencies(np.zeros((0, 3)), 4)
    for size in (0, 7):
        with pytest.raises(ValueError, match=f"size = {size} of windows"):
            pooled(latency, size)
