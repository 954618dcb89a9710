"""What a sweep maximises: a metric on validation data, named by the study (OBJECTIVE in its module) or by whoever sweeps it."""

from __future__ import annotations

from spiketwin.experiments import EXPERIMENTS, experiment
from spiketwin.experiments.protocol import Experiment
from spiketwin.experiments.sweeps.space import SweepError

OBJECTIVE = "validation_accuracy"


def of_study(study: Experiment) -> str | None:
    """The metric that a study names; None where it says that it has none to choose by."""
    return getattr(study, "OBJECTIVE", OBJECTIVE)


def can_be_swept() -> list[str]:
    """Names of the experiments that have one."""
    return [name for name in EXPERIMENTS if of_study(experiment(name))]


def objective(study: Experiment, asked: str | None = None) -> str:
    """The metric to maximise: the one asked for, else the study's own.

    Raises SweepError for one that is not of validation data, and where the study has none and none is asked for.
    """
    name = asked or of_study(study)
    if not name:
        raise SweepError(
            f"'{study.__name__.rpartition('.')[2]}' names no validation metric to choose settings by (OBJECTIVE = None in its module); "
            f"sweep one that does ({', '.join(can_be_swept())}), or give a metric with --objective"
        )
    # what was selected on is no test any more, and not every test accuracy says test in its name
    if "validation" not in name or name.startswith("test_"):
        raise SweepError(
            f"objective '{name}' is not a validation metric, and settings are chosen on validation data alone; "
            f"give one with 'validation' in its name, such as {of_study(study) or OBJECTIVE}"
        )
    return name


def accuracies(objective: str) -> tuple[str, str, str]:
    """Names of the metric on training, validation and test data; a study may not report all three."""
    training, test = (objective.replace("validation", part) for part in ("training", "test"))
    return training, objective, test
