"""Deleting finished jobs with their attempts, events, hooks and log lines."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from jobs.core.conf import settings
from jobs.core.db.deadlock_retry import retry_on_deadlock
from jobs.exceptions import JobNotFinished, JobNotFound
from jobs.models import Attempt, Hook, Job, JobEvent, JobLog


@retry_on_deadlock
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

    They are locked first: a job that is retried at this moment keeps its history.
    """
    using = settings.DATABASE
    final = Job.objects.using(using).final().filter(pk__in=job_ids).order_by("pk")
    locked = list(final.select_for_update().values_list("pk", flat=True))
    if not locked:
        return 0
    for model in (JobLog, JobEvent, Attempt, Hook):
        model._base_manager.using(using).filter(job_id__in=locked)._raw_delete(using)
    return Job.objects.using(using).filter(pk__in=locked)._raw_delete(using)
