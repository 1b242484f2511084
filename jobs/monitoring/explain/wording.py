"""Numbers, names and moments inside the sentences of "why". Plain text; who shows it escapes it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import UTC, datetime

from celery import current_app

from jobs.admission.limits.lanes import CPU, DISK, MEMORY
from jobs.monitoring.formatting import distance

_UNITS = {MEMORY: "MB of memory", DISK: "MB of disk", CPU: "of CPU weight"}
_LONGEST = 200  # characters of a name or a person's reason in a sentence


def name(text: str) -> str:
    """A name, set off from the sentence."""
    return f"“{clipped(text)}”"


def clipped(text: str) -> str:
    """On one line, and not too long for a sentence."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def number(value: float) -> str:
    """ "1,500", "0.5"."""
    return f"{value:,.10g}"


def jobs(count: float) -> str:
    """ "no job", "1 job", "2 jobs"."""
    return f"{number(count) if count else 'no'} {'job' if count in (0, 1) else 'jobs'}"


def amount(value: float, budget: str) -> str:
    """ "512 MB of memory", "2 of gpu"."""
    return f"{number(value)} {_UNITS.get(budget, f'of {name(budget)}')}"


def what(budget: str) -> str:
    """ "memory", "CPU weight", a resource's name."""
    return _UNITS[budget].rpartition("of ")[2] if budget in _UNITS else name(budget)


def by(person: str) -> str:
    """ " by ada", or nothing."""
    return f" by {clipped(person)}" if person else ""


def because(text: str) -> str:
    """ ": maintenance", or nothing."""
    return f": {clipped(text).rstrip('.')}" if text else ""


def when(moment: datetime, now: datetime) -> str:
    """ "in 5 s", "3 min ago", "just now"."""
    return distance(moment, now)


def moment(epoch: float) -> datetime:
    """Epoch seconds as an aware datetime."""
    return datetime.fromtimestamp(epoch, UTC)


def worker_command(pools: Iterable[str]) -> str:
    """The command that starts a worker for these pools."""
    project = current_app.main if current_app.main not in (None, "", "__main__", "default") else "your_project"
    return f"celery -A {project} worker -Q {shlex.quote(','.join(pools))} -c 4"
