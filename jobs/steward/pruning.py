"""Chore: delete finished jobs that are older than their state is kept, in small batches."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction

from jobs import control
from jobs.conf import settings
from jobs.models import Job

BATCH = 500


def prune(retention: Mapping[str, float | None] | None = None, *, dry_run: bool = False, batch: int = BATCH) -> int:
    """Delete what is older than its retention (seconds by state; the setting's by default); returns how many jobs.

    With `dry_run` nothing is deleted and the count is what would be.
    """
    using = settings.DATABASE
    old = Job.objects.using(using).prunable(dict(retention if retention is not None else configured()))
    if dry_run:
        return old.count()
    total = 0
    while ids := list(old.order_by("finished_at").values_list("pk", flat=True)[:batch]):
        with transaction.atomic(using=using):
            total += control.delete_rows(ids)
    return total


def configured() -> dict[str, float | None]:
    """The setting's retention, seconds by state."""
    return dict(settings.RETENTION)
