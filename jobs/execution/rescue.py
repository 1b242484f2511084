"""Takes jobs back from attempts that can no longer end by themselves. Whoever says that a process is dead decides it
before; every move here is fenced by the attempt, so a wrong guess cannot touch what came after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from jobs.core.conf import settings
from jobs.core.db.statements import execute
from jobs.execution import back_to_queue
from jobs.execution.failures.failure import Failure
from jobs.execution.fence import Pair, fence_of_many
from jobs.models import Attempt, transitions
from jobs.models.transitions import Moved, Sql
from jobs.states import ErrorCategory


def rescue(pairs: Sequence[Pair], why: str, actor: str) -> list[Moved]:
    """Put running jobs back to waiting because their process is dead; over the cap of rescues they fail as `lost`.

    So does a job that may run at most once.
    """
    if not pairs:
        return []
    where, ids = fence_of_many(pairs)
    lost = Failure(ErrorCategory.LOST, "WorkerLost", why).columns
    cap = settings.MAX_RESCUES
    ends = f"{where} AND state = 'running' AND cancel_requested_at IS NULL"
    told: dict[str, Any] = {"attempt": lost, "actor": actor, "data": {"why": why}}
    moved = transitions.move(
        "fail",
        f"{ends} AND rescue_count >= %s AND NOT at_most_once",
        [*ids, cap],
        sets={**lost, "error_message": f"given up after {cap} rescues: {why}"},
        **told,
    )
    once = {**lost, "error_message": f"not run again, because it may run at most once: {why}"}
    moved += transitions.move("fail", f"{ends} AND at_most_once", ids, sets=once, **told)
    moved += back_to_queue.return_to_queue("rescue", where, ids, **told)
    return moved


def release(pairs: Sequence[Pair], why: str, actor: str) -> list[Moved]:
    """Put queued jobs back to waiting that their worker has fetched and will not begin; that counts for nothing."""
    if not pairs:
        return []
    where, ids = fence_of_many(pairs)
    kept = {"release_count": Sql("release_count")}  # nobody was deaf to these doorbells
    return transitions.move("release", where, ids, sets=kept, actor=actor, data={"why": why})


def note_unknown(pairs: Sequence[Pair]) -> None:
    """Remember since when workers say that they do not know these jobs' task; the next claim forgets it."""
    where, ids = fence_of_many(pairs)
    sql = "UPDATE jobs_job SET unknown_since = COALESCE(unknown_since, {now})"
    execute(settings.DATABASE, f"{sql} WHERE {where} AND state = 'queued'", ids)


def open_attempts(boot_id: UUID) -> set[Pair]:
    """The attempts that the rows say a worker is running."""
    rows = Attempt.objects.using(settings.DATABASE).filter(worker_id=boot_id, finished_at__isnull=True)
    return set(rows.values_list("job_id", "id"))


def attempts_of_the_fenced(limit: int) -> list[Pair]:
    """Open attempts of workers that are fenced."""
    rows = Attempt.objects.using(settings.DATABASE).filter(finished_at__isnull=True, worker__fenced_at__isnull=False)
    return list(rows.values_list("job_id", "id")[:limit])
