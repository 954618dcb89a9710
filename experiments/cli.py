"""The command line: `spiketwin COMMAND …`.

Each command is a function whose arguments and docstrings make its options and help. An error is one line on
standard error and exit code 2; Ctrl-C is 130; a check that fails is 1.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg

from spiketwin.experiments import EXPERIMENTS, experiment
from spiketwin.experiments.progress import is_first, working
from spiketwin.models.spec import unknown

INTERRUPTED = 130
BAD_INPUT = 2
NOT_OK = 1
C = TypeVar("C")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [a for a in given if a != "--debug"]
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    try:
        name, *rest = given
        if name not in COMMANDS:
            raise ValueError(unknown(name, "command", "spiketwin", COMMANDS))
        return COMMANDS[name](rest) or 0
    except KeyboardInterrupt:
        print("stopped; what was being written was left as it was", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else BAD_INPUT
    except BrokenPipeError:
        # the reader, such as `head`, has seen enough
        sys.stderr.close()
        return 0
    except (ValueError, ArithmeticError, OSError, ImportError) as error:
        if debug:
            traceback.print_exc()
        else:
            print(f"spiketwin: {error}", file=sys.stderr)
        return BAD_INPUT


def overview() -> str:
    lines = [
        "spiketwin: write a spiking model once; simulate it in Brian2, train it in torch, see how far they agree.",
        "",
        "usage: spiketwin COMMAND [options]",
        "",
    ]
    width = max(map(len, COMMANDS)) + 2
    lines += [f"  {name:<{width}}{(command.__doc__ or '').splitlines()[0]}" for name, command in COMMANDS.items()]
    lines += ["", "spiketwin COMMAND --help explains a command; --debug shows where an error arose.", "Begin with: spiketwin demo"]
    return "\n".join(lines)


def _command(function: Callable[..., int | None], name: str) -> Callable[[list[str]], int | None]:
    def call(rest: list[str]) -> int | None:
        return tyro.cli(function, prog=f"spiketwin {name}", args=rest, config=(FlagCreatePairsOff,))

    call.__doc__ = function.__doc__
    return call


# -- what there is ---------------------------------------------------------------------------------------------


def show_list() -> None:
    """Models, integration schemes, engines and experiments that can be named."""
    from spiketwin.models.discretisation import SCHEMES
    from spiketwin.models.engines import ENGINES
    from spiketwin.models.neurons import NEURONS

    print("models")
    for name, spec in NEURONS.items():
        print(f"  {name:<20}{', '.join(spec.states):<28}{spec.source}")
    print("\nschemes")
    for name, scheme in SCHEMES.items():
        print(f"  {name:<20}{scheme.summary}")
    print("\nengines")
    for name in ENGINES:
        print(f"  {name:<20}{ENGINE_SUMMARY[name]}")
    print("\nexperiments")
    for name in EXPERIMENTS:
        print(f"  {name:<25}{experiment(name).QUESTION}")


def show_data() -> None:
    """Data sets: how large, how split, and where they were found or how to get them."""
    from spiketwin.experiments.data import DATASETS

    for name, entry in DATASETS.items():
        print(f"{name}\n  {entry.size}\n  split: {entry.split}\n  {entry.whereabouts()}")


ENGINE_SUMMARY = {
    "brian": "Brian2, continuous-time reference",
    "torch": "torch module: batched, trainable, CPU and CUDA",
    "compiled": "numba: fast simulation",
    "scipy": "adaptive and grid-free: the truth for small cases",
}


# -- experiments -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunOptions(Generic[C]):
    config: OmitArgPrefixes[C]
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of initial weights and data order; one run for each."""
    smoke: bool = False
    """Only try it out: a tiny run of seconds, with settings of its own."""
    out: Path | None = None
    """Folder for the result, checkpoints and weights (default: out/EXPERIMENT). Run again to resume."""
    publish: bool = False
    """Also write the result and weights, and what the cross-check found, to experiments/results, for the results page."""
    crosscheck: bool = False
    """Then run each trained network in Brian2, and report whether it does the same, and what a finer step changes."""
    crosscheck_only: bool = False
    """Do that alone. Networks come from the checkpoints in the folder or from committed weights; only others are trained."""
    crosscheck_samples: int = 1000
    """Test samples of the cross-check; all where there are fewer."""
    crosscheck_factors: tuple[int, ...] = (1, 2, 4, 8)
    """How many times finer than in training its steps are, from 1 on."""
    crosscheck_once_per_step: bool = False
    """Whether neurons get a refractory period of one step of training there: at most one spike per step, in finer steps, too."""


def run_experiment(rest: list[str]) -> int | None:
    """Run an experiment: spiketwin run EXPERIMENT [settings] [--seeds 0 1 2] [--smoke]."""
    if not rest or rest[0] in ("-h", "--help"):
        print(f"usage: spiketwin run EXPERIMENT [settings]\n\n{run_experiment.__doc__}\n")
        print("\n".join(f"  {name:<25}{experiment(name).QUESTION}" for name in EXPERIMENTS))
        print("\nspiketwin run EXPERIMENT --help lists the settings of one.")
        return 0
    name, *rest = rest
    module = experiment(name)
    options = tyro.cli(
        RunOptions[module.Config],
        prog=f"spiketwin run {name}",
        description=module.__doc__,
        default=RunOptions(module.Config()),
        args=rest,
        config=(FlagCreatePairsOff,),
    )
    return _run(name, module, options)


def sweep(rest: list[str]) -> int | None:
    """Run an experiment at many settings: spiketwin sweep EXPERIMENT --vary hidden=50,100 learning_rate=1e-3,2e-3."""
    from spiketwin.experiments.sweeps import command
    from spiketwin.experiments.sweeps.objective import can_be_swept

    if not rest or rest[0] in ("-h", "--help"):
        print(f"usage: spiketwin sweep EXPERIMENT --vary FIELD=VALUES … [settings]\n\n{sweep.__doc__}\n")
        swept = can_be_swept()
        print("\n".join(f"  {name:<25}{experiment(name).QUESTION}" for name in swept))
        print("\nspiketwin sweep EXPERIMENT --help lists the settings of one, all of which can be varied.")
        print(f"These name no validation metric to choose by and need --objective: {', '.join(n for n in EXPERIMENTS if n not in swept)}.")
        return 0
    name, *rest = rest
    module = experiment(name)
    options = tyro.cli(
        command.SweepOptions[module.Config],
        prog=f"spiketwin sweep {name}",
        description=module.__doc__,
        default=command.SweepOptions(module.Config()),
        args=rest,
        config=(FlagCreatePairsOff,),
    )
    command.run(name, module, options)


def _run(name: str, module, options: RunOptions) -> int:
    from spiketwin.experiments.protocol import COMMITTED, SEEDS_TO_PUBLISH, ResultError, run_seeds

    folder = options.out or Path("out") / name
    if (options.crosscheck or options.crosscheck_only) and (options.smoke or not hasattr(module, "networks")):
        why = "--smoke keeps no networks; leave it out" if options.smoke else f"'{name}' offers no trained networks"
        raise ValueError(f"there is nothing for --crosscheck: {why}")
    if options.crosscheck_only:
        return _crosscheck(name, module, options, folder)
    if options.smoke:
        _report(module.smoke().write(folder / "smoke.json"))
        return 0
    needed = getattr(module, "SEEDS_TO_PUBLISH", SEEDS_TO_PUBLISH)
    if options.publish and len(set(options.seeds)) < needed:
        raise ResultError(f"a published result needs at least {needed} seeds, got {len(set(options.seeds))}; give --seeds 0 1 2")
    path = folder / f"{name}.json"
    if not is_first():  # of the processes of torchrun the first one writes and reports
        run_seeds(module, options.config, options.seeds, folder=folder)
        return 0
    result = run_seeds(module, options.config, options.seeds, folder=folder, done=lambda so_far: so_far.write(path))
    if options.publish:
        from spiketwin.experiments.protocol import write_bytes

        path = result.write(COMMITTED / f"{name}.json")
        for weights in sorted(folder.glob("weights_*.safetensors")):
            write_bytes(COMMITTED / name / weights.name, weights.read_bytes())
    _report(path)
    return _crosscheck(name, module, options, folder) if options.crosscheck else 0


def _crosscheck(name: str, module, options: RunOptions, folder: Path) -> int:
    """The worst exit code of the networks of all seeds. What is published says both what they do free and at most once per step."""
    from spiketwin.experiments.crosscheck import published
    from spiketwin.experiments.crosscheck.networks import crosscheck_networks
    from spiketwin.experiments.protocol import COMMITTED, measured

    codes, reports = [0], []
    how = {"folder": folder, "samples": options.crosscheck_samples, "factors": options.crosscheck_factors}
    how["once_per_step"] = (False, True) if options.publish else (options.crosscheck_once_per_step,)
    with measured() as provenance:
        for seed in options.seeds:
            for report, out in crosscheck_networks(module, options.config, seed, **how):
                reports.append(report)
                codes.append(_verdict(report, out))
    if options.publish:
        print(f"written to {published.publish(COMMITTED, name, published.rows(reports), provenance)}")
    return max(codes)


def _report(path: Path) -> None:
    from spiketwin.experiments.protocol import load
    from spiketwin.experiments.results_page import spread

    result = load(path)
    width = max(map(len, result.metrics), default=0) + 2
    for name, metric in result.metrics.items():
        print(f"{name.replace('_', ' '):<{width}}{spread(metric)}")
    print(f"written to {path}; seeds {' '.join(map(str, result.seeds))}")


# -- the cross-check -------------------------------------------------------------------------------------------


def crosscheck(rest: list[str]) -> int:
    """Do the engines agree? Checks every model, or those named, and a trained network; writes a report."""
    from spiketwin.experiments.crosscheck import CrosscheckConfig, run_crosscheck

    description = crosscheck.__doc__
    config = tyro.cli(CrosscheckConfig, prog="spiketwin crosscheck", description=description, args=rest, config=(FlagCreatePairsOff,))
    return _verdict(run_crosscheck(config), config.out)


def demo(out: Path = Path("out/demo"), seed: int = 0) -> int:
    """The whole story in minutes: trains on digits, cross-checks all models, writes out/demo/report.html.

    Args:
        out: Folder of report.html, report.md and report.json.
        seed: Seed of the trained network.
    """
    from spiketwin.experiments.crosscheck import CrosscheckConfig, run_crosscheck

    return _verdict(run_crosscheck(CrosscheckConfig(data="digits", out=out, seed=seed)), out)


def _verdict(report, out: Path) -> int:
    from rich.console import Console

    from spiketwin.experiments.crosscheck.report import terminal_table

    # outside a terminal rich would cut the table at 80 columns
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(terminal_table(report, out / "report.html"))
    return 0 if report.ok else NOT_OK


# -- one model -------------------------------------------------------------------------------------------------


def derive(
    model: Positional[str],
    scheme: str = "exact",
    latex: bool = False,
    source: Literal["numpy", "torch", "numba"] | None = None,
) -> None:
    """Print one time step of a model, derived from its equations.

    Args:
        model: Name of the model (spiketwin list).
        scheme: Integration scheme: euler, exponential_euler, exact, rk4, euler_maruyama or heun.
        latex: Print it as LaTeX.
        source: Print it as the code that numpy, torch or numba run.
    """
    from spiketwin.models.discretisation import derive as derived
    from spiketwin.models.neurons import neuron

    step = derived(neuron(model), scheme)
    print((step.latex() if latex else step.source(source) if source else step.readable()).rstrip())


def script(
    model: Positional[str],
    scheme: str | None = None,
    dt_ms: Annotated[float, arg(name="dt-ms")] = 0.1,
    duration_ms: float = 500.0,
    out: Path | None = None,
) -> None:
    """Write a stand-alone Brian2 program, with units, of one neuron that fires regularly.

    Args:
        model: Name of the model (spiketwin list).
        scheme: Integration scheme (default: the most accurate one for the model).
        dt_ms: Time step in ms.
        duration_ms: Simulated time in ms.
        out: File to write (default: MODEL.py here).
    """
    from spiketwin.models.engines import get_engine
    from spiketwin.models.gallery import best_scheme
    from spiketwin.models.network import Network, Population
    from spiketwin.models.neurons import neuron
    from spiketwin.models.neurons.stimuli import stimulus

    spec = neuron(model)
    network = Network([Population("cells", spec, 1, drives=dict(stimulus(model)["drive"]))])
    path = out or Path(f"{model}.py")
    with working("writing the program"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path = get_engine("brian").write_script(
            path, network, dt_ms=dt_ms, duration_ms=duration_ms, scheme=scheme or best_scheme(spec), record={"cells": ("v",)}
        )
    print(f"written to {path}; run it with: python {path}")


def figure(model: Positional[str], out: Path | None = None) -> None:
    """Draw a model's answer to a current step, its f-I curve and its synaptic potential.

    Args:
        model: Name of the model (spiketwin list).
        out: Picture to write; the ending (.png, .pdf, .svg) says of what kind (default: MODEL.png here).
    """
    from spiketwin.models.gallery import figure as drawn

    path = out or Path(f"{model}.png")
    with working(f"simulating {model}"):
        picture = drawn(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path)
    print(f"written to {path}")


# -- learning rules --------------------------------------------------------------------------------------------


def rules(name: Positional[str] = "", out: Path | None = None) -> None:
    """Learning rules: source, engines, and what a synapse must know; of one rule all it says, and its window.

    Args:
        name: Name of a rule; all are listed without it.
        out: Picture to write of the rule's window and of its change against the rate of pairs.
    """
    from spiketwin.rules import rule, table
    from spiketwin.rules.local import LOCAL_RULES
    from spiketwin.rules.plasticity import OF_NEURONS

    for others, kind, in_full in (
        (OF_NEURONS, "rule of neurons", table.neuron_rule_in_full),
        (LOCAL_RULES, "supervised rule", table.local_rule_in_full),
    ):
        if name in others:
            if out:
                raise ValueError(f"'{name}' is a {kind} and has no window to draw; leave --out out")
            print("\n".join(in_full(name)))
            return
    if not name:
        if out:
            raise ValueError(f"--out {out} needs the name of a rule; list them with: spiketwin rules")
        with working("asking the engines"):
            lines = table.listing()
        print("\n".join(lines))
        return
    made = rule(name)
    print("\n".join(table.in_full(made)))
    if out:
        with working(f"measuring {name}"):
            picture = table.figure(made)
        out.parent.mkdir(parents=True, exist_ok=True)
        picture.savefig(out)
        print(f"written to {out}")


# -- the results page ------------------------------------------------------------------------------------------


def results(check: bool = False) -> int:
    """Write docs/results.md from the committed result files.

    Args:
        check: Only say whether the page is up to date; exit code 1 if not.
    """
    from spiketwin.experiments.results_page import PAGE, is_stale, write_page

    if not check:
        print(f"written to {write_page()}")
    elif is_stale():
        print(f"{PAGE} is out of date; run: make results", file=sys.stderr)
        return NOT_OK
    return 0


COMMANDS: dict[str, Callable[[list[str]], int | None]] = {
    "demo": _command(demo, "demo"),
    "list": _command(show_list, "list"),
    "data": _command(show_data, "data"),
    "run": run_experiment,
    "sweep": sweep,
    "crosscheck": crosscheck,
    "derive": _command(derive, "derive"),
    "script": _command(script, "script"),
    "figure": _command(figure, "figure"),
    "rules": _command(rules, "rules"),
    "results": _command(results, "results"),
}

if __name__ == "__main__":
    sys.exit(main())
