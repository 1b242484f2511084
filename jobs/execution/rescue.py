"""Takes jobs back from dead processes and returns them to the queue.

The caller decides that a process is dead. Every move is fenced by the attempt, so a wrong decision cannot touch a later
attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models.functions import Coalesce

from jobs.core.conf import settings
from jobs.core.db.clock import DbNow
from jobs.execution import back_to_queue
from jobs.execution.failures.failure import Failure
from jobs.execution.fence import Pair, fence_of_many
from jobs.models import Attempt, Job, transitions
from jobs.models.transitions import Moved, Sql
from jobs.states import ErrorCategory, JobState

NOT_LOST = {"release_count": Sql("release_count")}  # this release is not a lost message: do not count it


def rescue(pairs: Sequence[Pair], why: str, actor: str) -> list[Moved]:
    """Return running jobs to the queue because their process is dead.

    A job that was rescued MAX_RESCUES times, or that may run at most once, fails as `lost` instead.
    """
    if not pairs:
        return []
    where, ids = fence_of_many(pairs)
    lost = Failure(ErrorCategory.LOST, "WorkerLost", why).columns
    cap = settings.MAX_RESCUES
    ends = f"{where} AND state = 'running' AND cancel_requested_at IS NULL"
    options: dict[str, Any] = {"attempt": lost, "actor": actor, "data": {"why": why}}
    moved = transitions.move(
        "fail",
        f"{ends} AND rescue_count >= %s AND NOT at_most_once",
        [*ids, cap],
        sets={**lost, "error_message": f"given up after {cap} rescues: {why}"},
        **options,
    )
    once = {**lost, "error_message": f"not run again, because it may run at most once: {why}"}
    moved += transitions.move("fail", f"{ends} AND at_most_once", ids, sets=once, **options)
    moved += back_to_queue.return_to_queue("rescue", where, ids, **options)
    return moved


def release(pairs: Sequence[Pair], why: str, actor: str) -> list[Moved]:
    """Return queued jobs that their worker has fetched and will not start. This does not count as a lost message."""
    if not pairs:
        return []
    where, ids = fence_of_many(pairs)
    return transitions.move("release", where, ids, sets=NOT_LOST, actor=actor, data={"why": why})


def note_unknown(pairs: Sequence[Pair]) -> None:
    """Note since when workers report that they do not know the task of these jobs; the next claim clears it."""
    job_ids, attempt_ids = zip(*pairs, strict=True)
    queued = Job.objects.using(settings.DATABASE).filter(state=JobState.QUEUED)
    queued.filter(pk__in=job_ids, attempt_id__in=attempt_ids).update(unknown_since=Coalesce("unknown_since", DbNow()))


def open_attempts(boot_id: UUID) -> set[Pair]:
    """The attempts that a worker is running, by their rows."""
    rows = Attempt.objects.using(settings.DATABASE).filter(worker_id=boot_id, finished_at__isnull=True)
    return set(rows.values_list("job_id", "id"))


def attempts_of_the_fenced(limit: int) -> list[Pair]:
    """Open attempts of workers that were declared dead."""
    rows = Attempt.objects.using(settings.DATABASE).filter(finished_at__isnull=True, worker__fenced_at__isnull=False)
    return list(rows.values_list("job_id", "id")[:limit])
