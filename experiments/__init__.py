"""Questions and answers: data sets, the cross-check, one file per study, the command line.

A new experiment is a module in studies/ that follows protocol.py, and one line in EXPERIMENTS.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from spiketwin.models.spec import unknown

if TYPE_CHECKING:
    from spiketwin.experiments.protocol import Experiment

EXPERIMENTS = {
    "braille": "spiketwin.experiments.studies.braille",
    "conv_snn": "spiketwin.experiments.studies.conv_snn",
    "deep_spike_backprop": "spiketwin.experiments.studies.deep_spike_backprop",
    "digits_ttfs": "spiketwin.experiments.studies.digits_ttfs",
    "fashion_conv": "spiketwin.experiments.studies.fashion_conv",
    "fashion_ttfs": "spiketwin.experiments.studies.fashion_ttfs",
    "lenet": "spiketwin.experiments.studies.lenet",
    "local_against_global": "spiketwin.experiments.studies.local_against_global",
    "parameter_study_braille": "spiketwin.experiments.studies.parameter_study_braille",
    "parameter_study_fashion": "spiketwin.experiments.studies.parameter_study_fashion",
    "parameter_study_spoken": "spiketwin.experiments.studies.parameter_study_spoken",
    "reward": "spiketwin.experiments.studies.reward",
    "rules_in_engines": "spiketwin.experiments.studies.rules_in_engines",
    "several_dt": "spiketwin.experiments.studies.several_dt",
    "shd": "spiketwin.experiments.studies.shd",
    "snn_vs_cnn": "spiketwin.experiments.studies.snn_vs_cnn",
    "spoken": "spiketwin.experiments.studies.spoken",
    "stochastic_stdp": "spiketwin.experiments.studies.stochastic_stdp",
    "unsupervised_digits": "spiketwin.experiments.studies.unsupervised_digits",
    "unsupervised_fashion": "spiketwin.experiments.studies.unsupervised_fashion",
}

__all__ = ["EXPERIMENTS", "experiment"]


def experiment(name: str) -> Experiment:
    """The experiment of that name. Raises ValueError that suggests the closest name."""
    if name not in EXPERIMENTS:
        raise ValueError(unknown(name, "experiment", "spiketwin", EXPERIMENTS))
    return cast("Experiment", import_module(EXPERIMENTS[name]))
