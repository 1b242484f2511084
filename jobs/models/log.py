"""Lines a running job wrote with `self.job.log()`."""

from __future__ import annotations

from django.db import models

from jobs.models.job import Job


class JobLog(models.Model):
    """One line, in the order of its id within a job."""

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="logs", db_index=False, db_constraint=False)
    attempt_id = models.UUIDField(null=True, blank=True)
    at = models.DateTimeField()
    level = models.CharField(max_length=10, default="info")
    text = models.TextField()

    class Meta:
        indexes = (models.Index(name="log_by_job", fields=["job", "id"]),)

    def __str__(self) -> str:
        return self.text[:80]
