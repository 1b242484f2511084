"""Pausing a whole task: no job of it is admitted, in any pool, until it is resumed. Running jobs go on.

Each admission reads the rows of paused tasks; a task that is not paused has no row.
"""

from __future__ import annotations

import logging

from celery import current_app
from django.db import transaction

from jobs.admission import passes
from jobs.control import requests
from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.db.clock import DbNow
from jobs.core.db.deadlock_retry import retry_on_deadlock
from jobs.exceptions import UnknownTask
from jobs.models import Job, Pool, TaskPause

logger = logging.getLogger(__name__)


@retry_on_deadlock
def pause(task: str, *, reason: str = "", actor: str = "") -> bool:
    """Admit no more jobs of the task, and release those that no worker has started; False if it was paused already.

    Reason and actor of the first pause stay. UnknownTask.
    """
    using = settings.DATABASE
    must_exist(task)
    actor, reason = encoding.clean_text(actor, 200), encoding.clean_text(reason, 500)
    with transaction.atomic(using=using):
        _lock_pools()
        pauses = TaskPause.objects.using(using)
        if pauses.filter(task=task).exists():
            return False
        pauses.create(task=task, paused_at=DbNow(), paused_by=actor, pause_reason=reason)
        _release_queued(task)
    logger.info("task %s: paused%s", task, requests.log_suffix(actor, reason))
    return True


def resume(task: str, *, reason: str = "", actor: str = "") -> bool:
    """Admit the task's jobs again; False if it was not paused. The reason goes to the log."""
    deleted, _ = TaskPause.objects.using(settings.DATABASE).filter(task=task).delete()
    if deleted:
        logger.info("task %s: resumed%s", task, requests.log_suffix(actor, reason))
        passes.admit_everywhere_on_commit()
    return bool(deleted)


def release_queued() -> int:
    """Release jobs of paused tasks that are still queued, because they were locked at the pause; returns how many."""
    paused = TaskPause.objects.using(settings.DATABASE).values_list("task", flat=True)
    return sum(map(_release_queued, paused))


def must_exist(task: str) -> None:
    """UnknownTask for a name that neither this process nor any job knows, so that a typing error is noticed."""
    if task not in current_app.tasks and not Job.objects.using(settings.DATABASE).filter(task=task).exists():
        raise UnknownTask(task, current_app.tasks)


def _lock_pools() -> None:
    """Wait for all admissions under way: once all pools are locked, the next admission sees the pause.

    An admission holds one pool, and does not wait for another one: so there is no deadlock.
    """
    pools = Pool.objects.using(settings.DATABASE).order_by("name").select_for_update()
    list(pools.values_list("name", flat=True))


def _release_queued(task: str) -> int:
    return requests.release_queued("task = %s", task, actor="task", why="the task is paused")
