"""Fallbacks: in place of a job that has failed for good, another task is submitted with its arguments and its error.

The edge `fail` itself notes what is due, whoever takes it. The mark is taken away and the new job inserted in one
transaction, so it can neither be lost nor doubled; who failed the job does it right after the commit, and the steward
repeats what stayed. A cancelled job has no fallback, nor has one that somebody stopped with an error.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from celery import current_app
from django.db import InterfaceError, OperationalError, transaction

from jobs import submission
from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.db.deadlock_retry import retry_on_deadlock
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import execute, query, resolve_pick
from jobs.core.options.declared_task import JobLike
from jobs.exceptions import JobsError
from jobs.execution.context import FALLBACK_CHAIN, FALLBACK_ERROR, FALLBACK_OF
from jobs.models import Job, transitions
from jobs.models.fields import Unreadable
from jobs.models.transitions import Moved

logger = logging.getLogger(__name__)

BATCH = 100
_LONGEST = 1000  # characters of the message there: the failed job has all of it
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
    """Submit what is due and was not yet; returns for how many jobs. The steward's chore."""
    total = 0
    while True:
        rows = query(settings.DATABASE, f"{_DUE} ORDER BY id LIMIT %s", [BATCH])
        done = sum(_settle(job_id) for (job_id,) in rows)
        total += done
        if len(rows) < BATCH or not done:  # or all of them are in others' hands
            return total


def follow(moved: Sequence[Moved]) -> None:
    """The hook on every move: right after a job has failed, submit what it has instead of itself."""
    failed = [one.id for one in moved if one.edge == "fail"]
    if failed:
        db = dialect(settings.DATABASE)
        rows = query(settings.DATABASE, f"{_DUE} AND {db.id_in('id')}", [db.id_list(failed)])
        for (job_id,) in rows:
            _settle(job_id)


_DUE = "SELECT id FROM jobs_job WHERE fallback_due"


@retry_on_deadlock
def _settle(job_id: Any) -> bool:
    """Take the mark away and submit; both, or with the whole transaction neither. Who comes second finds no mark.

    A fallback that is refused would be refused each time: the mark goes, and an event says why.
    """
    using = settings.DATABASE
    with transaction.atomic(using=using):
        free, ids = resolve_pick(using, dialect(using).pick_skip_locked(f"{_DUE} AND id = %s"), [job_id])
        if not execute(using, f"UPDATE jobs_job SET fallback_due = FALSE WHERE {free}", ids):
            return False
        job = Job.objects.using(using).get(pk=job_id)
        try:
            with transaction.atomic(using=using):
                told = {"job": str(_submit(job).id), "task": job.fallback}
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            logger.exception("job %s: its fallback %s was refused", job.id, job.fallback)
            told = {"task": job.fallback, "refused": ": ".join(encoding.kind_and_message(error))[:_LONGEST]}
        transitions.note(job.id, "fallback", data=told)
    return True


def _submit(job: Job) -> Job:
    options = {name: getattr(job, name) for name in _COPIED}
    options |= {"tags": job.tags, "metadata": {**job.metadata, **_told(job)}}
    known: object = current_app.tasks.get(job.fallback)
    if not isinstance(known, JobLike) or known.options.pool is None:
        options["pool"] = job.pool
    if isinstance(known, JobLike) and known.options.fallback in _chain(job):
        options["fallback"] = ""
    call = _readable(job.args), _readable(job.kwargs)
    (made,) = submission.submit(job.manager, job.fallback, [call], options)
    return made


def _told(job: Job) -> dict[str, Any]:
    """What the new job can learn of the one that failed."""
    error = {
        "category": job.error_category,
        "type": job.error_type,
        "fingerprint": job.error_fingerprint,
        "message": encoding.clean_text(job.error_message, _LONGEST),
        "attempts": job.attempt,
    }
    return {FALLBACK_OF: str(job.id), FALLBACK_CHAIN: _chain(job), FALLBACK_ERROR: error}


def _chain(job: Job) -> list[str]:
    """The tasks that were tried in vain, and the one that is tried now: none of them comes again, so it ends."""
    before = job.metadata.get(FALLBACK_CHAIN)
    return [*(map(str, before) if isinstance(before, list) else [job.task]), job.fallback]


def _readable(value: Any) -> Any:
    if isinstance(value, Unreadable):
        raise JobsError(f"its arguments cannot be read here: {value.problem}")
    return value


transitions.HOOKS.append(follow)
