"""Changing limits and head starts while jobs run, under the locks of admission. Admission follows each commit.

The caller has validated the rows (`clean` of the models). Jobs in flight are not touched: under a smaller limit they
run to their end.
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
    """Write the limits of all tasks that this process has registered: they also hold for submissions by name.

    A task's limits stay in the pool where they are.
    """
    registered = {task.name: task.options for task in current_app.tasks.values() if isinstance(task, JobLike)}
    default = str(current_app.conf.task_default_queue)
    pools = declared.places({name: options.pool or default for name, options in registered.items()})
    for name, options in registered.items():
        for pool in declared.declare(name, pools[name], options):
            passes.admit_on_commit(pool)


def create_limit(limit: Limit) -> None:
    """Write a new limit."""
    with transaction.atomic(using=settings.DATABASE):
        locks.lock({limit.pool})
        limit.save(using=settings.DATABASE, force_insert=True)
    _admit({limit.pool})


def change_limit(limit: Limit, columns: Collection[str]) -> None:
    """Write some columns of a limit; the others keep what other requests have written."""
    using = settings.DATABASE
    with transaction.atomic(using=using):
        before = Limit.objects.using(using).filter(pk=limit.pk).values_list("pool", flat=True)
        pools = {limit.pool, *before}
        locks.lock(pools)
        limit.save(using=using, update_fields=columns)
        locks.shorten_wait(limit)
    _admit(pools)


def delete_limit(limit: Limit) -> None:
    """Delete a limit and, for a rate, its counters."""
    using = settings.DATABASE
    with transaction.atomic(using=using):
        locks.lock({limit.pool})
        if limit.kind == LimitKind.RATE:
            Rate.objects.using(using).filter(limit_name=limit.name).delete()
        limit.delete(using=using)
    _admit({limit.pool})


def set_head_start(priority: Priority) -> None:
    """Write a head start, then give waiting jobs their new ranks: in the caller's process, after its commit.

    If the process dies on the way, the rest keeps its old rank; writing the same head start again continues.
    """
    priority.save(using=settings.DATABASE, update_fields=["head_start"])
    after_commit(_rerank, priority.name)


def _rerank(priority: str) -> None:
    number = priorities.rerank(priority)
    logger.info("priority %s: %d waiting jobs have a new rank", priority, number)
    passes.admit_everywhere_on_commit()


def _admit(pools: Collection[str]) -> None:
    if "" in pools:
        passes.admit_everywhere_on_commit()
    else:
        for pool in sorted(pools):
            passes.admit_on_commit(pool)
