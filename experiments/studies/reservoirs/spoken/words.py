"""What all listeners of spoken_digits hear: a word as the spikes of mel bands, at one pace and one loudness.

    emphasis   x[t] - .97 x[t - 1]
    level      ln(power of a band + e^-6 times the loudest): what lies 26 dB below is drowned, so that recordings are equally noisy
    pace       the mean over each of so many equal parts of the word
    voice      each band's mean over the word is taken away, then all levels of the word are scaled to a deviation of 1
    spikes     a level drives its band's first channel where it is above 0, the second where it is below (senses/on_off.py)

Nothing is learnt, so a word is heard alike in every split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spiketwin.experiments.data import EventSamples
from spiketwin.experiments.data.events import HeldEvents
from spiketwin.experiments.data.recordings import Recordings
from spiketwin.experiments.data.speech import fsdd
from spiketwin.experiments.reservoirs.senses import Spectrogram
from spiketwin.experiments.reservoirs.senses.on_off import on_off
from spiketwin.models.spikes import Spikes

EMPHASIS, DROWNED, LOUDEST = 0.97, 6.0, 0.99


@dataclass(frozen=True, eq=False)
class Words:
    """levels: [B, frames, bands].  events: their spikes.  index: the number of each recording among those of its digit and speaker."""

    levels: np.ndarray
    events: EventSamples
    index: np.ndarray

    def of(self, speaker: str) -> np.ndarray:
        """Which words this speaker said, bool [B]."""
        assert self.events.speakers is not None
        return self.events.speakers == fsdd.SPEAKERS.index(speaker)


def heard(*, bands: int, frames: int, rate_hz: float, dt_ms: float, duration_ms: float, of: Sequence[int] = range(fsdd.INDICES)) -> Words:
    """The 3,000 words of the Free Spoken Digit Dataset, or those with some indices. rate_hz: of a level of 1. Raises DataError as fsdd.load."""
    recordings, index = fsdd.recordings()
    recordings, index = recordings[np.isin(index, of)], index[np.isin(index, of)]
    levels = np.stack([level(recordings, b, bands, frames) for b in range(len(recordings))])
    spikes = on_off(levels, rate_hz=rate_hz, dt_ms=dt_ms, duration_ms=duration_ms)
    return Words(levels, as_events(spikes, recordings.labels, recordings.speakers), index)


def level(recordings: Recordings, b: int, bands: int, frames: int) -> np.ndarray:
    """Levels of recording b [frames, bands]."""
    x = recordings.signal(b)[:, 0]
    ear = Spectrogram(recordings.rate_hz, bands=bands, lowest_hz=100.0, highest_hz=3800.0, window_ms=32.0, hop_ms=8.0)
    power = np.log(ear.powers(np.append(x[:1], x[1:] - EMPHASIS * x[:-1])[None])[0] + 1e-12)
    drowned = np.logaddexp(power, np.quantile(power, LOUDEST) - DROWNED)
    paced = parts(drowned, frames)
    centred = paced - paced.mean(axis=0)
    return centred / centred.std()


def parts(series: np.ndarray, many: int) -> np.ndarray:
    """Means of a series [steps, channels] over equal parts of its time, [many, channels]; a step that lies in two counts for its share in each."""
    total = np.vstack([np.zeros((1, series.shape[1])), np.cumsum(series, axis=0)])
    edges = np.linspace(0, len(series), many + 1)
    whole = np.minimum(edges.astype(int), len(series) - 1)
    at_edges = total[whole] + (edges - whole)[:, None] * series[whole]
    return np.diff(at_edges, axis=0) * (many / len(series))


def as_events(spikes: Spikes, labels: np.ndarray, speakers: np.ndarray | None = None) -> EventSamples:
    """The spikes as samples, a trial each."""
    order = np.argsort(spikes.batch, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(spikes.batch, minlength=spikes.shape[1]))])
    held = HeldEvents((spikes.step * spikes.dt_ms)[order], spikes.neuron[order], offsets)
    return EventSamples(held, np.arange(spikes.shape[1]), labels, spikes.shape[2], speakers)
