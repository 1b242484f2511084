"""Counts that stay cheap: they stop at a bound, and say "more than" it."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from django.core.exceptions import EmptyResultSet

from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import query
from jobs.models import Pool
from jobs.models.querysets import JobQuerySet
from jobs.states import JobState

CEILING = 10_000
AT_ONCE = 100  # pools; SQLite takes 500 parts of a UNION


class Bounded(NamedTuple):
    """A count that stops at the ceiling; `str()` is "1,234", or "10,000+" if there are more."""

    number: int
    more: bool = False

    def __str__(self) -> str:
        return f"{self.number:,}{'+' if self.more else ''}"


class Waiting(NamedTuple):
    """How many jobs of a pool wait, and since when (epoch seconds) the oldest job counted waits."""

    number: Bounded
    since: float | None


def bounded(number: int, *, more: bool = False) -> Bounded:
    """A number that may have passed the ceiling."""
    return Bounded(min(number, CEILING), more or number > CEILING)


def everywhere() -> dict[str, Bounded]:
    """How many jobs are in each state: one statement, on the index by state."""
    part = "SELECT '{0}', count(*) FROM (SELECT 1 FROM jobs_job WHERE state = '{0}' LIMIT {1}) s"
    sql = " UNION ALL ".join(part.format(state.value, CEILING + 1) for state in JobState)
    return {state: bounded(number) for state, number in query(settings.DATABASE, sql)}


def waiting() -> dict[str, Waiting]:
    """The waiting jobs of each pool: one statement for many pools, on the index of pending jobs.

    MariaDB does not let a subquery with LIMIT refer to the pool outside of it, so each pool is a parameter.
    """
    using = settings.DATABASE
    pools = list(Pool.objects.using(using).order_by("name").values_list("name", flat=True))
    window = f"SELECT eligible_at FROM jobs_job WHERE pool = %s AND state = 'pending' LIMIT {CEILING + 1}"
    part = f"SELECT %s, count(*), {dialect(using).epoch('min(eligible_at)')} FROM ({window}) w"
    counts: dict[str, Waiting] = {}
    for begin in range(0, len(pools), AT_ONCE):
        names = pools[begin : begin + AT_ONCE]
        rows = query(using, " UNION ALL ".join([part] * len(names)), [pool for pool in names for _ in range(2)])
        counts |= {str(pool): Waiting(bounded(number), since) for pool, number, since in rows}
    return counts


def within(jobs: JobQuerySet) -> dict[str, Bounded]:
    """How many of these jobs are in each state, counted among the newest; "+" if there are older ones."""
    window = jobs.newest().values("state")[: CEILING + 1]
    try:
        sql, params = window.query.get_compiler(using=jobs.db).as_sql()
    except EmptyResultSet:  # the condition matches no row
        return dict.fromkeys(map(str, JobState), Bounded(0))
    rows = query(jobs.db, f"SELECT state, count(*) FROM ({sql}) newest GROUP BY state", params)
    counts: Counter[str] = Counter(dict(rows))
    more = counts.total() > CEILING
    return {state.value: bounded(counts[state], more=more and state in counts) for state in JobState}


def total(counts: dict[str, Bounded]) -> Bounded:
    """All states together."""
    return bounded(sum(count.number for count in counts.values()), more=any(count.more for count in counts.values()))
