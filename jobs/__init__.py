"""jobs: a job platform for Django on Celery. The public names; each is imported when it is first used.

`from jobs import job, job_manager` works in a settings-less module: nothing here touches Django before it must.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.client.handles import JobHandle
    from jobs.client.manager import JobManager, RunAnswer, job_manager
    from jobs.client.task import JobTask, job
    from jobs.control.answers import Answer
    from jobs.models import Attempt, Job, JobEvent
    from jobs.states import JobState

_HOMES = {
    "Answer": "jobs.control.answers",
    "Attempt": "jobs.models",
    "Job": "jobs.models",
    "JobEvent": "jobs.models",
    "JobHandle": "jobs.client.handles",
    "JobManager": "jobs.client.manager",
    "JobState": "jobs.states",
    "JobTask": "jobs.client.task",
    "RunAnswer": "jobs.client.manager",
    "job": "jobs.client.task",
    "job_manager": "jobs.client.manager",
}

__all__ = [
    "Answer",
    "Attempt",
    "Job",
    "JobEvent",
    "JobHandle",
    "JobManager",
    "JobState",
    "JobTask",
    "RunAnswer",
    "job",
    "job_manager",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'jobs' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
