"""Requests about jobs: cancel, stop, pause, resume, retry, reprioritise, delete; one job or all that filters choose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

from jobs.client.async_twins import as_coroutine
from jobs.client.handles import JobHandle
from jobs.client.manager.base import ManagerBase
from jobs.control import bulk, cancellation, deletion, pausing, priorities, retries
from jobs.control.answers import Answer, Answers
from jobs.control.requests import ask_one, id_of
from jobs.exceptions import InvalidOption, JobNotFound
from jobs.maintenance import pruner

State = TypeVar("State")
Action = TypeVar("Action")
_MOST_DAYS = 100_000


class RequestMethods(ManagerBase, Generic[State, Action]):
    """Cancel, stop, pause, resume, retry, reprioritise and delete jobs."""

    def cancel_job(self, /, job_id: UUID | str, force: bool = False, reason: str = "", *, actor: str = "") -> Answer:
        """Cancel a job: CANCELLED if it waits, REQUESTED if it runs, ALREADY_FINAL if it has ended.

        A running job stops at its next check. If it has not stopped after its grace, its worker kills the process; with
        `force`, at once.
        """
        return ask_one(cancellation.cancel, id_of(job_id), reason=reason, actor=actor, force=force)

    def pause_job(self, /, job_id: UUID | str, *, reason: str = "", actor: str = "") -> Answer:
        """Pause a job: PAUSED if it waits, REQUESTED if it runs (it pauses at its next checkpoint).

        NOT_POSSIBLE if it has ended, is to be cancelled, or runs with `at_most_once`.
        """
        return ask_one(pausing.pause, id_of(job_id), reason=reason, actor=actor)

    def resume_job(self, /, job_id: UUID | str, *, reason: str = "", actor: str = "") -> Answer:
        """Resume a paused job, or withdraw the pause request of a running one: RESUMED or NOT_PAUSED."""
        return ask_one(pausing.resume, id_of(job_id), reason=reason, actor=actor)

    def retry_job(self, /, job_id: UUID | str, *, reason: str = "", actor: str = "") -> Answer:
        """Run a failed or cancelled job again: REQUEUED.

        KEY_TAKEN if another unfinished job holds its key; NOT_FINAL if it neither failed nor was cancelled.
        """
        return ask_one(retries.retry, id_of(job_id), reason=reason, actor=actor)

    def set_priority(self, /, job_id: UUID | str, priority: str, *, actor: str = "") -> Answer:
        """Change the priority of a waiting job: CHANGED, or NOT_POSSIBLE if it runs or has ended."""
        return ask_one(priorities.set_priority, id_of(job_id), priority, actor=actor)

    def stop(
        self,
        /,
        job_id: UUID | str,
        error: BaseException | str | None = None,
        *,
        wait: bool = False,
        timeout: float | None = None,
        actor: str = "",
    ) -> Answer:
        """Stop a job. With an error it ends failed with that error, category `stopped`; without one it is cancelled.

        STOPPED or CANCELLED if it waits, REQUESTED if it runs, ALREADY_FINAL if it has ended. With `wait` it returns
        when the code has stopped and the key is free; it raises JobNotFinished after `timeout` seconds.
        """
        return JobHandle[State, Action](id_of(job_id)).stop(error, wait=wait, timeout=timeout, actor=actor)

    async def astop(
        self, /, job_id: UUID | str, error: BaseException | str | None = None, *, actor: str = ""
    ) -> Answer:
        """As `stop`, and wait until the code has stopped. Limit the wait with `asyncio.timeout`."""
        return await JobHandle[State, Action](id_of(job_id)).astop(error, actor=actor)

    def delete_job(self, /, job_id: UUID | str, *, missing_ok: bool = False) -> None:
        """Delete a finished job with its history. Raises JobNotFinished, and JobNotFound unless `missing_ok`."""
        try:
            deletion.delete(id_of(job_id))
        except JobNotFound:
            if not missing_ok:
                raise

    def cancel_jobs(self, /, *, reason: str = "", force: bool = False, actor: str = "", **filters: Any) -> Counter[str]:
        """Cancel all unfinished jobs that the filters choose, as `cancel_job`; returns how many gave each answer."""
        return self._all(
            "cancel", filters, lambda ids: cancellation.cancel(ids, reason=reason, actor=actor, force=force)
        )

    def pause_jobs(self, /, *, reason: str = "", actor: str = "", **filters: Any) -> Counter[str]:
        """Pause all unfinished jobs that the filters choose, as `pause_job`; returns how many gave each answer."""
        return self._all("pause", filters, lambda ids: pausing.pause(ids, reason=reason, actor=actor))

    def resume_jobs(self, /, *, reason: str = "", actor: str = "", **filters: Any) -> Counter[str]:
        """Resume all paused jobs that the filters choose, as `resume_job`; returns how many gave each answer."""
        return self._all("resume", filters, lambda ids: pausing.resume(ids, reason=reason, actor=actor))

    def retry_jobs(self, /, *, reason: str = "", actor: str = "", **filters: Any) -> Counter[str]:
        """Retry all failed or cancelled jobs that the filters choose; returns how many gave each answer."""
        return self._all("retry", filters, lambda ids: retries.retry(ids, reason=reason, actor=actor))

    def cleanup_old_jobs(self, /, days: float | None = None) -> int:
        """Delete jobs that ended more than `days` ago, or longer ago than the setting RETENTION; returns how many.

        A named manager deletes its own jobs. A job and its children are deleted together, once all are old enough.
        """
        if days is None:
            return pruner.prune(manager=self.name).total()
        if not 0 <= days <= _MOST_DAYS:  # NaN compares false and is refused with the rest
            raise InvalidOption(f"days: {days!r} must be from 0 to {_MOST_DAYS:,}.", option="days")
        return pruner.prune(dict.fromkeys(pruner.configured(), days * 86_400), manager=self.name).total()

    def _all(self, verb: str, filters: dict[str, Any], request: Callable[[Sequence[UUID]], Answers]) -> Counter[str]:
        if not filters:
            raise InvalidOption(f"Give at least one filter for the jobs to {verb}: status='pending', task='…'.")
        return bulk.to_all(self._filtered(filters), verb, request)

    acancel_job = as_coroutine(cancel_job)
    apause_job = as_coroutine(pause_job)
    aresume_job = as_coroutine(resume_job)
    aretry_job = as_coroutine(retry_job)
    aset_priority = as_coroutine(set_priority)
    adelete_job = as_coroutine(delete_job)
    acancel_jobs = as_coroutine(cancel_jobs)
    apause_jobs = as_coroutine(pause_jobs)
    aresume_jobs = as_coroutine(resume_jobs)
    aretry_jobs = as_coroutine(retry_jobs)
    acleanup_old_jobs = as_coroutine(cleanup_old_jobs)
