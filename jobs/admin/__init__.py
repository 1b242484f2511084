"""The admin: everything can be read, little can be changed, and whatever moves a job goes through `jobs.control`."""

from jobs.admin.attempts import AttemptAdmin
from jobs.admin.jobs import JobAdmin
from jobs.admin.system import LeaseAdmin, LimitAdmin, PoolAdmin, PriorityAdmin, WorkerAdmin

__all__ = ["AttemptAdmin", "JobAdmin", "LeaseAdmin", "LimitAdmin", "PoolAdmin", "PriorityAdmin", "WorkerAdmin"]
