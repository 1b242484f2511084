"""What happened to a job, in order; written only beside the change it tells of."""

from __future__ import annotations

from django.db import models

from jobs.models.job import Job


class JobEvent(models.Model):
    """One line of a job's history. `seq` counts per job without gaps, so a reader can resume from it."""

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events", db_index=False, db_constraint=False)
    seq = models.IntegerField()
    name = models.CharField(max_length=100, help_text="an edge's name, or stale, drift, emit:<type>")
    from_state = models.CharField(max_length=10, blank=True, default="", db_default="")
    to_state = models.CharField(max_length=10, blank=True, default="", db_default="")
    at = models.DateTimeField()
    actor = models.CharField(max_length=200, blank=True, default="", db_default="")
    attempt_id = models.UUIDField(null=True, blank=True)
    data = models.JSONField(default=dict, blank=True, db_default=models.Value({}, models.JSONField()))

    class Meta:
        constraints = (models.UniqueConstraint(name="event_seq", fields=["job", "seq"]),)

    def __str__(self) -> str:
        return f"{self.seq} {self.name}"
