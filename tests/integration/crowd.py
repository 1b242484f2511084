"""A crowd: several processes that do the same thing at the same moment, each with its own connections.

The processes come from a server that has Django loaded and no connection open: starting one costs a fork.
"""

from __future__ import annotations

import multiprocessing
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

from django.db import connections

from jobs.admission import publishing

ACTORS = "tests.integration.actors"  # where the functions live that a crowd may run
LONGEST = 60.0

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([ACTORS])


def crowd(size: int, act: Callable[..., Any], *args: Any) -> list[Any]:
    """Run `act(number, barrier, *args)` in so many processes, `number` from 0; returns what each returned.

    `act` is a function of `ACTORS`; it calls `barrier.wait()` when it is ready. An exception in one is raised here.
    """
    barrier = _context.Barrier(size, timeout=LONGEST)
    lines, members = [], []
    for number in range(size):
        mine, its = _context.Pipe(duplex=False)
        member = _context.Process(target=_live, args=(its, act, number, barrier, args), daemon=True)
        member.start()
        its.close()
        lines.append(mine)
        members.append(member)
    answers = [_answer(line) for line in lines]
    for member in members:
        member.join(LONGEST)
    failed = [told for told, failed in answers if failed]
    assert not failed, f"{len(failed)} of {size} failed; the first:\n{failed[0]}"
    return [told for told, _ in answers]


def elsewhere(act: Callable[..., Any], *args: Any) -> Any:
    """Run `act(number, barrier, *args)` in one other process."""
    return crowd(1, act, *args)[0]


def _live(line: Connection, act: Callable[..., Any], number: int, barrier: Barrier, args: tuple[Any, ...]) -> None:
    try:
        line.send((act(number, barrier, *args), False))
    except BaseException:
        line.send((traceback.format_exc(), True))
        barrier.abort()  # the others need not wait for this one
        raise
    finally:
        publishing.disconnect()
        connections.close_all()


def _answer(line: Connection) -> tuple[Any, bool]:
    if not line.poll(LONGEST):
        return "no answer", True
    try:
        told: tuple[Any, bool] = line.recv()
    except EOFError:
        return "died without a word", True
    return told


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """What each answers that begins in the same moment: threads of this process, each with its own connection."""
    barrier = threading.Barrier(len(acts))

    def begin(act: Callable[[], Any]) -> Any:
        try:
            barrier.wait(10)
            return act()
        finally:
            publishing.disconnect()
            connections.close_all()

    with ThreadPoolExecutor(len(acts)) as crew:
        return [asked.result() for asked in [crew.submit(begin, act) for act in acts]]
