"""What becomes of a newcomer whose partition is at its limit, where its task says something else than to wait.

Decided in the newcomer's own transaction, one newcomer of a partition after the other: a row is the lock. A job that is
not to run yet is no newcomer, and in nobody's way: neither one for later nor one that was submitted with start=False.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db.models import Q

from jobs.admission.limits.declared import ConflictRule
from jobs.control import cancellation
from jobs.control.pausing import NOT_STARTED
from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import execute
from jobs.exceptions import JobRefused
from jobs.models import Job, Policy
from jobs.models.querysets import JobQuerySet
from jobs.states import IN_FLIGHT, JobState

ACTOR = "conflict policy"
_NOT_YET = Q(state=JobState.SCHEDULED, attempt=0) | Q(state=JobState.PAUSED, reason=NOT_STARTED)  # a retry has begun


def lock(task: str, partitions: Iterable[str]) -> None:
    """Let nobody else settle in these partitions before the transaction ends.

    Always in the same order: of two who submit to several of them none has what the other waits for.
    """
    sql = (
        "INSERT INTO jobs_rate (limit_name, partition, tat) VALUES (%s, %s, 0)"
        f" {dialect(settings.DATABASE).on_conflict_update(('limit_name', 'partition'), 'tat')}"
    )
    for partition in sorted(set(partitions)):
        execute(settings.DATABASE, sql, [f"{task} conflict", partition])


def settle(standing: ConflictRule, task: str, partition: str, newcomer: UUID) -> None:
    """Make place for a newcomer before it is inserted, or raise JobRefused. Its partition is locked."""
    unfinished = Job.objects.using(settings.DATABASE).unfinished().filter(task=task, partition=partition)
    present = unfinished.exclude(_NOT_YET).order_by("id")
    if standing.policy == Policy.REFUSE:
        _refuse(present, standing, partition)
    elif standing.policy == Policy.LATEST:
        waiting = _ids(present.exclude(state__in=IN_FLIGHT))
        cancellation.cancel_waiting(waiting, reason=_reason(newcomer), actor=ACTOR)
    elif standing.policy == Policy.CANCEL_RUNNING:
        _stop(present, standing, newcomer)


def _refuse(present: JobQuerySet, standing: ConflictRule, partition: str) -> None:
    ids = _ids(present[: int(standing.size)])
    if len(ids) >= standing.size:
        raise JobRefused(partition, ids[0] if ids else None)


def _stop(present: JobQuerySet, standing: ConflictRule, newcomer: UUID) -> None:
    """Those that were asked to stop already make place for newcomers that came before this one."""
    staying = present.filter(state__in=[*IN_FLIGHT, "pending"], cancel_requested_at=None)
    too_many = max(0, staying.count() + 1 - int(standing.size))
    oldest = _ids(staying.filter(state__in=IN_FLIGHT)[:too_many])
    cancellation.cancel(oldest, reason=_reason(newcomer), actor=ACTOR)


def _ids(jobs: JobQuerySet) -> list[UUID]:
    return list(jobs.values_list("pk", flat=True))


def _reason(newcomer: UUID) -> str:
    return f"replaced by {newcomer}"
