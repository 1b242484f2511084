"""Failed jobs counted by the fingerprint of their error. Read-only; looks at the newest failures only."""

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
    """Failed jobs with one fingerprint: how many of the jobs looked at, and the newest of them."""

    fingerprint: str
    count: int
    newest: Job

    def __str__(self) -> str:
        return f"{self.count:,} × {self.newest.error_type}: {self.newest.error_message}"


def error_groups(jobs: JobQuerySet, limit: int) -> list[ErrorGroup]:
    """The most frequent errors among the newest 10,000 failures of these jobs, at most `limit`."""
    failed = jobs.filter(state=JobState.FAILED).exclude(error_fingerprint="")
    window = within_newest(failed, CEILING)
    counted = window.order_by().values_list("error_fingerprint").annotate(count=Count("pk"))
    groups = list(counted.order_by("-count", "error_fingerprint")[:limit])
    with_newest = ((fingerprint, count, failed.alike(fingerprint).newest().first()) for fingerprint, count in groups)
    return [ErrorGroup(fingerprint, count, newest) for fingerprint, count, newest in with_newest if newest is not None]
