"""jobs: a job platform for Django on Celery. The public names; each is imported when it is first used.

`from jobs import job, job_manager` works in a settings-less module: nothing here touches Django before it must.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.control import Answer
    from jobs.handles import JobHandle
    from jobs.manager import JobManager, RunAnswer, job_manager
    from jobs.models import Attempt, Job, JobEvent
    from jobs.states import JobState
    from jobs.task import JobTask, job

_HOMES = {
    "Answer": "jobs.control",
    "Attempt": "jobs.models",
    "Job": "jobs.models",
    "JobEvent": "jobs.models",
    "JobHandle": "jobs.handles",
    "JobManager": "jobs.manager",
    "JobState": "jobs.states",
    "JobTask": "jobs.task",
    "RunAnswer": "jobs.manager",
    "job": "jobs.task",
    "job_manager": "jobs.manager",
}

__all__ = [
    "Answer", "Attempt", "Job", "JobEvent", "JobHandle", "JobManager", "JobState", "JobTask", "RunAnswer", "job",
    "job_manager",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'jobs' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
