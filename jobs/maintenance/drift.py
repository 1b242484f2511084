"""Reconciliation: where rows, broker and workers contradict each other, found in one look and put right.

Most contradictions are a death or a loss, and have a chore of their own (`republisher`, `lost_messages`,
`dead_workers`); the edge that repairs them is their event. The rest is left by no process of the platform: rows were
deleted or written by hand, or a backup was restored. It is repaired all the same, and leaves the event `drift`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from jobs import states
from jobs.core.conf import settings
from jobs.core.db.clock import DbNow
from jobs.core.db.dialects import dialect
from jobs.execution import rescue
from jobs.execution.fence import Pair
from jobs.maintenance import lost_messages
from jobs.maintenance.counters import repaired
from jobs.models import Attempt, Job, Worker, transitions

BATCH = 500
MEANINGS = {
    "unsent": "admitted, and no message was sent",
    "doorbell_lost": "its message was sent, and the broker no longer holds it",
    "worker_dead": "running on a worker that was declared dead, or is silent",
    "worker_gone": "running on a worker that has no row",
    "attempt_missing": "running without an open attempt",
    "attempt_left": "an attempt is open, and the job does not run it",
    "request_left": "it was asked to be cancelled, and it waits",
}


class Drift(NamedTuple):
    """One contradiction."""

    kind: str
    job_id: UUID
    attempt_id: UUID | None


def reconcile() -> int:
    """Chore: repair what only rows can tell; returns how many jobs. A pass costs three looks at what is in flight."""
    running = [(job.id, job.attempt_id) for job in _without_attempt()[:BATCH] if job.attempt_id]
    done = _take_back("worker_gone", _pairs(_of_no_worker())) + _take_back("attempt_missing", running)
    return done + _close(_pairs(_left_open()))


def cancel_what_was_asked() -> int:
    """Chore: cancel jobs that wait although a cancel was requested. It reads all that wait: not for each tick."""
    ids = list(_asked().values_list("pk", flat=True)[:BATCH])
    db = dialect(settings.DATABASE)
    where = f"{db.id_in('id')} AND state <> 'running' AND cancel_requested_at IS NOT NULL"
    moved = transitions.move("cancel", where, [db.id_list(ids)], actor="steward") if ids else []
    return _told("request_left", [(one.id, one.attempt_id) for one in moved])


def check() -> list[Drift]:
    """Everything that contradicts itself at this moment, each kind up to a batch; repairs nothing."""
    return [
        *_drifts("unsent", _unsent().values_list("id", "attempt_id")),
        *_drifts("doorbell_lost", lost_messages.unanswered(BATCH)),
        *_drifts("worker_dead", _of_the_dead().values_list("job_id", "id")),
        *_drifts("worker_gone", _of_no_worker().values_list("job_id", "id")),
        *_drifts("attempt_missing", _without_attempt().values_list("id", "attempt_id")),
        *_drifts("attempt_left", _left_open().values_list("job_id", "id")),
        *_drifts("request_left", _asked().values_list("id", "attempt_id")),
    ]


def _drifts(kind: str, pairs: Any) -> Iterator[Drift]:
    for job_id, attempt_id in pairs[:BATCH]:
        yield Drift(kind, job_id, attempt_id)


def _take_back(kind: str, pairs: Sequence[Pair]) -> int:
    moved = rescue.rescue(pairs, f"drift: {MEANINGS[kind]}", "steward")
    return _told(kind, [(one.id, one.attempt_id) for one in moved])


def _close(pairs: Sequence[Pair]) -> int:
    """Attempts that no process will end: closed as lost. Those of deleted jobs are deleted."""
    attempts = _left_open().filter(pk__in=[attempt_id for _, attempt_id in pairs])
    orphaned = attempts.exclude(Exists(Job.objects.filter(pk=OuterRef("job_id"))))
    orphaned._raw_delete(settings.DATABASE)
    error = {"error_category": "lost", "error_type": "Drift", "error_message": MEANINGS["attempt_left"]}
    attempts.update(finished_at=DbNow(), outcome="lost", **error)
    return _told("attempt_left", pairs)


def _told(kind: str, pairs: Sequence[tuple[UUID, UUID | None]]) -> int:
    for job_id, attempt_id in pairs:
        data = {"kind": kind, "attempt": str(attempt_id or "")}
        transitions.note(job_id, "drift", actor="steward", data=data)
    return repaired(kind, len(pairs))


def _pairs(attempts: QuerySet[Attempt]) -> list[Pair]:
    return list(attempts.values_list("job_id", "id")[:BATCH])


def _open() -> QuerySet[Attempt]:
    return Attempt.objects.using(settings.DATABASE).filter(finished_at__isnull=True)


def _of_the_dead() -> QuerySet[Attempt]:
    silent = DbNow() - timedelta(seconds=settings.STALE_AFTER)
    return _open().filter(Q(worker__fenced_at__isnull=False) | Q(worker__beat_at__lt=silent))


def _of_no_worker() -> QuerySet[Attempt]:
    """Attempts whose worker's row was deleted. One that names no worker was begun outside of any: it is left alone.

    A worker that starts writes its row beside its first claims, perhaps later: so it has STALE_AFTER to do so.
    """
    there = Worker.objects.filter(pk=OuterRef("worker_id"))
    before = DbNow() - timedelta(seconds=settings.STALE_AFTER)
    return _open().filter(~Exists(there), worker_id__isnull=False, started_at__lt=before)


def _left_open() -> QuerySet[Attempt]:
    running = Job.objects.filter(pk=OuterRef("job_id"), state="running", attempt_id=OuterRef("pk"))
    return _open().filter(~Exists(running))


def _without_attempt() -> QuerySet[Job]:
    there = Attempt.objects.filter(pk=OuterRef("attempt_id"), finished_at__isnull=True)
    running = Job.objects.using(settings.DATABASE).filter(state="running")
    return running.filter(~Exists(there)).only("id", "attempt_id")


def _unsent() -> QuerySet[Job]:
    return Job.objects.using(settings.DATABASE).unsent(settings.PUBLISH_AFTER)


def _asked() -> QuerySet[Job]:
    waiting = set(states.UNFINISHED) - {states.JobState.RUNNING}
    return Job.objects.using(settings.DATABASE).filter(state__in=waiting, cancel_requested_at__isnull=False)
