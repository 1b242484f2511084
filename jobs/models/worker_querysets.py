"""Questions about workers."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Self

from django.db import models

from jobs.core.db.clock import DbNow

if TYPE_CHECKING:
    from jobs.models import Worker  # noqa: F401 - the type parameter below


class WorkerQuerySet(models.QuerySet["Worker"]):
    """Workers, by whether they may be counted on."""

    def unfenced(self) -> Self:
        """Not declared dead and not gone."""
        return self.filter(fenced_at__isnull=True)

    def live(self, stale_after: float) -> Self:
        """Heard within `stale_after` seconds by the database's clock, and taking new work."""
        beat = DbNow() - timedelta(seconds=stale_after)
        return self.unfenced().filter(draining_at__isnull=True, beat_at__gte=beat)
