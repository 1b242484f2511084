"""Wakes a feeder: this process's own, or one worker's by a notification that PostgreSQL sends on commit.

A process without a feeder notifies one random worker among those that listen. If that worker has just died, the
steward's next tick admits instead. Where no worker listens (SQLite, a pooler in transaction mode) the caller admits.
This module admits and publishes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from jobs.admission.queries import serves_sql
from jobs.core.conf import settings
from jobs.core.db.dialects import Dialect, dialect
from jobs.core.db.statements import execute, query

_FRESH = 2  # heartbeats; a worker that is silent for longer is not notified, long before `STALE_AFTER`


class OwnFeeder:
    """How this process wakes its own feeder: `wake` is None where it has none, and jobs are admitted right here."""

    wake: Callable[[], None] | None = None

    @contextmanager
    def woken_by(self, wake: Callable[[], None] | None) -> Iterator[None]:
        """Inside, `wake` wakes this process's feeder; None: it has none."""
        before, self.wake = self.wake, wake
        try:
            yield
        finally:
            self.wake = before


own_feeder = OwnFeeder()


def channel(boot_id: UUID) -> str:
    """The channel that a worker's feeder listens to."""
    return f"jobs_{boot_id.hex}"


def wake_sql(db: Dialect) -> str:
    """SQL that wakes a feeder for a pool, as a column of another statement: true when the caller must admit instead.

    False: a feeder will be woken by the commit. NULL: no living worker serves the pool. Parameters: `wake_params`.
    """
    serving = (
        "SELECT listens, 'jobs_' || replace(boot_id::text, '-', '') AS channel FROM jobs_worker w"
        f" WHERE {serves_sql(db)} ORDER BY listens DESC, random() LIMIT 1"
    )
    return f"(SELECT CASE WHEN listens THEN pg_notify(channel, %s) IS NULL ELSE TRUE END FROM ({serving}) AS serving)"


def wake_params(pool: str) -> list[Any]:
    """The parameters of `wake_sql`."""
    return [pool, -_FRESH * settings.HEARTBEAT, pool]


def is_left_to_caller(pool: str) -> bool:
    """Wake a feeder with the caller's commit; True when none could be and the caller must admit after it."""
    using = settings.DATABASE
    db = dialect(using)
    if not db.notifies:
        return True
    return any(left for (left,) in query(using, f"SELECT {wake_sql(db)}", wake_params(pool)))


def listens(boot_id: UUID) -> bool:
    """Note in a worker's row that its feeder listens for new jobs; False while there is no such row."""
    return execute(settings.DATABASE, "UPDATE jobs_worker SET listens = TRUE WHERE boot_id = %s", [boot_id]) == 1
