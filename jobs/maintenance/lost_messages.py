"""Chore: give back what was published and not claimed, where nothing but a lost message explains it."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from jobs.admission import publishing
from jobs.admission.queries import live_slots_sql, without_slot_sql
from jobs.control import pools
from jobs.core.conf import settings
from jobs.core.db.dialects import Dialect, dialect
from jobs.core.db.statements import query
from jobs.maintenance.counters import repaired
from jobs.models import transitions

BATCH = 500
LONGEST = 600  # seconds between two messages of a job that no worker answers
_POOLS = """
SELECT p.name,
       (SELECT count(*) FROM jobs_job WHERE pool = p.name AND state = 'running') - {without_slot},
       {slots},
       p.paused_at IS NOT NULL OR p.draining_at IS NOT NULL
  FROM jobs_pool p
 WHERE EXISTS (SELECT 1 FROM jobs_job WHERE pool = p.name AND state = 'queued')
"""


def release() -> int:
    """Back to pending with what a pool's workers must have missed; returns how many jobs.

    A message is taken for lost when its time is over (LOST_AFTER, doubled with each try) and a child of the pool is
    idle, or the broker's queue is empty. Without a live worker nothing is: the message may well be waiting for one.
    The jobs of a pool that is paused or drained are released at once. Rows locked by an open transaction are skipped:
    the steward never waits.
    """
    return sum(
        pools.release_queued(pool, "the pool is closed") if is_closed else _release(pool)
        for pool, is_closed in _suspects()
    )


def _suspects() -> Iterator[tuple[str, bool]]:
    using = settings.DATABASE
    db = dialect(using)
    sql = _POOLS.format(without_slot=without_slot_sql(db), slots=live_slots_sql(db))
    for name, running, slots, is_closed in query(using, sql, [-settings.STALE_AFTER] * 2):
        if is_closed:
            yield name, True
        elif slots > running or (slots > 0 and publishing.queue_depth(name) == 0):
            yield name, False


def unanswered(limit: int) -> list[tuple[UUID, UUID]]:
    """Job and attempt of what `release` would give back now because its message must be lost."""
    using = settings.DATABASE
    sql = f"SELECT id, attempt_id FROM jobs_job WHERE pool = %s AND {_overdue(dialect(using))} ORDER BY id LIMIT %s"
    pools_that_miss = [pool for pool, is_closed in _suspects() if not is_closed]
    rows = [row for pool in pools_that_miss for row in query(using, sql, [pool, settings.LOST_AFTER, limit])]
    return [(UUID(str(job_id)), UUID(str(attempt_id))) for job_id, attempt_id in rows]


def _release(pool: str) -> int:
    db = dialect(settings.DATABASE)
    queued = db.pick_skip_locked(f"SELECT id FROM jobs_job WHERE pool = %s AND {_overdue(db)} ORDER BY id LIMIT %s")
    why = {"why": "no worker answered the message"}
    moved = transitions.move("release", queued, [pool, settings.LOST_AFTER, BATCH], actor="steward", data=why)
    return repaired("doorbell_lost", len(moved))


def _overdue(db: Dialect) -> str:
    """SQL: its time is over. One parameter: LOST_AFTER."""
    patience = f"CASE WHEN release_count > 5 THEN {LONGEST} ELSE %s * (1 << release_count) END"
    return f"state = 'queued' AND published_at < {db.later('{now}', f'-({patience})')}"
