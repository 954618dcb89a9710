"""Reward-modulated learning: what is presented and rewarded, how success is counted, and that a small run learns and resumes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spiketwin.experiments.protocol import combine
from spiketwin.experiments.studies.learning_rules.rewards import conditioning as task
from spiketwin.experiments.studies.learning_rules.rewards import reward, xor
from spiketwin.experiments.studies.learning_rules.rewards.reward import SMOKE, Config, RewardError, success, trials_to_criterion

SMALL = replace(SMOKE, learners=4, groups=4, duration_ms=30_000.0)


def test_rewards_follow_the_own_group_and_those_of_controls_do_not():
    what = task.events(SMALL, 0)
    assert 0.1 < np.diff(what.at_ms).min() / 1e3 + 1e-9 and np.diff(what.at_ms).max() < 300
    for k, own in enumerate(task.own_group(SMALL)):
        rewards = what.reward_step[what.reward_neuron == k]
        late = rewards[:, None] - what.at_ms[what.group == own]
        follows = ((late > 99) & (late < 500)).any(axis=1)
        assert follows.all() if k < 4 else not follows.all()
        assert len(rewards) > 15


def test_small_punishments_take_away_the_mean_reward():
    """A learner's stimulus comes every .2 s · groups; every 100 ms takes .1/(.2 groups) of a reward away."""
    usual = task.network(SMALL).projections[2].weights
    per_second = task.spikes(SMALL, task.events(SMALL, 0), 0, 0.0)["usual"].counts()[0] / 10
    np.testing.assert_allclose(usual[:, 0] * per_second, -1 / (0.2 * 4))


def test_success_and_trials_are_counted():
    own_and_other = np.array([[[1.0, 3.0], [2.0, 2.0]]])
    assert success(own_and_other).tolist() == [[0, 100]]
    # fails for good after: block 1, never, in the last one
    found = np.array([[0, 100, 0], [100, 100, 100], [100, 100, 0]])
    assert trials_to_criterion(found, 10.0).tolist() == [20, 10, 30]


def test_a_stopped_run_goes_on(tmp_path):
    whole = reward.learn(SMALL, 1, quiet=True)
    short = replace(SMALL, keep_every=1)
    path = tmp_path / "kept.npz"

    class Stop(Exception):
        pass

    def stopping(*arguments, spikes=task.spikes):
        if arguments[3] == 2 * task.BLOCK_MS:
            raise Stop
        return spikes(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "spikes", stopping)
        with pytest.raises(Stop):
            reward.learn(short, 1, path=path, quiet=True)
    assert path.is_file()
    np.testing.assert_array_equal(reward.learn(short, 1, path=path, quiet=True), whole)
    with pytest.raises(RewardError, match=r"kept\.npz is from other settings"):
        reward.learn(replace(short, eta_hz=2.0), 1, path=path, quiet=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learners": 0}, "learners = 0 must be at least 1"),
        ({"groups": 1}, "groups = 1 must be at least 2"),
        ({"dt_ms": -1.0}, "dt_ms = -1.0 must be positive"),
        ({"dt_ms": 3.0}, "500 ms a multiple of it"),
        ({"background_hz": -1.0}, "background_hz = -1.0 must not be negative"),
        ({"input_hz": float("nan")}, "input_hz = nan must not be negative"),
        ({"background_hz": 5000.0}, "nor more than one spike in dt_ms = 1.0"),
        ({"duration_ms": float("nan")}, "duration_ms = nan must be a multiple of 10000 ms"),
        ({"delay_ms": (3000.0, 1000.0)}, "must be the shortest and the longest delay"),
        ({"duration_ms": 15_000.0}, "duration_ms = 15000.0 must be a multiple of 10000 ms"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(RewardError, match=message):
        Config(**settings)


@pytest.fixture(scope="module")
def smoke():
    return reward.smoke()


def test_rewarded_synapses_win_and_output_spikes_follow_the_answer(smoke):
    found = smoke
    assert found.experiment == "reward" and found.metrics["success_by_chance"]["mean"] == 12.5
    assert found.mean("success") > found.mean("success_of_controls")
    assert found.mean("own_weight_mv") > found.mean("own_weight_of_controls_mv") + 0.1
    counts = np.array(found.curves["xor_spikes"])
    assert counts.shape == (20, 4) and counts.sum() > 100
    share = counts[:, 1:3].sum(axis=1) / counts.sum(axis=1)  # of spikes at patterns that mean 1
    assert share[-5:].mean() > share[:5].mean() + 0.1


def test_the_figure_shows_the_curves_of_every_seed(smoke):
    alone, two = reward.draw(smoke), reward.draw(combine([smoke, replace(smoke, seeds=(1,))]))
    for figure, lines in ((alone, 2), (two, 3)):  # a line of each seed, and the mean
        found, weights, patterns = figure.axes
        assert [len(axes.lines) for axes in (found, weights, patterns)] == [2 * lines + 1, 3 * lines, 4 * lines + 1]
        np.testing.assert_allclose(np.asarray(found.lines[lines - 1].get_ydata()), smoke.curves["success"])
        np.testing.assert_allclose(np.asarray(weights.lines[0].get_ydata()), smoke.curves["own_weight_mv"])
    # spikes in five epochs of 500 ms at the pattern 0 1, per second
    spikes = np.array(smoke.curves["xor_spikes"])
    assert alone.axes[2].lines[2].get_ydata()[0] == pytest.approx(spikes[:5, 1].sum() / 2.5)


def test_an_epoch_of_exclusive_or():
    order, spikes = xor.lesson(SMALL, 0, 0)
    assert sorted(order) == [0, 1, 2, 3] and xor.ANSWERS.tolist() == [0, 1, 1, 0]
    vetoed = {name: spikes[f"no_{name}"].counts()[0] for name in ("reward", "punishment")}
    assert vetoed["reward"][0] == vetoed["punishment"][0] == 1000, "reward is held back in two of four patterns, punishment in the others"
    silent = xor.lesson(SMALL, 0, 0, teach=False)[1]
    assert (silent["no_reward"].counts() == 2000).all() and (silent["no_punishment"].counts() == 2000).all()
    # a pattern of 0 0 is silent, one of 1 1 has twice the spikes
    per_pattern = np.bincount(order[spikes["input"].step // 500], minlength=4)
    assert per_pattern[0] == 0 and per_pattern[3] > 1.6 * per_pattern[1] > 500
    assert xor.margin(np.array([[0, 5, 4, 3.0], [0, 5, 2, 3]])).tolist() == [1, -1]
