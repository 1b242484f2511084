"""What the stages need to know of a declared task."""

from __future__ import annotations

import inspect
from typing import Protocol, runtime_checkable

from celery.local import Proxy

from jobs.core.options.job_options import JobOptions


@runtime_checkable
class JobLike(Protocol):
    """What submission needs of a job's task object."""

    name: str
    options: JobOptions

    @property
    def parameters(self) -> inspect.Signature:
        """The body's signature, without `self`."""


def unwrapped(task: JobLike) -> JobLike:
    """The task behind Celery's proxy, which looks the task up at each access of an attribute."""
    return task._get_current_object() if isinstance(task, Proxy) else task
