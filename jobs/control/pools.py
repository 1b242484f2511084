"""Pools: which exist, remembered per process because each submit asks for it, and what people do to them."""

from __future__ import annotations

import logging
from collections.abc import Collection

from celery import current_app
from django.db import transaction

from jobs.admission import passes
from jobs.admission.pools import forget, must_exist
from jobs.core import encoding
from jobs.core.conf import settings
from jobs.core.db.deadlock_retry import retry_on_deadlock
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import execute
from jobs.models import Job, Limit, Pool, Worker, transitions
from jobs.models.transitions import Sql
from jobs.states import UNFINISHED

logger = logging.getLogger(__name__)

BATCH = 500


def pause(name: str, *, reason: str = "", actor: str = "") -> bool:
    """Admit nothing more, and take back what no worker has begun; False when the pool was paused already.

    Reason and person of the first pause stay. UnknownPool.
    """
    return _close(name, "paused_at", [actor, reason], "the pool is paused")


def drain(name: str, *, reason: str = "", actor: str = "") -> bool:
    """As `pause`, to let a pool run empty, for good or for maintenance; False when it was drained already.

    Of a pool that was paused before, reason and person stay: who resumes it must know what it was closed for.
    """
    return _close(name, "draining_at", [actor, reason], "the pool is drained")


def resume(name: str, *, reason: str = "", actor: str = "") -> bool:
    """Admit again after `pause` or `drain`; False when neither was. The reason goes to the log. UnknownPool."""
    sets = "paused_at = NULL, draining_at = NULL, paused_by = '', pause_reason = ''"
    where = "name = %s AND (paused_at IS NOT NULL OR draining_at IS NOT NULL)"
    was_closed = bool(execute(settings.DATABASE, f"UPDATE jobs_pool SET {sets} WHERE {where}", [name]))
    must_exist(name)
    if was_closed:
        logger.info("pool %s: resumed by %s%s", name, actor or "nobody named", reason and f": {reason}")
        passes.admit_on_commit(name)
    return was_closed


def change(pool: Pool, columns: Collection[str]) -> None:
    """Write some columns of a pool that was validated: its sizes. Admission goes by them, and follows the commit."""
    pool.save(using=settings.DATABASE, update_fields=columns)
    passes.admit_on_commit(pool.name)


def obstacles(name: str) -> list[str]:
    """Why a pool cannot be deleted, as sentences; [] when it can."""
    using = settings.DATABASE
    found = []
    if name == str(current_app.conf.task_default_queue):
        found.append("It is the pool of all jobs that name none.")
    if any(Job.objects.using(using).filter(pool=name, state=state).exists() for state in UNFINISHED):
        found.append("There are unfinished jobs in it: wait for their end, or cancel them.")
    if any(
        name in pools
        for pools in Worker.objects.using(using).live(settings.STALE_AFTER).values_list("pools", flat=True)
    ):
        found.append("A live worker serves it: start that one without it first.")
    limits = list(Limit.objects.using(using).filter(pool=name).order_by("name").values_list("name", flat=True))
    if limits:
        found.append(f"Limits are for it alone: {', '.join(limits)}. Delete them, or change their pool.")
    return found


def delete(name: str) -> list[str]:
    """Delete a pool in which there is nothing; returns what is in the way, [] when it was deleted.

    A submit that is not committed yet cannot be seen here: `restore` brings its pool back.
    """
    using = settings.DATABASE
    with transaction.atomic(using=using):
        pool = Pool.objects.using(using).select_for_update().filter(name=name).first()
        found = obstacles(name)
        if pool is not None and not found:
            pool.delete()
            transaction.on_commit(forget, using=using)
    return found


def take_back(name: str, why: str) -> int:
    """Put queued jobs of a closed pool back to waiting, as many as nobody has locked; returns how many."""
    total = 0
    while True:
        queued = dialect(settings.DATABASE).pick_skip_locked(
            "SELECT id FROM jobs_job WHERE pool = %s AND state = 'queued' ORDER BY id LIMIT %s"
        )
        kept = {"release_count": Sql("release_count")}  # nobody was deaf to these doorbells
        moved = transitions.move("release", queued, [name, BATCH], sets=kept, actor="pool", data={"why": why})
        total += len(moved)
        if len(moved) < BATCH:
            return total


_WHO, _OPEN = ("paused_by", "pause_reason"), "paused_at IS NULL AND draining_at IS NULL"


@retry_on_deadlock
def _close(name: str, moment: str, who: list[str], why: str) -> bool:
    """The pool's row is its admission's lock: once it is ours, no admission is under way that saw it open."""
    cleaned = [encoding.clean_text(who[0], 200), encoding.clean_text(who[1], 500)]
    with transaction.atomic(using=settings.DATABASE):
        kept = ", ".join(f"{column} = CASE WHEN {_OPEN} THEN %s ELSE {column} END" for column in _WHO)
        sql = f"UPDATE jobs_pool SET {kept}, {moment} = {{now}} WHERE name = %s AND {moment} IS NULL"
        if not execute(settings.DATABASE, sql, [*cleaned, name]):
            must_exist(name)
            return False
        take_back(name, why)
    logger.info("pool %s: %s, by %s: %s", name, why, cleaned[0] or "nobody named", cleaned[1])
    return True
