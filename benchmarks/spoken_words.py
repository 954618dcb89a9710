"""Spoken digits through a liquid of 1,000 neurons, and through an echo state network of as many units: time per word.

Both hear what the listeners of the study spoken_digits hear, a word of 400 ms in 24 bands: the liquid as spikes in 800 steps of .5 ms, with
delays of its own, the echo state network (reservoirpy) as levels in 40 steps. Timed is the way from words to rows of features for a read-out,
as a user goes it; the front end before it is not. Memory holds a hundred words at a time, however many there are.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from harness import Benchmark, BenchmarkError, Outcome, System, main
from spiketwin.experiments.data import DataError
from spiketwin.experiments.reservoirs.senses.on_off import on_off
from spiketwin.experiments.studies.reservoirs.spoken import listeners
from spiketwin.experiments.studies.reservoirs.spoken.spoken_digits import Config
from spiketwin.experiments.studies.reservoirs.spoken.words import Words, as_events, heard

CONFIG = replace(Config(), dt_ms=0.5)
SIZE, WORDS, ALL = 1000, 300, 3000


def words(count: int) -> Words:
    """The first recordings of each digit and speaker; slowly changing noise where the recordings are missing."""
    how = dict(rate_hz=CONFIG.rate_hz, dt_ms=CONFIG.dt_ms, duration_ms=CONFIG.duration_ms)
    try:
        return heard(bands=CONFIG.bands, frames=CONFIG.frames, of=range(count // 60), **how)
    except DataError:
        rng = np.random.default_rng(0)
        levels = np.cumsum(rng.normal(0, 0.3, (count, CONFIG.frames, CONFIG.bands)), axis=1)
        spikes = on_off(levels, **how)
        return Words(levels, as_events(spikes, np.zeros(count, int)), np.zeros(count, int))


def system(name: str, states: Callable[[Words], np.ndarray], count: int, **about) -> System:
    """states: words -> rows of features."""

    def prepare(threads: int) -> Callable[[], Outcome]:
        shown = words(count)

        def run() -> Outcome:
            with contextlib.redirect_stdout(io.StringIO()):
                rows = states(shown)
            return Outcome({"rows": len(rows), "width": rows.shape[1], "sum": float(rows.sum())})

        return run

    return System(name, prepare, units=count, **about)


def check(outcomes) -> None:
    for name, runs in outcomes.items():
        if len({tuple(run.values()) for run in runs}) > 1 or not np.isfinite(runs[0]["sum"]) or runs[0]["sum"] == 0:
            raise BenchmarkError(f"'{name}' gives {runs}; the same words must give the same rows, and not nothing")


def benchmark(quick: bool) -> Benchmark:
    size, count = (100, 60) if quick else (SIZE, WORDS)
    return Benchmark(
        "spoken_words",
        f"How long does a word of 400 ms take through a reservoir of {size} units?",
        [
            system(
                "spiketwin, liquid",
                lambda words: listeners.liquid_states(words, CONFIG, size, 0, connected=True, quiet=True),
                count,
                is_peer=False,
            ),
            system(
                "reservoirpy, echo state network",
                lambda words: listeners.echo_states(words, CONFIG, size, 0, quiet=True),
                count,
                differs="tanh units in 40 steps, no spikes and no delays",
                library="reservoirpy",
            ),
        ],
        unit="word",
        check=check,
        notes={"size": f"{size} units, {count} words a run; {ALL:,} words take {ALL / 1000:g} s for each ms of a word"},
    )


if __name__ == "__main__":
    main(benchmark)
