"""Rows that must exist: the default pool, the words for priority, the steward's office, the system-wide limit.

Written after every migrate where they are missing, and never changed again: afterwards the row rules.
"""

from __future__ import annotations

from typing import Any

from celery import current_app
from django.apps.registry import Apps
from django.db import connections

from jobs.core.conf import settings
from jobs.models.pool import SYSTEM_LIMIT, Limit


def seed(using: str, apps: Apps) -> None:
    """Insert what is missing, in the database that holds the jobs; nothing while its tables are not there.

    `apps` are the models as the migrations that were run have left them: going back, columns of today are not there.
    """
    if using != settings.DATABASE or Limit._meta.db_table not in connections[using].introspection.table_names():
        return
    budgets = settings.LIMITS
    pools, priorities, leases, limits = (_rows(apps, name, using) for name in ("Pool", "Priority", "Lease", "Limit"))
    pools.get_or_create(
        name=str(current_app.conf.task_default_queue),
        defaults={
            "max_memory_mb": budgets.memory_mb,
            "max_cpu_weight": budgets.cpu_weight,
            "max_disk_mb": budgets.disk_mb,
        },
    )
    for name, head_start in settings.PRIORITY_HEAD_START.items():
        priorities.get_or_create(name=name, defaults={"head_start": head_start})
    leases.get_or_create(name="steward")
    limits.get_or_create(name=SYSTEM_LIMIT)


def _rows(apps: Apps, model: str, using: str) -> Any:
    return apps.get_model("jobs", model)._base_manager.using(using)
