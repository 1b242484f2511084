"""Fallbacks: after a job has failed for good, another task is submitted with its arguments and its error.

The edge `fail` sets the mark `fallback_due`. The mark is cleared and the new job inserted in one transaction, so a
fallback can be neither lost nor submitted twice. The process that failed the job does it right after the commit; the
steward repeats what is left. A cancelled job has no fallback, nor has a job that was stopped with an error.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from celery import current_app
from django.db import InterfaceError, OperationalError, transaction

from jobs import submission
from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.db.deadlock_retry import retry_on_deadlock
from jobs.core.options.declared_task import JobLike
from jobs.exceptions import JobsError
from jobs.execution.context import FALLBACK_CHAIN, FALLBACK_ERROR, FALLBACK_OF
from jobs.models import Job, transitions
from jobs.models.fields import Unreadable
from jobs.models.querysets import JobQuerySet
from jobs.models.transitions import Moved

logger = logging.getLogger(__name__)

BATCH = 100
_LONGEST = 1000  # characters of the error message in the new job; the failed job has all of it
_COPIED = (
    "priority",
    "owner",
    "operation_type",
    "external_id",
    "project_id",
    "session_id",
    "batch_id",
)


def submit_due() -> int:
    """Submit the fallbacks that are still due; returns how many jobs had one. The steward's chore."""
    total = 0
    while True:
        due = list(_due().order_by("pk").values_list("pk", flat=True)[:BATCH])
        done = sum(map(_settle, due))
        total += done
        if len(due) < BATCH or not done:  # or all of them are locked by other processes
            return total


def follow(moved: Sequence[Moved]) -> None:
    """The subscriber of all moves: right after a job has failed, submit its fallback."""
    failed = [move.id for move in moved if move.edge == "fail"]
    if failed:
        for job_id in _due().filter(pk__in=failed).values_list("pk", flat=True):
            _settle(job_id)


def _due() -> JobQuerySet:
    return Job.objects.using(settings.DATABASE).filter(fallback_due=True)


@retry_on_deadlock
def _settle(job_id: UUID) -> bool:
    """Clear the mark and submit, in one transaction; False if another process has done it, or is doing it.

    A fallback that is refused would be refused each time: the mark is cleared, and an event says why.
    """
    using = settings.DATABASE
    with transaction.atomic(using=using):
        job = _take(job_id)
        if job is None:
            return False
        try:
            with transaction.atomic(using=using):
                data = {"job": str(_submit(job).id), "task": job.fallback}
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            logger.exception("job %s: its fallback %s was refused", job.id, job.fallback)
            data = {"task": job.fallback, "refused": ": ".join(encoding.kind_and_message(error))[:_LONGEST]}
        transitions.note(job.id, "fallback", data=data)
    return True


def _take(job_id: UUID) -> Job | None:
    """Lock a job whose mark is set, and clear the mark; None if the mark is cleared, or the row is locked."""
    job = _due().filter(pk=job_id).select_for_update(skip_locked=True).first()
    if job is not None:
        _due().filter(pk=job_id).update(fallback_due=False)
    return job


def _submit(job: Job) -> Job:
    options = {name: getattr(job, name) for name in _COPIED}
    options |= {"tags": job.tags, "metadata": {**job.metadata, **_metadata(job)}}
    task: object = current_app.tasks.get(job.fallback)
    if not isinstance(task, JobLike) or task.options.pool is None:
        options["pool"] = job.pool
    if isinstance(task, JobLike) and task.options.fallback in _chain(job):
        options["fallback"] = ""
    call = _readable(job.args), _readable(job.kwargs)
    (fallback,) = submission.submit(job.manager, job.fallback, [call], options)
    return fallback


def _metadata(job: Job) -> dict[str, Any]:
    """What the new job knows of the failed one."""
    error = {
        "category": job.error_category,
        "type": job.error_type,
        "fingerprint": job.error_fingerprint,
        "message": encoding.clean_text(job.error_message, _LONGEST),
        "attempts": job.attempt,
    }
    return {FALLBACK_OF: str(job.id), FALLBACK_CHAIN: _chain(job), FALLBACK_ERROR: error}


def _chain(job: Job) -> list[str]:
    """The tasks that have failed, and the one that is tried now. None is tried twice, so the chain ends."""
    failed = job.metadata.get(FALLBACK_CHAIN)
    return [*(map(str, failed) if isinstance(failed, list) else [job.task]), job.fallback]


def _readable(value: Any) -> Any:
    if isinstance(value, Unreadable):
        raise JobsError(f"its arguments cannot be read here: {value.problem}")
    return value


transitions.HOOKS.append(follow)
