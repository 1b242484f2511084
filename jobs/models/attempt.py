"""One execution of a job's body: opened by the claim, closed by whatever edge ends it."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django.db.models import Q

from jobs import states
from jobs.models.job import Job
from jobs.models.worker import Worker


class Attempt(models.Model):
    """One attempt of a job: which worker ran it, when, and how it ended. The id is the fence that its message carried.

    No foreign key is enforced by the database: two checks per attempt and event cost more than the insert, and both
    tables are only written beside a locked job row and deleted with it.
    """

    id: models.UUIDField[uuid.UUID, uuid.UUID] = models.UUIDField(primary_key=True)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="attempts", db_index=False, db_constraint=False)
    run = models.IntegerField(default=1)
    number = models.IntegerField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(
        max_length=12, blank=True, default="", db_default="", choices=[(word, word) for word in states.OUTCOMES]
    )
    worker = models.ForeignKey(
        Worker,
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        related_name="attempts",
        db_index=False,
        db_constraint=False,
    )  # a worker whose row is gone stays named: drift finds such attempts by it
    hostname = models.CharField(max_length=200, blank=True, default="", db_default="")
    pid = models.IntegerField(null=True, blank=True)

    error_category = models.CharField(max_length=20, blank=True, default="", db_default="")
    error_type = models.CharField(max_length=200, blank=True, default="", db_default="")
    error_message = models.TextField(blank=True, default="", db_default="")
    error_traceback = models.TextField(blank=True, default="", db_default="")
    error_fingerprint = models.CharField(max_length=64, blank=True, default="", db_default="")

    peak_memory_mb = models.FloatField(null=True, blank=True)
    peak_disk_mb = models.FloatField(null=True, blank=True)
    average_cpu = models.FloatField(null=True, blank=True, help_text="percent of one core")
    cpu_seconds = models.FloatField(null=True, blank=True)
    performance_score = models.FloatField(null=True, blank=True, help_text="0-100")
    metrics = models.JSONField(default=dict, blank=True, db_default=models.Value({}, models.JSONField()))

    class Meta:
        constraints = (models.UniqueConstraint(name="attempt_number", fields=["job", "run", "number"]),)
        indexes = (models.Index(name="attempt_open", fields=["worker"], condition=Q(finished_at__isnull=True)),)

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.job_id}"

    def as_error(self) -> dict[str, Any]:
        """This attempt's failure as `job.errors` lists it."""
        return {
            "at": self.finished_at,
            "attempt": self.number,
            "step": None,
            "category": self.error_category,
            "type": self.error_type,
            "message": self.error_message,
            "traceback": self.error_traceback,
            "fingerprint": self.error_fingerprint,
        }
