"""What admission reads: everything about a pool in one statement, and the best jobs of some lanes in another.

The lanes are found by walking the index from lane to lane, one probe for each, so neither depends on how many wait.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from jobs.conf import settings
from jobs.querysets.dialect import Dialect, dialect
from jobs.querysets.statements import query

MOST_LANES = 10_000  # seen by one admission; beyond it each begins somewhere else
FIRST_LANE = UUID(int=0)
IN_FLIGHT = "state IN ('queued', 'running')"


class Candidate(NamedTuple):
    """A waiting job of a lane."""

    lane: str
    rank: float
    id: str
    is_critical: bool


def peek(pool: str) -> Sequence[Any] | None:
    """Of a pool: is it closed, its maximum, jobs in flight, live slots, jobs on leaving workers, is any pending."""
    using = settings.DATABASE
    words = dialect(using)
    sql = _PEEK.format(slots=_slots(words), beyond=beyond(words))
    rows = query(using, sql, (-settings.STALE_AFTER, pool, -settings.STALE_AFTER, pool, pool))
    return rows[0] if rows else None


def look(pool: str, facts: Sequence[str], rules: Sequence[str], *, everywhere: bool, start: UUID) -> Any:
    """What `limits.look` makes a `Look` of; None when there is no such pool. JSON texts as the database made them."""
    using = settings.DATABASE
    words = dialect(using)
    sql = _look_sql(words, tuple(facts), tuple(rules), everywhere)
    lane = str(start) if words.has_lateral else start.hex
    walk = (pool, lane, pool) if words.has_lateral else (pool, lane, pool, pool)
    flight = () if everywhere else (pool,)
    rows = query(using, sql, (*walk, -settings.STALE_AFTER, pool, -settings.STALE_AFTER, *flight, pool))
    return rows[0] if rows else None


def best_of(pool: str, counts: Mapping[str, int]) -> list[Candidate]:
    """The first jobs of some lanes, by rank: so many of each."""
    using = settings.DATABASE
    columns = "lane, rank, id, priority = 'critical'"
    if dialect(using).has_lateral:
        sql = (
            f"SELECT j.* FROM unnest(%s::uuid[], %s::int[]) AS l(lane, most), LATERAL (SELECT {columns} FROM jobs_job"
            " WHERE pool = %s AND lane = l.lane AND state = 'pending' ORDER BY rank, id LIMIT l.most) j"
        )
        rows = query(using, sql, [list(counts), list(counts.values()), pool])
    else:
        one = (
            f"SELECT * FROM (SELECT {columns} FROM jobs_job"
            " WHERE pool = %s AND lane = %s AND state = 'pending' ORDER BY rank, id LIMIT %s)"
        )
        given = [word for lane, most in counts.items() for word in (pool, lane, most)]
        rows = query(using, " UNION ALL ".join([one] * len(counts)), given)
    return [Candidate(str(lane), rank, str(job_id), bool(critical)) for lane, rank, job_id, critical in rows]


def place(pool: str, lane: Any, rank: float, job_id: Any, most: int) -> int:
    """How many waiting jobs of a lane come before one of them; counts no further than `most`."""
    before = "pool = %s AND lane = %s AND state = 'pending' AND (rank, id) < (%s, %s)"
    sql = f"SELECT count(*) FROM (SELECT 1 FROM jobs_job WHERE {before} LIMIT %s) b"
    return int(query(settings.DATABASE, sql, (pool, lane, rank, job_id, most))[0][0])


def beyond(words: Dialect) -> str:
    """SQL: how many jobs of pool `p` run on workers whose slots do not count. One parameter: minus STALE_AFTER."""
    silent = words.later("{now}")
    return (
        "(SELECT count(*) FROM jobs_worker w JOIN jobs_attempt a ON a.worker_id = w.boot_id AND a.finished_at IS NULL"
        " JOIN jobs_job j ON j.id = a.job_id AND j.pool = p.name"
        f" WHERE w.fenced_at IS NULL AND (w.draining_at IS NOT NULL OR w.beat_at < {silent}))"
    )


def _slots(words: Dialect) -> str:
    """SQL: the live slots of a pool. Two parameters: minus STALE_AFTER, the pool's name."""
    return (
        "(SELECT COALESCE(sum(slots), 0) FROM jobs_worker w WHERE fenced_at IS NULL AND draining_at IS NULL"
        f" AND beat_at >= {words.later('{now}')} AND {words.contains('w.pools')})"
    )


_PEEK = """
SELECT p.paused_at IS NOT NULL OR p.draining_at IS NOT NULL,
       p.max_concurrent,
       (SELECT count(*) FROM jobs_job WHERE pool = p.name AND state IN ('queued', 'running')),
       {slots},
       {beyond},
       EXISTS (SELECT 1 FROM jobs_job WHERE pool = %s AND state = 'pending')
  FROM jobs_pool p WHERE p.name = %s
"""


@functools.cache
def _look_sql(words: Dialect, facts: tuple[str, ...], rules: tuple[str, ...], everywhere: bool) -> str:
    now = words.epoch("{now}")
    shown = tuple(words.json_column(name) if name == "resources" else name for name in facts)
    heads = words.json_rows(
        ("lane", "rank", words.epoch("eligible_at"), "priority", *shown), f"(SELECT * FROM walk LIMIT {MOST_LANES}) h"
    )
    limits = words.json_rows(rules, "jobs_limit WHERE pool IN ('', p.name)")
    named = "SELECT name FROM jobs_limit WHERE kind = 'rate' AND pool IN ('', p.name)"
    rates = words.json_rows(
        ("limit_name", "partition", "tat"), f"jobs_rate WHERE tat > {now} AND limit_name IN ({named})"
    )
    return (
        f"{_walk(words, facts)} SELECT {now}, p.paused_at IS NOT NULL, p.draining_at IS NOT NULL, p.max_concurrent,"
        " p.max_memory_mb, p.max_cpu_weight, p.max_disk_mb, CAST(p.resources AS text),"
        f" {_slots(words)}, {beyond(words)}, {limits}, {rates},"
        f" {_flights(words, facts, shown, everywhere)}, {heads} FROM jobs_pool p WHERE p.name = %s"
    )


def _flights(words: Dialect, facts: tuple[str, ...], shown: tuple[str, ...], everywhere: bool) -> str:
    """What is in flight, by lane: its pool, how many, the newest admission, and the starts of what has a time-out."""
    starts = words.json_list(words.epoch("COALESCE(started_at, {now})"), "timeout IS NOT NULL AND pool = p.name")
    names = ", ".join(facts)
    where = IN_FLIGHT if everywhere else f"{IN_FLIGHT} AND pool = %s"
    rows = (
        f"(SELECT pool, {names}, count(*) AS number, max({words.epoch('queued_at')}) AS newest, {starts} AS starts"
        f" FROM jobs_job WHERE {where} GROUP BY pool, lane, {names}) f"
    )
    return words.json_rows(("pool", "number", "newest", words.json_column("starts"), *shown), rows)


def _walk(words: Dialect, facts: tuple[str, ...]) -> str:
    """The first job of each lane, by a loose scan of the index (pool, lane, rank, id) of what is pending."""
    columns = ", ".join(("lane", "rank", "eligible_at", "priority", *facts))
    if words.has_lateral:
        step = f"SELECT {columns} FROM jobs_job WHERE pool = %s AND state = 'pending' AND lane"
        order = "ORDER BY lane, rank, id LIMIT 1"
        return (
            f"WITH RECURSIVE walk AS (({step} >= %s::uuid {order}) UNION ALL"
            f" SELECT n.* FROM walk w CROSS JOIN LATERAL ({step} > w.lane {order}) n)"
        )
    step = "SELECT lane FROM jobs_job WHERE pool = %s AND state = 'pending' AND lane"
    order = "ORDER BY lane LIMIT 1"
    first = "SELECT id FROM jobs_job WHERE pool = %s AND state = 'pending' AND lane = s.lane ORDER BY rank, id LIMIT 1"
    return (
        f"WITH RECURSIVE steps AS (SELECT ({step} >= %s {order}) AS lane UNION ALL"
        f" SELECT ({step} > s.lane {order}) FROM steps s WHERE s.lane IS NOT NULL),"
        f" walk AS (SELECT j.* FROM steps s JOIN jobs_job j ON j.id = ({first}))"
    )


def as_list(text: str) -> list[Any]:
    """A `json_rows` value."""
    return json.loads(text)  # type: ignore[no-any-return]
