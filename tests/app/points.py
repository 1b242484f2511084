"""Exact points at which a process of a worker dies, once, and a wrong clock for all of them, by its environment.

`JOBCENTER_TEST_POINT=after_claim` kills the first pool child that comes to that point; `JOBCENTER_TEST_CLOCK=600` has
every process of the worker believe that it is ten minutes later.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

from tests.app import ledger

POINT, CLOCK = "JOBCENTER_TEST_POINT", "JOBCENTER_TEST_CLOCK"


def install() -> None:
    """Put in place what this process's environment asks for."""
    if name := os.environ.get(POINT):
        _POINTS[name]()
    if seconds := os.environ.get(CLOCK):
        _set_clock(float(seconds))


def _before(path: str) -> Callable[[], None]:
    def dying(original: Callable[..., Any]) -> Callable[..., Any]:
        def act(*args: Any, **kwargs: Any) -> Any:
            _die_once()
            return original(*args, **kwargs)

        return act

    return lambda: _replace(path, dying)


def _after(path: str) -> Callable[[], None]:
    def dying(original: Callable[..., Any]) -> Callable[..., Any]:
        def act(*args: Any, **kwargs: Any) -> Any:
            done = original(*args, **kwargs)
            _die_once()
            return done

        return act

    return lambda: _replace(path, dying)


def _replace(path: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    execution: Any = import_module("jobs.execution")  # it cannot be loaded before Django has loaded every app
    assert path in vars(execution), f"{path}: the point has moved, and this must follow"
    setattr(execution, path, wrap(getattr(execution, path)))


def _die_once() -> None:
    """Whoever makes the file first dies of it."""
    try:
        os.close(os.open(f"{os.environ[ledger.VARIABLE]}.died", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    ledger.note("died")
    os.kill(os.getpid(), signal.SIGKILL)


def _set_clock(seconds: float) -> None:
    machine: Any = import_module("time_machine")  # it patches functions as soon as it is loaded
    machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True).start()


_POINTS: dict[str, Callable[[], None]] = {
    "before_claim": _before("claim"),
    "after_claim": _before("run"),
    "after_body": _before("_end"),
    "after_finish": _after("perform"),
}
