"""What the code declares, as rows: a task's limits come into being with its first submit, and afterwards the rows rule.

A size that somebody has edited stays until the code says something else than it said before.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Q

from jobs.conf import settings
from jobs.exceptions import ImpossibleNeed
from jobs.limits.tally import rate_name
from jobs.models import Limit, LimitKind, Policy, Pool
from jobs.options import JobOptions
from jobs.partitions import name_of
from jobs.rates import parse

FRESH_FOR = 1.0  # seconds that a process goes by what it has read of a task's policy
_certain: dict[tuple[str, str], tuple[Declared, ...]] = {}
_rated: set[str] = set()
_standing: dict[str, tuple[float, Standing]] = {}


@dataclass(frozen=True)
class Declared:
    """One limit as the code has it."""

    name: str
    kind: str
    partition_by: str
    size: float | None
    period: float = 1
    burst: int = 1
    policy: str = Policy.WAIT

    @property
    def columns(self) -> dict[str, Any]:
        """The row's columns but for its name, pool and task."""
        return {key: value for key, value in vars(self).items() if key != "name"}


@dataclass(frozen=True)
class Standing:
    """How many jobs of a partition may be in flight, and what becomes of a newcomer when they are."""

    policy: str
    size: float


def declare(task: str, pool: str, options: JobOptions) -> None:
    """Write the limits that a task declares, where they are not there yet or the code has changed.

    A task whose jobs go to another pool than its limits are for makes these span all pools. The pool's lock is taken
    for that: an admission that counts by the old row has then ended.
    """
    wanted = tuple(_wanted(task, options))
    if _certain.get((task, pool)) == wanted:
        return
    using = settings.DATABASE
    with transaction.atomic(using=using):
        rows = Limit.objects.using(using).filter(task=task, declared__isnull=False)
        rows.exclude(name__in=[one.name for one in wanted]).delete()
        for one in wanted:
            _write(one, task, pool)
        # Remembered after the commit: it may be rolled back.
        transaction.on_commit(functools.partial(_certain.__setitem__, (task, pool), wanted), using=using)


def declare_rate(task: str, by: str) -> None:
    """Write the row that a rate is kept under which only a submit names: without a size, for the job brings its own."""
    if task not in _rated:
        _, is_new = Limit.objects.using(settings.DATABASE).get_or_create(
            name=rate_name(task), defaults={"task": task, "kind": LimitKind.RATE, "partition_by": by}
        )
        if not is_new:
            _rated.add(task)


def standing(task: str, conflict: str) -> Standing:
    """The policy of a task's partitions as its row has it, read at most once a second; `conflict` where it has none."""
    now = time.monotonic()
    read_at, known = _standing.get(task, (-FRESH_FOR, Standing(conflict, 1)))
    if now - read_at >= FRESH_FOR:
        row = Limit.objects.using(settings.DATABASE).filter(name=task).values_list("policy", "size").first()
        policy, size = row or (conflict, None)
        known = Standing(policy, 1 if size is None else size)
        _standing[task] = now, known
    return known


def refuse_impossible(pool: str, needs: dict[str, float]) -> None:
    """Raise ImpossibleNeed where the whole pool has less of something than one job needs."""
    if not needs:
        return
    row = Pool.objects.using(settings.DATABASE).get(name=pool)
    sizes = {"memory_mb": row.max_memory_mb, "cpu_weight": row.max_cpu_weight, "disk_mb": row.max_disk_mb}
    for name, need in needs.items():
        size = sizes[name] if name in sizes else row.resources.get(name, 0)
        if size is not None and need > size:
            raise ImpossibleNeed(pool, name, need, size)


def forget() -> None:
    """Ask the database again: the tables may have been emptied."""
    _certain.clear()
    _rated.clear()
    _standing.clear()


def _wanted(task: str, options: JobOptions) -> list[Declared]:
    by = name_of(options.partition_by, task)
    found = []
    if options.max_concurrent is not None or options.conflict is not None:
        size: float = options.max_concurrent or 1
        policy = options.conflict or Policy.WAIT
        found.append(Declared(task, LimitKind.CONCURRENCY, by, size, policy=policy))
    if options.rate is not None:
        size, period, burst = parse(options.rate)
        found.append(Declared(rate_name(task), LimitKind.RATE, by, size, period, burst))
    return found


def _write(one: Declared, task: str, pool: str) -> None:
    rows = Limit.objects.using(settings.DATABASE)
    said = {key: str(value) for key, value in one.columns.items()}
    row, is_new = rows.get_or_create(
        name=one.name, defaults={**one.columns, "task": task, "pool": pool, "declared": said}
    )
    if is_new:
        return
    if row.declared != said:
        rows.filter(name=one.name).update(**one.columns, task=task, declared=said)
    if row.pool not in ("", pool):
        list(Pool.objects.using(settings.DATABASE).select_for_update().filter(name=row.pool))
        rows.filter(Q(name=one.name)).update(pool="")
