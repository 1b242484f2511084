"""The way in: validate, normalise, insert; one job or many, inside the caller's own transaction.

A job that was rolled back never happened; a wrong call is refused before anything is written. The insert and its event
are one statement (two on SQLite). Admission follows the commit.
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
from jobs.submission.batch import Draft
from jobs.submission.calls import Call, encoded
from jobs.submission.insertion import Made, insert
from jobs.submission.keyed import insert_keyed


def submit(manager: str, task: JobLike | str, calls: Iterable[Call], options: Mapping[str, Any]) -> list[Job]:
    """Insert one job per call, all alike but for their arguments; all of them, or on any bad call none."""
    known, name, chosen = _resolve(task, options)
    draft = Draft(manager, name, chosen, known.options if known else None)
    rows = [encoded(known, call, chosen) for call in calls]
    draft.check()
    made = insert(draft, rows)
    _have_admitted(draft, made)
    return [job for part in made for job in part.jobs]


def submit_keyed(
    manager: str, key: object, task: JobLike | str | Callable[[], Any], call: Call, options: Mapping[str, Any]
) -> tuple[Job, bool]:
    """The key's unfinished job and False, or a new one and True. A factory is only called when no job holds the key."""
    held = holder(manager, key)
    if held is not None:
        return held, False
    if not isinstance(task, (JobLike, str)):
        task, call = _from_factory(task)
    known, name, chosen = _resolve(task, options)
    draft = Draft(manager, name, chosen, known.options if known else None, key_text(key), active_key(manager, key))
    row = encoded(known, call, chosen)
    draft.check()
    for _ in range(10):
        made = insert_keyed(draft, row, key)
        if made.jobs:
            _have_admitted(draft, [made])
            return made.jobs[0], True
        held = holder(manager, key)
        if held is not None:
            return held, False
    raise KeyBusy(key)


def holder(manager: str, key: object) -> Job | None:
    """The unfinished job that holds a key, if any."""
    key_text(key)
    return Job.objects.using(settings.DATABASE).with_key(active_key(manager, key)).first()


def _resolve(task: JobLike | str, options: Mapping[str, Any]) -> tuple[JobLike | None, str, JobOptions]:
    """The task if this process knows it, its name, and its declared options with the caller's on top."""
    known = current_app.tasks.get(task) if isinstance(task, str) else unwrapped(task)
    if isinstance(known, JobLike):
        chosen = known.options.at_submit(options)
        name = known.name
    elif known is not None or not isinstance(task, str):
        raise InvalidOption(f"task: {shown(task)} is no job. Pass a function with @job, or its name.", option="task")
    elif settings.STRICT_TASKS:
        raise UnknownTask(task, current_app.tasks)
    else:
        known, name = None, task_name(task)
        chosen = JobOptions().but({"partition_by": declared.partition_by(name), **options})
    encoding.check_json(chosen.metadata, field="metadata")
    return known, name, chosen


def _from_factory(factory: object) -> tuple[JobLike | str, Call]:
    signature: object = factory() if callable(factory) else factory
    if not isinstance(signature, Signature):
        advice = "Pass a job, its name, or a callable that returns a signature as task.s(…)."
        raise InvalidOption(f"task: {shown(signature)} is no job and no signature. {advice}", option="task")
    return signature["task"], (tuple(signature["args"]), dict(signature["kwargs"]))


def _have_admitted(draft: Draft, made: Sequence[Made]) -> None:
    left = [part.is_left_to_caller for part in made if part.jobs and part.jobs[0].state == "pending"]
    if None in left:
        passes.admit_on_commit(draft.pool)
    elif any(left):
        after_commit(passes.admit, draft.pool)
