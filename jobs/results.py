"""Celery's view of a job's outcome: job ids are answered from the job row, all others from django-celery-results."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from celery import current_app, states
from celery.result import AsyncResult
from django_celery_results.backends.database import DatabaseBackend

from jobs.control import cancellation, deletion
from jobs.control.requests import ask_one
from jobs.core.conf import settings
from jobs.exceptions import JobCancelled, JobFailed, JobNotFound
from jobs.models import Job
from jobs.states import JobState

_STATES: dict[str, str] = {
    JobState.RUNNING: states.STARTED,
    JobState.COMPLETED: states.SUCCESS,
    JobState.FAILED: states.FAILURE,
    JobState.CANCELLED: states.REVOKED,
}


class JobBackend(DatabaseBackend):  # type: ignore[misc]  # untyped upstream
    """A result backend that knows jobs: `CELERY_RESULT_BACKEND = "jobs.results:JobBackend"`.

    The outcome of a job is never written here: the job row is the truth, and nothing may overwrite it.
    """

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        job = _job(task_id)
        return _meta(job) if job is not None else super()._get_task_meta_for(task_id)

    def _ensure_not_eager(self) -> None:
        """Nothing to warn of: in eager mode, too, a job's outcome is in its row."""

    def _forget(self, task_id: str) -> None:
        job = _job(task_id)
        if job is None:
            super()._forget(task_id)
        elif job.is_final:
            deletion.delete(job.id)


class JobResult(AsyncResult[Any]):
    """The result handle of a job, in any process; `get()` polls the job row.

    `get()` of a failed job raises JobFailed, of a cancelled one JobCancelled.
    """

    def __init__(self, id: str, **options: Any) -> None:
        app = options.pop("app", None) or current_app
        super().__init__(id, backend=options.pop("backend", None) or JobBackend(app=app, url=None), app=app, **options)

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Cancel the job: at once when it waits, by request when it runs, with `terminate` by force."""
        ask_one(cancellation.cancel, UUID(self.id), reason="revoked", force=terminate)

    def forget(self) -> None:
        """Delete the job, once it has finished."""
        self._cache = None
        try:
            deletion.delete(UUID(self.id))
        except JobNotFound:
            return


def _job(task_id: str) -> Job | None:
    try:
        return Job.objects.using(settings.DATABASE).filter(pk=UUID(str(task_id))).first()
    except ValueError:
        return None


def _meta(job: Job) -> dict[str, Any]:
    state = (
        states.RETRY if job.state == JobState.SCHEDULED and job.retry_count else _STATES.get(job.state, states.PENDING)
    )
    said, meta = _said(job)
    return {
        "task_id": str(job.id),
        "name": job.task,
        "args": job.args,
        "kwargs": job.kwargs,
        "status": said or state,
        "result": meta if said else _outcome(job),
        "traceback": None,
        "date_done": job.finished_at,
        "children": [],
        "retries": job.retry_count,
    }


def _said(job: Job) -> tuple[str, Any]:
    """What a running body has said with `update_state`, if it has."""
    live = job.live_state
    if job.state == JobState.RUNNING and isinstance(live, dict) and live.keys() == {"type", "meta"}:
        return str(live["type"]), live["meta"]
    return "", None


def _outcome(job: Job) -> Any:
    if job.state == JobState.FAILED:
        return JobFailed(job.error_message, result=job.result, category=job.error_category, errors=job.errors)
    if job.state == JobState.CANCELLED:
        return JobCancelled(job.id, job.reason)
    return job.result
