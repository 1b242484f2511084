"""Chore: ask a worker for the hooks of jobs that have ended where no process of theirs could run them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from jobs.admission import publishing, queries
from jobs.admission.publishing import HOOKS_HEADER, JobMessage
from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import execute
from jobs.core.db.values import prepare
from jobs.execution import hooks
from jobs.models import Hook

SETTLED = 2.0  # seconds that the process of the body has to take them itself
LONGEST = 600  # seconds between two messages that no worker answers
_NOBODY = UUID(int=0)


class Round:
    """Goes round the rows, so many at a tick: most of them belong to jobs that have not ended."""

    def __init__(self) -> None:
        self._beyond = _NOBODY

    def run(self) -> int:
        """Ring for what has work to do; returns for how many jobs."""
        found, last = hooks.due(self._beyond, SETTLED)
        self._beyond = last or _NOBODY
        for row in found:
            if row.takes >= hooks.MAX_TAKES:
                hooks.discard(row)
        return ring([row for row in found if row.takes < hooks.MAX_TAKES])


def ring(rows: Sequence[Hook]) -> int:
    """Send a message for each, where a worker serves its pool and the last one is long enough ago; returns how many."""
    served = {pool for pool in {row.job.pool for row in rows} if queries.live_slots(pool)}
    asked = {row.id: row.job for row in rows if row.job.pool in served}
    if not asked or publishing.breaker.is_open:
        return 0
    db = dialect(settings.DATABASE)
    pause = f"CASE WHEN rings > 5 THEN {LONGEST} ELSE %s * (1 << rings) END"
    silent = f"(rung_at IS NULL OR rung_at < {db.later('{now}', f'-({pause})')})"
    sql = f"UPDATE jobs_hook SET rings = rings + 1, rung_at = {{now}} WHERE id = %s AND {silent}"
    to_ring = [
        JobMessage(job.pool, job.task, ((job.id, hook_id),), HOOKS_HEADER)
        for hook_id, job in asked.items()
        if execute(settings.DATABASE, sql, [prepare(settings.DATABASE, Hook, "id", hook_id), settings.LOST_AFTER / 2])
    ]
    return publishing.publish(to_ring)
