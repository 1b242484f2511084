"""Submitting jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from jobs import submission
from jobs.client.async_twins import as_coroutine
from jobs.client.manager.base import ManagerBase
from jobs.control import pausing
from jobs.control.answers import Answer
from jobs.control.requests import ask_one, id_of
from jobs.core.options.declared_task import JobLike
from jobs.models import Job

Key = TypeVar("Key")

JOB_CREATED: Literal["JOB_CREATED"] = "JOB_CREATED"
JOB_ALREADY_RUNNING: Literal["JOB_ALREADY_RUNNING"] = "JOB_ALREADY_RUNNING"


@dataclass(frozen=True)
class RunAnswer:
    """What `run_job` says: `job` is the key's job, `created` whether this call made it."""

    type: Literal["JOB_CREATED", "JOB_ALREADY_RUNNING"]
    job: Job

    @property
    def created(self) -> bool:
        return self.type == JOB_CREATED


class SubmissionMethods(ManagerBase, Generic[Key]):
    """Submit jobs."""

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
        return ask_one(pausing.start, id_of(job_id), actor=actor)

    asubmit = as_coroutine(submit)
    asubmit_many = as_coroutine(submit_many)
    arun_job = as_coroutine(run_job)
    astart_job = as_coroutine(start_job)
