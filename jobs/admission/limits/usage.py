"""Counts the jobs in flight as each limit counts them, and goes on counting with each job that is admitted."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator

from jobs.admission.limits.lanes import Facts
from jobs.admission.limits.rules import Counter, RulesFor, rate_name
from jobs.admission.limits.snapshot import Snapshot
from jobs.core.options.rate import Spacing, spacing


class Usage:
    """What is in flight. `counts` is by limit, `own` by task and partition, `used` by budget; all but `counts` are for
    this pool only. `next_arrivals` (GCRA) says when each rate allows its next start.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.in_flight = 0
        self.counts: defaultdict[Counter, int] = defaultdict(int)
        self.own: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self.access: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self.used: defaultdict[str, float] = defaultdict(float)
        self.next_arrivals = dict(snapshot.next_arrivals)

    @property
    def on_slots(self) -> int:
        """Jobs in flight, without those on workers whose slots do not count."""
        return self.in_flight - self.snapshot.without_slot

    def count(self, facts: Facts, pool: str, number: int) -> None:
        """Count jobs of any pool under the limits on their number."""
        for rule in self.snapshot.rules.of(facts, pool).sizes:
            self.counts[rule.counter(facts)] += number

    def add(self, facts: Facts, number: int) -> None:
        """Count jobs of this pool: its slots and budgets, the task's own maximum, readers and writers."""
        self.in_flight += number
        self.own[own_key(facts)] += number
        if facts.access:
            self.access[(facts.partition_by, facts.partition, facts.access)] += number
        for name, need in facts.needs.items():
            self.used[name] += need * number

    def start(self, facts: Facts) -> None:
        """Move the rates of a job on by one start."""
        for counter, space in self.rates(facts):
            self.next_arrivals[counter] = space.after_start(self.next_arrivals.get(counter, 0.0), self.snapshot.now)

    def rules(self, facts: Facts) -> RulesFor:
        """The rules for a job of this pool."""
        return self.snapshot.rules.of(facts, self.snapshot.pool.name)

    def rates(self, facts: Facts) -> Iterator[tuple[Counter, Spacing]]:
        """The rates that count a start of this job, and how far apart each spaces starts; none for a rate of 0."""
        rules = self.rules(facts).rates
        own = spacing(facts.rate) if facts.rate else None
        has_row = False
        for rule in rules:
            if rule.spacing is not None:
                is_own = own is not None and rule.name == rate_name(facts.task)
                has_row = has_row or is_own
                yield rule.counter(facts), rule.spacing.tightened(own) if is_own and own else rule.spacing
        if own is not None and not has_row:
            yield (rate_name(facts.task), facts.partition), own

    def most(self, facts: Facts) -> int:
        """How many more jobs of a lane the limits on their number allow; a large number where none is set."""
        rooms = [
            rule.size - self.counts.get(rule.counter(facts), 0)
            for rule in self.rules(facts).sizes
            if rule.size is not None
        ]
        if facts.max_concurrent is not None:
            rooms.append(facts.max_concurrent - self.own[own_key(facts)])
        return max(0, int(min(rooms, default=sys.maxsize)))


def own_key(facts: Facts) -> tuple[str, str, str]:
    """What a submit's own `max_concurrent` counts by."""
    return facts.task, facts.partition_by, facts.partition
