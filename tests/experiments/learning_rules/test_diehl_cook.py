"""The network of Diehl & Cook: how it is built, and how images are shown to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spiketwin.experiments.studies.learning_rules import diehl_cook
from spiketwin.experiments.studies.learning_rules.diehl_cook import (
    EXCITATORY,
    INHIBITORY,
    INPUT,
    LEARNING,
    STABLE,
    Protocol,
    build,
    present,
    show,
    start,
)
from spiketwin.models.engines import get_engine
from spiketwin.models.spikes import Spikes

SMALL = dict(neurons=16, inputs=100, seed=2)


@pytest.fixture(scope="module")
def images():
    """Three blobs on 10 x 10 pixels."""
    y, x = np.mgrid[:10, :10]
    return [np.exp(-((x - a) ** 2 + (y - b) ** 2) / 8).ravel() for a, b in ((2, 2), (7, 3), (4, 7))]


def test_the_published_wiring():
    network = build(400, seed=1)
    learning, excite, inhibit = network.projections
    assert learning.shape == (400, 784) and learning.name == LEARNING
    # .3 (U(0, 1) + .01): mean .153; delays U(0, 10 ms)
    assert 0.003 <= learning.weights.min() and learning.weights.max() <= 0.303
    assert learning.weights.mean() == pytest.approx(0.153, abs=1e-3)
    assert 0 <= learning.delay_ms.min() and learning.delay_ms.max() <= 10 and learning.delay_ms.mean() == pytest.approx(5, abs=0.03)
    assert learning.normalisation.total == 78
    np.testing.assert_array_equal(excite.weights.toarray(), 10.4 * np.eye(400))
    np.testing.assert_array_equal(inhibit.weights, 17 - 17 * np.eye(400))
    assert network.population(EXCITATORY).initial_values()["v"][0] == pytest.approx(-0.105)
    assert network.population(INHIBITORY).initial_values()["v"][0] == pytest.approx(-0.100)


def test_images_are_learnt(images):
    session = start(**SMALL)
    before = session.weights(LEARNING)
    responses = list(show(session, images * 2))
    assert all(r.counts.shape == (16,) and r.counts.sum() >= 5 for r in responses)
    presentations = sum(r.presentations for r in responses)
    assert session.time_ms == presentations * 500
    after = session.weights(LEARNING)
    assert not np.array_equal(before, after)
    # theta counts spikes, those of failed presentations and of the rest included
    spikes = (1e3 * session.state(EXCITATORY, "theta") - 20) / 0.05
    assert spikes.sum() >= sum(r.counts.sum() for r in responses)
    session.normalise()
    np.testing.assert_allclose(session.weights(LEARNING).sum(axis=1), 78 * 100 / 784, rtol=1e-12)


def test_a_faint_image_is_shown_again_and_stronger(images, monkeypatch):
    session = start(**SMALL)
    seen = []
    run = session.run
    monkeypatch.setattr(session, "run", lambda inputs=None, **more: seen.append(inputs) or run(inputs, **more))
    faint = images[0] * 0.7
    response = present(session, faint)
    assert response.presentations > 1 and response.counts.sum() >= 5
    shown = [inputs[INPUT] for inputs in seen if inputs]
    assert len(shown) == response.presentations == len(seen)
    for k, rates in enumerate(shown):
        np.testing.assert_allclose(rates, faint * 255 / 8 * (2 + k))


def test_a_black_image_is_given_up(images):
    response = present(start(**SMALL), np.zeros(100), Protocol(most_presentations=3))
    assert response.presentations == 3 and response.counts.sum() == 0


def test_presentations_equal_those_of_brian2(images):
    """Two images, rests included, by the trains that the session drew, with the normalisation before each: equal spikes, and weights to 1e-9."""
    protocol = replace(Protocol(), image_ms=200.0, rest_ms=50.0)
    network = build(**SMALL)
    learning = network.projections[0]
    regular = replace(learning, normalisation=replace(learning.normalisation, every_ms=250.0))
    network = replace(network, projections=(regular, *network.projections[1:]))
    session, steps, neurons, counts = start(protocol=protocol, **SMALL), [], [], []
    for k, image in enumerate(images[:2]):
        rates = {INPUT: image * 25 * protocol.rate_hz}
        spikes = session.draw(rates, duration_ms=200)[INPUT]
        steps.append(spikes.step + 500 * k)
        neurons.append(spikes.neuron)
        session.normalise()
        counts += [session.run(r, duration_ms=ms).spikes[EXCITATORY].counts() for r, ms in ((rates, 200), ({}, 50))]
    step = np.concatenate(steps)
    spikes = Spikes(step, np.zeros_like(step), np.concatenate(neurons), (1000, 1, 100), 0.5)
    for engine in ("brian", "compiled"):
        whole = get_engine(engine).run(network, {INPUT: spikes}, dt_ms=0.5, scheme="euler")
        assert whole.spikes[EXCITATORY].counts().sum() > 10
        np.testing.assert_array_equal(whole.spikes[EXCITATORY].counts(), sum(counts))
        np.testing.assert_allclose(session.weights(LEARNING), learning.matrix(whole.weights[LEARNING][0]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Protocol(image_ms=0), "image_ms = 0 must be positive"),
        (lambda: Protocol(rest_ms=0.1), "rest_ms = 0.1 must last a step"),
        (lambda: present(start(**SMALL), np.full(100, 255)), "between 255 and 255; scale them to 0 … 1"),
        (lambda: present(start(**SMALL), np.zeros(64)), "one value, 100, or 100 for each stimulus, got shape"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_digits(data_dir):
    """Six MNIST images, 30 neurons."""
    data_dir("mnist")
    from spiketwin.experiments.data import load

    session = diehl_cook.start(30, seed=1)
    responses = list(show(session, load("mnist").train.intensities[:6]))
    assert all(5 <= r.counts.sum() < 200 for r in responses)


@pytest.mark.parametrize(("scheme", "neurons", "rings"), [("euler", 20, False), ("euler", 400, True), (STABLE, 400, False)])
def test_a_volley_of_inhibition_rings_in_forward_euler_alone(scheme, neurons, rings):
    """All fire at once: 17 nS from each of the others, over 1 nS of leak. Euler multiplies v - e_inh by 1 - 17 (n - 1) dt/tau in each step
    then: with 20 neurons by -.6, with 400 by -33, and the inhibited come out above threshold, all at once."""
    session = start(build(neurons, inputs=4), Protocol(scheme=scheme))
    session.run(duration_ms=20)
    session.state(EXCITATORY, "v")[:] = 0.0
    first, second = (session.run(duration_ms=100).spikes[EXCITATORY].counts().sum() / neurons for _ in range(2))
    assert (first > 10 and second > 10) if rings else (first, second) == (1, 0)
