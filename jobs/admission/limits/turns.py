"""The order of waiting jobs, and the fair share between tenants: a tenant is a partition, or all jobs without one."""

from __future__ import annotations

from collections import defaultdict

from jobs.admission.limits.lanes import Facts
from jobs.admission.limits.snapshot import LaneHead, Snapshot
from jobs.core.conf import settings

Order = tuple[int, float, float, float]  # class, share, turn, rank


class Turns:
    """How many jobs each tenant has in flight, and when it was served last."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.in_flight: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.newest: dict[tuple[str, str], float] = {}
        self.last_served = dict(snapshot.last_served)

    def add(self, facts: Facts, number: int, newest: float) -> None:
        """Count jobs in flight; the last of them was admitted at `newest`."""
        tenant = facts.tenant
        self.in_flight[tenant] += number
        self.newest[tenant] = max(newest, self.newest.get(tenant, 0.0))

    def share(self, facts: Facts) -> float:
        """What a job's tenant has in flight, by its weight."""
        weight = self.snapshot.rules.of(facts, self.snapshot.pool.name).weight
        return self.in_flight.get(facts.tenant, 0) / weight

    def order(self, head: LaneHead) -> Order:
        """A job's place, smallest first: critical jobs, then aged tenants, then by share, turn and rank.

        An aged tenant was not served for AGED_AFTER. These go by how long they have waited. By rank, a backlog of long
        jobs would go first each time one of them ends; by share, a tenant whose own long job is running would starve.
        """
        if head.is_critical:
            return 0, 0.0, head.rank, head.rank
        long_ago, tenant = self.snapshot.now - settings.AGED_AFTER, head.facts.tenant
        served = self.last_served.get(tenant, 0.0)
        if head.rank < long_ago and served < long_ago and self.newest.get(tenant, 0.0) < long_ago:
            return 1, 0.0, max(head.eligible_at, served), head.rank
        return 2, self.share(head.facts), max(head.rank, served), head.rank
