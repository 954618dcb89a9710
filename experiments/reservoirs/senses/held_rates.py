"""Rates that change from frame to frame as spike trains without chance. The encoder `regular` is for rates that stay.

a channel fires where its phase, the integral of its rate, passes a whole number
"""

from __future__ import annotations

import numpy as np

from spiketwin.models.encoders.shared import ROUNDING, whole_steps
from spiketwin.models.spikes import Spikes


def held_rates(rates_hz: np.ndarray, *, dt_ms: float, duration_ms: float) -> Spikes:
    """Spikes of rates [samples, frames, channels], each frame held for an equal share of the duration; one in a step at most.

    A channel fires where its phase, the integral of its rate, passes a whole number; phases start apart, so that equal rates are not in step.
    """
    steps, (samples, frames, channels) = whole_steps(duration_ms, dt_ms, "duration_ms"), rates_hz.shape
    begins = -(-np.arange(frames + 1) * steps // frames)
    rate = rates_hz * (dt_ms * 1e-3)
    phase = np.zeros((samples, frames + 1, channels))
    np.cumsum(rate * np.diff(begins)[:, None], axis=1, out=phase[:, 1:])
    phase += np.arange(channels) * 0.6180339887 % 1
    passed = np.floor(phase + ROUNDING)
    many = np.diff(passed, axis=1).astype(int)
    where = np.nonzero(many)
    each = many[where]
    nth = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
    sample, frame, channel = (np.repeat(index, each) for index in where)
    ahead = passed[sample, frame, channel] + 1 + nth - ROUNDING - phase[sample, frame, channel]
    step = begins[frame] + np.ceil(ahead / rate[sample, frame, channel]).astype(int) - 1
    key = np.unique((np.clip(step, begins[frame], begins[frame + 1] - 1) * samples + sample) * channels + channel)
    row, channel = np.divmod(key, channels)
    return Spikes(*np.divmod(row, samples), channel, shape=(steps, samples, channels), dt_ms=dt_ms)
