"""`manage.py jobs_cancel`: cancel jobs by id, or all that a filter chooses."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from jobs.control import cancellation
from jobs.control.bulk import Forecast
from jobs.core.encoding import clean_text
from jobs.management.bulk_command import Act, BulkCommand


class Command(BulkCommand):
    help = "Cancel jobs, by id or by filter. Waiting jobs are cancelled at once; running jobs are asked to stop."
    verb = "cancel"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--reason", default="", help="why; kept in the history of each job")
        parser.add_argument(
            "--force", action="store_true", help="stop the processes of running jobs at once, without a grace period"
        )

    def act(self, options: dict[str, Any]) -> Act:
        reason, actor = clean_text(options["reason"], 500), self.person(options)
        return lambda ids: cancellation.cancel(ids, reason=reason, actor=actor, force=options["force"])

    def forecast(self, forecast: Forecast) -> Act:
        return forecast.cancel
