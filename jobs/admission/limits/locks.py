"""What it takes to change a limit under way, whoever does it: the locks that admission counts under, a rate's wait."""

from __future__ import annotations

from collections.abc import Collection

from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import execute
from jobs.models import Limit, LimitKind, Pool


def lock(pools: Collection[str]) -> set[str]:
    """Take the locks of the pools that a limit is for, in the order of names; of all where it spans them ("").

    Else an admission that counts by the old rows could still be under way when another one counts by the new ones, and
    both together go over the limit. Returns which were taken: who wanted to admit there meanwhile has left.
    """
    rows = Pool.objects.using(settings.DATABASE).select_for_update().order_by("name").values_list("name", flat=True)
    return set((rows if "" in pools else rows.filter(name__in=pools)) if pools else ())


def shorten_wait(limit: Limit) -> None:
    """Let a rate's next start come no later than the new figures say: the old ones may have put it off for long.

    By GCRA a start leaves the theoretical arrival time a whole burst of intervals ahead at most.
    """
    if limit.kind != LimitKind.RATE or not limit.size:
        return
    now = dialect(settings.DATABASE).epoch("{now}")
    farthest = limit.burst * limit.period / limit.size
    sql = f"UPDATE jobs_rate SET tat = {now} + %s WHERE limit_name = %s AND tat > {now} + %s"
    execute(settings.DATABASE, sql, [farthest, limit.name, farthest])
