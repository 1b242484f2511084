"""Pausing, draining, resuming, resizing and deleting pools."""

from __future__ import annotations

import logging
from collections.abc import Collection

from celery import current_app
from django.db import transaction

from jobs.admission import passes
from jobs.admission.pools import forget, must_exist
from jobs.control import requests
from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.db.clock import DbNow
from jobs.core.db.deadlock_retry import retry_on_deadlock
from jobs.models import Job, Limit, Pool, Worker
from jobs.states import UNFINISHED

logger = logging.getLogger(__name__)


def pause(name: str, *, reason: str = "", actor: str = "") -> bool:
    """Admit nothing more, and release what no worker has started; False if the pool was paused already.

    Reason and actor of the first pause stay. UnknownPool.
    """
    return _close(name, "paused_at", reason, actor, "the pool is paused")


def drain(name: str, *, reason: str = "", actor: str = "") -> bool:
    """As `pause`, to let a pool run empty, for good or for maintenance; False if it was draining already.

    Reason and actor of an earlier pause stay: they say why the pool was closed first.
    """
    return _close(name, "draining_at", reason, actor, "the pool is drained")


def resume(name: str, *, reason: str = "", actor: str = "") -> bool:
    """Admit again after `pause` or `drain`; False if the pool was open. The reason goes to the log. UnknownPool."""
    closed = Pool.objects.using(settings.DATABASE).filter(name=name).exclude(paused_at=None, draining_at=None)
    was_closed = bool(closed.update(paused_at=None, draining_at=None, paused_by="", pause_reason=""))
    must_exist(name)
    if was_closed:
        logger.info("pool %s: resumed%s", name, requests.log_suffix(actor, reason))
        passes.admit_on_commit(name)
    return was_closed


def change(pool: Pool, columns: Collection[str]) -> None:
    """Write some columns of a validated pool: its sizes. Admission follows the commit."""
    pool.save(using=settings.DATABASE, update_fields=columns)
    passes.admit_on_commit(pool.name)


def obstacles(name: str) -> list[str]:
    """Why a pool cannot be deleted, as sentences; [] when it can."""
    using = settings.DATABASE
    problems = []
    if name == str(current_app.conf.task_default_queue):
        problems.append("It is the pool of all jobs that name none.")
    if any(Job.objects.using(using).filter(pool=name, state=state).exists() for state in UNFINISHED):
        problems.append("There are unfinished jobs in it: wait for their end, or cancel them.")
    if any(
        name in pools
        for pools in Worker.objects.using(using).live(settings.STALE_AFTER).values_list("pools", flat=True)
    ):
        problems.append("A live worker serves it: start that one without it first.")
    limits = list(Limit.objects.using(using).filter(pool=name).order_by("name").values_list("name", flat=True))
    if limits:
        problems.append(f"Limits are for it alone: {', '.join(limits)}. Delete them, or change their pool.")
    return problems


def delete(name: str) -> list[str]:
    """Delete an empty pool; returns the obstacles, [] when it was deleted.

    A submission that is not committed yet cannot be seen here: `restore` creates its pool again.
    """
    using = settings.DATABASE
    with transaction.atomic(using=using):
        pool = Pool.objects.using(using).select_for_update().filter(name=name).first()
        problems = obstacles(name)
        if pool is not None and not problems:
            pool.delete()
            transaction.on_commit(forget, using=using)
    return problems


def release_queued(name: str, why: str) -> int:
    """Put the queued jobs of a closed pool back to pending, except locked ones; returns how many."""
    return requests.release_queued("pool = %s", name, actor="pool", why=why)


@retry_on_deadlock
def _close(name: str, column: str, reason: str, actor: str, why: str) -> bool:
    """Set `paused_at` or `draining_at`, and release what is queued.

    The pool's row is the lock of its admission: while it is locked here no admission runs that saw the pool open.
    """
    actor, reason = encoding.clean_text(actor, 200), encoding.clean_text(reason, 500)
    with transaction.atomic(using=settings.DATABASE):
        rows = Pool.objects.using(settings.DATABASE).filter(name=name)
        pool = rows.select_for_update().first()
        if pool is None or getattr(pool, column) is not None:
            must_exist(name)
            return False
        is_open = pool.paused_at is None and pool.draining_at is None
        rows.update(**{column: DbNow()}, **({"paused_by": actor, "pause_reason": reason} if is_open else {}))
        release_queued(name, why)
    logger.info("pool %s: %s%s", name, why, requests.log_suffix(actor, reason))
    return True
