"""Rows that must exist: the default pool, the words for priority, the steward's office, the system-wide limit.

Written after every migrate where they are missing, and never changed again: afterwards the row rules.
"""

from __future__ import annotations

from celery import current_app
from django.db import connections

from jobs.conf import settings
from jobs.models.lease import Lease
from jobs.models.pool import SYSTEM_LIMIT, Limit, Pool, Priority


def seed(using: str) -> None:
    """Insert what is missing, in the database that holds the jobs; nothing while its tables are not there."""
    if using != settings.DATABASE or Limit._meta.db_table not in connections[using].introspection.table_names():
        return
    budgets = settings.LIMITS
    Pool.objects.using(using).get_or_create(
        name=str(current_app.conf.task_default_queue),
        defaults={
            "max_memory_mb": budgets.memory_mb, "max_cpu_weight": budgets.cpu_weight, "max_disk_mb": budgets.disk_mb,
        },
    )  # fmt: skip
    for name, head_start in settings.PRIORITY_HEAD_START.items():
        Priority.objects.using(using).get_or_create(name=name, defaults={"head_start": head_start})
    Lease.objects.using(using).get_or_create(name="steward")
    Limit.objects.using(using).get_or_create(name=SYSTEM_LIMIT)
