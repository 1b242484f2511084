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
    """The answer of `run_job`: `job` is the key's unfinished job, `created` tells whether this call created it."""

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
        """Submit one job within the caller's transaction, and return its row.

        `task` is a function with `@job`, or a task's name. Options are those of `@job`, and override them. Raises
        InvalidArguments, InvalidPayload, InvalidOption, UnknownPool or UnknownTask before anything is written.
        """
        (job,) = submission.submit(self.name, task, [(args, kwargs or {})], options)
        return job

    def submit_many(
        self, /, task: JobLike | str, calls: Iterable[tuple[Sequence[Any], Mapping[str, Any]]], **options: Any
    ) -> list[Job]:
        """Submit one job per pair (args, kwargs), all with the same options. If one is wrong, none is submitted."""
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
        """Return the unfinished job of a key, or submit one if the key has none.

        Safe to call concurrently, any number of times. `task` may also be a factory that returns a signature
        (`lambda: render.s(…)`): it is called only if a job has to be created. Raises KeyBusy if another open
        transaction has submitted a job with this key.
        """
        job, created = submission.submit_keyed(self.name, key, task, (args, kwargs or {}), options)
        return RunAnswer(JOB_CREATED if created else JOB_ALREADY_RUNNING, job)

    def start_job(self, /, job_id: UUID | str, *, actor: str = "") -> Answer:
        """Start a job that was submitted with `start=False`: STARTED, or ALREADY_STARTED for any other job."""
        return ask_one(pausing.start, id_of(job_id), actor=actor)

    asubmit = as_coroutine(submit)
    asubmit_many = as_coroutine(submit_many)
    arun_job = as_coroutine(run_job)
    astart_job = as_coroutine(start_job)
