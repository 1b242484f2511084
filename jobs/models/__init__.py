"""The tables: columns, constraints and words. What decides lives in querysets, what changes in the stages."""

from jobs.core.options.policies import Policy
from jobs.models.attempt import Attempt
from jobs.models.event import JobEvent
from jobs.models.hook import Hook
from jobs.models.job import Job, JobKind
from jobs.models.lease import Lease
from jobs.models.log import JobLog
from jobs.models.pool import SYSTEM_LIMIT, Limit, LimitKind, Pool, Priority, Rate, TaskPause, Turn
from jobs.models.worker import Worker

__all__ = [
    "SYSTEM_LIMIT",
    "Attempt",
    "Hook",
    "Job",
    "JobEvent",
    "JobKind",
    "JobLog",
    "Lease",
    "Limit",
    "LimitKind",
    "Policy",
    "Pool",
    "Priority",
    "Rate",
    "TaskPause",
    "Turn",
    "Worker",
]
