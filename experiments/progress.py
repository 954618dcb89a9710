"""A line that moves while something long runs: a bar in a terminal, a line of text now and then in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE_S = 2.0  # what takes less shows nothing
LOG_EVERY_S = 30.0


def is_launched() -> bool:
    """Whether torchrun started this process, with others: all is there that they need to find each other."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"))


def is_first() -> bool:
    """Whether this process is the only one, or the first of those that torchrun started: the one that shows and writes."""
    return not is_launched() or int(os.environ["RANK"]) == 0


class Silent:
    """Takes reports and shows nothing."""

    def update(self, done: float, note: str = "") -> None:
        """done: how much of `total` is done; note: what to show beside it."""

    def say(self, line: str) -> None:
        """A line that stays."""


class _Bar(Silent):
    def __init__(self, bar, task) -> None:
        self.bar, self.task, self.start = bar, task, time.monotonic()

    def update(self, done: float, note: str = "") -> None:
        late = time.monotonic() - self.start > PATIENCE_S
        self.bar.update(self.task, completed=done, note=note, visible=late, refresh=False)

    def say(self, line: str) -> None:
        self.bar.console.print(line, highlight=False, markup=False)


class _Log(Silent):
    def __init__(self, title: str, total: float) -> None:
        self.title, self.total, self.last = title, total, time.monotonic()
        self.stream = sys.stderr  # that of now: what runs inside may send its own messages elsewhere

    def update(self, done: float, note: str = "") -> None:
        if time.monotonic() - self.last > LOG_EVERY_S:
            self.last = time.monotonic()
            self.say(f"{self.title}: {100 * done / self.total:.0f} % {note}")

    def say(self, line: str) -> None:
        print(line, file=self.stream, flush=True)


@contextmanager
def progress(title: str, total: float, *, quiet: bool = False) -> Iterator[Silent]:
    """A display for a job of `total` parts, on standard error.

    In a terminal a bar that appears after two seconds; elsewhere a line every half minute. Of several processes the
    first one shows it.
    """
    if quiet or not is_first():
        yield Silent()
    elif not sys.stderr.isatty():
        yield _Log(title, total)
    else:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        # the stream of now: what runs inside may send its own messages elsewhere
        with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
            yield _Bar(bar, bar.add_task(title, total=total, note="", visible=False))


@contextmanager
def working(what: str) -> Iterator[None]:
    """A sign of life on standard error while something of unknown length runs; nothing outside a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield
