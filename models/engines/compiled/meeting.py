"""Threads that step one network together: each has a stretch of the neurons, and after each step they tell each other who fired.

A part does all that belongs to its neurons: states, what arrives at them, the synapses that reach them. So no two threads write
to one place, each neuron sums what it receives in the same order as in one piece, and nothing but the list of spikes has to meet:
of those populations that reach beyond their part. These step first, so that the others' step hides what the meeting takes.

The board [parts, 2, width] holds what each part said at the last two meetings, in turn: who is late for one can read it until it
comes to the next itself. One word says that a part has come, whether any of its neurons fired, only then numbers and lists
follow, and whether it has room for no more spikes, whereupon all stop after this step. A word takes some hundred nanoseconds from core to core, so a part speaks as soon as it knows, listens as late as it can,
and asks for the line that it will write next while nobody reads it.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
from collections.abc import Callable, Sequence

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

from spiketwin.models.engines.compiled.intrinsics import fetch_to_write, place
from spiketwin.models.engines.compiled.kernels import shared
from spiketwin.models.engines.compiled.memory import unshared

GRAIN = 64  # neurons; a part begins at a multiple of it, so that it shares no line of the cache and no word of flags with another
PATIENCE = 4000  # looks at the board, some ten microseconds; then the thread offers its core to others
FIRED, FULL = 1, 2  # what a part says when it comes
CAN_MEET = sys.platform != "win32"  # sched_yield is POSIX
IS_X86 = platform.machine() in ("x86_64", "AMD64")
_sched_yield = types.ExternalFunction("sched_yield", types.int32())


@intrinsic
def _publish(_typing, board, index, value):
    """board[index] = value, after everything that this thread has written before."""

    def build(context, builder, signature, arguments):
        builder.store_atomic(arguments[2], place(context, builder, signature, arguments), "release", 8)
        return context.get_dummy_value()

    return types.void(board, types.int64, types.int64), build


@intrinsic
def _seen(_typing, board, index):
    """board[index], and with it everything that its writer had written before."""

    def build(context, builder, signature, arguments):
        return builder.load_atomic(place(context, builder, signature, arguments), "acquire", 8)

    return types.int64(board, types.int64), build


@intrinsic
def _pause(_typing):
    """A hint to the processor that this thread waits."""

    def build(context, builder, _signature, _arguments):
        if IS_X86:
            pause = get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause")
            builder.call(pause, [])
        return context.get_dummy_value()

    return types.void(), build


@shared
def put(board, mail, part, turn, p, ids, first, last):
    """Of population p the neurons ids[first:last] fired."""
    board[part, turn, 1 + p] = last - first
    for k in range(first, last):
        mail[turn, part, k - first] = ids[k]


@shared
def _at(board, part, number):
    """Where a part's word of a meeting stands."""
    return (2 * part + (number & 1)) * board.shape[2]


@shared
def come(board, part, number, said):
    """This part comes to meeting `number`. said: FIRED if any neurons did, which were put; FULL if a list may not hold the next step."""
    _publish(board, _at(board, part, number), (number << 2) | said)


@shared
def meet(board, part, number):
    """Wait until every part has come to meeting `number`; what any of them said."""
    said = 0
    for other in range(board.shape[0]):
        looks, word = 0, _seen(board, _at(board, other, number))
        while word >> 2 < number:
            _pause()
            looks += 1
            if looks > PATIENCE:
                _sched_yield()
            word = _seen(board, _at(board, other, number))
        said |= word & (FIRED | FULL)
    fetch_to_write(board, _at(board, part, number + 1))
    return said


@shared
def take(board, mail, part, turn, p, ids, first):
    """Write the neurons of population p that fired in any part to ids[first:last]; where this part's own begin and end, and last."""
    own_first = own_last = last = first
    for other in range(board.shape[0]):
        count = board[other, turn, 1 + p] if board[other, turn, 0] & FIRED else 0
        if other == part:
            own_first, own_last = last, last + count
        for k in range(count):
            ids[last + k] = mail[turn, other, k]
        last += count
    return own_first, own_last, last


def edges(size: int, parts: int) -> np.ndarray:
    """Where the parts of `size` neurons begin, and where the last one ends [parts + 1]."""
    found = np.array([size * k // parts // GRAIN * GRAIN for k in range(parts)] + [size])
    return found.astype(np.uint64)


def new_board(populations: int, parts: int) -> np.ndarray:
    return unshared((parts, 2, -(-(1 + populations) // 16) * 16), np.dtype(np.int64))


# -- the threads ---------------------------------------------------------------------------------------------------


class _Helper(threading.Thread):
    """Sleeps until it is given a task."""

    def __init__(self) -> None:
        super().__init__(name="spiketwin-part", daemon=True)
        self.begin, self.end = threading.Lock(), threading.Lock()
        self.begin.acquire()
        self.end.acquire()
        self.task: Callable[[], object] = lambda: None
        self.failure: BaseException | None = None
        self.start()

    def run(self) -> None:
        while True:
            self.begin.acquire()
            try:
                self.task()
            except BaseException as failure:
                self.failure = failure
            self.end.release()


_idle: list[_Helper] = []


def together(tasks: Sequence[Callable[[], object]], has_run: Callable[[], bool]) -> None:
    """Run the tasks at the same time, each in a thread, the first in this one.

    They wait for each other, so all of them run whatever happens: Ctrl-C is raised when they are done.
    has_run: whether the first task, which releases the GIL, has done its work.
    """
    helpers = [_idle.pop() if _idle else _Helper() for _ in tasks[1:]]
    caught: BaseException | None = None
    for helper, task in zip(helpers, tasks[1:], strict=True):
        helper.task = task
        helper.begin.release()
    while not has_run():
        try:
            tasks[0]()
        except KeyboardInterrupt as interruption:
            caught = interruption
    for helper in helpers:
        while True:
            try:
                helper.end.acquire()
                break
            except KeyboardInterrupt as interruption:
                caught = interruption
    _idle.extend(helpers)
    for helper in helpers:
        caught, helper.failure = helper.failure or caught, None
    if caught:
        raise caught


# a forked child has none of these threads
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)
