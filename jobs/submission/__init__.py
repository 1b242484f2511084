"""The way in: check the calls, then insert one job or many, inside the caller's own transaction.

A wrong call raises before anything is written; a rollback takes the jobs with it. A job and its first event are one
statement (two on SQLite and MariaDB). Admission follows the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from celery import Signature, current_app

from jobs.admission import passes
from jobs.admission.limits import declared
from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.db.statements import after_commit
from jobs.core.encoding.run_keys import active_key, key_text
from jobs.core.options.declared_task import JobLike, unwrapped
from jobs.core.options.job_options import JobOptions, task_name
from jobs.exceptions import InvalidOption, KeyBusy, UnknownTask, shown
from jobs.models import Job
from jobs.submission.batch import Batch
from jobs.submission.calls import Call, encoded
from jobs.submission.insertion import Inserted, insert
from jobs.submission.keyed import insert_keyed


def submit(manager: str, task: JobLike | str, calls: Iterable[Call], options: Mapping[str, Any]) -> list[Job]:
    """Insert one job per call, all with the same options. One bad call, and none is inserted."""
    declared_task, name, merged = _resolve(task, options)
    batch = Batch(manager, name, merged, declared_task.options if declared_task else None)
    rows = [encoded(declared_task, call, merged) for call in calls]
    batch.check()
    chunks = insert(batch, rows)
    _admit(batch, chunks)
    return [job for chunk in chunks for job in chunk.jobs]


def submit_keyed(
    manager: str, key: object, task: JobLike | str | Callable[[], Any], call: Call, options: Mapping[str, Any]
) -> tuple[Job, bool]:
    """The unfinished job that holds the key, and False; or a new job, and True. Only then is a factory called."""
    job = holder(manager, key)
    if job is not None:
        return job, False
    if not isinstance(task, (JobLike, str)):
        task, call = _from_factory(task)
    declared_task, name, merged = _resolve(task, options)
    declared_options = declared_task.options if declared_task else None
    batch = Batch(manager, name, merged, declared_options, key_text(key), active_key(manager, key))
    row = encoded(declared_task, call, merged)
    batch.check()
    for _ in range(10):
        inserted = insert_keyed(batch, row, key)
        if inserted.jobs:
            _admit(batch, [inserted])
            return inserted.jobs[0], True
        job = holder(manager, key)
        if job is not None:
            return job, False
    raise KeyBusy(key)


def holder(manager: str, key: object) -> Job | None:
    """The unfinished job that holds a key, if any."""
    key_text(key)
    return Job.objects.using(settings.DATABASE).with_key(active_key(manager, key)).first()


def _resolve(task: JobLike | str, options: Mapping[str, Any]) -> tuple[JobLike | None, str, JobOptions]:
    """The task if this process has registered it, its name, and its options with those of the call on top."""
    registered = current_app.tasks.get(task) if isinstance(task, str) else unwrapped(task)
    if isinstance(registered, JobLike):
        merged = registered.options.at_submit(options)
        name = registered.name
    elif registered is not None or not isinstance(task, str):
        raise InvalidOption(f"task: {shown(task)} is no job. Pass a function with @job, or its name.", option="task")
    elif settings.STRICT_TASKS:
        raise UnknownTask(task, current_app.tasks)
    else:
        registered, name = None, task_name(task)
        merged = JobOptions().but({"partition_by": declared.partition_by(name), **options})
    encoding.check_json(merged.metadata, field="metadata")
    return registered, name, merged


def _from_factory(factory: object) -> tuple[JobLike | str, Call]:
    signature: object = factory() if callable(factory) else factory
    if not isinstance(signature, Signature):
        advice = "Pass a job, its name, or a callable that returns a signature as task.s(…)."
        raise InvalidOption(f"task: {shown(signature)} is no job and no signature. {advice}", option="task")
    return signature["task"], (tuple(signature["args"]), dict(signature["kwargs"]))


def _admit(batch: Batch, inserted: Sequence[Inserted]) -> None:
    """Admit after the commit: by the feeder that the insert has woken, else by this process."""
    left_to_caller = [chunk.is_left_to_caller for chunk in inserted if chunk.jobs and chunk.jobs[0].state == "pending"]
    if None in left_to_caller:
        passes.admit_on_commit(batch.pool)
    elif any(left_to_caller):
        after_commit(passes.admit, batch.pool)
