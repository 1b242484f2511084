"""The admin: rows can be read, limits and sizes can be changed, and jobs are changed by actions only."""

from jobs.web.admin.attempts import AttemptAdmin
from jobs.web.admin.jobs import JobAdmin
from jobs.web.admin.limits import LimitAdmin
from jobs.web.admin.pools import PoolAdmin
from jobs.web.admin.priorities import PriorityAdmin
from jobs.web.admin.system import LeaseAdmin, WorkerAdmin
from jobs.web.admin.tasks import TaskPauseAdmin

__all__ = [
    "AttemptAdmin",
    "JobAdmin",
    "LeaseAdmin",
    "LimitAdmin",
    "PoolAdmin",
    "PriorityAdmin",
    "TaskPauseAdmin",
    "WorkerAdmin",
]
