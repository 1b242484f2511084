"""Jobs for fault tests: each notes in the ledger what it really did; some end when their gate, a file, is opened.

Loaded by workers through CELERY_IMPORTS of `tests/settings_live.py`.
"""

import os
import signal
import time
from pathlib import Path

from jobs.client.task import JobTask, job
from jobs.execution.context import JobContext
from tests.app import ledger

EFFECT = "effect"  # the word of tests.invariants
LONGEST = 110  # seconds that a body waits before its gate; longer than any test


def _note(task: JobTask, what: str) -> None:
    ledger.note(what, job=str(task.job.id), attempt=task.job.attempt)


@job(bind=True)
def touch(self: JobTask) -> int:
    """Run once and be done; returns the process."""
    _note(self, EFFECT)
    return os.getpid()


@job(bind=True)
def hold(self: JobTask, gate: str, *, talking: bool = False) -> int:
    """Stay in the body until the gate, or the one of this attempt (`<gate>1`, `<gate>2` …) opens; returns the process.

    `talking` reports progress all the while.
    """
    _note(self, "begin")
    gates = [Path(gate), Path(f"{gate}{self.job.attempt}")]
    begun = time.monotonic()
    while not any(one.exists() for one in gates):
        if time.monotonic() - begun > LONGEST:
            raise TimeoutError(f"{gate} was never opened")
        if talking:
            self.job.progress(min(99, time.monotonic() - begun))
        time.sleep(0.02)
    _note(self, EFFECT)
    return os.getpid()


@job(bind=True)
def furnish(self: JobTask, gate: str) -> int:
    """Stay in the body until the gate opens, and stop when asked to; its hooks see what it keeps."""
    self.job.checkpoint({"pid": os.getpid()})
    _note(self, "begin")
    begun = time.monotonic()
    while not Path(gate).exists() and time.monotonic() - begun < LONGEST:
        self.job.check()
        time.sleep(0.02)
    _note(self, EFFECT)
    return os.getpid()


@furnish.on_cancel
def _undo(this: JobContext) -> None:
    ledger.note("on_cancel", job=str(this.id), attempt=this.attempt, left=this.resume_data, reason=this.reason)


@furnish.cleanup
def _tidy(this: JobContext) -> None:
    ledger.note("cleanup", job=str(this.id), attempt=this.attempt, left=this.resume_data, outcome=this.outcome)


@job(bind=True)
def poison(self: JobTask) -> None:
    """Kill the process that runs it, each time."""
    _note(self, "begin")
    os.kill(os.getpid(), signal.SIGKILL)
