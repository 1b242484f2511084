"""`manage.py jobs_pause`: hold jobs by id or by filter, or a whole task or pool."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from jobs.control import pausing, pools, tasks
from jobs.control.answers import Answers
from jobs.control.bulk import Forecast
from jobs.core.encoding import clean_text
from jobs.management.bulk_command import Act
from jobs.management.hold_command import HoldCommand


class Command(HoldCommand):
    help = (
        "Pause jobs, by id or by filter. Waiting jobs pause at once; running jobs pause at their next checkpoint. "
        "With --task or --pool alone: pause the task or the pool itself. None of its jobs start; running jobs go on."
    )
    verb = "pause"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--reason", default="", help="why; shown while the job, the task or the pool is paused")

    def act(self, options: dict[str, Any]) -> Act:
        reason, actor = clean_text(options["reason"], 500), self.person(options)

        def pause(ids: Any) -> Answers:
            return pausing.pause(ids, reason=reason, actor=actor)

        return pause

    def forecast(self, forecast: Forecast) -> Act:
        return forecast.pause

    def hold_task(self, name: str, options: dict[str, Any]) -> bool:
        return tasks.pause(name, reason=options["reason"], actor=self.person(options))

    def hold_pool(self, name: str, options: dict[str, Any]) -> bool:
        return pools.pause(name, reason=options["reason"], actor=self.person(options))
