"""The task hooks that are still to run for jobs that were started."""

from __future__ import annotations

import uuid

from django.db import models

from jobs.models.job import Job


class Hook(models.Model):
    """The hooks of one run of a job: written by its first claim, deleted when they have run.

    The message that requests them carries the id. A process that runs them has claimed the row, for a while only;
    `claims` is the fence of that claim. The columns keep their first names: workers of the last release use them.
    """

    id: models.UUIDField[uuid.UUID, uuid.UUID] = models.UUIDField(primary_key=True)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="hooks", db_index=False, db_constraint=False)
    run = models.IntegerField()
    on_cancel_done = models.BooleanField(default=False, db_default=False)
    claims = models.IntegerField(default=0, db_default=0, db_column="takes")
    claimed_at = models.DateTimeField(null=True, blank=True, db_column="taken_at")
    worker_id = models.UUIDField(null=True, blank=True)
    requests = models.IntegerField(default=0, db_default=0, db_column="rings")
    requested_at = models.DateTimeField(null=True, blank=True, db_column="rung_at")

    class Meta:
        constraints = (models.UniqueConstraint(name="hook_of_run", fields=["job", "run"]),)

    def __str__(self) -> str:
        return f"hooks of run {self.run} of {self.job_id}"
