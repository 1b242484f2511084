"""Jobs that do not stop when they are asked to, or end in ways that no body should; for tests of the guard.

Each notes in the ledger what it really did. Loaded by workers through CELERY_IMPORTS of `tests/settings_live.py`.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from jobs.client.task import JobTask, job
from jobs.exceptions import JobTimedOut
from tests.app import ledger
from tests.app.faulty import EFFECT, LONGEST


def _note(task: JobTask, what: str, **more: object) -> None:
    ledger.note(what, job=str(task.job.id), attempt=task.job.attempt, **more)


@job(bind=True)
def spin(self: JobTask) -> None:
    """Burn in C, holding the GIL: no thread of this process runs, no signal handler, for minutes."""
    _note(self, "begin")
    re.match(r"(a+)+$", "a" * 40 + "b")
    _note(self, EFFECT)


@job(bind=True)
def sit(self: JobTask, seconds: float = LONGEST) -> None:
    """Sleep without a look; clean up when the process is told to end."""
    _note(self, "begin")
    try:
        time.sleep(seconds)
        _note(self, EFFECT)
    finally:
        _note(self, "cleaned")


@job(bind=True)
def tidy(self: JobTask, seconds: float = 1.0) -> None:
    """Sleep without a look; take a while to clean up when the process is told to end."""
    _note(self, "begin")
    try:
        time.sleep(LONGEST)
    finally:
        time.sleep(seconds)
        _note(self, "cleaned")


@job(bind=True)
def fumble(self: JobTask) -> None:
    """Sleep without a look, and fail to clean up when the process is told to end."""
    _note(self, "begin")
    try:
        time.sleep(LONGEST)
    finally:
        raise ConnectionError("nothing left to roll back on")


@job(bind=True)
def refuse(self: JobTask) -> None:
    """Go on whatever is raised, `SystemExit` included; notes each kind once."""
    _note(self, "begin")
    begun, seen = time.monotonic(), set()
    while time.monotonic() - begun < LONGEST:
        try:
            time.sleep(0.02)
            self.job.check()
        except BaseException as error:  # noqa: BLE001 - that is what it is for
            if type(error) not in seen:
                seen.add(type(error))
                _note(self, "refused", error=type(error).__name__)


@job(bind=True)
def obey(self: JobTask) -> None:
    """Look every 20 ms, and note when it was stopped."""
    _note(self, "begin")
    try:
        while True:
            self.job.check()
            time.sleep(0.02)
    finally:
        _note(self, "stopped", error=type(sys.exc_info()[1]).__name__)


@job(bind=True)
def keep(self: JobTask) -> None:
    """Keep a number every 20 ms, and look no other way."""
    _note(self, "begin")
    for number in range(50 * LONGEST):
        self.job.checkpoint(number)
        time.sleep(0.02)


@job(bind=True)
def finish_late(self: JobTask) -> str:
    """Catch its time-out and end well."""
    _note(self, "begin")
    try:
        while True:
            self.job.check()
            time.sleep(0.02)
    except JobTimedOut as error:
        _note(self, EFFECT)
        return type(error).__name__


@job(bind=True)
def brood(self: JobTask) -> None:
    """Wait for a process of its own, which ends through `on_abort` when somebody may say so."""
    child = subprocess.Popen(["sleep", str(LONGEST)])
    _note(self, "begin", child=child.pid)
    child.wait()


@job(bind=True)
def wait_for_child(self: JobTask) -> None:
    """As `brood`, and ends its process when it should stop."""
    child = subprocess.Popen(["sleep", str(LONGEST)])
    self.job.on_abort(child.terminate)
    _note(self, "begin", child=child.pid)
    child.wait()
    self.job.check()


@job(bind=True)
def end_badly(self: JobTask, how: str) -> None:
    """End as no body should."""
    _note(self, "begin")
    BAD_ENDS[how]()


def _raise(error: BaseException) -> NoReturn:
    raise error


def _kill(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    time.sleep(5)


BAD_ENDS: dict[str, Callable[[], object]] = {
    "sys.exit": lambda: sys.exit(3),
    "sys.exit(0)": lambda: sys.exit(0),
    "KeyboardInterrupt": lambda: _raise(KeyboardInterrupt()),
    "GeneratorExit": lambda: _raise(GeneratorExit()),
    "os._exit": lambda: os._exit(3),
    "os._exit(0)": lambda: os._exit(0),
    "abort": os.abort,
    "SIGKILL": lambda: _kill(signal.SIGKILL),
}


@job(bind=True)
def until(self: JobTask, gate: str) -> int:
    """Sit, without a look, until the gate opens; returns the process."""
    _note(self, "begin")
    begun = time.monotonic()
    while not Path(gate).exists() and time.monotonic() - begun < LONGEST:
        time.sleep(0.02)
    _note(self, EFFECT)
    return os.getpid()
