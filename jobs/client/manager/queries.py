"""Reading jobs: one by id or run key, many by filters, and why a job waits."""

from __future__ import annotations

from typing import Any, Generic, TypeVar
from uuid import UUID

from jobs import submission
from jobs.client.async_twins import as_coroutine
from jobs.client.handles import JobHandle
from jobs.client.manager.base import PUBLIC_COLUMNS, ManagerBase
from jobs.control.requests import id_of
from jobs.core.conf import settings
from jobs.exceptions import InvalidOption, JobNotFound, UnknownFilter
from jobs.models import Job
from jobs.monitoring import error_groups, explain
from jobs.monitoring.error_groups import ErrorGroup
from jobs.monitoring.explain import Why
from jobs.monitoring.status import result_of, status_of

Key = TypeVar("Key")
State = TypeVar("State")
Action = TypeVar("Action")

_MOST_ROWS = 1_000_000


class QueryMethods(ManagerBase, Generic[Key, State, Action]):
    """Read jobs."""

    def get_job(self, /, job_id: UUID | str) -> Job:
        """The job's row. Raises JobNotFound for an unknown id, or a text that is no id."""
        job = Job.objects.using(settings.DATABASE).filter(pk=id_of(job_id)).first()
        if job is None:
            raise JobNotFound(job_id)
        return job

    def handle(self, /, job_id: UUID | str) -> JobHandle[State, Action]:
        """A handle of a job. Raises JobNotFound."""
        return JobHandle(self.get_job(job_id).id)

    def get_running_job(self, /, key: Key) -> JobHandle[State, Action] | None:
        """A handle of the unfinished job that holds the key, in any state; None if there is none."""
        job = submission.holder(self.name, key)
        return None if job is None else JobHandle(job.id)

    def list_jobs(self, /, *, order: str = "-id", limit: int = 100, **filters: Any) -> list[Job]:
        """Jobs by column, range (`created_at__gte=`), `status` or metadata key (`metadata__customer=`).

        Newest first, at most `limit`. A named manager lists its own jobs. Raises UnknownFilter for an unknown filter.
        """
        if order.removeprefix("-") not in PUBLIC_COLUMNS:
            raise UnknownFilter(f"order={order}", sorted(f"order={column}" for column in PUBLIC_COLUMNS))
        _check_limit(limit)
        return list(self._filtered(filters).order_by(order)[:limit])

    def error_groups(self, /, *, limit: int = 20, **filters: Any) -> list[ErrorGroup]:
        """The newest 10,000 failures, grouped by fingerprint, the most frequent first.

        Filters are those of `list_jobs`. Each group has `fingerprint`, `count` and `newest`, a failed job.
        """
        _check_limit(limit)
        return error_groups.error_groups(self._filtered(filters), limit)

    def get_job_status(self, /, job_id: UUID | str) -> dict[str, Any]:
        """State, progress and times of a job as plain data, for clients that poll. See `jobs.monitoring.status`."""
        return status_of(self.get_job(job_id))

    def get_job_results(self, /, job_id: UUID | str) -> Any:
        """The result of a completed job.

        Otherwise raises JobNotFinished (with the state), JobFailed (with the errors and a structured result) or
        JobCancelled; ResultUnavailable if the result could not be stored.
        """
        return result_of(self.get_job(job_id))

    def why(self, /, job_id: UUID | str) -> Why:
        """Why a job does not run yet: every reason, as a sentence and as data. Raises JobNotFound."""
        return explain.why(id_of(job_id))

    aget_job = as_coroutine(get_job)
    ahandle = as_coroutine(handle)
    aget_running_job = as_coroutine(get_running_job)
    alist_jobs = as_coroutine(list_jobs)
    aerror_groups = as_coroutine(error_groups)
    aget_job_status = as_coroutine(get_job_status)
    aget_job_results = as_coroutine(get_job_results)
    awhy = as_coroutine(why)


def _check_limit(limit: int) -> None:
    if not 0 <= limit <= _MOST_ROWS:
        raise InvalidOption(f"limit: {limit!r:.60} must be a number from 0 to {_MOST_ROWS:,}.", option="limit")
