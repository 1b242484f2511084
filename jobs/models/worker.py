"""A worker process tree as the others see it: what it serves and when it was last heard."""

from __future__ import annotations

import uuid

from django.db import models

from jobs.models.worker_querysets import WorkerQuerySet


class Worker(models.Model):
    """One life of a Celery worker. Host name and pid come again after a restart, so the boot id names it."""

    boot_id: models.UUIDField[uuid.UUID, uuid.UUID] = models.UUIDField(primary_key=True)
    hostname = models.CharField(max_length=200)
    pid = models.IntegerField()
    pools = models.JSONField(default=list)
    slots = models.IntegerField(default=1)
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField()
    fenced_at = models.DateTimeField(null=True, blank=True, help_text="declared dead, or gone; claims nothing any more")
    draining_at = models.DateTimeField(null=True, blank=True)
    can_stop = models.BooleanField(
        default=False, db_default=False, help_text="its pool has processes, and a job in one can be stopped"
    )
    listens = models.BooleanField(default=False, db_default=False, help_text="its feeder is notified of new jobs")

    objects = WorkerQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.hostname} ({self.pid})"
