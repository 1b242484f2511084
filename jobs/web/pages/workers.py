"""Whether live workers serve the pools in which jobs wait."""

from __future__ import annotations

from collections.abc import Sequence

from celery import current_app
from django.db.models import Exists, OuterRef

from jobs.core.conf import settings
from jobs.models import Job, Pool, Worker
from jobs.states import JobState

MOST = 20  # pools named in a hint


def served_pools() -> set[str]:
    """Names of the pools that a live worker serves."""
    live = Worker.objects.using(settings.DATABASE).live(settings.STALE_AFTER)
    return {name for pools in live.values_list("pools", flat=True) for name in pools}


def deserted_pools(served: set[str]) -> list[str]:
    """Pools in which jobs wait and that no live worker serves."""
    jobs = Job.objects.using(settings.DATABASE).filter(pool=OuterRef("name"))
    waits = Exists(jobs.filter(state=JobState.PENDING)) | Exists(jobs.filter(state=JobState.QUEUED))
    pools = Pool.objects.using(settings.DATABASE).filter(waits).order_by("name")
    return list(pools.exclude(name__in=served).values_list("name", flat=True)[:MOST])


def described(pools: Sequence[str]) -> str:
    """The problem as a sentence; "" if there is none."""
    if not pools:
        return ""
    if len(pools) == 1:
        return f"Jobs wait in the pool “{pools[0]}”, and no worker serves it."
    return f"Jobs wait in {len(pools)} pools that no worker serves."


def default_pool() -> str:
    """The pool of jobs that name none."""
    return str(current_app.conf.task_default_queue)
