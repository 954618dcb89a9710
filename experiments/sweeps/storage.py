"""The trials of a sweep in a database: a sqlite file, or the URL of a server that many machines reach.

A trial that runs is marked with the process that runs it, and a heartbeat goes on while that process lives. A trial
whose process is gone was killed: it counts as not tried. On the same machine that is seen at once, on another
after GRACE_S.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from spiketwin.experiments.sweeps.objective import OBJECTIVE
from spiketwin.experiments.sweeps.plan import Plan, Settings
from spiketwin.experiments.sweeps.space import SweepError
from spiketwin.experiments.sweeps.trial import Trial

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

BEAT_S, GRACE_S = 30, 180


class Storage:
    """The trials of one sweep.

    url: of the database.  name: of the sweep in it.  plan: what is tried.  mark: what else makes it this sweep,
    and by which "objective" it chooses.
    Raises SweepError when the database cannot be reached, or when the sweep of that name is another; ImportError
    that names the extra without optuna.
    """

    def __init__(self, url: str, name: str, plan: Plan, mark: Mapping[str, Any]) -> None:
        optuna = _optuna()
        from sqlalchemy.exc import SQLAlchemyError

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.plan, self.here = plan, _process()
        self.objective: str = mark.get("objective", OBJECTIVE)
        self.distributions = {field: axis.distribution() for field, axis in plan.axes.items()}
        try:
            with _quiet():
                # a writer waits for the others, where sqlite's own five seconds may be too short
                wait = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
                self.database = optuna.storages.RDBStorage(url, engine_kwargs=wait, heartbeat_interval=BEAT_S, grace_period=GRACE_S)
                self.study = optuna.create_study(storage=self.database, study_name=name, direction="maximize", load_if_exists=True)
        except (SQLAlchemyError, ImportError) as error:
            reason = str(error).splitlines()[0]
            raise SweepError(
                f"the storage {_without_password(url)} cannot be opened ({reason}); check the address, or remove a damaged file"
            ) from None
        self._is_the_same(name, url, json.loads(json.dumps(mark, default=str)))

    def _is_the_same(self, name: str, url: str, now: dict[str, Any]) -> None:
        then = self.study.user_attrs.get("sweep")
        if then is None:
            self.study.set_user_attr("sweep", now)
            return
        then = {"objective": OBJECTIVE, **then}  # which sweeps did not write down when there was no other
        if changed := [f"{key} was {_short(then.get(key))}, is {_short(value)}" for key, value in now.items() if then.get(key) != value]:
            raise SweepError(
                f"{_without_password(url)} holds another sweep called '{name}' ({'; '.join(changed)}); "
                "give the same settings to go on, or a folder or name of its own (--out, --name)"
            )

    def trials(self) -> list[Trial]:
        """Those that are finished."""
        return [_finished(t, self.objective) for t in self.study.get_trials(deepcopy=False) if t.state.is_finished() and not _is_killed(t)]

    def running(self) -> int:
        return sum(t.state.name == "RUNNING" for t in self.study.get_trials(deepcopy=False))

    def ask(self) -> optuna.Trial | None:
        """Begin the next trial of the plan; None when there is none left to begin."""
        from optuna.trial import TrialState

        while True:
            everything = self.study.get_trials(deepcopy=False)
            taken = [_settings(t) for t in everything if t.state.name != "WAITING" and not _is_killed(t)]
            point = self.plan.next(taken, [_settings(t) for t in everything if _is_killed(t)])
            if point is None:
                return None
            self.study.sampler = self.plan.sampler(len(taken))
            # its process is written with the trial itself: a kill in between leaves nothing that cannot be told
            if not any(t.state.name == "WAITING" for t in everything):
                self.study.enqueue_trial(dict(point), user_attrs=self.here)
            with _quiet():
                trial = self.study.ask(self.distributions)
            for name, value in self.here.items():
                trial.set_user_attr(name, value)
            self.beat([trial])
            if not self._is_double(trial, point):
                return trial
            self.study.tell(trial, state=TrialState.FAIL)

    def _is_double(self, trial: optuna.Trial, point: Settings) -> bool:
        """Whether another process began the same at the same time, and before."""
        others = (t for t in self.study.get_trials(deepcopy=False) if t.number < trial.number and not _is_killed(t))
        return bool(point) and any(_settings(t) == trial.params for t in others)

    def finish(self, trial: optuna.Trial, metrics: Mapping[str, Any], run_s: float, cpu_s: float, error: str) -> None:
        """Write down how a trial ended."""
        from optuna.trial import TrialState

        trial.set_user_attr("run_s", round(run_s, 3))
        trial.set_user_attr("cpu_s", round(cpu_s, 3))
        trial.set_user_attr("metrics", dict(metrics))
        if error:
            trial.set_user_attr("error", error)
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, metrics[self.objective]["mean"])

    def give_back(self, number: int) -> None:
        """A trial that was begun and will not be finished: it is to be tried again."""
        from optuna.trial import TrialState

        self.study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def give_back_killed(self) -> int:
        """Give back the trials whose process is gone. Returns how many there were."""
        before = sum(map(_is_killed, self.study.get_trials(deepcopy=False)))
        for t in self.study.get_trials(deepcopy=False):
            same_machine = t.user_attrs.get("machine") == self.here["machine"]
            if t.state.name == "RUNNING" and same_machine and not _is_alive(t.user_attrs["process"]):
                self.give_back(t.number)
        with _quiet():
            _optuna().storages.fail_stale_trials(self.study)
        return sum(map(_is_killed, self.study.get_trials(deepcopy=False))) - before

    def beat(self, trials) -> None:
        for trial in trials:
            self.database.record_heartbeat(trial._trial_id)  # optuna beats by itself in `optimize` only

    @contextmanager
    def beating(self, trials: list[optuna.Trial]) -> Iterator[None]:
        """Heartbeats of the trials that the list holds from time to time, while the block runs."""
        end = threading.Event()

        def go() -> None:
            while not end.wait(BEAT_S):
                self.beat(list(trials))

        thread = threading.Thread(target=go, daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()


def _optuna():
    try:
        import optuna
    except ImportError:
        raise ImportError(
            "sweeps need optuna, which is not installed; install it with: pip install 'spiketwin[sweep]'", name="optuna"
        ) from None
    return optuna


@contextmanager
def _quiet() -> Iterator[None]:
    # heartbeats are marked experimental, and meant for `optimize`
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _settings(trial: FrozenTrial) -> dict[str, Any]:
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def _is_killed(trial: FrozenTrial) -> bool:
    """Whether it ended without saying why."""
    return trial.state.name == "FAIL" and "error" not in trial.user_attrs


def _finished(trial: FrozenTrial, objective: str) -> Trial:
    said = trial.user_attrs
    metrics, error = said.get("metrics", {}), said.get("error", "")
    return Trial(trial.number, _settings(trial), metrics, said.get("run_s", 0.0), error, said.get("cpu_s", 0.0), objective)


def _process() -> dict[str, Any]:
    """Where a trial runs. Containers may share a name; their process numbers then differ in kind."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return {"machine": f"{platform.node()} {space}".strip(), "process": os.getpid()}


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":
        return True  # there signal 0 is Ctrl-C: heartbeats alone tell
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return scheme + separator + rest.rpartition("@")[2]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    return text if len(text) < 120 else text[:117] + "…"
