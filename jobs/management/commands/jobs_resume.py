"""`manage.py jobs_resume`: let jobs go on by id or by filter, or a whole task or pool."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from jobs.control import pausing, pools, tasks
from jobs.control.bulk import Forecast
from jobs.core.encoding import clean_text
from jobs.management.bulk_command import Act
from jobs.management.hold_command import HoldCommand


class Command(HoldCommand):
    help = (
        "Resume paused jobs, by id or by filter, oldest first. Running jobs that were asked to pause go on. "
        "With --task or --pool alone: resume the task or the pool itself."
    )
    verb = "resume"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--reason", default="", help="why; kept in the history of each job")

    def act(self, options: dict[str, Any]) -> Act:
        reason, actor = clean_text(options["reason"], 500), self.person(options)
        return lambda ids: pausing.resume(ids, reason=reason, actor=actor)

    def forecast(self, forecast: Forecast) -> Act:
        return forecast.resume

    def hold_task(self, name: str, options: dict[str, Any]) -> bool:
        return tasks.resume(name, reason=options["reason"], actor=self.person(options))

    def hold_pool(self, name: str, options: dict[str, Any]) -> bool:
        return pools.resume(name, reason=options["reason"], actor=self.person(options))
