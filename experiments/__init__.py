"""Questions and answers: data sets, the cross-check, one file per study, the command line.

A new experiment is a module in a folder of studies/ that follows protocol.py, and one line in EXPERIMENTS.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from spiketwin.models.spec import unknown

if TYPE_CHECKING:
    from spiketwin.experiments.protocol import Experiment

EXPERIMENTS = {
    "biosignals": "spiketwin.experiments.studies.reservoirs.biosignals.biosignals",
    "braille": "spiketwin.experiments.studies.recurrent.braille",
    "conv_snn": "spiketwin.experiments.studies.gradients.conv_snn",
    "deep_spike_backprop": "spiketwin.experiments.studies.gradients.deep_spike_backprop",
    "digits_ttfs": "spiketwin.experiments.studies.gradients.digits_ttfs",
    "fashion_conv": "spiketwin.experiments.studies.gradients.fashion_conv",
    "fashion_ttfs": "spiketwin.experiments.studies.gradients.fashion_ttfs",
    "forgetting": "spiketwin.experiments.studies.lifelong.forgetting",
    "good_liquid": "spiketwin.experiments.studies.reservoirs.good_liquid.good_liquid",
    "lenet": "spiketwin.experiments.studies.gradients.lenet",
    "liquid_ensembles": "spiketwin.experiments.studies.reservoirs.ensembles.liquid_ensembles",
    "liquid_images": "spiketwin.experiments.studies.reservoirs.liquid_images",
    "local_against_global": "spiketwin.experiments.studies.learning_rules.local.local_against_global",
    "network_facts": "spiketwin.experiments.studies.reservoirs.network_facts",
    "parameter_study_braille": "spiketwin.experiments.studies.parameters.parameter_study_braille",
    "parameter_study_fashion": "spiketwin.experiments.studies.parameters.parameter_study_fashion",
    "parameter_study_shd": "spiketwin.experiments.studies.parameters.parameter_study_shd",
    "parameter_study_spoken": "spiketwin.experiments.studies.parameters.parameter_study_spoken",
    "reward": "spiketwin.experiments.studies.learning_rules.rewards.reward",
    "rules_in_engines": "spiketwin.experiments.studies.learning_rules.rules_in_engines",
    "several_dt": "spiketwin.experiments.studies.gradients.several_dt",
    "several_dt_fashion": "spiketwin.experiments.studies.gradients.several_dt_fashion",
    "shd": "spiketwin.experiments.studies.recurrent.shd",
    "snn_vs_cnn": "spiketwin.experiments.studies.gradients.snn_vs_cnn",
    "spoken": "spiketwin.experiments.studies.recurrent.spoken",
    "spoken_digits": "spiketwin.experiments.studies.reservoirs.spoken.spoken_digits",
    "stdp_pretraining": "spiketwin.experiments.studies.semi_supervised.stdp_pretraining",
    "stochastic_stdp": "spiketwin.experiments.studies.learning_rules.stochastic_stdp",
    "time_series": "spiketwin.experiments.studies.reservoirs.time_series.time_series",
    "unsupervised_digits": "spiketwin.experiments.studies.learning_rules.unsupervised_digits",
    "unsupervised_fashion": "spiketwin.experiments.studies.learning_rules.unsupervised_fashion",
}

__all__ = ["EXPERIMENTS", "experiment"]


def experiment(name: str) -> Experiment:
    """The experiment of that name. Raises ValueError that suggests the closest name."""
    if name not in EXPERIMENTS:
        raise ValueError(unknown(name, "experiment", "spiketwin", EXPERIMENTS))
    return cast("Experiment", import_module(EXPERIMENTS[name]))
