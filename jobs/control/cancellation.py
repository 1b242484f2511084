"""What people do to a job: cancel, retry, delete. Each answers with a word; repeating it is harmless."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from jobs import signals
from jobs.admission import passes
from jobs.control.requests import because, state_of
from jobs.control.requests import clean_actor as _clean
from jobs.control.requests import param as _id
from jobs.control.requests import rank_at as _rank
from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.db.deadlock_retry import done_again
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import after_commit, change, execute, resolve_pick
from jobs.core.options.job_options import JobOptions
from jobs.exceptions import JobNotFinished, JobNotFound
from jobs.models import Attempt, Hook, Job, JobEvent, JobLog, transitions
from jobs.models.transitions import Sql

RERANK_BATCH = 1000
RERANKED = ("scheduled", "blocked", "paused", "queued", "pending")


class Answer(StrEnum):
    """What became of a request."""

    STARTED = "STARTED"
    ALREADY_STARTED = "ALREADY_STARTED"
    CANCELLED = "CANCELLED"
    REQUESTED = "REQUESTED"
    STOPPED = "STOPPED"
    ALREADY_FINAL = "ALREADY_FINAL"
    REQUEUED = "REQUEUED"
    KEY_TAKEN = "KEY_TAKEN"
    NOT_FINAL = "NOT_FINAL"
    CHANGED = "CHANGED"
    PAUSED = "PAUSED"
    DRAINING = "DRAINING"
    RESUMED = "RESUMED"
    NOT_PAUSED = "NOT_PAUSED"
    NOT_POSSIBLE = "NOT_POSSIBLE"


def cancel(job_id: UUID, reason: str = "", actor: str = "", *, force: bool = False) -> Answer:
    """Cancel a job that is not running at once; ask a running one to stop.

    The request is durable: it outlives the attempt, so a retry or a rescue after it becomes the cancellation. With
    `force` the process that runs it is stopped without a grace, where its worker can do that.
    """
    reason, actor = encoding.clean_text(reason, 10_000), _clean(actor)
    while True:
        if _cancel_waiting(job_id, reason, actor):
            return Answer.CANCELLED
        if _request_cancel(job_id, reason, actor, force):
            return Answer.REQUESTED
        if state_of(job_id) in {"completed", "failed", "cancelled"}:
            return Answer.ALREADY_FINAL


def withdraw(job_id: UUID, reason: str, actor: str) -> bool:
    """Cancel a job that waits; False when it does not: one that was admitted meanwhile goes on."""
    return _cancel_waiting(job_id, reason, actor, where="id = %s AND state NOT IN ('queued', 'running')")


@done_again
def retry(job_id: UUID, actor: str = "", reason: str = "") -> Answer:
    """Run a failed or cancelled job again: a new run, attempts start anew, history stays."""
    told: dict[str, Any] = {"actor": _clean(actor), "data": because(reason)}
    sets = {"rank": _rank("{now}"), "active_key": Sql("key_hash"), "run_after": Sql("NULL")}
    try:
        with transaction.atomic(using=settings.DATABASE):
            moved = transitions.move("requeue", "id = %s", [_id(job_id)], to="'pending'", sets=sets, **told)
    except IntegrityError:
        return Answer.KEY_TAKEN
    if not moved:
        state_of(job_id)
        return Answer.NOT_FINAL
    passes.admit_on_commit(moved[0].row["pool"])
    return Answer.REQUEUED


@done_again
def set_priority(job_id: UUID, priority: str, actor: str = "") -> Answer:
    """Give a job that waits another priority, which counts at once; NOT_POSSIBLE once it runs, or has ended.

    One that is queued has its place already, and keeps the word for its next attempt.
    """
    using = settings.DATABASE
    name = JobOptions().but({"priority": priority}).priority
    sets = (
        "priority = %s, updated_at = {now}, rank = "
        f"{dialect(using).epoch('eligible_at')} - (SELECT head_start FROM jobs_priority WHERE name = %s)"
    )
    waits = " AND state IN ('scheduled', 'blocked', 'pending', 'queued', 'paused')"
    with transaction.atomic(using=using):
        changed = change(using, sets, [name, name], _id(job_id), waits, [], "pool")
        if changed:
            transitions.note(job_id, "priority", actor=_clean(actor), data={"priority": name})
    if not changed:
        state_of(job_id)
        return Answer.NOT_POSSIBLE
    passes.admit_on_commit(changed[0][0])
    return Answer.CHANGED


def rerank(priority: str) -> int:
    """Put what waits with a priority where its present head start says; returns how many jobs.

    In batches, outside a transaction: the jobs of one are out of admission's reach only while it lasts. What is locked
    is just being moved, or given another priority, and is passed over. What is pending comes last: a job that becomes
    so meanwhile has been met where it was.
    """
    return sum(_rerank_batch(priority, ids) for state in RERANKED for ids in _waiting(priority, state))


@done_again
def delete(job_id: UUID) -> None:
    """Delete a finished job with its attempts, events and log; JobNotFinished, JobNotFound."""
    using = settings.DATABASE
    with transaction.atomic(using=using):
        job = Job.objects.using(using).select_for_update().filter(pk=job_id).first()
        if job is None:
            raise JobNotFound(job_id)
        if not job.is_final:
            raise JobNotFinished(job.state, job_id)
        delete_rows([job_id])


def delete_rows(job_ids: list[UUID]) -> int:
    """Delete finished jobs and all that belongs to them, in the caller's transaction; returns how many jobs.

    They are locked first: one that a person runs again just now keeps its history.
    """
    using = settings.DATABASE
    final = Job.objects.using(using).final().filter(pk__in=job_ids).order_by("pk")
    locked = list(final.select_for_update().values_list("pk", flat=True))
    if not locked:
        return 0
    for model in (JobLog, JobEvent, Attempt, Hook):
        model._base_manager.using(using).filter(job_id__in=locked)._raw_delete(using)
    return Job.objects.using(using).filter(pk__in=locked)._raw_delete(using)


def _cancel_waiting(job_id: UUID, reason: str, actor: str, where: str = "id = %s AND state <> 'running'") -> bool:
    sets = {"reason": reason, "cancel_requested_at": Sql("{now}"), "cancel_requested_by": actor}
    data = because(reason)
    moved = transitions.move("cancel", where, [_id(job_id)], sets=sets, actor=actor, data=data)
    for one in moved:
        after_commit(passes.after_finish, one.row["pool"])
    return bool(moved)


def _request_cancel(job_id: UUID, reason: str, actor: str, force: bool) -> bool:
    """Ask a running job to stop; False when it ended."""
    asked = ask_to_stop("id = %s", [_id(job_id)], reason, actor, force)
    return bool(asked) or state_of(job_id) == "running"


def ask_to_stop(where: str, params: Sequence[object], reason: str, actor: str, force: bool) -> list[UUID]:
    """Ask those that run to stop, once: the first request stands, but one that forces makes it a forced one."""
    first = "cancel_requested_at IS NULL"
    change = (
        f"cancel_force = %s, cancel_requested_by = CASE WHEN {first} THEN %s ELSE cancel_requested_by END,"
        f" reason = CASE WHEN {first} THEN %s ELSE reason END,"
        " cancel_requested_at = COALESCE(cancel_requested_at, {now}),"  # last: MariaDB goes by what it has just set
    )
    running = f"{where} AND state = 'running' AND ({first} OR (%s AND NOT cancel_force))"
    data = {name: value for name, value in (("reason", reason), ("force", force)) if value}
    asked = transitions.ask(
        change, [force, actor, reason], running, [*params, force], "cancel_requested", actor=actor, data=data
    )
    for job_id in asked:
        after_commit(announce_request, job_id, actor)
    return asked


def _waiting(priority: str, state: str) -> Iterator[list[UUID]]:
    """The ids of jobs of one priority in one state, in batches; what a batch changes does not disturb the next."""
    rows = Job.objects.using(settings.DATABASE).filter(state=state, priority=priority).order_by("pk")
    batch = list(rows.values_list("pk", flat=True)[:RERANK_BATCH])
    while batch:
        yield batch
        batch = list(rows.filter(pk__gt=batch[-1]).values_list("pk", flat=True)[:RERANK_BATCH])


@done_again
def _rerank_batch(priority: str, ids: list[UUID]) -> int:
    db = dialect(settings.DATABASE)
    still = f"{db.id_in('id')} AND priority = %s AND state IN ({', '.join(map(repr, RERANKED))})"
    free = db.pick_skip_locked(f"SELECT id FROM jobs_job WHERE {still} ORDER BY id")
    head_start = "(SELECT head_start FROM jobs_priority WHERE name = %s)"
    sets = f"rank = {db.epoch('eligible_at')} - {head_start}"
    with transaction.atomic(using=settings.DATABASE):
        where, found = resolve_pick(settings.DATABASE, free, [db.id_list(ids), priority])
        return execute(settings.DATABASE, f"UPDATE jobs_job SET {sets} WHERE {where}", [priority, *found])


def announce_request(job_id: UUID, actor: str) -> None:
    """Send the signal that a running job was asked to stop."""
    if signals.job_cancel_requested.has_listeners(Job):
        job = Job.objects.using(settings.DATABASE).get(pk=job_id)
        signals.job_cancel_requested.send_robust(
            Job,
            job=job,
            attempt=job.attempt_id,
            from_state=job.state,
            to_state=job.state,
            actor=actor,
            at=job.cancel_requested_at,
        )
