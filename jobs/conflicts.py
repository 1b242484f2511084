"""What becomes of a newcomer whose partition is at its limit, where its task says something else than to wait.

Decided in the newcomer's own transaction, one newcomer of a partition after the other: a row is the lock.
"""

from __future__ import annotations

from uuid import UUID

from jobs import control
from jobs.conf import settings
from jobs.exceptions import JobRefused
from jobs.limits.declaring import Standing
from jobs.models import Job, Policy
from jobs.querysets.jobs import JobQuerySet
from jobs.querysets.statements import execute
from jobs.states import IN_FLIGHT

ACTOR = "conflict policy"


def settle(standing: Standing, task: str, partition: str, newcomer: UUID) -> None:
    """Make place for a newcomer before it is inserted, or raise JobRefused."""
    _lock(task, partition)
    present = Job.objects.using(settings.DATABASE).unfinished().filter(task=task, partition=partition).order_by("id")
    if standing.policy == Policy.REFUSE:
        _refuse(present, standing, partition)
    elif standing.policy == Policy.LATEST:
        _cancel(present.exclude(state__in=IN_FLIGHT), newcomer)
    elif standing.policy == Policy.CANCEL_RUNNING:
        running = present.filter(state__in=IN_FLIGHT)
        _cancel(running[: max(0, running.count() + 1 - int(standing.size))], newcomer)


def _lock(task: str, partition: str) -> None:
    sql = (
        "INSERT INTO jobs_rate (limit_name, partition, tat) VALUES (%s, %s, 0)"
        " ON CONFLICT (limit_name, partition) DO UPDATE SET tat = 0"
    )
    execute(settings.DATABASE, sql, [f"{task} conflict", partition])


def _refuse(present: JobQuerySet, standing: Standing, partition: str) -> None:
    ids = list(present.values_list("pk", flat=True)[: int(standing.size)])
    if len(ids) >= standing.size:
        raise JobRefused(partition, ids[0] if ids else None)


def _cancel(jobs: JobQuerySet, newcomer: UUID) -> None:
    for job_id in list(jobs.values_list("pk", flat=True)):
        control.cancel(job_id, reason=f"replaced by {newcomer}", actor=ACTOR)
