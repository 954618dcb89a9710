"""The networks that an experiment has trained, each through the cross-check, each with a report of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spiketwin.experiments.crosscheck import trained
from spiketwin.experiments.crosscheck.checks import Report, with_deviations
from spiketwin.experiments.crosscheck.deviations import DEVIATIONS
from spiketwin.experiments.crosscheck.report import write_report
from spiketwin.experiments.crosscheck.subjects import subject
from spiketwin.experiments.progress import progress
from spiketwin.experiments.protocol import measured


def crosscheck_networks(
    experiment: Any,
    config: Any,
    seed: int,
    *,
    folder: Path,
    samples: int,
    factors: tuple[int, ...],
    once_per_step: tuple[bool, ...] = (False,),
    quiet: bool = False,
) -> Iterator[tuple[Report, Path]]:
    """Check the networks of a run whose checkpoints are in `folder`; yields each report, and the folder it is written to.

    experiment: a module that follows protocol.py.  samples, factors: as in trained.check().
    once_per_step: whether neurons get a refractory period of one step of training; for (False, True) each network has two reports, but
    for one whose neurons have a period of their own.
    Raises ValueError for an experiment that offers no networks.
    """
    name = experiment.__name__.rpartition(".")[2]
    if not hasattr(experiment, "networks"):
        raise ValueError(
            f"'{name}' offers no trained networks to the cross-check; write networks(config, seed, folder=…) as protocol.py says"
        )
    for part, network in experiment.networks(config, seed, folder=folder, quiet=quiet).items():
        label, tail = f"trained_{name.removesuffix('_ttfs')}", "" if part == name else f"_{part}"
        known = subject(network, label + tail)
        has_period = any(p.neuron.refractory for p in known.network.populations)
        for is_held in once_per_step if not has_period else once_per_step[:1]:
            checked, end = (known.once_per_step(), f"{tail}_once_per_step") if is_held else (known, tail)
            with measured(experiment=name, network=part, seed=seed, samples=samples, once_per_step=is_held) as provenance:
                with progress(f"cross-check of {checked.name}, seed {seed}", 1.0, quiet=quiet) as show:
                    checks, curves = trained.check(checked, samples=samples, factors=factors, progress=show.update)
            rows, _ = with_deviations(checks, DEVIATIONS)
            report, out = Report(rows, curves, provenance), folder / f"crosscheck_{seed}{end}"
            write_report(report, out)
            yield report, out
