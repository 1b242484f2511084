"""What has room: a pool's maximum, the system-wide one, and the window of live slots. Counts, never stores."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.conf import settings
from jobs.querysets.dialect import dialect
from jobs.querysets.statements import query

SYSTEM_LIMIT = "system"


@dataclass(frozen=True)
class Room:
    """One pool at one moment. Counts are jobs; `window` is what the live workers can hold; None means no limit.

    `beyond` of those in flight run on workers that are leaving or silent: they take no part of the window.
    """

    in_flight: int
    pool_maximum: int | None
    in_flight_everywhere: int
    system_maximum: int | None
    window: int
    is_open: bool
    has_pending: bool
    beyond: int = 0

    @property
    def free(self) -> int:
        """How many jobs may be admitted now; never negative."""
        if not self.is_open:
            return 0
        room = self.window - (self.in_flight - self.beyond)
        if self.pool_maximum is not None:
            room = min(room, self.pool_maximum - self.in_flight)
        if self.system_maximum is not None:
            room = min(room, self.system_maximum - self.in_flight_everywhere)
        return max(0, room)

    @property
    def is_worth_a_try(self) -> bool:
        """Whether an admission could move anything."""
        return self.has_pending and self.free > 0


def room(pool: str) -> Room | None:
    """What a pool has room for, read in one statement; None when there is no such pool."""
    using = settings.DATABASE
    words = dialect(using)
    sql = _ROOM.format(serves=words.contains("w.pools"), fresh=words.later("{now}"), beyond=beyond(using))
    for row in query(using, sql, (SYSTEM_LIMIT, -settings.STALE_AFTER, pool, -settings.STALE_AFTER, pool)):
        maximum, closed, in_flight, everywhere, system, slots, away, has_pending = row
        return Room(
            in_flight=in_flight,
            pool_maximum=maximum,
            in_flight_everywhere=everywhere,
            system_maximum=int(system) if system is not None else settings.MAX_CONCURRENT,
            window=int(slots * (1 + settings.LOOK_AHEAD)),
            is_open=not closed,
            has_pending=bool(has_pending),
            beyond=away,
        )
    return None


def beyond(using: str) -> str:
    """SQL: how many jobs of pool `p` run on workers whose slots do not count. One parameter: minus STALE_AFTER."""
    silent = dialect(using).later("{now}")
    return (
        "(SELECT count(*) FROM jobs_worker w JOIN jobs_attempt a ON a.worker_id = w.boot_id AND a.finished_at IS NULL"
        " JOIN jobs_job j ON j.id = a.job_id AND j.pool = p.name"
        f" WHERE w.fenced_at IS NULL AND (w.draining_at IS NOT NULL OR w.beat_at < {silent}))"
    )


_ROOM = """
SELECT p.max_concurrent,
       p.paused_at IS NOT NULL OR p.draining_at IS NOT NULL,
       (SELECT count(*) FROM jobs_job WHERE pool = p.name AND state IN ('queued', 'running')),
       (SELECT count(*) FROM jobs_job WHERE state IN ('queued', 'running')),
       (SELECT size FROM jobs_limit WHERE name = %s),
       (SELECT COALESCE(sum(slots), 0) FROM jobs_worker w
         WHERE fenced_at IS NULL AND draining_at IS NULL AND beat_at >= {fresh} AND {serves}),
       {beyond},
       EXISTS (SELECT 1 FROM jobs_job WHERE pool = p.name AND state = 'pending')
  FROM jobs_pool p WHERE p.name = %s
"""
