"""The admin: everything can be read, limits and sizes can be changed, and the rest moves by what people ask for."""

from jobs.admin.attempts import AttemptAdmin
from jobs.admin.jobs import JobAdmin
from jobs.admin.limits import LimitAdmin
from jobs.admin.pools import PoolAdmin
from jobs.admin.priorities import PriorityAdmin
from jobs.admin.system import LeaseAdmin, WorkerAdmin
from jobs.admin.tasks import TaskPauseAdmin

__all__ = [
    "AttemptAdmin", "JobAdmin", "LeaseAdmin", "LimitAdmin", "PoolAdmin", "PriorityAdmin", "TaskPauseAdmin",
    "WorkerAdmin",
]  # fmt: skip
