"""`job_manager`: the Python API. Every method has a coroutine twin with an `a` before its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from jobs import submission
from jobs.client.async_twins import twin
from jobs.client.handles import JobHandle
from jobs.control import bulk, pausing, pools, tasks
from jobs.control import cancellation as control
from jobs.control.cancellation import Answer
from jobs.control.requests import Answers, id_of, one_answer
from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.options.declared_task import JobLike
from jobs.exceptions import InvalidOption, JobNotFound, UnknownFilter
from jobs.maintenance import pruner
from jobs.models import Job
from jobs.models.querysets import JobQuerySet
from jobs.models.transitions import ALL_COLUMNS
from jobs.monitoring import error_groups as patterns
from jobs.monitoring import explain
from jobs.monitoring.error_groups import ErrorGroup
from jobs.monitoring.explain import Why
from jobs.monitoring.filters import PRIVATE, narrowed
from jobs.monitoring.status import result_of, status_of

Key = TypeVar("Key")
State = TypeVar("State")
Action = TypeVar("Action")

JOB_CREATED: Literal["JOB_CREATED"] = "JOB_CREATED"
JOB_ALREADY_RUNNING: Literal["JOB_ALREADY_RUNNING"] = "JOB_ALREADY_RUNNING"
_MOST_DAYS = 100_000
_MOST_ROWS = 1_000_000
_PUBLIC_COLUMNS = frozenset(ALL_COLUMNS) - PRIVATE


@dataclass(frozen=True)
class RunAnswer:
    """What `run_job` says: `job` is the key's job, `created` whether this call made it."""

    type: Literal["JOB_CREATED", "JOB_ALREADY_RUNNING"]
    job: Job

    @property
    def created(self) -> bool:
        return self.type == JOB_CREATED


class JobManager(Generic[Key, State, Action]):
    """Submits, finds and steers jobs. Managers of the same name share one key space; the default one's name is ""."""

    def __init__(self, name: str = "") -> None:
        if encoding.clean_text(name, 100) != name:
            problem = "must be at most 100 characters, without NUL and lone surrogates."
            raise InvalidOption(f"name: {name!r:.60} {problem}", option="name")
        self.name = name

    def __repr__(self) -> str:
        return f"JobManager({self.name!r})"

    def submit(
        self, /, task: JobLike | str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Job:
        """Submit one job, as part of the caller's transaction, and return its row.

        `task` is a job or a task's name; options are those of `@job` and override them. Raises InvalidArguments,
        InvalidPayload, InvalidOption, UnknownPool or UnknownTask, and then nothing is written.
        """
        (job,) = submission.submit(self.name, task, [(args, kwargs or {})], options)
        return job

    def submit_many(
        self, /, task: JobLike | str, calls: Iterable[tuple[Sequence[Any], Mapping[str, Any]]], **options: Any
    ) -> list[Job]:
        """Submit one job per (args, kwargs) with the same options: all, or on the first bad call none."""
        return submission.submit(self.name, task, calls, options)

    def run_job(
        self,
        /,
        key: Key,
        task: JobLike | str | Callable[[], Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> RunAnswer:
        """Make sure that the key has an unfinished job: this one, or the one that it has already.

        Safe to call any number of times from anywhere. Instead of a task a factory may be given: it is called only when
        a job is to be created, and returns a signature (`render.s(…)`). Raises KeyBusy while another's transaction that
        took the key stays open.
        """
        job, created = submission.submit_keyed(self.name, key, task, (args, kwargs or {}), options)
        return RunAnswer(JOB_CREATED if created else JOB_ALREADY_RUNNING, job)

    def start_job(self, /, job_id: UUID | str, *, actor: str = "") -> Answer:
        """Release a job submitted with `start=False`: STARTED or ALREADY_STARTED."""
        return _one(pausing.start, job_id, actor)

    def get_job(self, /, job_id: UUID | str) -> Job:
        """The job's row; JobNotFound for an id that is not there or no id at all."""
        job = Job.objects.using(settings.DATABASE).filter(pk=id_of(job_id)).first()
        if job is None:
            raise JobNotFound(job_id)
        return job

    def handle(self, /, job_id: UUID | str) -> JobHandle[State, Action]:
        """A handle on a job; JobNotFound."""
        return JobHandle(self.get_job(job_id).id)

    def get_running_job(self, /, key: Key) -> JobHandle[State, Action] | None:
        """A handle on the key's unfinished job, in whichever state, or None."""
        held = submission.holder(self.name, key)
        return None if held is None else JobHandle(held.id)

    def list_jobs(self, /, *, order: str = "-id", limit: int = 100, **filters: Any) -> list[Job]:
        """Jobs by public column, range (`created_at__gte=`), `status` or metadata key (`metadata__customer=`).

        Newest first, `limit` at most. A named manager lists its own jobs. UnknownFilter for what does not exist.
        """
        if order.removeprefix("-") not in _PUBLIC_COLUMNS:
            raise UnknownFilter(f"order={order}", sorted(f"order={column}" for column in _PUBLIC_COLUMNS))
        _check_limit(limit)
        return list(self._filtered(filters).order_by(order)[:limit])

    def _filtered(self, filters: dict[str, Any]) -> JobQuerySet:
        if self.name:
            filters["manager"] = self.name
        return narrowed(Job.objects.using(settings.DATABASE), filters, _PUBLIC_COLUMNS)

    def error_groups(self, /, *, limit: int = 20, **filters: Any) -> list[ErrorGroup]:
        """Failures that are alike, counted among the newest 10,000; the most frequent first. See `jobs.patterns`.

        Filters are those of `list_jobs`. Each has `fingerprint`, `count` and `newest`, a failed job.
        """
        _check_limit(limit)
        return patterns.error_groups(self._filtered(filters), limit)

    def delete_job(self, /, job_id: UUID | str, *, missing_ok: bool = False) -> None:
        """Delete a finished job with its history; JobNotFinished for another, JobNotFound unless `missing_ok`."""
        try:
            control.delete(id_of(job_id))
        except JobNotFound:
            if not missing_ok:
                raise

    def get_job_status(self, /, job_id: UUID | str) -> dict[str, Any]:
        """Where a job stands, as plain data: what a client polls. See `jobs.status`."""
        return status_of(self.get_job(job_id))

    def get_job_results(self, /, job_id: UUID | str) -> Any:
        """The result of a completed job.

        Raises JobNotFinished (with the state), JobFailed (with errors and structured result), JobCancelled, or
        ResultUnavailable when the result could not be stored.
        """
        return result_of(self.get_job(job_id))

    def why(self, /, job_id: UUID | str) -> Why:
        """Why a job does not run yet: every reason, as sentences and as data; JobNotFound. See `jobs.explain`."""
        return explain.why(id_of(job_id))

    def cancel_job(self, /, job_id: UUID | str, force: bool = False, reason: str = "", *, actor: str = "") -> Answer:
        """CANCELLED at once when it waits, REQUESTED when it runs (it stops at its next check), or ALREADY_FINAL.

        A running one that has not stopped after its grace is stopped by its worker, with `force` at once.
        """
        return control.cancel(id_of(job_id), reason, actor, force=force)

    def pause_job(self, /, job_id: UUID | str, *, reason: str = "", actor: str = "") -> Answer:
        """PAUSED at once when it waits, REQUESTED when it runs (it stops at its next checkpoint), else NOT_POSSIBLE.

        It is not possible where the job has ended, is about to be cancelled, or runs at most once.
        """
        return _one(pausing.pause, job_id, reason, actor)

    def resume_job(self, /, job_id: UUID | str, *, reason: str = "", actor: str = "") -> Answer:
        """Let a paused job go on, or withdraw the request to pause a running one: RESUMED or NOT_PAUSED."""
        return _one(pausing.resume, job_id, actor, reason)

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
        """Stop a job: with an error it ends failed with it (category `stopped`), without it is cancelled.

        STOPPED or CANCELLED at once when it waits, REQUESTED when it runs, ALREADY_FINAL. With `wait` it returns when
        the code has stopped, and the key is free; JobNotFinished after `timeout` seconds. Repeating it is harmless.
        """
        return JobHandle[State, Action](id_of(job_id)).stop(error, wait=wait, timeout=timeout, actor=actor)

    async def astop(
        self, /, job_id: UUID | str, error: BaseException | str | None = None, *, actor: str = ""
    ) -> Answer:
        """`stop`, to be awaited until the code has stopped; `asyncio.timeout` bounds it."""
        return await JobHandle[State, Action](id_of(job_id)).astop(error, actor=actor)

    def retry_job(self, /, job_id: UUID | str, *, reason: str = "", actor: str = "") -> Answer:
        """Run a failed or cancelled job again: REQUEUED, KEY_TAKEN or NOT_FINAL."""
        return control.retry(id_of(job_id), actor, reason)

    def set_priority(self, /, job_id: UUID | str, priority: str, *, actor: str = "") -> Answer:
        """Give a job that waits another priority: CHANGED, or NOT_POSSIBLE once it runs or has ended."""
        return control.set_priority(id_of(job_id), priority, actor)

    def cancel_jobs(self, /, *, reason: str = "", force: bool = False, actor: str = "", **filters: Any) -> Counter[str]:
        """Cancel the unfinished jobs that these filters choose, as `cancel_job` does; how many gave each answer."""
        return self._all("cancel", filters, lambda ids: bulk.cancel(ids, reason=reason, actor=actor, force=force))

    def pause_jobs(self, /, *, reason: str = "", actor: str = "", **filters: Any) -> Counter[str]:
        """Pause the unfinished jobs that these filters choose, as `pause_job` does; how many gave each answer."""
        return self._all("pause", filters, lambda ids: pausing.pause(ids, reason, actor))

    def resume_jobs(self, /, *, reason: str = "", actor: str = "", **filters: Any) -> Counter[str]:
        """Resume the paused jobs that these filters choose, as `resume_job` does; how many gave each answer."""
        return self._all("resume", filters, lambda ids: pausing.resume(ids, actor, reason))

    def retry_jobs(self, /, *, reason: str = "", actor: str = "", **filters: Any) -> Counter[str]:
        """Run the failed and cancelled jobs that these filters choose again; how many gave each answer."""
        return self._all("retry", filters, lambda ids: bulk.retry(ids, reason=reason, actor=actor))

    def pause_task(self, /, name: str, reason: str = "", *, actor: str = "") -> Answer:
        """Start nothing more of a task, in no pool, and take back what waits with the broker: PAUSED. UnknownTask."""
        tasks.pause(name, reason, actor)
        return Answer.PAUSED

    def resume_task(self, /, name: str, *, actor: str = "") -> Answer:
        """Let a paused task go on: RESUMED or NOT_PAUSED."""
        return Answer.RESUMED if tasks.resume(name, actor) else Answer.NOT_PAUSED

    def pause_pool(self, /, name: str, reason: str = "", *, actor: str = "") -> Answer:
        """Start nothing more in a pool, and take back what waits with the broker: PAUSED. Repeating is harmless."""
        pools.pause(name, reason, actor)
        return Answer.PAUSED

    def drain_pool(self, /, name: str, reason: str = "", *, actor: str = "") -> Answer:
        """Let a pool run empty, to be taken out of service: DRAINING. Repeating is harmless."""
        pools.drain(name, reason, actor)
        return Answer.DRAINING

    def resume_pool(self, /, name: str, *, actor: str = "") -> Answer:
        """Let a paused or drained pool go on: RESUMED or NOT_PAUSED."""
        return Answer.RESUMED if pools.resume(name, actor) else Answer.NOT_PAUSED

    def cleanup_old_jobs(self, /, days: float | None = None) -> int:
        """Delete jobs that ended more than `days` ago (by the setting's retention without); returns how many.

        A named manager deletes its own jobs. A job and what is below it go together, once all of it is old enough.
        """
        if days is None:
            return pruner.prune(manager=self.name).total()
        if not 0 <= days <= _MOST_DAYS:  # NaN compares false and is refused with the rest
            raise InvalidOption(f"days: {days!r} must be from 0 to {_MOST_DAYS:,}.", option="days")
        return pruner.prune(dict.fromkeys(pruner.configured(), days * 86_400), manager=self.name).total()

    def _all(self, verb: str, filters: dict[str, Any], request: Callable[[Sequence[UUID]], Answers]) -> Counter[str]:
        if not filters:
            raise InvalidOption(f"Say which jobs to {verb}, by a filter at least: status='pending', task='…'.")
        return bulk.to_all(self._filtered(filters), verb, request)

    asubmit = twin(submit)
    asubmit_many = twin(submit_many)
    arun_job = twin(run_job)
    astart_job = twin(start_job)
    aget_job = twin(get_job)
    ahandle = twin(handle)
    aget_running_job = twin(get_running_job)
    alist_jobs = twin(list_jobs)
    aerror_groups = twin(error_groups)
    adelete_job = twin(delete_job)
    aget_job_status = twin(get_job_status)
    aget_job_results = twin(get_job_results)
    awhy = twin(why)
    acancel_job = twin(cancel_job)
    aretry_job = twin(retry_job)
    apause_job = twin(pause_job)
    aresume_job = twin(resume_job)
    acancel_jobs = twin(cancel_jobs)
    apause_jobs = twin(pause_jobs)
    aresume_jobs = twin(resume_jobs)
    aretry_jobs = twin(retry_jobs)
    apause_task = twin(pause_task)
    aresume_task = twin(resume_task)
    aset_priority = twin(set_priority)
    apause_pool = twin(pause_pool)
    adrain_pool = twin(drain_pool)
    aresume_pool = twin(resume_pool)
    acleanup_old_jobs = twin(cleanup_old_jobs)


def _one(request: Callable[..., Answers], job_id: UUID | str, *words: str) -> Answer:
    """Ask it of a single job."""
    found = id_of(job_id)
    return Answer(one_answer(found, request([found], *words)))


def _check_limit(limit: int) -> None:
    if not 0 <= limit <= _MOST_ROWS:
        raise InvalidOption(f"limit: {limit!r:.60} must be a number from 0 to {_MOST_ROWS:,}.", option="limit")


job_manager: JobManager[Any, Any, Any] = JobManager()
