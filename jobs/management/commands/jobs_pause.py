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
        "Pause jobs: those that wait at once, running ones at their next checkpoint. By id, or by filter in batches. "
        "--task or --pool alone pauses the task or the pool itself: nothing of it starts, what runs goes on."
    )
    verb = "pause"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--reason", default="", help="why; kept beside what is paused")

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
