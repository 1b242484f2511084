"""Chore: end attempts that are over their time-out where the code cannot be stopped: in threads and without a pool.

The row says so, the slot is free, and what the body answers late is refused. A worker that has processes stops them
itself, and names it. What was asked to stop is left to its body: it counts as cancelled, and gives its key away, only
once its code has stopped.
"""

from __future__ import annotations

from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import query
from jobs.core.db.values import prepare, read
from jobs.execution.termination import end_attempt, timed_out
from jobs.models import Attempt, Worker

BATCH = 500
_COLUMNS = ("job_id", "id")
_OVERDUE = """
SELECT a.job_id, a.id, {elapsed}, j.timeout, COALESCE(j.grace, %s)
  FROM jobs_worker w
  JOIN jobs_attempt a ON a.worker_id = w.boot_id AND a.finished_at IS NULL
  JOIN jobs_job j ON j.id = a.job_id
 WHERE w.fenced_at IS NULL AND w.can_stop = %s AND j.timeout IS NOT NULL AND j.cancel_requested_at IS NULL
   AND {elapsed} > j.timeout + COALESCE(j.grace, %s)
 LIMIT %s
"""


def give_up() -> int:
    """Record the time-outs that are due; returns how many jobs moved."""
    using = settings.DATABASE
    db = dialect(using)
    sql = _OVERDUE.format(elapsed=f"({db.epoch('{now}')} - {db.epoch('a.started_at')})")
    no = prepare(using, Worker, "can_stop", False)
    moved = 0
    for row in query(using, sql, [settings.GRACE, no, settings.GRACE, BATCH]):
        ids = read(using, Attempt, _COLUMNS, row)
        moved += len(end_attempt((ids["job_id"], ids["id"]), timed_out(*row[2:]), "steward"))
    return moved
