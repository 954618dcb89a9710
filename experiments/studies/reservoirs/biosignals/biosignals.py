"""Heartbeats and high-frequency oscillations: delta-coded bands of the signal, a liquid, a linear read-out, and the front end without liquid.

ecg   beats of four classes (N, S, V, F of the AAMI) of new patients: synthetic ones (data/biosignals/synthetic_ecg.py), or MIT-BIH in
      the split of de Chazal et al. 2004
hfo   is there a ripple of 80 to 250 Hz in 200 ms of a synthetic intracranial recording, among sharp transients that ring like one
      (data/biosignals/oscillations.py); also by the power of the ripple's band, with the threshold that is best in training

front_end   the input's spikes, filtered, read by the read-out     layer    those of the liquid's neurons, without connections
liquid      those of the liquid                                    both     front end and liquid side by side
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, recall_score

from spiketwin.experiments.data.biosignals import mit_bih, oscillations, synthetic_ecg
from spiketwin.experiments.data.biosignals.beats import CLASSES, cut
from spiketwin.experiments.data.biosignals.windows import Windows, joined
from spiketwin.experiments.progress import Silent, progress
from spiketwin.experiments.protocol import Result, measured, single
from spiketwin.experiments.studies.reservoirs.biosignals.figure import draw
from spiketwin.experiments.studies.reservoirs.biosignals.systems import SYSTEMS, Chosen, Grid, Task, compare, steps

__all__ = ["OBJECTIVE", "QUESTION", "Config", "draw", "run", "smoke"]

QUESTION = "What does a liquid add to delta-coded heartbeats and intracranial recordings that a linear read-out of the code does not see?"
OBJECTIVE = "ecg_validation_liquid"
SPLIT = "by patient: half of them for test, an eighth for validation, which chooses filters, penalties and the liquid; MIT-BIH: de Chazal et al. 2004"


@dataclass(frozen=True)
class Config:
    """The signals, the liquid, and what is chosen from by validation."""

    heartbeats: Literal["synthetic", "mit_bih"] = "synthetic"
    """Whose beats: synthetic ones, or MIT-BIH, whose files must be here."""
    ecg_patients: int = 48
    """Synthetic patients with heartbeats: half for test, an eighth for validation."""
    beats: int = 50
    """Beats of each."""
    hfo_patients: int = 32
    """Patients with intracranial recordings, split alike."""
    windows: int = 100
    """Windows of 200 ms of each."""
    size: int = 300
    """Neurons of the liquid."""
    ecg_deltas: tuple[float, ...] = (0.15, 0.4, 1.2)
    """Moves that cost a spike, in standard deviations of a band of the electrocardiogram."""
    ecg_other_deltas: tuple[float, ...] = (0.25, 0.75)
    """What else the front end alone chooses from."""
    hfo_deltas: tuple[float, ...] = (1.0, 2.5)
    """The same for the intracranial recordings."""
    hfo_other_deltas: tuple[float, ...] = (0.5, 1.5)
    """And what else the front end alone chooses from."""
    ecg_dt_ms: float = 1.0
    """Time step for heartbeats in ms."""
    hfo_dt_ms: float = 0.5
    """Time step for intracranial recordings in ms."""
    taus_ms: tuple[float, ...] = (10.0, 30.0, 100.0)
    """Time constants of the filter of spikes to choose from, in ms."""
    reads: tuple[int, ...] = (1, 4)
    """Times at which the filtered spikes are read to choose from."""
    input_scales: tuple[float, ...] = (2.0, 4.0)
    """Strengths of the liquid's input to choose from."""
    connection_scales: tuple[float, ...] = (0.5, 1.0)
    """Strengths of its connections to choose from."""

    def __post_init__(self) -> None:
        for name in ("ecg_patients", "hfo_patients"):
            if getattr(self, name) < 4:
                raise ValueError(f"{name} = {getattr(self, name)} must be 4 or more: some for training, validation and test each")

    @property
    def grid(self) -> Grid:
        return Grid(self.taus_ms, self.reads, self.input_scales, self.connection_scales)


def run(config: Config, seed: int, *, folder: Path | None = None, quiet: bool = False) -> Result:
    """Metrics in percent for each system and task, and what was chosen."""
    work = config.ecg_patients + config.hfo_patients + 2 * steps(config.grid)
    with measured(seed=seed, split=SPLIT) as provenance, progress(f"biosignals, seed {seed}", work, quiet=quiet) as show:
        ecg = heartbeats(config, seed, show)
        beats, beats_hz = compare(ecg, config.grid, config.size, seed, done=lambda n: show.update(config.ecg_patients + n))
        begun = config.ecg_patients + steps(config.grid)
        hfo = ripples(config, seed)
        found, found_hz = compare(hfo, config.grid, config.size, seed, done=lambda n: show.update(begun + config.hfo_patients + n))
    metrics = {**of_beats(ecg, beats), "ecg_rate_hz": beats_hz, **of_ripples(hfo, found), "hfo_rate_hz": found_hz}
    for task, systems in (("ecg", beats), ("hfo", found)):
        for system, chosen in systems.items():
            metrics[f"{task}_validation_{system}"] = 100 * chosen.validation
            metrics |= {f"{task}_{name}_{system}": value for name, value in chosen.settings.items()}
    first = {CLASSES[k]: ecg.test.signals[np.argmax(ecg.test.labels == k)].round(2) for k in range(len(CLASSES))}
    curves = {"beats": first, "beats_rate_hz": ecg.test.rate_hz, "window": hfo.test.signals[_example(hfo.test)].round(2)}
    return single(sys.modules[__name__], config, seed, metrics, curves=curves, provenance=provenance)


def smoke() -> Result:
    """A few patients, forty neurons, one liquid: seconds."""
    small = Config(
        ecg_patients=4, beats=25, hfo_patients=4, windows=40, size=40, taus_ms=(30.0,), input_scales=(2.0,), connection_scales=(0.5,)
    )
    return run(small, seed=0, quiet=True)


def heartbeats(config: Config, seed: int, show: Silent) -> Task:
    if config.heartbeats == "mit_bih":
        parts = mit_bih.load()
    else:
        records = []
        for patient in range(config.ecg_patients):
            records.append(synthetic_ecg.record(patient, config.beats, seed=seed))
            show.update(patient + 1)
        parts = split(cut(records, range(config.ecg_patients)))
    return Task(*parts, config.ecg_dt_ms, (config.ecg_deltas, config.ecg_other_deltas), _macro_f1)


def ripples(config: Config, seed: int) -> Task:
    parts = split(joined([oscillations.patient(number, config.windows, seed=seed) for number in range(config.hfo_patients)]))
    return Task(*parts, config.hfo_dt_ms, (config.hfo_deltas, config.hfo_other_deltas), f1_score)


def split(windows: Windows) -> tuple[Windows, Windows, Windows]:
    """Training, validation and test: patients are drawn one like the other, so the last half of them is for test, the eighth before for
    validation."""
    patients = np.unique(windows.subjects)
    test = len(patients) // 2
    validation = max(1, len(patients) // 8)
    ends = [len(patients) - test - validation, len(patients) - test]
    train, validating, testing = (windows.of(some) for some in np.split(patients, ends))
    return train, validating, testing


def of_beats(task: Task, systems: dict[str, Chosen]) -> dict[str, float]:
    """Accuracy, macro F1 and the sensitivity for each class, and the accuracy of calling every beat the most frequent class."""
    labels, every = task.test.labels, range(len(CLASSES))
    found = {"ecg_accuracy_majority": 100 * float(np.mean(labels == np.bincount(task.train.labels).argmax()))}
    for system in SYSTEMS:
        predicted = systems[system].predictions
        found[f"ecg_accuracy_{system}"] = 100 * accuracy_score(labels, predicted)
        found[f"ecg_macro_f1_{system}"] = 100 * _macro_f1(labels, predicted)
        each = recall_score(labels, predicted, labels=every, average=None, zero_division=0)
        found |= {f"ecg_sensitivity_{name}_{system}": 100 * value for name, value in zip(CLASSES, each, strict=True)}
    return found


def of_ripples(task: Task, systems: dict[str, Chosen]) -> dict[str, float]:
    """F1 of finding ripples, over all windows and for each signal-to-noise ratio; false alarms among the windows without ripple."""
    predictions = {system: systems[system].predictions for system in SYSTEMS} | {"band_power": by_band_power(task.train, task.test)}
    labels, snr_db = task.test.labels, task.test.snr_db
    found = {}
    for system, predicted in predictions.items():
        found[f"hfo_f1_{system}"] = 100 * f1_score(labels, predicted)
        found[f"hfo_false_alarms_{system}"] = 100 * float(np.mean(predicted[labels == 0]))
        for value in oscillations.SNR_DB:
            here = snr_db == value
            found[f"hfo_f1_{system}_{value:.0f}_db"] = 100 * f1_score(labels[here], predicted[here], zero_division=0)
    return found


def by_band_power(train: Windows, test: Windows) -> np.ndarray:
    """Ripple where the power of its band exceeds the threshold of the best F1 in training."""
    power, powers = (np.mean(part.signals[:, :, oscillations.RIPPLE] ** 2, axis=1) for part in (train, test))
    thresholds = np.quantile(power, np.linspace(0, 1, 101))
    scores = [f1_score(train.labels, power > threshold, zero_division=0) for threshold in thresholds]
    return (powers > thresholds[int(np.argmax(scores))]).astype(int)


def _macro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    return float(f1_score(labels, predicted, labels=range(len(CLASSES)), average="macro", zero_division=0))


def _example(windows: Windows) -> int:
    """A window with a ripple of 10 dB."""
    return int(np.argmax((windows.labels == 1) & (windows.snr_db == 10.0)))
