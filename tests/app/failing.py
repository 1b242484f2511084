"""Jobs that fail in every way that a policy knows, for tests on real workers."""

from __future__ import annotations

import os
import signal
from typing import Any, NoReturn

from jobs import JobTask, job
from tests.app.jobs import note_effect


@job(bind=True)
def make_do(self: JobTask, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """A fallback: tells what it was given."""
    note_effect(self)
    return {"args": list(args), "kwargs": kwargs, "error": self.job.error}


@job(bind=True, fallback=make_do, max_retries=1, retry_delay=0.05)
def give_up(self: JobTask, *args: Any, **kwargs: Any) -> NoReturn:
    """Fails in each attempt."""
    note_effect(self)
    raise ConnectionError(f"attempt {self.job.attempt} on host 10.0.0.{self.job.attempt} failed")


@job(bind=True, max_retries=3, retry_delay=0.05, retry_on=(ConnectionError,))
def be_exact(self: JobTask, kinds: list[str]) -> int:
    """Raises one kind of error after the other, then ends well."""
    note_effect(self)
    if self.job.attempt <= len(kinds):
        raise {"away": ConnectionError, "wrong": ValueError}[kinds[self.job.attempt - 1]](kinds)
    return self.job.attempt


@job(bind=True, at_most_once=True, fallback=make_do)
def once(self: JobTask, how: str) -> None:
    """Runs once, and ends in a way that makes other jobs run again."""
    note_effect(self)
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "snooze":
        self.job.snooze(0.01)
    raise ConnectionError("away")
