"""What happens to a new job whose partition is full, if its task declares another conflict policy than to wait.

Decided in the transaction that inserts the job, for one job of a partition at a time: a row is the lock. Jobs for later
and jobs with start=False do not count, neither as new jobs nor as present ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db import connections
from django.db.models import Q

from jobs.admission.limits.declared import ConflictRule
from jobs.control import cancellation
from jobs.control.pausing import NOT_STARTED
from jobs.core.conf import settings
from jobs.exceptions import JobRefused
from jobs.models import Job, Policy, Rate
from jobs.models.querysets import JobQuerySet
from jobs.states import IN_FLIGHT, JobState

ACTOR = "conflict policy"
_NOT_YET = Q(state=JobState.SCHEDULED, attempt=0) | Q(state=JobState.PAUSED, reason=NOT_STARTED)  # not a retry


def lock(task: str, partitions: Iterable[str]) -> None:
    """Hold the conflict decisions of these partitions until the transaction ends.

    Always in the same order, so that two submissions to several partitions do not deadlock.
    """
    has_target = connections[settings.DATABASE].features.supports_update_conflicts_with_target
    key = ["limit_name", "partition"] if has_target else None
    for partition in sorted(set(partitions)):
        row = Rate(limit_name=f"{task} conflict", partition=partition, tat=0)
        rates = Rate.objects.using(settings.DATABASE)
        rates.bulk_create([row], update_conflicts=True, update_fields=["tat"], unique_fields=key)


def settle(rule: ConflictRule, task: str, partition: str, new_id: UUID) -> None:
    """Apply the rule before the new job is inserted: cancel others, or raise JobRefused. Its partition is locked."""
    unfinished = Job.objects.using(settings.DATABASE).unfinished().filter(task=task, partition=partition)
    present = unfinished.exclude(_NOT_YET).order_by("id")
    if rule.policy == Policy.REFUSE:
        _refuse(present, rule, partition)
    elif rule.policy == Policy.LATEST:
        waiting = _ids(present.exclude(state__in=IN_FLIGHT))
        cancellation.cancel_waiting(waiting, reason=_reason(new_id), actor=ACTOR)
    elif rule.policy == Policy.CANCEL_RUNNING:
        _cancel_oldest(present, rule, new_id)


def _refuse(present: JobQuerySet, rule: ConflictRule, partition: str) -> None:
    ids = _ids(present[: int(rule.size)])
    if len(ids) >= rule.size:
        raise JobRefused(partition, ids[0] if ids else None)


def _cancel_oldest(present: JobQuerySet, rule: ConflictRule, new_id: UUID) -> None:
    """Jobs already asked to stop are not counted: their places belong to earlier submissions."""
    staying = present.filter(state__in=[*IN_FLIGHT, "pending"], cancel_requested_at=None)
    too_many = max(0, staying.count() + 1 - int(rule.size))
    oldest = _ids(staying.filter(state__in=IN_FLIGHT)[:too_many])
    cancellation.cancel(oldest, reason=_reason(new_id), actor=ACTOR)


def _ids(jobs: JobQuerySet) -> list[UUID]:
    return list(jobs.values_list("pk", flat=True))


def _reason(new_id: UUID) -> str:
    return f"replaced by {new_id}"
