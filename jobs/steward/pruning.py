"""Chore: delete finished jobs that are older than their state is kept, in small batches."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction

from jobs import control
from jobs.conf import settings
from jobs.models import Job
from jobs.querysets.dialect import dialect
from jobs.querysets.statements import execute, settled

BATCH = 500
RESTED = 60.0  # seconds since the next start of a rate was free


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


def forget_rates() -> int:
    """Delete the rows of rate limits and conflict locks that are at rest; returns how many.

    A row that somebody has locked is in use, and stays; one that is missed later is made anew.
    """
    words = dialect(settings.DATABASE)
    at_rest = f"SELECT id FROM jobs_rate WHERE tat < {words.epoch('{now}')} - %s LIMIT %s"
    total = 0
    while True:
        with transaction.atomic(using=settings.DATABASE):
            where, found = settled(settings.DATABASE, words.picked(at_rest), [RESTED, BATCH])
            gone = execute(settings.DATABASE, f"DELETE FROM jobs_rate WHERE {where}", found)
        total += gone
        if gone < BATCH:
            return total


def forget_turns() -> int:
    """Delete the turns of partitions that were not served for AGED_AFTER; returns how many."""
    words = dialect(settings.DATABASE)
    sql = f"DELETE FROM jobs_turn WHERE at < {words.epoch('{now}')} - %s"
    return execute(settings.DATABASE, sql, [settings.AGED_AFTER])


def configured() -> dict[str, float | None]:
    """The setting's retention, seconds by state."""
    return dict(settings.RETENTION)
