"""Counts that stay cheap: they stop at a bound, and say "more than" it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from django.core.exceptions import EmptyResultSet

from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import query
from jobs.states import JobState

if TYPE_CHECKING:
    from jobs.models.querysets import JobQuerySet

CEILING = 10_000
AT_ONCE = 100  # pools; SQLite takes 500 parts of a UNION


class Bounded(NamedTuple):
    """A count that was broken off at the ceiling; `str()` is "1,234", or "10,000+" where there are more."""

    number: int
    more: bool = False

    def __str__(self) -> str:
        return f"{self.number:,}{'+' if self.more else ''}"


class Waiting(NamedTuple):
    """How many jobs of a pool wait, and since when (epoch seconds) the oldest of those that were counted."""

    number: Bounded
    since: float | None


def bounded(number: int, *, more: bool = False) -> Bounded:
    """A number that may have passed the ceiling."""
    return Bounded(min(number, CEILING), more or number > CEILING)


def everywhere() -> dict[str, Bounded]:
    """How many jobs stand at each state, in one statement on the index by state."""
    one = "SELECT '{0}', count(*) FROM (SELECT 1 FROM jobs_job WHERE state = '{0}' LIMIT {1}) s"
    sql = " UNION ALL ".join(one.format(state.value, CEILING + 1) for state in JobState)
    return {state: bounded(number) for state, number in query(settings.DATABASE, sql)}


def waiting() -> dict[str, Waiting]:
    """What waits in each pool, by one statement for many of them on the index of what is pending.

    MariaDB does not let a bounded window see the pool outside of it, so each pool is a parameter.
    """
    using = settings.DATABASE
    pools = [pool for (pool,) in query(using, "SELECT name FROM jobs_pool ORDER BY name")]
    window = f"SELECT eligible_at FROM jobs_job WHERE pool = %s AND state = 'pending' LIMIT {CEILING + 1}"
    one = f"SELECT %s, count(*), {dialect(using).epoch('min(eligible_at)')} FROM ({window}) w"
    found: dict[str, Waiting] = {}
    for begin in range(0, len(pools), AT_ONCE):
        some = pools[begin : begin + AT_ONCE]
        rows = query(using, " UNION ALL ".join([one] * len(some)), [pool for pool in some for _ in range(2)])
        found |= {str(pool): Waiting(bounded(number), since) for pool, number, since in rows}
    return found


def within(jobs: JobQuerySet) -> dict[str, Bounded]:
    """How many of these jobs stand at each state, counted among the newest ones; "+" where there are older ones."""
    window = jobs.newest().values("state")[: CEILING + 1]
    try:
        sql, params = window.query.get_compiler(using=jobs.db).as_sql()
    except EmptyResultSet:  # the condition holds for no row, whatever there is
        return dict.fromkeys(map(str, JobState), Bounded(0))
    rows = query(jobs.db, f"SELECT state, count(*) FROM ({sql}) newest GROUP BY state", params)
    found: Counter[str] = Counter(dict(rows))
    more = found.total() > CEILING
    return {state.value: bounded(found[state], more=more and state in found) for state in JobState}


def total(counts: dict[str, Bounded]) -> Bounded:
    """All states together."""
    return bounded(sum(count.number for count in counts.values()), more=any(count.more for count in counts.values()))
