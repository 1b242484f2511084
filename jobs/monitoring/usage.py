"""How much of each pool and each limit is taken: what admission counts, to be shown. Reads, and decides nothing.

Everything in flight is counted by `limits.Tally`, as admission does it, so that a page cannot say another number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from jobs.admission import limits
from jobs.admission.limits import Tally
from jobs.admission.limits.lanes import CPU, DISK, MEMORY
from jobs.core.conf import settings
from jobs.models import Limit, LimitKind, Pool
from jobs.monitoring import counting
from jobs.monitoring.counting import Bounded, Waiting

TITLES = {MEMORY: "Memory (MB)", CPU: "CPU weight", DISK: "Disk (MB)"}
FULLEST = 5  # partitions told of a limit


@dataclass(frozen=True)
class Gauge:
    """What is taken of a size; None is no limit. `key` is how programs call it, `name` how people do."""

    key: str
    name: str
    used: float
    size: float | None

    @property
    def percent(self) -> int:
        """0 to 100; all of nothing is all. 0 without a limit."""
        if self.size is None:
            return 0
        return min(100, round(100 * self.used / self.size)) if self.size else 100


@dataclass(frozen=True)
class PoolUse:
    """A pool at one moment (`now`, epoch seconds).

    Without a maximum of its own `in_flight` stands beside the live slots and their look-ahead.
    """

    pool: Pool
    now: float
    in_flight: Gauge
    slots: int
    budgets: Sequence[Gauge]
    waiting: Waiting

    @property
    def oldest_wait(self) -> float | None:
        """Seconds that the oldest waiting job has waited; of more than can be counted, at least so many."""
        return None if self.waiting.since is None else max(0.0, self.now - self.waiting.since)

    @property
    def is_closed(self) -> bool:
        """Whether nothing is admitted, because the pool is paused or drained."""
        return self.pool.paused_at is not None or self.pool.draining_at is not None

    @property
    def is_deserted(self) -> bool:
        """Whether jobs wait, and no live worker serves the pool."""
        return not self.slots and bool(self.waiting.number.number)


@dataclass(frozen=True)
class Share:
    """One partition of a limit: what it has in flight, or from when on (epoch seconds) its next start may come."""

    partition: str
    used: int = 0
    opens_at: float | None = None


@dataclass(frozen=True)
class LimitUse:
    """A limit at one moment (`now`, epoch seconds). `shares` are the fullest, or the longest closed, partitions first.

    `size` is what holds, which for the system-wide limit may be the setting's.
    """

    limit: Limit
    now: float
    size: float | None
    shares: Sequence[Share]

    @property
    def used(self) -> int:
        """What is in flight under it, all partitions together."""
        return sum(share.used for share in self.shares)

    @property
    def is_rate(self) -> bool:
        return self.limit.kind == LimitKind.RATE

    @property
    def fullest(self) -> Sequence[Share]:
        """As many partitions as can be shown."""
        return self.shares[:FULLEST]

    @property
    def more(self) -> int:
        """How many partitions are not told."""
        return max(0, len(self.shares) - FULLEST)

    def gauge(self, share: Share) -> Gauge:
        """One partition beside the limit's size."""
        return Gauge(share.partition, share.partition, share.used, self.size)

    def seconds_until_open(self, share: Share) -> float:
        """How long until a rate lets the next job of a partition start."""
        return max(0.0, (share.opens_at or 0.0) - self.now)


def of_pools(pools: Iterable[Pool]) -> list[PoolUse]:
    """These pools, each looked at once; one that is deleted in between is left out."""
    waiting = counting.waiting()
    found = ((pool, limits.take_snapshot(pool.name)) for pool in pools)
    nothing = Waiting(Bounded(0), None)
    return [_pool_use(pool, Tally(look), waiting.get(pool.name, nothing)) for pool, look in found if look is not None]


def of_limits(rows: Iterable[Limit]) -> list[LimitUse]:
    """These limits. One that spans pools is read with any of them, one of a pool with that pool."""
    tallies = _Tallies()
    return [_limit_use(limit, tallies.of(limit.pool)) for limit in rows]


class _Tallies:
    """One look at each pool that is asked for."""

    def __init__(self) -> None:
        self._known: dict[str, Tally | None] = {}

    @cached_property
    def _any(self) -> str:
        return Pool.objects.using(settings.DATABASE).order_by("name").values_list("name", flat=True).first() or ""

    def of(self, pool: str) -> Tally | None:
        """The tally of a pool, or of any where none is said; None where there is none of that name."""
        name = pool or self._any
        if name not in self._known:
            look = limits.take_snapshot(name)
            self._known[name] = None if look is None else Tally(look)
        return self._known[name]


def _pool_use(pool: Pool, tally: Tally, waiting: Waiting) -> PoolUse:
    sizes = tally.snapshot.pool.budgets
    names = [*TITLES, *sorted({*sizes, *tally.usage.used} - TITLES.keys())]
    budgets = [Gauge(name, TITLES.get(name, name), tally.usage.used[name], sizes.get(name)) for name in names]
    size = pool.max_concurrent if pool.max_concurrent is not None else tally.snapshot.window or None
    return PoolUse(
        pool,
        tally.snapshot.now,
        Gauge("in_flight", "in flight", tally.usage.in_flight, size),
        tally.snapshot.slots,
        [gauge for gauge in budgets if gauge.used or gauge.size is not None],
        waiting,
    )


def _limit_use(limit: Limit, tally: Tally | None) -> LimitUse:
    rule = next((rule for rule in tally.snapshot.rules.all if rule.name == limit.name), None) if tally else None
    if tally is None or rule is None:
        return LimitUse(limit, 0.0, limit.size, [])
    if limit.kind == LimitKind.RATE:
        opens = {
            partition: rule.spacing.opens_at(tat)
            for (name, partition), tat in tally.usage.next_arrivals.items()
            if name == limit.name and rule.spacing is not None
        }
        shares = [Share(partition, opens_at=at) for partition, at in opens.items() if at > tally.snapshot.now]
        shares.sort(key=lambda share: share.opens_at or 0.0, reverse=True)
    else:
        counts = {partition: number for (name, partition), number in tally.usage.counts.items() if name == limit.name}
        shares = [Share(partition, number) for partition, number in counts.items() if number]
        shares.sort(key=lambda share: (-share.used, share.partition))
    return LimitUse(limit, tally.snapshot.now, rule.size, shares)
