"""Leases: one row per elected role (the steward), held for a time and renewed."""

from __future__ import annotations

from django.db import models


class Lease(models.Model):
    """An office (the steward's) and who holds it until when, by the database's clock."""

    name = models.CharField(max_length=50, primary_key=True)
    holder = models.UUIDField(null=True, blank=True)
    label = models.CharField(max_length=200, blank=True, default="")
    expires_at = models.DateTimeField(null=True, blank=True)
    figures = models.JSONField(
        default=dict,
        blank=True,
        db_default=models.Value({}, models.JSONField()),
        help_text="what was last pruned, and what was repaired so far: jobs.steward.tally",
    )

    def __str__(self) -> str:
        return self.name
