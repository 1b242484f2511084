"""Changing a limit while jobs run: locks the pools that count by it, and shortens the wait of a rate."""

from __future__ import annotations

from collections.abc import Collection

from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import execute
from jobs.models import Limit, LimitKind, Pool


def lock(pools: Collection[str]) -> set[str]:
    """Lock the pools that a limit is for, in the order of names; all pools where it spans them ("").

    Otherwise one admission could count by the old rows and another by the new ones, and both together exceed the
    limit. Returns the locked pools; the caller must admit there, because others found the lock busy and left.
    """
    rows = Pool.objects.using(settings.DATABASE).select_for_update().order_by("name").values_list("name", flat=True)
    return set((rows if "" in pools else rows.filter(name__in=pools)) if pools else ())


def shorten_wait(limit: Limit) -> None:
    """Bring a rate's next start forward to what the new figures allow: the old ones may have put it off for long.

    In GCRA a start moves the theoretical arrival time at most one whole burst of intervals ahead.
    """
    if limit.kind != LimitKind.RATE or not limit.size:
        return
    now = dialect(settings.DATABASE).epoch("{now}")
    farthest = limit.burst * limit.period / limit.size
    sql = f"UPDATE jobs_rate SET tat = {now} + %s WHERE limit_name = %s AND tat > {now} + %s"
    execute(settings.DATABASE, sql, [farthest, limit.name, farthest])
