"""What the code declares, as rows, which rule from then on: written at a worker's start, or by a task's first submit.

A size that somebody has edited stays until the code declares something else than before.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from jobs.admission.limits import locks
from jobs.admission.limits.rules import rate_name
from jobs.core.conf import settings
from jobs.core.options.job_options import JobOptions
from jobs.core.options.partition import name_of
from jobs.core.options.rate import parse
from jobs.exceptions import ImpossibleNeed
from jobs.models import SYSTEM_LIMIT, Limit, LimitKind, Policy, Pool

FRESH_FOR = 1.0  # seconds that a process goes by what it has read of a task's policy
_certain: dict[tuple[str, str], tuple[Declared, ...]] = {}
_rows: dict[str, tuple[float, Limit | None]] = {}


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

    @property
    def said(self) -> dict[str, str]:
        """The same as the row remembers it, to see whether the code says something else by now."""
        return {key: str(value) for key, value in self.columns.items()}


@dataclass(frozen=True)
class ConflictRule:
    """How many jobs of a partition may be in flight, and what becomes of a newcomer when they are."""

    policy: str
    size: float


def declare(task: str, pool: str, options: JobOptions) -> set[str]:
    """Write the limits that a task declares, where they are not there yet or the code has changed.

    A task whose jobs go to another pool than its limits are for makes these span all pools. The locks of the pools are
    taken for a change, before any row of a limit as admission does it: one that counts by the old rows has then ended.
    Returns these pools: who wanted to admit there meanwhile has left.
    """
    wanted = tuple(_wanted(task, options))
    if _certain.get((task, pool)) == wanted:
        return set()
    using = settings.DATABASE
    kept: set[str] = set()
    if not _stands(wanted, task, pool):
        with transaction.atomic(using=using):
            kept = locks.lock(_changed(wanted, pool))
            rows = Limit.objects.using(using).filter(task=task, declared__isnull=False)
            rows.exclude(name__in=[one.name for one in wanted]).delete()
            for one in wanted:
                _write(one, task, pool)
    # Remembered after the commit: it may be rolled back.
    transaction.on_commit(functools.partial(_certain.__setitem__, (task, pool), wanted), using=using)
    return kept


def places(tasks: Mapping[str, str]) -> dict[str, str]:
    """For each task the pool that its limits are for already, else the one that is given."""
    rows = Limit.objects.using(settings.DATABASE).filter(declared__isnull=False).exclude(pool="")
    return {**tasks, **{task: pool for task, pool in rows.values_list("task", "pool") if task in tasks}}


def _stands(wanted: Sequence[Declared], task: str, pool: str) -> bool:
    """Whether the rows say it already: as a rule, and then nothing is locked."""
    rows = Limit.objects.using(settings.DATABASE).filter(task=task, declared__isnull=False)
    there = {name: (declared, where) for name, declared, where in rows.values_list("name", "declared", "pool")}
    return there.keys() == {one.name for one in wanted} and all(
        there[one.name][0] == one.said and there[one.name][1] in ("", pool) for one in wanted
    )


def conflict_rule(task: str, conflict: str | None, maximum: int | None) -> ConflictRule | None:
    """What becomes of a newcomer of a task; None where it just waits.

    The task's row says so, read at most once a second; `conflict` and `maximum` are what a submit says for itself.
    """
    row = _row(task)
    policy = conflict or (row.policy if row else Policy.WAIT)
    sizes = [size for size in (row.size if row else None, maximum) if size is not None]
    if row is None and not sizes:
        sizes = [1.0]
    return ConflictRule(policy, min(sizes)) if sizes and policy != Policy.WAIT else None


def partition_by(task: str) -> str | None:
    """What the row of a task that is not imported here has its partitions by; None without partitions."""
    row = _row(task)
    return row.partition_by or None if row else None


def refuse_impossible(pool: str, needs: Mapping[str, float]) -> None:
    """Raise ImpossibleNeed where the whole pool has less of something than one job needs."""
    if not needs:
        return
    row = Pool.objects.using(settings.DATABASE).get(name=pool)
    sizes = {"memory_mb": row.max_memory_mb, "cpu_weight": row.max_cpu_weight, "disk_mb": row.max_disk_mb}
    for name, need in needs.items():
        size = sizes[name] if name in sizes else row.resources.get(name, 0)
        if size is not None and need > size:
            raise ImpossibleNeed(pool, name, need, size)


def limit_name(task: str) -> str:
    """The name of the row that says how many of a task may be in flight."""
    return task if task != SYSTEM_LIMIT else f"task {task}"


def forget() -> None:
    """Ask the database again: the tables may have been emptied."""
    _certain.clear()
    _rows.clear()


def _row(task: str) -> Limit | None:
    now = time.monotonic()
    read_at, row = _rows.get(task, (-FRESH_FOR, None))
    if now - read_at >= FRESH_FOR:
        row = Limit.objects.using(settings.DATABASE).filter(name=limit_name(task)).first()
        _rows[task] = now, row
    return row


def _wanted(task: str, options: JobOptions) -> list[Declared]:
    by = name_of(options.partition_by, task)
    found = []
    if options.max_concurrent is not None or options.conflict is not None:
        size: float = options.max_concurrent or 1
        policy = options.conflict or Policy.WAIT
        found.append(Declared(limit_name(task), LimitKind.CONCURRENCY, by, size, policy=policy))
    if options.rate is not None:
        size, period, burst = parse(options.rate)
        found.append(Declared(rate_name(task), LimitKind.RATE, by, size, period, burst))
    return found


def _changed(wanted: Sequence[Declared], pool: str) -> set[str]:
    """The pools of the rows that are there and will be written anew."""
    rows = Limit.objects.using(settings.DATABASE).filter(name__in=[one.name for one in wanted])
    said = {one.name: one.said for one in wanted}
    return {row.pool for row in rows if row.declared != said[row.name] or row.pool not in ("", pool)}


def _write(one: Declared, task: str, pool: str) -> None:
    rows = Limit.objects.using(settings.DATABASE)
    row, is_new = rows.get_or_create(
        name=one.name, defaults={**one.columns, "task": task, "pool": pool, "declared": one.said}
    )
    if is_new:
        return
    if row.declared != one.said:
        rows.filter(name=one.name).update(**one.columns, task=task, declared=one.said)
        locks.shorten_wait(Limit(name=one.name, **one.columns))
    if row.pool not in ("", pool):
        _span(one, task, row.pool)


def _span(one: Declared, task: str, pool: str) -> None:
    """Make a limit of one pool span all of them, and with it the rows that stand in its place for one partition."""
    rows = Limit.objects.using(settings.DATABASE)
    own = rows.filter(task=task, pool=pool, kind=one.kind, partition_by=one.partition_by).exclude(partition="")
    spanning = rows.filter(task=task, pool="", kind=one.kind, partition_by=one.partition_by)
    own.exclude(partition__in=list(spanning.values_list("partition", flat=True))).update(pool="")
    rows.filter(name=one.name).update(pool="")
