"""`manage.py jobs_resume`: let jobs go on by id or by filter, or a whole task or pool."""

from __future__ import annotations

from typing import Any

from jobs import bulk, pools, taskpause
from jobs.bulk import Forecast
from jobs.management.bulk_command import Act
from jobs.management.hold_command import HoldCommand


class Command(HoldCommand):
    help = (
        "Let paused jobs go on, and withdraw what was asked of running ones. By id, or by filter in batches, oldest "
        "first. --task or --pool alone resumes the task or the pool itself."
    )
    verb = "resume"

    def act(self, options: dict[str, Any]) -> Act:
        return lambda ids: bulk.resume(ids, actor="jobs_resume")

    def forecast(self, forecast: Forecast) -> Act:
        return forecast.resume

    def hold_task(self, name: str, options: dict[str, Any]) -> bool:
        return taskpause.resume(name, "jobs_resume")

    def hold_pool(self, name: str, options: dict[str, Any]) -> bool:
        return pools.resume(name, "jobs_resume")
