"""What a task's hooks have still to do for jobs that were begun."""

from __future__ import annotations

import uuid

from django.db import models

from jobs.models.job import Job


class Hook(models.Model):
    """The hooks of one run of a job: written by its first claim, gone when they have done their work.

    The id is on the message that asks a worker for them. Who is at it has taken the row, for a while only; `takes` is
    the fence of that.
    """

    id: models.UUIDField[uuid.UUID, uuid.UUID] = models.UUIDField(primary_key=True)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="hooks", db_index=False, db_constraint=False)
    run = models.IntegerField()
    on_cancel_done = models.BooleanField(default=False, db_default=False)
    takes = models.IntegerField(default=0, db_default=0)
    taken_at = models.DateTimeField(null=True, blank=True)
    worker_id = models.UUIDField(null=True, blank=True)
    rings = models.IntegerField(default=0, db_default=0)
    rung_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(name="hook_of_run", fields=["job", "run"]),)

    def __str__(self) -> str:
        return f"hooks of run {self.run} of {self.job_id}"
