"""Pausing a whole task: nothing of it is admitted, in any pool, until somebody resumes it. What runs goes on.

The row of a paused task is read by each admission's look; where no task is paused there is none.
"""

from __future__ import annotations

import logging

from celery import current_app
from django.db import transaction

from jobs.admission import passes
from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.db.deadlock_retry import retry_on_deadlock
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import execute, query
from jobs.exceptions import UnknownTask
from jobs.models import Job, TaskPause, transitions
from jobs.models.transitions import Sql

logger = logging.getLogger(__name__)

BATCH = 500


@retry_on_deadlock
def pause(task: str, *, reason: str = "", actor: str = "") -> bool:
    """Admit nothing more of it, and take back what no worker has begun; False when it was paused already.

    Reason and person of the first pause stay. UnknownTask.
    """
    using = settings.DATABASE
    must_exist(task)
    who, why = encoding.clean_text(actor, 200), encoding.clean_text(reason, 500)
    sql = "INSERT INTO jobs_taskpause (task, paused_at, paused_by, pause_reason) VALUES (%s, {now}, %s, %s)"
    with transaction.atomic(using=using):
        _lock_pools()
        if TaskPause.objects.using(using).filter(task=task).exists():
            return False
        execute(using, sql, [task, who, why])
        _take_back(task)
    logger.info("task %s: paused by %s: %s", task, who or "nobody named", why)
    return True


def resume(task: str, *, reason: str = "", actor: str = "") -> bool:
    """Let it be admitted again; False when it was not paused. The reason goes to the log."""
    was_paused = bool(execute(settings.DATABASE, "DELETE FROM jobs_taskpause WHERE task = %s", [task]))
    if was_paused:
        logger.info("task %s: resumed by %s%s", task, actor or "nobody named", reason and f": {reason}")
        passes.admit_everywhere_on_commit()
    return was_paused


def take_back() -> int:
    """Put back what of paused tasks is queued still, because somebody had it locked then; returns how many."""
    paused = TaskPause.objects.using(settings.DATABASE).values_list("task", flat=True)
    return sum(map(_take_back, paused))


def must_exist(task: str) -> None:
    """UnknownTask for a name that neither this process nor any job knows: whoever mistypes it should hear of it."""
    if task not in current_app.tasks and not Job.objects.using(settings.DATABASE).filter(task=task).exists():
        raise UnknownTask(task, current_app.tasks)


def _lock_pools() -> None:
    """Once all pools are ours no admission is under way that did not see the pause.

    An admission holds one of them, and leaves where it finds one locked: so nobody waits for us who has what we want.
    """
    using = settings.DATABASE
    query(using, f"SELECT name FROM jobs_pool ORDER BY name{dialect(using).for_update}")


def _take_back(task: str) -> int:
    total = 0
    while True:
        queued = dialect(settings.DATABASE).pick_skip_locked(
            "SELECT id FROM jobs_job WHERE state = 'queued' AND task = %s ORDER BY id LIMIT %s"
        )
        kept = {"release_count": Sql("release_count")}  # nobody was deaf to these doorbells
        why = {"why": "the task is paused"}
        moved = transitions.move("release", queued, [task, BATCH], sets=kept, actor="task", data=why)
        total += len(moved)
        if len(moved) < BATCH:
            return total
