"""`manage.py jobs_retry`: run failed and cancelled jobs again, by id, or all that a filter chooses."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from jobs.control import retries
from jobs.control.bulk import Forecast
from jobs.core.encoding import clean_text
from jobs.management.bulk_command import Act, BulkCommand


class Command(BulkCommand):
    help = "Run failed and cancelled jobs again, each as a new run. By id or by filter, oldest first."
    verb = "retry"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--reason", default="", help="why; kept in the history of each job")

    def act(self, options: dict[str, Any]) -> Act:
        reason, actor = clean_text(options["reason"], 500), self.person(options)
        return lambda ids: retries.retry(ids, reason=reason, actor=actor)

    def forecast(self, forecast: Forecast) -> Act:
        return forecast.retry
