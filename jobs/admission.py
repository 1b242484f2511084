"""The one way from pending to queued: under the pool's lock, in rank order, within every limit.

Group commit: whoever finds the lock busy leaves; the holder looks once more after its commit, so a row that was
committed before a failed try is always seen. Publishing follows each commit. Nothing here waits for a broker longer
than `publishing` does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from django.db import Error, transaction

from jobs import limits, publishing, transitions, waking
from jobs.conf import settings
from jobs.limits import Room
from jobs.models import Pool
from jobs.publishing import Doorbell
from jobs.querysets.dialect import dialect
from jobs.querysets.statements import after_commit, query
from jobs.transitions import Moved

logger = logging.getLogger(__name__)

BATCH = 200  # jobs per admission transaction
LONGEST = 0.5  # seconds after which a call ends though there is room: whoever called has other work

bell: Callable[[], None] | None = None
"""Wakes this process's feeder, where it has one: set by the worker."""


def admit(pool: str) -> int:
    """Admit what has room in a pool and publish it; returns how many jobs were admitted by this call.

    Runs outside the caller's transaction (after its commit). With the broker known to be away it does nothing: what is
    admitted is out of reach of priority and pause, so it had better stay pending. While others finish jobs as fast as
    this admits there is always room, so time ends it; the next end of a job, or the steward's tick, goes on from there.
    """
    total, empty, until = 0, 0, time.monotonic() + LONGEST
    while not publishing.breaker.is_open and empty < 2:
        room = limits.room(pool)
        if room is None or not room.is_worth_a_try:
            break
        admitted = _admit_batch(pool, room)
        if admitted is None:
            break
        publishing.publish([_doorbell(one) for one in admitted])
        total, empty = total + len(admitted), 0 if admitted else empty + 1
        if time.monotonic() >= until:
            break
    return total


def admit_everywhere() -> int:
    """Admit in every pool; returns how many jobs were admitted."""
    names = Pool.objects.using(settings.DATABASE).order_by("name").values_list("name", flat=True)
    return sum(admit(name) for name in names)


def admit_on_commit(pool: str) -> None:
    """After the caller's commit: wake a feeder, this process's own or another's, or admit here where there is none."""
    if bell is not None:
        after_commit(bell)
    elif waking.is_left_to_caller(pool):
        after_commit(admit, pool)


def after_finish(pool: str) -> None:
    """A slot of this pool has become free: wake the feeder, or admit here where this process has none."""
    if bell is not None:
        bell()
        return
    try:
        admit(pool)
    except Error:
        logger.warning("no admission after a finish; the steward will do it", exc_info=True)


def _admit_batch(pool: str, seen: Room) -> list[Moved] | None:
    """One locked pass; None when another process holds the lock, which will look again after its commit.

    Nothing to move is no reason to leave without a last look: who came meanwhile has found the lock busy.
    """
    with transaction.atomic(using=settings.DATABASE):
        if not _lock(pool, system_wide=seen.system_maximum is not None):
            return None
        room = limits.room(pool)
        if room is None or not room.is_worth_a_try:
            return []
        if room.system_maximum is not None and seen.system_maximum is None:
            return []  # it was set just now, and is not locked
        return _take(pool, min(room.free, BATCH))


def _lock(pool: str, *, system_wide: bool) -> bool:
    """Lock the pool row, in a statement of its own with nothing read before it, then a system-wide limit that is set.

    What is counted afterwards is read in later statements, which at READ COMMITTED see every commit that came before
    the lock was won. On SQLite BEGIN IMMEDIATE has locked already.
    """
    using = settings.DATABASE
    words = dialect(using)
    if not query(using, f"SELECT name FROM jobs_pool WHERE name = %s{words.skip_locked}", [pool]):
        return False
    if system_wide and words.for_update:
        lock = f"SELECT name FROM jobs_limit WHERE name = %s{words.for_update}"
        if not query(using, lock, [limits.SYSTEM_LIMIT]):
            raise LookupError(
                "the row of the system-wide limit is missing: run `manage.py migrate`, which puts it back"
            )
    return True


def _take(pool: str, count: int) -> list[Moved]:
    """Move the best; they come back best first, which is the order their doorbells ring in."""
    words = dialect(settings.DATABASE)
    best = words.picked("SELECT id FROM jobs_job WHERE pool = %s AND state = 'pending' ORDER BY rank, id LIMIT %s")
    moved = transitions.move("admit", best, [pool, count], actor="admission", returning=("rank",))
    return sorted(moved, key=lambda one: (one.row["rank"], one.id))


def _doorbell(admitted: Moved) -> Doorbell:
    assert admitted.attempt_id is not None  # noqa: S101 - the admit edge draws it
    return Doorbell(admitted.row["pool"], admitted.row["task"], ((admitted.id, admitted.attempt_id),))
