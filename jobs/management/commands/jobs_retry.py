"""`manage.py jobs_retry`: run failed and cancelled jobs again, by id, or all that a filter chooses."""

from __future__ import annotations

from typing import Any

from jobs import bulk
from jobs.bulk import Forecast
from jobs.management.bulk_command import Act, BulkCommand


class Command(BulkCommand):
    help = "Run failed and cancelled jobs again, as a new run. By id, or by filter in batches, oldest first."
    verb = "retry"

    def act(self, options: dict[str, Any]) -> Act:
        return lambda ids: bulk.retry(ids, actor="jobs_retry")

    def forecast(self, forecast: Forecast) -> Act:
        return forecast.retry
