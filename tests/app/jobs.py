"""Jobs that tests submit to real workers. What a body did it notes in the ledger, with its job's id.

`tests.app.tasks` imports this module, so every worker of the tests knows these jobs. A body that has to wait waits
for a file, its gate, which the test makes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from jobs import JobTask, job
from jobs.exceptions import JobAborted, JobFailed
from tests.app import ledger

LONGEST = 60  # seconds before a gate that nobody opens


class Unspeakable(Exception):  # noqa: N818  # the name is what the test looks for
    """Cannot even say what went wrong."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


@job
def probe() -> str:
    """Proves that jobs get through."""
    return "through"


@job(bind=True)
def add(self: JobTask, a: int, b: int) -> int:
    note_effect(self)
    return a + b


@job(bind=True)
def mirror(self: JobTask, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Give back what came in, and how this side sees it."""
    seen = {"args": self.job.args, "kwargs": self.job.kwargs, "key": self.job.key, "metadata": self.job.metadata}
    return {**seen, "types": [type(value).__name__ for value in args], "equal": [*args] == self.job.args}


@job
def measure(text: str) -> int:
    return len(text)


@job(bind=True, retry_delay=0.4)
def fail_first(self: JobTask, times: int, message: str = "not yet") -> int:
    """Raise in the first `times` attempts."""
    note_effect(self)
    if self.job.attempt <= times:
        raise ValueError(message)
    return self.job.attempt


@job(bind=True)
def ask_again(self: JobTask, countdown: float) -> int:
    """Celery's own spelling of a retry."""
    if self.job.attempt == 1:
        self.retry(exc=ConnectionError("away"), countdown=countdown)
    return self.job.attempt


@job(bind=True)
def snooze_first(self: JobTask, times: int, seconds: float) -> int:
    note_effect(self)
    if self.job.attempt <= times:
        self.job.snooze(seconds)
    return self.job.attempt


@job
def leave(code: object) -> NoReturn:
    """sys.exit() in a body."""
    sys.exit(code)  # type: ignore[arg-type]  # anything may be said


@job(bind=True)
def crash_first(self: JobTask, times: int) -> int:
    """os._exit() in a body: no `finally` runs, nothing is reported."""
    note_effect(self)
    if self.job.attempt <= times:
        os._exit(7)
    return self.job.attempt


@job
def raise_odd(kind: str) -> NoReturn:
    """Exceptions that resist being recorded."""
    if kind == "unspeakable":
        raise Unspeakable
    if kind == "unstorable text":
        raise ValueError("NUL \0 and surrogate \ud800")
    if kind == "huge":
        raise ValueError("head" + "x" * 10 * 2**20 + "tail")
    if kind == "base":
        raise GeneratorExit("not an Exception")
    raise JobFailed("no paper", result={"tray": 2}, category="printer")


@job
def return_odd() -> object:
    """A result that cannot be stored."""
    return object()


@job(bind=True)
def whoami(self: JobTask) -> int:
    """In which process jobs run just now."""
    note_effect(self)
    return os.getpid()


@job(bind=True)
def count_to(self: JobTask, steps: int, pause: float) -> int:
    """Say so after every step."""
    for step in range(1, steps + 1):
        self.job.progress(100 * step / steps, f"step {step}", stage="counting", sub_progress=50, step=step)
        time.sleep(pause)
    self.job.log(f"counted to {steps}")
    return steps


@job(bind=True)
def hold(self: JobTask, gate: str) -> str:
    """Stay in the body until the gate opens, and stop when asked to."""
    note_effect(self)
    for _ in until_open(gate):
        self.job.check()
    return "opened"


@job(bind=True)
def ignore_requests(self: JobTask, gate: str) -> str:
    """Stay in the body until the gate opens, whoever asks to stop."""
    note_effect(self)
    for _ in until_open(gate):
        self.job.log("still here")
    return "opened"


@job(bind=True, max_retries=3)
def answer_request(self: JobTask, gate: str, by: str) -> NoReturn:
    """Stay until asked to stop, or until the gate opens; then end in another way than by JobAborted."""
    note_effect(self)
    try:
        for _ in until_open(gate):
            self.job.check()
    except JobAborted as error:
        ledger.note("aborted", job=str(self.job.id), why=str(error))
    if by == "raise":
        raise ValueError("no clean end")
    self.job.snooze(0.01)


@job(bind=True, max_retries=1)
def walk(self: JobTask, gate: str, steps: int) -> list[int]:
    """Keep each step, and go on from the last one; stay at the end of the way. Returns the steps of this attempt."""
    note_effect(self)
    walked = []
    for step in range((self.job.resume_data or 0) + 1, steps + 1):
        walked.append(step)
        self.job.progress(100 * step / steps, f"step {step}", stage="walking")
        self.job.checkpoint(step)
    for _ in until_open(gate):
        self.job.checkpoint(steps)
    return walked


@job(bind=True)
def nap(self: JobTask, seconds: float = 0) -> None:
    note_effect(self)
    time.sleep(seconds)


@job(bind=True)
def toil(self: JobTask, seconds: float) -> None:
    """Work for so long, say how far it is, and stop when asked to."""
    note_effect(self)
    begin = time.monotonic()
    while (done := time.monotonic() - begin) < seconds:
        self.job.progress(100 * done / seconds, "toiling")
        time.sleep(0.02)


def note_effect(task: JobTask) -> None:
    """Say that this attempt's body has begun."""
    ledger.note("effect", job=str(task.job.id), attempt=task.job.attempt)


def until_open(gate: str) -> Iterator[None]:
    """Come back again and again while the file is not there."""
    give_up_at = time.monotonic() + LONGEST
    while not Path(gate).exists():
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"{gate}: nobody opens it")
        yield
        time.sleep(0.01)
