"""The status of a job as plain data. Read-only."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from jobs.core.conf import settings
from jobs.exceptions import JobCancelled, JobFailed, JobNotFinished, ResultUnavailable
from jobs.models import Job
from jobs.states import JobState

_COLUMNS = (
    "task",
    "key",
    "status",
    "state",
    "message",
    "progress",
    "stage",
    "sub_progress",
    "diagnostics",
    "metadata",
    "attempt",
    "run",
    "max_retries",
    "retry_count",
    "priority",
    "reason",
)
_CHUNKS = {"current_step": None, "total_chunks": 0, "completed_chunks": 0, "failed_chunks": 0}  # not built yet
_TIMES = (
    "created_at",
    "updated_at",
    "run_after",
    "queued_at",
    "started_at",
    "finished_at",
    "cancel_requested_at",
    "expires_at",
)


def status_of(job: Job) -> dict[str, Any]:
    """A job as its clients poll it. Times are aware datetimes or None, `interval` is milliseconds.

    `polling_recommendation` says when to look again; for a job that has ended both its values are None.
    """
    return {
        "job_id": str(job.id),
        **{name: getattr(job, name) for name in _COLUMNS},
        **_CHUNKS,
        **{name: getattr(job, name) for name in _TIMES},
        "polling_recommendation": _polling(job),
        "error": _error(job),
    }


def result_of(job: Job) -> Any:
    """The result of a completed job; raises an exception for any other, see `JobManager.get_job_results`."""
    if job.state == JobState.FAILED:
        raise JobFailed(job.error_message, result=job.result, category=job.error_category, errors=job.errors)
    if job.state == JobState.CANCELLED:
        raise JobCancelled(job.id, job.reason)
    if job.state != JobState.COMPLETED:
        raise JobNotFinished(job.state, job.id)
    if job.result_error:
        raise ResultUnavailable(job.result_error, job.id)
    return job.result


def _polling(job: Job) -> dict[str, Any]:
    if job.is_final:
        return {"interval": None, "next_check_time": None}
    seconds = settings.POLLING.initial
    return {"interval": int(seconds * 1000), "next_check_time": job.updated_at + timedelta(seconds=seconds)}


def _error(job: Job) -> dict[str, str] | None:
    if not job.error_type:
        return None
    return {
        "category": job.error_category,
        "type": job.error_type,
        "message": job.error_message,
        "fingerprint": job.error_fingerprint,
    }
