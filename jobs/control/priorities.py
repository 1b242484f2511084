"""Another priority for a job that waits, and the new ranks of waiting jobs when a head start changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

from django.db import transaction

from jobs.admission import passes
from jobs.control.answers import Answer, Answers
from jobs.control.requests import RequestState, answer_all, clean_actor
from jobs.core.conf import settings
from jobs.core.db.deadlock_retry import retry_on_deadlock
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import execute, resolve_pick
from jobs.core.options.job_options import JobOptions
from jobs.models import Job, transitions
from jobs.states import NOT_RUNNING

RERANK_BATCH = 1000
RERANKED = ("scheduled", "blocked", "paused", "queued", "pending")


def set_priority(ids: Sequence[UUID], priority: str, *, actor: str = "") -> Answers:
    """CHANGED what waits, NOT_POSSIBLE what runs or has ended; InvalidOption for an unknown priority.

    It counts at once. A queued job keeps its place, and has the new priority at its next attempt.
    """
    name = JobOptions().but({"priority": priority}).priority
    db, actor = dialect(settings.DATABASE), clean_actor(actor)
    head_start = "(SELECT head_start FROM jobs_priority WHERE name = %s)"
    change = f"priority = %s, updated_at = {{now}}, rank = {db.epoch('eligible_at')} - {head_start},"
    where = f"{db.id_in('id')} AND state IN ({', '.join(repr(str(state)) for state in NOT_RUNNING)})"

    def act(left: Sequence[UUID]) -> Answers:
        params, data = [db.id_list(left)], {"priority": name}
        changed = transitions.ask(change, [name, name], where, params, "priority", actor=actor, data=data)
        _admit(changed)
        return dict.fromkeys(changed, Answer.CHANGED)

    return answer_all(ids, act, _when_prioritising)


def _when_prioritising(job: RequestState) -> Answer | None:
    return None if job.state in NOT_RUNNING else Answer.NOT_POSSIBLE


def _admit(ids: Sequence[UUID]) -> None:
    jobs = Job.objects.using(settings.DATABASE).filter(pk__in=ids)
    for pool in jobs.order_by().values_list("pool", flat=True).distinct():
        passes.admit_on_commit(pool)


def rerank(priority: str) -> int:
    """Compute the rank of waiting jobs from the present head start of their priority; returns how many jobs.

    In batches of one transaction each, so that few jobs at a time are locked for admission. Locked jobs are skipped:
    they are just being moved, or given another priority. Pending jobs come last: a job that becomes pending during this
    has got its rank in its former state.
    """
    return sum(_rerank_batch(priority, ids) for state in RERANKED for ids in _waiting(priority, state))


def _waiting(priority: str, state: str) -> Iterator[list[UUID]]:
    """Ids of the jobs of one priority in one state, in batches by keyset."""
    rows = Job.objects.using(settings.DATABASE).filter(state=state, priority=priority).order_by("pk")
    batch = list(rows.values_list("pk", flat=True)[:RERANK_BATCH])
    while batch:
        yield batch
        batch = list(rows.filter(pk__gt=batch[-1]).values_list("pk", flat=True)[:RERANK_BATCH])


@retry_on_deadlock
def _rerank_batch(priority: str, ids: list[UUID]) -> int:
    db = dialect(settings.DATABASE)
    condition = f"{db.id_in('id')} AND priority = %s AND state IN ({', '.join(map(repr, RERANKED))})"
    free = db.pick_skip_locked(f"SELECT id FROM jobs_job WHERE {condition} ORDER BY id")
    head_start = "(SELECT head_start FROM jobs_priority WHERE name = %s)"
    sets = f"rank = {db.epoch('eligible_at')} - {head_start}"
    with transaction.atomic(using=settings.DATABASE):
        where, picked = resolve_pick(settings.DATABASE, free, [db.id_list(ids), priority])
        return execute(settings.DATABASE, f"UPDATE jobs_job SET {sets} WHERE {where}", [priority, *picked])
