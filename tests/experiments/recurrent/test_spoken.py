"""Listening networks and their study; the Heidelberg digits from files in their format."""

import numpy as np
import pytest
import torch

from spiketwin.experiments import experiment
from spiketwin.experiments.data import DataError, EventSamples
from spiketwin.experiments.data.events import HeldEvents
from spiketwin.experiments.studies.recurrent import spoken
from spiketwin.experiments.studies.recurrent.spoken_networks import Counted, delayed, recurrent
from spiketwin.models.spikes import Spikes
from spiketwin.rules.surrogate import fast_sigmoid

TAUS_MS = (20.0, 10.0, 50.0)


class FixedDraws:
    """Gives what it was given."""

    def __init__(self, *draws):
        self.draws = np.array(draws)

    def integers(self, low, high, size):
        assert (low, high, size) == (-2, 3, len(self.draws))
        return self.draws


def test_a_word_moves_as_a_whole_and_what_leaves_the_grid_is_lost():
    words = Spikes([0, 1, 3, 4], [0, 0, 1, 1], [2, 0, 1, 2], (5, 2, 3), 10.0)
    moved = spoken.shifted(words, 20.0, FixedDraws(-1, 1))
    # word 0 loses its spike in step 0, word 1 that in step 4
    assert list(zip(moved.step, moved.batch, moved.neuron)) == [(0, 0, 0), (4, 1, 1)] and moved.shape == (5, 2, 3)


def test_events_are_counted_by_channel_and_part_of_the_time():
    # 100 ms in two parts: channel 1 at 10, 20, 60 ms; channel 0 at 49 ms of the second word; 120 ms is too late
    events = HeldEvents(np.array([10.0, 20, 60, 49, 120]), np.array([1, 1, 1, 0, 0]), np.array([0, 3, 5]))
    samples = EventSamples(events, np.arange(2), np.zeros(2, int), 2)
    config = spoken.Config(duration_ms=100.0)
    assert spoken.counted(samples, config, 2).tolist() == [[0, 2, 0, 1], [1, 0, 0, 0]]
    assert spoken.counted(samples, config, 1).tolist() == [[0, 3], [1, 0]]


def test_the_recurrent_network_takes_events_and_says_the_same_as_the_network_it_is():
    net = recurrent(12, 8, 3, taus_ms=TAUS_MS, scale=4.0, seed=1, dt_ms=10.0, surrogate=fast_sigmoid(10))
    rng = np.random.default_rng(0)
    words = Spikes.from_dense((rng.random((30, 2, 12)) < 0.1).astype(int), 10.0)
    run = net(words)
    assert run.output.shape == (30, 2, 3) and list(run.spikes) == ["hidden"] and run.spikes["hidden"].sum() > 0
    assert {s.path for s in net.inside.plan().steps if s.name == "input_to_hidden"} == {"events"}
    from spiketwin.models.engines.torch import TorchNetwork

    again = TorchNetwork(net.to_network(), dt_ms=10.0)({"input": torch.tensor(words.dense(np.float32))}, record={"output": ("v",)})
    # output is v at the end of a step, in mV; a state is recorded at its start
    torch.testing.assert_close(run.output[:-1].detach(), 1e3 * again.states["output"]["v"][1:].detach(), rtol=1e-4, atol=1e-6)
    # one step adds 1 mV per nA to v, after which it decays
    unit = recurrent(1, 1, 1, taus_ms=TAUS_MS, scale=1.0, seed=0, dt_ms=10.0).double()
    weight = unit.to_network().projections[0].values().item()
    first = unit.inside({"input": Spikes([0], [0], [0], (3, 1, 1), 10.0)}, record={"hidden": ("v",)}).states["hidden"]["v"][:, 0, 0]
    assert 1e3 * first[2].item() == pytest.approx(weight, rel=1e-6)


def listening(anneal_batches):
    return delayed("FC6d40-FC2", 4, taus_ms=TAUS_MS, scale=3.0, dt_ms=10.0, seed=0, anneal_batches=anneal_batches)


def test_delays_sharpen_while_training_and_go_on_where_they_were():
    """From 20 ms, half the longest delay, to 5 ms, half a step: after 2 of 4 passes sqrt(20 · 5) = 10 ms."""
    net, x = listening(4), torch.zeros(5, 1, 4)
    (layer,) = net.net.delayed_layers()
    net.eval()(x)
    assert int(net.passes) == 0
    net.train()
    for _ in range(3):
        net(x)
    assert layer.sigma_ms.item() == pytest.approx(10)
    other = listening(4)
    other.load_state_dict(net.state_dict())
    for _ in range(2):
        other(x)
    assert next(other.net.delayed_layers()).sigma_ms.item() == pytest.approx(5)


def test_a_delay_is_learned_in_its_own_unit_and_stays_in_bounds():
    """Adam's first step has the length of its rate: .001 of 100 steps of 10 ms is 1 ms."""
    net = listening(1)
    (layer,) = net.net.delayed_layers()
    counted = layer.parametrizations.delay_ms.original
    with torch.no_grad():
        counted.fill_(0.02)
    before = layer.delay_ms.detach().clone()
    assert before.unique().tolist() == pytest.approx([20.0])
    optimiser = torch.optim.Adam([counted], lr=1e-3)
    x = (torch.rand(20, 2, 4, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    net.train()(x).final["neurons1"]["v"].sum().backward()
    optimiser.step()
    assert counted.grad.abs().min() > 0 and (layer.delay_ms - before).abs().detach().flatten().tolist() == pytest.approx(
        [1.0] * 24, rel=1e-2
    )
    with torch.no_grad():
        counted[0, 0], counted[1, 1] = -1.0, 7.0
    assert layer.delay_ms.min() == 0 and layer.delay_ms.max() == 40
    assert Counted(5.0, 10.0).right_inverse(torch.tensor(10.0)) == 2


def test_an_unknown_listener_is_named():
    with pytest.raises(ValueError, match="unknown listener 'cnn'; choose from rsnn, delays, linear"):
        spoken.Config(listeners=("cnn",))


def test_a_seed_without_a_speaker_of_its_own_is_refused():
    for seed in (6, -1):
        with pytest.raises(ValueError, match=rf"seed = {seed} has no speaker .* 0 \(george\), .* 5 \(yweweler\), or voices = 'known'"):
            spoken.load(spoken.Config(), seed)


def test_epochs_of_either_network_are_checked_before_one_is_trained():
    for name in ("epochs", "delay_epochs"):
        with pytest.raises(ValueError, match=f"{name} = 0 must be positive"):
            spoken.Config(**{name: 0})


def test_spoken_smoke(data_dir):
    data_dir("fsdd")
    result = experiment("spoken").smoke()
    # ten classes, four epochs of a third of the words
    assert result.mean("validation_accuracy") > 30 and result.mean("spikes_per_neuron") > 0
    assert result.mean("validation_accuracy_delays") > 15 and result.mean("spikes_per_neuron_delays") > 0
    assert result.mean("test_accuracy_linear_binned") > result.mean("test_accuracy_linear_counts") > 30


def test_parameter_study_of_spoken_smoke(data_dir):
    data_dir("fsdd")
    result = experiment("parameter_study_spoken").smoke()
    assert result.mean("points") == 4 and result.mean("failed") == 0 and result.mean("span_regulariser") > 0


# -- the Heidelberg digits -------------------------------------------------------------------------------------


def test_files_in_the_format_of_the_heidelberg_digits_are_learned_from():
    """Five classes that differ by latencies alone: counts of each channel tell nothing, and the network nearly all, of new speakers."""
    result = experiment("shd").smoke()
    assert result.mean("test_accuracy") > 80 and result.mean("test_accuracy_linear_counts") < 45
    assert result.mean("test_accuracy_delays") > 30
    # five classes, six words each; two of eight speakers for test, two for validation
    assert "120 / 60 / 60; train: " in result.provenance["split"]


def test_the_grid_of_the_thesis_runs_on_files_in_that_format(tmp_path):
    result = experiment("parameter_study_shd").smoke()
    assert result.mean("points") == 4 and result.mean("failed") == 0 and result.mean("span_regulariser") > 0
    # three classes, four words each; two of six speakers for test, two for validation
    assert "24 / 24 / 24; train: " in result.provenance["split"]
    with pytest.raises(DataError, match="there is no file .*shd_train.h5"):
        spoken.load(spoken.Config(data="shd", files=str(tmp_path)), 0)
