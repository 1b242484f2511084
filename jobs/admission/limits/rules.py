"""Limit rows as admission reads them: which jobs each one counts, and how far apart a rate spaces them."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jobs.admission.limits.lanes import Facts
from jobs.core.options.rate import Spacing
from jobs.models import SYSTEM_LIMIT

COLUMNS = (
    "name",
    "pool",
    "task",
    "partition_by",
    "partition",
    "kind",
    "size",
    "period",
    "burst",
    "weight",
)
CONCURRENCY, RATE = "concurrency", "rate"
Counter = tuple[str, str]  # a rule's name, and the partition that it counts


@dataclass(frozen=True)
class Rule:
    """One row of `Limit`."""

    name: str
    pool: str
    task: str
    partition_by: str
    partition: str
    kind: str
    size: float | None
    period: float
    burst: int
    weight: float

    @property
    def is_shared(self) -> bool:
        """Whether it spans pools, so that its row must be locked, too."""
        return not self.pool and self.size is not None

    @property
    def spacing(self) -> Spacing | None:
        """How far apart starts are; None where the rate is 0."""
        return Spacing(self.period / self.size, self.burst) if self.size else None

    def counts(self, facts: Facts, pool: str) -> bool:
        """Whether it limits a job of that pool."""
        return (
            self.pool in ("", pool)
            and self.task in ("", facts.task)
            and (not self.partition_by or self.partition_by == facts.partition_by)
            and (not self.partition or self.partition == facts.partition)
        )

    def counter(self, facts: Facts) -> Counter:
        """The counter of a job under this rule."""
        return self.name, facts.partition if self.partition_by else ""

    @property
    def subject(self) -> tuple[str, str, str, str]:
        """What it limits, without the partition: a rule for one partition replaces the general rule of its subject."""
        return self.pool, self.task, self.partition_by, self.kind


class RulesFor(NamedTuple):
    """The rules that count one job: on how many are in flight, on how many start, and its partition's weight."""

    sizes: tuple[Rule, ...]
    rates: tuple[Rule, ...]
    weight: float


class Rules:
    """All rules that may concern a pool, found quickly for each lane."""

    def __init__(self, rows: Iterable[Sequence[Any]], system_maximum: int | None) -> None:
        self.all = [_with_default(Rule(*row), system_maximum) for row in rows]
        self._general = [rule for rule in self.all if not rule.partition]
        self._special: dict[tuple[str, str], list[Rule]] = {}
        for rule in self.all:
            if rule.partition:
                self._special.setdefault((rule.partition_by, rule.partition), []).append(rule)
        self._known: dict[tuple[str, str, object], RulesFor] = {}

    def of(self, facts: Facts, pool: str) -> RulesFor:
        """The rules that count a job. A rule for the job's own partition replaces the general one."""
        tenant = facts.tenant
        key = (pool, facts.task, tenant if tenant in self._special else facts.partition_by)
        rules = self._known.get(key)
        if rules is None:
            rules = self._known[key] = self._find(facts, pool)
        return rules

    @property
    def are_shared(self) -> bool:
        """Whether any of them spans pools."""
        return any(rule.is_shared for rule in self.all)

    def _find(self, facts: Facts, pool: str) -> RulesFor:
        own = self._special.get((facts.partition_by, facts.partition), ())
        special = [rule for rule in own if rule.counts(facts, pool)]
        replaced = {rule.subject for rule in special}
        general = [rule for rule in self._general if rule.counts(facts, pool) and rule.subject not in replaced]
        sized = [rule for rule in (*general, *special) if rule.size is not None]
        return RulesFor(
            tuple(rule for rule in sized if rule.kind == CONCURRENCY),
            tuple(rule for rule in sized if rule.kind == RATE),
            _weight(special) or _weight(general) or 1.0,
        )


@functools.lru_cache(maxsize=32)  # a few more than the pools of a site
def read_rules(columns: str, system_maximum: int | None) -> Rules:
    """The rules in a JSON text of columns. As long as no row changes it is the same text, parsed once."""
    return Rules(zip(*json.loads(columns), strict=True), system_maximum)


def rate_name(task: str) -> str:
    """The name of the rate limit that a task declares."""
    return f"{task} rate"


def _weight(rules: Iterable[Rule]) -> float | None:
    """The weight that these rows give a partition; a weight of 1 is the default and gives none."""
    return max((rule.weight for rule in rules if rule.partition_by and rule.weight != 1), default=None)


def _with_default(rule: Rule, system_maximum: int | None) -> Rule:
    if rule.name != SYSTEM_LIMIT or rule.size is not None:
        return rule
    return Rule(**{**vars(rule), "size": system_maximum})
