"""How much of each pool and each limit is in use. Read-only.

Jobs in flight are counted by `limits.Tally`, as admission counts them, so a page cannot show another number.
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
FULLEST = 5  # partitions shown of a limit


@dataclass(frozen=True)
class Gauge:
    """How much of a size is in use; None is no limit. `key` is its name for programs, `name` for people."""

    key: str
    name: str
    used: float
    size: float | None

    @property
    def percent(self) -> int:
        """0 to 100; 100 for a size of 0, and 0 without a limit."""
        if self.size is None:
            return 0
        return min(100, round(100 * self.used / self.size)) if self.size else 100


@dataclass(frozen=True)
class PoolUse:
    """A pool at one moment (`now`, epoch seconds).

    Without a maximum of its own, the size of `in_flight` is the live slots with their look-ahead.
    """

    pool: Pool
    now: float
    in_flight: Gauge
    slots: int
    budgets: Sequence[Gauge]
    waiting: Waiting

    @property
    def oldest_wait(self) -> float | None:
        """Seconds that the oldest waiting job has waited; a lower bound if more jobs wait than are counted."""
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
    """One partition of a limit: its jobs in flight, or when (epoch seconds) its next job may start."""

    partition: str
    used: int = 0
    opens_at: float | None = None


@dataclass(frozen=True)
class LimitUse:
    """A limit at one moment (`now`, epoch seconds).

    `shares` begin with the fullest partition; of a rate, with the one that waits longest. `size` is the size in
    force, which for the system-wide limit may come from the setting.
    """

    limit: Limit
    now: float
    size: float | None
    shares: Sequence[Share]

    @property
    def used(self) -> int:
        """Jobs in flight under it, in all partitions."""
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
        """How many partitions are not shown."""
        return max(0, len(self.shares) - FULLEST)

    def gauge(self, share: Share) -> Gauge:
        """One partition beside the limit's size."""
        return Gauge(share.partition, share.partition, share.used, self.size)

    def seconds_until_open(self, share: Share) -> float:
        """Seconds until a rate lets the next job of a partition start."""
        return max(0.0, (share.opens_at or 0.0) - self.now)


def of_pools(pools: Iterable[Pool]) -> list[PoolUse]:
    """These pools, each looked at once; one that is deleted in between is left out."""
    waiting = counting.waiting()
    snapshots = ((pool, limits.take_snapshot(pool.name)) for pool in pools)
    nothing = Waiting(Bounded(0), None)
    return [
        _pool_use(pool, Tally(snapshot), waiting.get(pool.name, nothing))
        for pool, snapshot in snapshots
        if snapshot is not None
    ]


def of_limits(rows: Iterable[Limit]) -> list[LimitUse]:
    """How full these limits are. A limit of one pool is read with that pool, any other with any pool."""
    tallies = _Tallies()
    return [_limit_use(limit, tallies.of(limit.pool)) for limit in rows]


class _Tallies:
    """One snapshot of each pool, taken when it is first needed."""

    def __init__(self) -> None:
        self._by_pool: dict[str, Tally | None] = {}

    @cached_property
    def _any(self) -> str:
        return Pool.objects.using(settings.DATABASE).order_by("name").values_list("name", flat=True).first() or ""

    def of(self, pool: str) -> Tally | None:
        """The tally of a pool, or of any pool for ""; None if there is no pool of that name."""
        name = pool or self._any
        if name not in self._by_pool:
            snapshot = limits.take_snapshot(name)
            self._by_pool[name] = None if snapshot is None else Tally(snapshot)
        return self._by_pool[name]


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
