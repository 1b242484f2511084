"""Limits and head starts changed while jobs run, under the locks that admission counts under. It follows each commit.

What is written was validated before (`clean` of the models). Nothing in flight is touched: a limit made narrower lets
what is there end.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from celery import current_app
from django.db import transaction

from jobs.admission import passes
from jobs.admission.limits import declared, locks
from jobs.control import priorities
from jobs.core.conf import settings
from jobs.core.db.statements import after_commit
from jobs.core.options.declared_task import JobLike
from jobs.models import Limit, LimitKind, Priority, Rate

logger = logging.getLogger(__name__)


def declare_registered() -> None:
    """Write the limits of all jobs that this process knows: they hold for those as well who submit by name only.

    Whatever pool their jobs have gone to stays theirs.
    """
    known = {task.name: task.options for task in current_app.tasks.values() if isinstance(task, JobLike)}
    default = str(current_app.conf.task_default_queue)
    pools = declared.places({name: options.pool or default for name, options in known.items()})
    for name, options in known.items():
        for kept in declared.declare(name, pools[name], options):
            passes.admit_on_commit(kept)


def create_limit(limit: Limit) -> None:
    """Write a new limit."""
    with transaction.atomic(using=settings.DATABASE):
        locks.lock({limit.pool})
        limit.save(using=settings.DATABASE, force_insert=True)
    _admit({limit.pool})


def change_limit(limit: Limit, columns: Collection[str]) -> None:
    """Write some columns of a limit; the others belong to whoever has changed them meanwhile."""
    using = settings.DATABASE
    with transaction.atomic(using=using):
        before = Limit.objects.using(using).filter(pk=limit.pk).values_list("pool", flat=True)
        pools = {limit.pool, *before}
        locks.lock(pools)
        limit.save(using=using, update_fields=columns)
        locks.shorten_wait(limit)
    _admit(pools)


def delete_limit(limit: Limit) -> None:
    """Delete a limit, and where it stood as a rate."""
    using = settings.DATABASE
    with transaction.atomic(using=using):
        locks.lock({limit.pool})
        if limit.kind == LimitKind.RATE:
            Rate.objects.using(using).filter(limit_name=limit.name).delete()
        limit.delete(using=using)
    _admit({limit.pool})


def set_head_start(priority: Priority) -> None:
    """Write a head start, and rank what waits anew: in the caller's process, after its commit.

    A process that dies over it leaves the rest as it was; to write the same again goes on with it.
    """
    priority.save(using=settings.DATABASE, update_fields=["head_start"])
    after_commit(_rank_anew, priority.name)


def _rank_anew(priority: str) -> None:
    number = priorities.rerank(priority)
    logger.info("priority %s: %d waiting jobs ranked anew", priority, number)
    passes.admit_everywhere_on_commit()


def _admit(pools: Collection[str]) -> None:
    if "" in pools:
        passes.admit_everywhere_on_commit()
    else:
        for pool in sorted(pools):
            passes.admit_on_commit(pool)
