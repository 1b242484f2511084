"""Chore: fail jobs that were not started by the time at which they expire.

The claim refuses them from that moment on, so none of them runs, however late this chore is.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.execution.failures.failure import Failure
from jobs.models import transitions
from jobs.states import NOT_RUNNING, ErrorCategory

BATCH = 500
MESSAGE = "it was not started by the time that its option `expires` says"
_STATES = ", ".join(f"'{state}'" for state in sorted(NOT_RUNNING))


def give_up() -> int:
    """Fail what has expired, category `expired`, the longest overdue first; returns how many jobs."""
    return sum(steps())


def steps() -> Iterator[int]:
    """The same, one batch for each `next`."""
    error = Failure(ErrorCategory.EXPIRED, "JobExpired", MESSAGE).columns
    waiting = f"state IN ({_STATES}) AND expires_at IS NOT NULL AND expires_at <= {{now}}"
    found = dialect(settings.DATABASE).pick_skip_locked(
        f"SELECT id FROM jobs_job WHERE {waiting} ORDER BY expires_at LIMIT %s"
    )
    moved = BATCH
    while moved == BATCH:
        moved = len(transitions.move("fail", found, [BATCH], sets=error, actor="steward"))
        yield moved
