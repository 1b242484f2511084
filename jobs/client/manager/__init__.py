"""`job_manager`: the Python API. Every method has an async version with an `a` before its name."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from jobs.client.manager.pools import PoolMethods
from jobs.client.manager.queries import QueryMethods
from jobs.client.manager.requests import RequestMethods
from jobs.client.manager.submissions import JOB_ALREADY_RUNNING, JOB_CREATED, RunAnswer, SubmissionMethods

__all__ = ["JOB_ALREADY_RUNNING", "JOB_CREATED", "JobManager", "RunAnswer", "job_manager"]

Key = TypeVar("Key")
State = TypeVar("State")
Action = TypeVar("Action")


class JobManager(
    SubmissionMethods[Key],
    QueryMethods[Key, State, Action],
    RequestMethods[State, Action],
    PoolMethods,
    Generic[Key, State, Action],
):
    """Submits, finds, cancels, pauses and retries jobs.

    Managers of the same name share one set of run keys. The default manager, `job_manager`, has the name "".
    """


job_manager: JobManager[Any, Any, Any] = JobManager()
