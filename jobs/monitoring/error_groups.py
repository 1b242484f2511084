"""Error patterns: failed jobs that failed alike, counted. Read-only, and bounded: it looks at the newest failures."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count

from jobs.models import Job
from jobs.models.querysets import JobQuerySet
from jobs.monitoring.counting import CEILING
from jobs.monitoring.search import within_newest
from jobs.states import JobState


@dataclass(frozen=True)
class ErrorGroup:
    """Failures with one fingerprint: how many of the failures looked at, and the newest job among them."""

    fingerprint: str
    count: int
    newest: Job

    def __str__(self) -> str:
        return f"{self.count:,} × {self.newest.error_type}: {self.newest.error_message}"


def error_groups(jobs: JobQuerySet, limit: int) -> list[ErrorGroup]:
    """The most frequent patterns among the newest 10,000 failures of these jobs, at most `limit`."""
    failed = jobs.filter(state=JobState.FAILED).exclude(error_fingerprint="")
    window = within_newest(failed, CEILING)
    counted = window.order_by().values_list("error_fingerprint").annotate(count=Count("pk"))
    found = list(counted.order_by("-count", "error_fingerprint")[:limit])
    shown = ((mark, count, failed.alike(mark).newest().first()) for mark, count in found)
    return [ErrorGroup(mark, count, newest) for mark, count, newest in shown if newest is not None]
