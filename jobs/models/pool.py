"""Named shares of the workers, the words for priority, and limits: what admission decides by."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class Pool(models.Model):
    """A named share of the workers: a Celery queue. Its row is also the lock of its admission."""

    name = models.CharField(max_length=100, primary_key=True)
    max_concurrent = models.IntegerField(null=True, blank=True, help_text="empty: as many as the workers have slots")
    max_memory_mb = models.IntegerField(null=True, blank=True)
    max_cpu_weight = models.FloatField(null=True, blank=True)
    max_disk_mb = models.IntegerField(null=True, blank=True)
    resources = models.JSONField(default=dict, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_by = models.CharField(max_length=200, blank=True, default="")
    pause_reason = models.CharField(max_length=500, blank=True, default="")
    draining_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="pool_limits_not_negative",
                condition=(Q(max_concurrent__isnull=True) | Q(max_concurrent__gte=0))
                & (Q(max_memory_mb__isnull=True) | Q(max_memory_mb__gte=0))
                & (Q(max_cpu_weight__isnull=True) | Q(max_cpu_weight__gte=0))
                & (Q(max_disk_mb__isnull=True) | Q(max_disk_mb__gte=0)),
            ),
        )

    def __str__(self) -> str:
        return self.name


class Priority(models.Model):
    """A word for priority and the head start in seconds that it gives in the queue."""

    name = models.CharField(max_length=20, primary_key=True)
    head_start = models.FloatField(help_text="seconds")

    class Meta:
        verbose_name_plural = "priorities"

    def __str__(self) -> str:
        return self.name


class Limit(models.Model):
    """A named limit across pools, locked in name order after the pool. `system` is the system-wide maximum."""

    name = models.CharField(max_length=100, primary_key=True)
    pool = models.CharField(max_length=100, blank=True, default="")
    task = models.CharField(max_length=200, blank=True, default="")
    partition_by = models.CharField(max_length=100, blank=True, default="")
    kind = models.CharField(max_length=20, default="concurrency")
    size = models.FloatField(null=True, blank=True, help_text='empty: for `system`, JOBS["MAX_CONCURRENT"]')
    policy = models.CharField(max_length=20, default="wait")

    class Meta:
        constraints = (
            models.CheckConstraint(name="limit_size_not_negative", condition=Q(size__isnull=True) | Q(size__gte=0)),
        )

    def __str__(self) -> str:
        return self.name
