"""What the published report says of spiking networks against a CNN, held against a result of snn_vs_cnn.

Curves know accuracies at the ends of epochs, so the time to an accuracy is that until the end of the epoch that reaches it: whoever
reaches it within the first epoch counts as having needed all of it.

Source: a report that this project reviewed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from spiketwin.experiments.protocol import Result
from spiketwin.experiments.studies.claims import FAILS, HOLDS, OPEN, PARTLY, Claim

PERCENT = 95.0  # the accuracy of the report
EPOCH_RATIO, SNN_EPOCHS, CNN_EPOCHS = 5.0, 5, 30  # its numbers
ALIKE = 1.25  # two times are called equal when neither is longer by more than this factor


def networks(result: Result) -> dict[str, str]:
    """Name of each network in metrics and curves -> what it is called, the one without spikes first."""
    return {"cnn": "CNN", **{f"snn_{steps}": f"{steps} steps" for steps in result.config["steps"]}}


def validation(result: Result, name: str) -> np.ndarray:
    """Validation accuracies in percent, [seeds, epochs]."""
    histories = result.curves[name] if len(result.seeds) > 1 else [result.curves[name]]
    return np.array([[row["validation_accuracy"] for row in history] for history in histories])


def minutes(result: Result, name: str) -> np.ndarray:
    """At the end of each epoch, [seeds, epochs]: epochs times the time of one, all networks timed in turns."""
    per_epoch = np.array(result.metrics[f"seconds_per_epoch_{name}"]["values"]) / 60
    return per_epoch[:, None] * np.arange(1, validation(result, name).shape[1] + 1)


def epochs_to(result: Result, name: str, percent: float = PERCENT) -> np.ndarray | None:
    """Epochs after which validation accuracy has reached it, [seeds]; None where it has not with every seed."""
    reached = validation(result, name) >= percent
    return reached.argmax(axis=1) + 1 if reached.any(axis=1).all() else None


def minutes_to(result: Result, name: str, percent: float = PERCENT) -> np.ndarray | None:
    """Minutes of training until then, [seeds]."""
    epochs = epochs_to(result, name, percent)
    return None if epochs is None else minutes(result, name)[np.arange(len(epochs)), epochs - 1]


def claims(result: Result) -> list[Claim]:
    """The report's, in its order."""
    _, *spiking = networks(result)
    return [_epoch(result, spiking), _epochs(result, spiking), _time(result, spiking), _accuracy(result, spiking)]


def _epoch(result: Result, spiking: list[str]) -> Claim:
    ratios = {name: result.mean(f"epoch_ratio_{name}") for name in spiking}
    alike = [EPOCH_RATIO / ALIKE <= ratio <= EPOCH_RATIO * ALIKE for ratio in ratios.values()]
    between = min(ratios.values()) < EPOCH_RATIO < max(ratios.values())
    verdict = HOLDS if all(alike) else PARTLY if any(alike) or between else FAILS
    evidence = f"it costs {_each(result, {n: f'{r:.1f}' for n, r in ratios.items()})}"
    return Claim(f"An epoch of the SNN costs {EPOCH_RATIO:.0f} of the CNN", verdict, evidence)


def _epochs(result: Result, spiking: list[str]) -> Claim:
    text = f"The SNN reaches {PERCENT:.0f} % after {SNN_EPOCHS} epochs, the CNN after {CNN_EPOCHS}"
    return _of_each(result, spiking, text, epochs_to, lambda snn, cnn: snn < cnn, "epochs until it is passed", ".1f")


def _time(result: Result, spiking: list[str]) -> Claim:
    text = f"So both reach {PERCENT:.0f} % in equal time"
    what = "minutes until the end of the epoch that passes it"
    return _of_each(result, spiking, text, minutes_to, lambda snn, cnn: 1 / ALIKE <= snn / cnn <= ALIKE, what, ".2f")


def _of_each(result: Result, spiking: list[str], text: str, until: Callable, as_said: Callable, what: str, form: str) -> Claim:
    """A claim on what each SNN needs `until` it reaches the accuracy, which is `as_said` against the CNN; the mean of the seeds counts."""
    found = {name: until(result, name) for name in ("cnn", *spiking)}
    known = {name: float(needed.mean()) for name, needed in found.items() if needed is not None}
    if "cnn" not in known or len(known) == 1:
        return Claim(text, OPEN, "not reached with every seed")
    hold = [as_said(known[name], known["cnn"]) for name in spiking if name in known]
    evidence = f"{what}: {_each(result, {name: format(needed, form) for name, needed in known.items()})}"
    return Claim(text, HOLDS if all(hold) else PARTLY if any(hold) else FAILS, evidence)


def _accuracy(result: Result, spiking: list[str]) -> Claim:
    """Equal: the mean difference of the seeds within two standard errors of zero."""
    text, test = (
        f"Both end equally accurate, at {PERCENT:.0f} %",
        {n: np.array(result.metrics[f"test_accuracy_{n}"]["values"]) for n in ("cnn", *spiking)},
    )
    evidence = f"test accuracy {_each(result, {n: f'{values.mean():.2f} %' for n, values in test.items()})}"
    if len(result.seeds) < 2:
        return Claim(text, OPEN, f"one seed has no spread; {evidence}")
    behind = [test["cnn"] - test[name] for name in spiking]
    differ = [abs(d.mean()) > 2 * d.std(ddof=1) / len(d) ** 0.5 for d in behind]
    above = "; the CNN ends above each of them" if all(differ) and all(d.mean() > 0 for d in behind) else ""
    return Claim(text, FAILS if all(differ) else PARTLY if any(differ) else HOLDS, evidence + above)


def _each(result: Result, values: dict[str, str]) -> str:
    called = networks(result)
    return ", ".join(f"{value} ({called[name]})" for name, value in values.items())


def page(result: Result) -> str:
    """What the results page shows above the numbers: accuracy and time of each network, then the claims."""
    return "\n".join(_page(result))


def _page(result: Result) -> Iterator[str]:
    yield f"| network | test accuracy (%) | an epoch (s) | epochs to {PERCENT:.0f} % | minutes to {PERCENT:.0f} % |"
    yield "|---|---|---|---|---|"
    for name, called in networks(result).items():
        test, epoch = (np.array(result.metrics[f"{metric}_{name}"]["values"]) for metric in ("test_accuracy", "seconds_per_epoch"))
        cells = [_spread(test), _spread(epoch, 1), _spread(epochs_to(result, name), 1), _spread(minutes_to(result, name))]
        yield f"| {' | '.join([called, *cells])} |"
    yield ""
    yield f"{PERCENT:.0f} % of validation images; reached within an epoch counts as at its end, the finest that is known."
    yield from ("", "What the published report says of them:", "", *(claim.line() for claim in claims(result)))


def _spread(values: np.ndarray | None, digits: int = 2) -> str:
    if values is None:
        return "not reached"
    return f"{values.mean():.{digits}f}" + (f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else "")
