"""The lease: one row, held by one steward at a time, by the database's clock."""

from __future__ import annotations

from uuid import UUID

from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import execute
from jobs.core.db.values import prepare
from jobs.models import Lease

OFFICE = "steward"


def elect(holder: UUID, label: str) -> bool:
    """Take or renew the lease; True while this holder leads."""
    using = settings.DATABASE
    until = dialect(using).later("{now}")
    sql = (
        f"UPDATE jobs_lease SET holder = %s, label = %s, expires_at = {until}"
        " WHERE name = %s AND (holder = %s OR holder IS NULL OR expires_at < {now})"
    )
    me = prepare(using, Lease, "holder", holder)
    return execute(using, sql, [me, label[:200], settings.LEASE, OFFICE, me]) == 1


def resign(holder: UUID) -> None:
    """Leave the office vacant, if this holder has it."""
    using = settings.DATABASE
    me = prepare(using, Lease, "holder", holder)
    execute(using, "UPDATE jobs_lease SET holder = NULL WHERE name = %s AND holder = %s", [OFFICE, me])
