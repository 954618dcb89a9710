"""Rate codes: means and variances of what is drawn, the intervals of what is not; phase, burst and direct current."""

import numpy as np
import pytest

from spiketwin.models.decoders import count, mean_interval_ms, rate_hz
from spiketwin.models.distances import isi_cv
from spiketwin.models.encoders import (
    bernoulli,
    bernoulli_rate_hz,
    burst,
    burst_count,
    burst_interval_ms,
    direct_current,
    direct_current_rate_hz,
    direct_current_value,
    phase,
    phase_rate_hz,
    phase_value,
    poisson,
    poisson_rate_hz,
    regular,
    regular_rate_hz,
)
from spiketwin.models.engines import get_engine
from spiketwin.models.network import Network, Population
from spiketwin.models.neurons import NEURONS, neuron
from spiketwin.models.units import UnitError


@pytest.mark.parametrize(
    ("encode", "expected", "probability"),
    # 300 Hz for 1 ms: 0.3 spikes a step; 1 - exp(-.3) = .2592 of the steps hold one
    [(bernoulli, bernoulli_rate_hz, 0.3), (poisson, poisson_rate_hz, 0.25918)],
)
def test_drawn_trains_have_mean_variance_and_waits_of_independent_steps(encode, expected, probability):
    trains, steps = 4000, 100
    x = np.full((1, trains), 0.6)
    spikes = encode(x, rate_hz=500, duration_ms=steps, seed=1)
    counts = count(spikes)
    p = probability
    assert expected(x[:, :1], rate_hz=500) == pytest.approx(p * 1000, rel=1e-4)
    assert rate_hz(spikes).mean() == pytest.approx(p * 1000, abs=5 * 1000 * np.sqrt(p * (1 - p) / steps / trains))
    # the variance of a binomial count, T p (1 - p); its own relative deviation is sqrt(2/trains)
    assert counts.var() == pytest.approx(steps * p * (1 - p), rel=5 * np.sqrt(2 / trains))
    # no step is preferred, and one spike says nothing of the next
    per_step = np.bincount(spikes.step, minlength=steps) / trains
    assert np.abs(per_step - p).max() < 5 * np.sqrt(p * (1 - p) / trains)
    dense = spikes.dense()[:, 0].astype(float)
    assert (dense[1:] * dense[:-1]).mean() == pytest.approx(p * p, abs=5 * p / np.sqrt(steps * trains))


def test_long_trains_have_their_rates():
    x = np.array([[0.0, 0.5, 1.0]])
    spikes = poisson(x, rate_hz=100, duration_ms=20_000, dt_ms=1, seed=3)
    # 2000 spikes expected in the last: 5 sigma = 5 sqrt(2000) = 224; the grid merges 5 % of them
    assert spikes.counts()[0] == pytest.approx(20_000 * -np.expm1([0, -0.05, -0.1]), abs=224)
    # intervals of a Poisson train vary as much as they last; on the grid sqrt(1 - p); 5/sqrt(2000) = .11
    assert isi_cv(spikes)[0, 2] == pytest.approx(np.sqrt(0.905), abs=0.11)


def test_certainty_is_a_spike_in_every_step():
    spikes = bernoulli([[1.0, 0.0]], rate_hz=1000, duration_ms=50)
    assert spikes.counts().tolist() == [[50, 0]]
    assert len(bernoulli([[1e-300, 5e-324]], rate_hz=1000, duration_ms=50)) == 0


def test_regular_spikes_by_hand():
    # x rate = 50 and 40 Hz: intervals of 20 and 25 ms, the first spike after half of one
    spikes = regular([[0.5, 0.4, 0.0]], rate_hz=100, duration_ms=100)
    times = [spikes.times_ms()[spikes.neuron == n] for n in range(3)]
    assert times[0] == pytest.approx([10, 30, 50, 70, 90])
    assert times[1] == pytest.approx([12.5, 37.5, 62.5, 87.5])
    assert times[2].size == 0
    assert mean_interval_ms(spikes)[0, :2] == pytest.approx([20, 25])


def test_regular_rates_are_rounded_counts():
    x = np.linspace(0, 1, 1001)[None]
    spikes = regular(x, rate_hz=123, duration_ms=200, dt_ms=0.5)
    np.testing.assert_allclose(rate_hz(spikes), regular_rate_hz(x, rate_hz=123, duration_ms=200), rtol=1e-12)
    assert np.abs(rate_hz(spikes) - 123 * x).max() <= 0.5 / 0.2 + 1e-9
    # half-way: 2.5 spikes in 25 ms, where the third would come with the end
    assert count(regular([[1.0]], rate_hz=100, duration_ms=25)).item() == 2
    assert regular_rate_hz([[1.0]], rate_hz=100, duration_ms=25).item() == 80


def test_phases_are_binary_digits():
    # .625 = 1/2 + 1/8 = .101, .3 = .0100110… cut to .0100, 1 becomes .1111
    spikes = phase([[0.625, 0.3, 1.0]], phases=4, phase_ms=2, periods=2, dt_ms=0.5)
    assert spikes.shape == (32, 1, 3)  # 2 periods of 4 phases of 4 steps
    times = [spikes.times_ms()[spikes.neuron == n].tolist() for n in range(3)]
    assert times == [[0, 4, 8, 12], [2, 10], [0, 2, 4, 6, 8, 10, 12, 14]]
    assert phase_value(spikes, phases=4, phase_ms=2)[0].tolist() == [0.625, 0.25, 0.9375]
    # two ones, one and four of 8 ms
    assert phase_rate_hz([[0.625, 0.3, 1.0]], phases=4, phase_ms=2)[0].tolist() == [250, 125, 500]
    with pytest.raises(ValueError, match="shorter than a period"):
        phase_value(spikes, phases=16, phase_ms=2)


def test_phase_rates_are_those_of_the_spikes():
    x = np.random.default_rng(0).random((4, 50))
    np.testing.assert_allclose(rate_hz(phase(x, phases=10, periods=3)), phase_rate_hz(x, phases=10), rtol=1e-12)


def test_bursts_by_hand():
    # ceil(5 · .5) = 3 spikes, 20 - 18 · .5 = 11 ms apart; ceil(.5) = 1; 5 spikes 2 ms apart
    spikes = burst([[0.5, 0.1, 1.0, 0.0]])
    times = [spikes.times_ms()[spikes.neuron == n].tolist() for n in range(4)]
    assert times == [[0, 11, 22], [0], [0, 2, 4, 6, 8], []]


def test_bursts_have_their_count_and_interval():
    x = np.linspace(0, 1, 401)[None]
    settings = dict(shortest_ms=1.5, longest_ms=9)
    spikes = burst(x, spikes_max=20, duration_ms=80, dt_ms=0.5, **settings)
    many = burst_count(x, spikes_max=20)
    np.testing.assert_array_equal(count(spikes), many)
    assert burst_count([[0.55]], spikes_max=20).item() == 11  # 20 · .55 = 11.000000000000002
    found = mean_interval_ms(spikes)
    np.testing.assert_allclose(found[many > 1], burst_interval_ms(x, **settings)[many > 1], rtol=1e-9)
    assert np.isnan(found[many < 2]).all() and (many < 2).sum() > 10


LIF = dict(tau_mem_ms=20, v_threshold_mv=20, v_reset_mv=10, tau_ref_ms=2)  # as `lif`, in mV above rest


def test_a_direct_current_makes_a_leaky_neuron_fire_at_the_rate_of_the_closed_form():
    x = np.linspace(0, 1, 11)[None].repeat(2, axis=0)
    current = direct_current(x, amplitude="0.5 nA", duration_ms=500, dt_ms=0.05)
    assert current.shape == (10_000, 2, 11) and current[7, 1, 10] == 0.5e-9
    assert current.strides[0] == 0 and current.base.nbytes == 22 * 8  # one step in memory
    network = Network([Population("cells", neuron("lif"), 11)])
    run = get_engine("compiled").run(network, {"cells.i_ext": current}, dt_ms=0.05, scheme="exact")
    spikes = run.spikes["cells"]
    expected = direct_current_rate_hz(x, drive_mv=50, **LIF)  # 100 Mohm · 0.5 nA
    assert (expected[0] > 0).sum() == 6 and expected.max() > 80
    fires = expected > 0
    assert (count(spikes) > 0)[fires].all() and not count(spikes)[~fires].any()
    # the grid moves an interval by less than a step
    assert mean_interval_ms(spikes)[fires] == pytest.approx(1e3 / expected[fires], abs=0.05)
    # and the value comes back where there is a rate. drive = (20 - 10 e)/(1 - e) with e = exp(-T/20 ms), so
    # d drive/dT = -10 e/(1 - e)²/20; for the largest drive, 50 mV, e = .75: 6 mV per ms, that is .3 mV of 50 per step
    found = direct_current_value(spikes, drive_mv=50, **LIF)
    assert found[fires] == pytest.approx(x[fires], abs=0.3 / 50)
    assert (found[~fires] == 0).all()


def test_a_current_needs_a_unit():
    with pytest.raises(UnitError, match="'apples'"):
        direct_current([[1.0]], amplitude="3 apples", duration_ms=1)
    for amplitude, dimension in (("5 s", "second"), ("5 ohm", "ohm"), ("0.5", "1")):
        with pytest.raises(UnitError, match=f"is in {dimension}, which drives no neuron"):
            direct_current([[1.0]], amplitude=amplitude, duration_ms=1)
    # what drives and receptors of declared models are in
    for model in NEURONS.values():
        for name in (*model.drives, *model.inputs):
            assert direct_current([[1.0]], amplitude=f"2 {model.si_unit(name)}", duration_ms=1).item() == 2
