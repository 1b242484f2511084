"""Exact points at which a process of a worker dies, once, or waits, and a wrong clock for all, by its environment.

`JOBCENTER_TEST_POINT=after_claim` kills the first pool child that comes to that point; `before_blow` has the guard wait
between its look and its first blow; `JOBCENTER_TEST_CLOCK=600` has every process of the worker believe that it is ten
minutes later.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.app import ledger

POINT, CLOCK = "JOBCENTER_TEST_POINT", "JOBCENTER_TEST_CLOCK"
_WAIT_AT_MOST = 60  # seconds


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
    attempt: Any = import_module("jobs.execution.attempt")  # it cannot be loaded before Django has loaded every app
    assert path in vars(attempt), f"{path}: the point has moved, and this must follow"
    setattr(attempt, path, wrap(getattr(attempt, path)))


def _die_once() -> None:
    """Whoever makes the file first dies of it."""
    try:
        os.close(os.open(f"{os.environ[ledger.VARIABLE]}.died", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    ledger.note("died")
    os.kill(os.getpid(), signal.SIGKILL)


def blow_gate(ledger_file: Path) -> Path:
    """The file that lets the guard go on to its first blow."""
    return ledger_file.with_suffix(".blow")


def _before_blow() -> None:
    """What it does then it notes: `blow`, and whether it struck."""
    watch: Any = import_module("jobs.worker.guard.guard")
    stop = watch.stop

    def stop_later(*args: Any) -> bool:
        ledger.note("about to strike")
        until = time.monotonic() + _WAIT_AT_MOST
        while not blow_gate(Path(os.environ[ledger.VARIABLE])).exists() and time.monotonic() < until:
            time.sleep(0.01)
        is_struck: bool = stop(*args)
        ledger.note("blow", is_struck=is_struck)
        return is_struck

    watch.stop = stop_later


def _set_clock(seconds: float) -> None:
    machine: Any = import_module("time_machine")  # it patches functions as soon as it is loaded
    machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True).start()


_POINTS: dict[str, Callable[[], None]] = {
    "before_claim": _before("claim"),
    "after_claim": _before("run"),
    "after_body": _before("complete"),
    "after_finish": _after("run"),
    "before_blow": _before_blow,
}
