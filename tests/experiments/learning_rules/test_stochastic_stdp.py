"""Digits by synapses that switch by chance: how often they do, which pixels they settle on, and that their weights keep to their levels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blobs import SIDE, blob_data
from spiketwin.experiments.protocol import Result
from spiketwin.experiments.studies.learning_rules import stochastic_stdp, unsupervised
from spiketwin.experiments.studies.learning_rules.frozen import freeze, respond
from spiketwin.experiments.studies.learning_rules.stochastic_stdp import Config, compare, kinds
from spiketwin.experiments.studies.learning_rules.unsupervised import UnsupervisedError, parts, train
from spiketwin.experiments.studies.learning_rules.unsupervised_figures import draw_bits, save_figure


@pytest.fixture(scope="module")
def data():
    return blob_data()


# of 64 inputs each must count for more than of 784, by its synapse or its sum; few images, so that synapses must switch often
SMALL = Config(
    passes=1,
    neurons=(12,),
    compared=(12,),
    more_levels=(4,),
    label_images=40,
    keep_every=20,
    synapse_ns=3.0,
    p_plus=0.1,
    p_minus=0.1,
    column_sum=300.0,
)


def test_what_is_compared():
    config = Config(neurons=(400, 6400), compared=(400,), more_levels=(4, 16))
    made = dict(kinds(config))
    assert list(made) == ["", "_levels_4", "_levels_16", "_full_precision"]
    assert [kind.neurons for kind in made.values()] == [(400, 6400), (400,), (400,), (400,)]
    assert [stochastic_stdp.bits(kind) for kind in made.values()] == [1, 2, 4, 32]
    assert [made[name].p_end for name in ("", "_levels_4", "_levels_16")] == [1.0, 0.1, 0.1]
    assert list(dict(kinds(replace(config, neurons=(6400,))))) == [""]
    real = made["_full_precision"]
    assert type(real) is unsupervised.Config
    # all that they share is the same for both, and real weights are those of study 1
    assert replace(real, neurons=(400, 6400)) == unsupervised.Config(neurons=(400, 6400), threads=config.threads)


def test_smaller_steps_are_taken_more_often():
    """Three steps of 1/3 for one of 1: on average a weight moves as fast; no probability exceeds 1, and both keep their ratio."""
    rule = replace(SMALL, levels=4).rule
    assert (rule.values["p_plus"], rule.values["levels"]) == (pytest.approx(0.3), 4)
    most = replace(SMALL, levels=16, p_plus=0.1, p_minus=0.04).rule
    assert (most.values["p_plus"], most.values["p_minus"]) == (pytest.approx(1.0), pytest.approx(0.4))  # their ratio stays
    assert SMALL.rule.values["p_plus"] == 0.1


def test_the_network_differs_in_its_synapses_alone():
    """One synapse of weight 1 counts synapse_ns against a leak of 1 nS, inhibition what it counts there; gains, no sum, normalise."""
    ours, theirs = SMALL.network(12, 64, seed=0), SMALL.real.network(12, 64, seed=0)
    learning, real = ours.projections[0], theirs.projections[0]
    assert learning.normalisation is None and real.normalisation is not None
    weights = np.asarray(learning.weights)
    assert set(np.unique(weights)) == {0.0, 1.0}
    # 768 synapses, half of them on: three standard deviations are 42
    assert abs(weights.sum() - 384) < 42
    np.testing.assert_array_equal(learning.delay_ms, real.delay_ms)
    leak_ns = ours.populations[0].parameters["g_leak"]
    assert leak_ns == pytest.approx(1 / 3)
    np.testing.assert_allclose(np.asarray(ours.projections[2].weights) / leak_ns, np.asarray(theirs.projections[2].weights))


def test_probabilities_fall_over_the_training(data, monkeypatch):
    class Session:
        def set_parameters(self, name, **values):
            self.given = (name, {key: round(value, 12) for key, value in values.items()})

    session, config = Session(), replace(SMALL, p_plus=0.1, p_minus=0.04, p_end=0.01)
    for done, share in ((0.0, 1.0), (0.5, 0.1), (1.0, 0.01)):
        config.tune(session, done)
        assert session.given == ("input_to_exc", {"p_plus": round(0.1 * share, 12), "p_minus": round(0.04 * share, 12)})
    # so the last images switch fewer synapses
    see, switched = unsupervised.Learner.see, []

    def watched(self, image, protocol):
        before = self.weights.copy()
        see(self, image, protocol)
        switched.append(int((self.weights != before).sum()))

    monkeypatch.setattr(unsupervised.Learner, "see", watched)
    images = parts(SMALL, data)[0]
    for end in (1.0, 0.01):
        train(replace(SMALL, p_end=end), 12, images, 0, quiet=True)
    lasting, falling = np.array(switched).reshape(2, -1)
    assert falling[:10].sum() > 0.5 * lasting[:10].sum() > 0 and falling[-40:].sum() < 0.2 * lasting[-40:].sum()


def test_dark_pixels_switch_off(data):
    """Pixels that are never bright are hardly ever recent, so their synapses switch off; each other one is bright in a third of the images."""
    images, dark, bright = parts(SMALL, data)[0], [], []
    ink = images.intensities.mean(axis=0)
    for seed in range(4):  # four pixels are dark
        learner = train(SMALL, 12, images, seed, quiet=True)
        fired = learner.weights[learner.learnt["theta"] > 0.0215]  # thirty spikes: (1 - p_minus)^30 = 4 % are left of what was on
        dark.append(fired[:, ink < 0.01].ravel())
        bright.append(fired[:, ink > 0.2].ravel())
    assert np.concatenate(dark).size > 100
    assert np.concatenate(dark).mean() < 0.05 and np.concatenate(bright).mean() > 0.12


def test_it_learns_in_levels_and_a_stopped_run_goes_on_bit_for_bit(data, tmp_path, monkeypatch):
    images = parts(SMALL, data)[0]
    whole = train(SMALL, 12, images, 0, quiet=True)
    assert set(np.unique(whole.weights)) == {0.0, 1.0}
    before = np.asarray(SMALL.network(12, SIDE**2, 0).projections[0].weights)
    assert not np.array_equal(whole.weights, before)
    path, see, shown = tmp_path / "run.npz", unsupervised.Learner.see, []

    def stop_at_50(self, image, protocol):
        if len(shown) == 50:
            raise KeyboardInterrupt
        shown.append(image)
        see(self, image, protocol)

    monkeypatch.setattr(unsupervised.Learner, "see", stop_at_50)
    with pytest.raises(KeyboardInterrupt):
        train(SMALL, 12, images, 0, path=path, quiet=True)
    monkeypatch.setattr(unsupervised.Learner, "see", see)
    resumed = train(SMALL, 12, images, 0, path=path, quiet=True)
    np.testing.assert_array_equal(resumed.weights, whole.weights)
    for name in ("theta", "gain"):
        np.testing.assert_array_equal(resumed.learnt[name], whole.learnt[name])
    with pytest.raises(UnsupervisedError, match="p_plus was 0.1, is 0.2"):
        train(replace(SMALL, p_plus=0.2), 12, images, 0, path=path, quiet=True)


def test_gains_follow_the_weights(data):
    """A neuron with four times as many synapses on is excited half as much by each; a sixth of them count as they are."""
    assert SMALL.gain(np.array([8.0, 32.0, 2.0]), 48).tolist() == [1.0, 0.5, 2.0]
    learner = train(SMALL, 12, parts(SMALL, data)[0], 0, quiet=True)
    np.testing.assert_allclose(learner.learnt["gain"], SMALL.gain(learner.weights.sum(axis=1), SIDE**2), rtol=1e-6)
    assert np.ptp(learner.learnt["gain"]) > 0.1
    network = SMALL.network(12, SIDE**2, 0)
    image = np.full((1, SIDE**2), 0.5)
    loud, soft = (
        respond(freeze(network, learner.weights, {"theta": np.full(12, 0.02), "gain": np.full(12, gain)}), image).sum()
        for gain in (1.0, 0.2)
    )
    assert loud > soft > 0
    without = replace(SMALL, gain_share=0.0).network(12, SIDE**2, 0)
    assert "gain" not in without.populations[0].neuron.states and without.populations[0].neuron.name == "diehl_cook_exc"
    with pytest.raises(UnsupervisedError, match="gain_share = 2 is a share"):
        replace(SMALL, gain_share=2)


def test_what_is_measured(data, tmp_path):
    found, curves = compare(SMALL, data, 0, tmp_path, quiet=True)
    assert found["bits_per_synapse"] == 1
    # three places are easily told apart; chance is a third
    for suffix in ("", "_levels_4"):
        assert found[f"test_accuracy_12{suffix}"] > 60
    assert curves["bits"]["12"]["bits"] == [1, 2, 32]
    assert curves["bits"]["12"]["percent"] == [found[f"test_accuracy_12{s}"] for s in ("", "_levels_4", "_full_precision")]
    kept = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.npz"))
    assert kept == [f"synapses{s}/neurons_12_seed_0.npz" for s in ("_full_precision", "_levels_2", "_levels_4")]
    # a second time they are read, not trained anew: the times that the training took stay
    again, _ = compare(SMALL, data, 0, tmp_path, quiet=True)
    assert again == found


def test_picture(tmp_path):
    figure = draw_bits({"400": {"bits": [1, 2, 32], "percent": [80, 85, 90]}, "6400": {"bits": [1], "percent": [93]}})
    assert save_figure(figure, tmp_path / "bits.png").stat().st_size > 2000


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(levels=1), "levels = 1 must be at least 2"),
        (dict(more_levels=(4, 1)), "levels = 1 must be at least 2"),
        (dict(p_plus=1.5), "p_plus = 1.5 is a probability"),
        (dict(density=0.0), "density = 0.0 is a probability"),
        (dict(synapse_ns=-1.0), "synapse_ns = -1.0 must be positive"),
        (dict(window_ms=0.0), "window_ms = 0.0 must be positive"),
        (dict(vote="plane"), "unknown vote 'plane'"),
    ],
)
def test_mistakes_are_named(changed, message):
    with pytest.raises(UnsupervisedError, match=message):
        Config(**changed)


@pytest.mark.slow
def test_smoke(data_dir):
    data_dir("mnist")
    result = stochastic_stdp.smoke()
    assert result.mean("test_accuracy_20") > 20 and result.mean("test_accuracy_20_full_precision") > 20


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_picture_of_a_result_is_the_mean_of_its_seeds(seeds):
    each = [{"400": {"bits": [1.0, 32.0], "percent": [80.0, 90.0]}}, {"400": {"bits": [1.0, 32.0], "percent": [84.0, 92.0]}}]
    curves = {"bits": each if seeds > 1 else each[0]}
    (line,) = stochastic_stdp.draw(Result("stochastic_stdp", "", {}, tuple(range(seeds)), {}, curves)).axes[0].lines
    assert line.get_label() == "400 neurons"
    assert list(line.get_xdata()) == [1, 32] and list(line.get_ydata()) == ([82, 91] if seeds > 1 else [80, 90])
