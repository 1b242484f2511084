"""Jobs for fault tests: each notes in the ledger what it really did; some end when their gate, a file, is opened.

Loaded by workers through CELERY_IMPORTS of `tests/settings_live.py`.
"""

import os
import signal
import time
from pathlib import Path

from jobs.task import JobTask, job
from tests.app import ledger

EFFECT = "effect"  # the word of tests.invariants
LONGEST = 110  # seconds that a body waits before its gate; longer than any test


def _note(task: JobTask, what: str) -> None:
    ledger.note(what, job=str(task.job.id), attempt=task.job.attempt)


@job(bind=True)
def touch(self: JobTask) -> int:
    """Run once and be done."""
    _note(self, EFFECT)
    return os.getpid()


@job(bind=True)
def hold(self: JobTask, gate: str) -> str:
    """Stay in the body until the gate opens."""
    _note(self, "begin")
    give_up_at = time.monotonic() + LONGEST
    while not Path(gate).exists():
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"{gate} was never opened")
        time.sleep(0.02)
    _note(self, EFFECT)
    return gate


@job(bind=True)
def poison(self: JobTask) -> None:
    """Kill the process that runs it, each time."""
    _note(self, "begin")
    os.kill(os.getpid(), signal.SIGKILL)
