"""Questions about jobs that decide something, in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from django.db import models
from django.db.models import Q

from jobs import states
from jobs.core.db.clock import DbNow
from jobs.states import JobState

if TYPE_CHECKING:
    from jobs.models import Job  # noqa: F401 - the type parameter below


class JobQuerySet(models.QuerySet["Job"]):
    """Jobs, by what one may want to do with them."""

    def unfinished(self) -> Self:
        """Not yet at an end."""
        return self.exclude(state__in=states.FINAL)

    def final(self) -> Self:
        """Completed, failed or cancelled."""
        return self.filter(state__in=states.FINAL)

    def with_key(self, active_key: str) -> Self:
        """The unfinished job that holds a run key; at most one."""
        return self.filter(active_key=active_key)

    def due(self) -> Self:
        """Scheduled, and the time has come (by the database's clock)."""
        return self.filter(state=JobState.SCHEDULED, run_after__lte=DbNow())

    def unsent(self, seconds: float) -> Self:
        """Admitted, but the message has not been published for so long."""
        return self.filter(
            state=JobState.QUEUED, published_at__isnull=True, queued_at__lt=DbNow() - timedelta(seconds=seconds)
        )

    def alike(self, fingerprint: str) -> Self:
        """Failed for good with that fingerprint."""
        return self.filter(error_fingerprint=fingerprint).exclude(error_fingerprint="")

    def of_category(self, category: str) -> Self:
        """Failed for good with an error of that category."""
        return self.filter(state=JobState.FAILED, error_category=category).exclude(error_category="")

    def owned_by(self, owner: str) -> Self:
        """What one person submitted."""
        return self.filter(owner=owner)

    def visible_to(self, user: Any) -> Self:
        """What a signed-in person may see: staff see all, others their own."""
        return self if user.is_staff else self.filter(owner=user.get_username()).exclude(owner="")

    def prunable(self, retention: Mapping[str, float | None]) -> Self:
        """Ended longer ago than its state is kept (seconds by state; None keeps for ever)."""
        old = Q(pk__in=[])
        for state, seconds in retention.items():
            if seconds is not None:
                old |= Q(state=state, finished_at__lt=DbNow() - timedelta(seconds=seconds))
        return self.filter(old)

    def newest(self) -> Self:
        """Newest first; ids are ordered by time."""
        return self.order_by("-id")
