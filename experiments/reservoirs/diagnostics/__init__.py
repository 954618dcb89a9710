"""What a liquid is like, before any read-out learns from it. Cores take arrays or spikes; functions of a liquid drive it themselves.

    separation.py      distance of states against distance of inputs, of classes
    ranks.py           kernel quality, generalisation rank
    memory.py          linear and nonlinear capacity for past inputs
    perturbations.py   fading memory, growth of a difference, Lyapunov exponents
    branching.py       branching ratio, naive and multistep
    avalanches.py      their sizes and durations, power laws
    activity.py        rates, CV of intervals, synchrony, Fano factor
    degrees.py         fan-in and fan-out, effective ones
    probe.py           how a liquid is driven and read
    report.py, figure.py    all of it: a table and a page

All measure a liquid at rest from training: a plastic one begins every trial with the weights it was declared with.
"""

from spiketwin.experiments.reservoirs.diagnostics.activity import Activity, activity, fano_factor, synchrony
from spiketwin.experiments.reservoirs.diagnostics.avalanches import Avalanches, PowerLaw, avalanche_sizes, avalanches, fit_power_law
from spiketwin.experiments.reservoirs.diagnostics.branching import Branching, branching_ratio, population_activity
from spiketwin.experiments.reservoirs.diagnostics.degrees import Degrees, degrees, degrees_of
from spiketwin.experiments.reservoirs.diagnostics.memory import Memory, memory, memory_capacity
from spiketwin.experiments.reservoirs.diagnostics.perturbations import (
    Divergence,
    fading_memory,
    growth_exponent,
    lyapunov_exponent,
    perturbation_growth,
    renormalised_exponent,
)
from spiketwin.experiments.reservoirs.diagnostics.probe import Probe
from spiketwin.experiments.reservoirs.diagnostics.ranks import Rank, generalisation_rank, kernel_quality, state_rank
from spiketwin.experiments.reservoirs.diagnostics.report import Diagnosis, Number, diagnose
from spiketwin.experiments.reservoirs.diagnostics.separation import Separation, class_separation, input_distance, separation, state_distance

__all__ = [
    "Activity",
    "Avalanches",
    "Branching",
    "Degrees",
    "Diagnosis",
    "Divergence",
    "Memory",
    "Number",
    "PowerLaw",
    "Probe",
    "Rank",
    "Separation",
    "activity",
    "avalanche_sizes",
    "avalanches",
    "branching_ratio",
    "class_separation",
    "degrees",
    "degrees_of",
    "diagnose",
    "fading_memory",
    "fano_factor",
    "fit_power_law",
    "generalisation_rank",
    "growth_exponent",
    "input_distance",
    "kernel_quality",
    "lyapunov_exponent",
    "memory",
    "memory_capacity",
    "perturbation_growth",
    "population_activity",
    "renormalised_exponent",
    "separation",
    "state_distance",
    "state_rank",
    "synchrony",
]
