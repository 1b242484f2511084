"""Follows the work from the terminal: one line that is written over and over, where there is a terminal."""

from __future__ import annotations

import shutil
import time
from typing import TextIO

from django.db.models import Count

from jobs import Job, JobState
from jobs.states import FINAL

BAR = 24  # characters
EVERY = 0.25  # seconds between two looks at the database
_CLEAR = "\r\033[K"


class LiveLine:
    """The line. Where the output is no terminal, nothing is written."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._next = 0.0

    def show(self) -> None:
        """Write how things stand, if it is time to."""
        if self._is_terminal and time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY
            self._out.write(_CLEAR + describe()[: shutil.get_terminal_size().columns - 1])
            self._out.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._is_terminal:
            self._out.write(_CLEAR)
            self._out.flush()


def describe() -> str:
    """How things stand, in one line: what is done, and what each running job is at."""
    counts = dict(Job.objects.values_list("state").annotate(Count("id")))
    total, done = sum(counts.values()), sum(counts.get(state, 0) for state in FINAL)
    filled = BAR * done // max(1, total)
    running = Job.objects.filter(state=JobState.RUNNING).order_by("id")
    return f"[{'#' * filled}{'.' * (BAR - filled)}] {done}/{total} jobs  {'  '.join(map(_shown, running))}"


def _shown(job: Job) -> str:
    return f"{job.task.removeprefix('demo.')} {job.args[0] if job.args else ''} {job.progress:.0f}%".replace("  ", " ")
