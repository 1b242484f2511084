"""Chore: fail jobs whose task no worker has known for long enough. Until then each lost message is sent again."""

from __future__ import annotations

from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.execution.failures.failure import Failure
from jobs.models import transitions
from jobs.states import ErrorCategory

BATCH = 500


def give_up() -> int:
    """Fail what has been unknown for UNKNOWN_TASK_AFTER, category `unknown_task`; returns how many jobs."""
    seconds = settings.UNKNOWN_TASK_AFTER
    message = f"no worker has known this task for {seconds:g} s: is its module imported there, or was it renamed?"
    error = Failure(ErrorCategory.UNKNOWN_TASK, "UnknownTask", message).columns
    db = dialect(settings.DATABASE)
    long_unknown = f"state = 'queued' AND unknown_since < {db.later('{now}')}"
    found = db.pick_skip_locked(f"SELECT id FROM jobs_job WHERE {long_unknown} ORDER BY id LIMIT %s")
    return len(transitions.move("fail", found, [-seconds, BATCH], sets=error, actor="steward"))
