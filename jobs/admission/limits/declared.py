"""Writes the limits that tasks declare in code as rows: at a worker's start, or at a task's first submit.

From then on the row decides. A size that was edited stays until the declaration in the code changes.
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

FRESH_FOR = 1.0  # seconds that a process trusts the row it has read
_certain: dict[tuple[str, str], tuple[Declared, ...]] = {}
_rows: dict[str, tuple[float, Limit | None]] = {}


@dataclass(frozen=True)
class Declared:
    """One limit as the code declares it."""

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
    def recorded(self) -> dict[str, str]:
        """The columns as the row records them: a difference means that the declaration has changed."""
        return {key: str(value) for key, value in self.columns.items()}


@dataclass(frozen=True)
class ConflictRule:
    """How many jobs of a partition may be in flight, and what happens to a further submit then."""

    policy: str
    size: float


def declare(task: str, pool: str, options: JobOptions) -> set[str]:
    """Write the limits that a task declares, where a row is missing or the declaration has changed.

    If the task's jobs go to another pool than its limits are for, these limits then span all pools. For a change the
    pools are locked before any limit, in admission's own order: no admission that counts by the old rows is still
    running. Returns these pools; the caller must admit there, because others found the lock busy and left.
    """
    wanted = tuple(_wanted(task, options))
    if _certain.get((task, pool)) == wanted:
        return set()
    using = settings.DATABASE
    locked: set[str] = set()
    if not _is_recorded(wanted, task, pool):
        with transaction.atomic(using=using):
            locked = locks.lock(_changed(wanted, pool))
            rows = Limit.objects.using(using).filter(task=task, declared__isnull=False)
            rows.exclude(name__in=[limit.name for limit in wanted]).delete()
            for limit in wanted:
                _write(limit, task, pool)
    # Remembered after the commit: it may be rolled back.
    transaction.on_commit(functools.partial(_certain.__setitem__, (task, pool), wanted), using=using)
    return locked


def places(tasks: Mapping[str, str]) -> dict[str, str]:
    """For each task the pool that its limits already name, else the given one."""
    rows = Limit.objects.using(settings.DATABASE).filter(declared__isnull=False).exclude(pool="")
    return {**tasks, **{task: pool for task, pool in rows.values_list("task", "pool") if task in tasks}}


def _is_recorded(wanted: Sequence[Declared], task: str, pool: str) -> bool:
    """Whether the rows record these declarations already. Usually they do, and nothing is locked."""
    rows = Limit.objects.using(settings.DATABASE).filter(task=task, declared__isnull=False)
    recorded = {name: (declared, where) for name, declared, where in rows.values_list("name", "declared", "pool")}
    return recorded.keys() == {limit.name for limit in wanted} and all(
        recorded[limit.name][0] == limit.recorded and recorded[limit.name][1] in ("", pool) for limit in wanted
    )


def conflict_rule(task: str, conflict: str | None, maximum: int | None) -> ConflictRule | None:
    """What happens to a submit when the task's jobs are at their maximum; None where it just waits.

    Decided by the task's row, read at most once a second; `conflict` and `maximum` are the submit's own options.
    """
    row = _row(task)
    policy = conflict or (row.policy if row else Policy.WAIT)
    sizes = [size for size in (row.size if row else None, maximum) if size is not None]
    if row is None and not sizes:
        sizes = [1.0]
    return ConflictRule(policy, min(sizes)) if sizes and policy != Policy.WAIT else None


def partition_by(task: str) -> str | None:
    """What a task that is not imported here is partitioned by, from its row; None without partitions."""
    row = _row(task)
    return row.partition_by or None if row else None


def refuse_impossible(pool: str, needs: Mapping[str, float]) -> None:
    """Raise ImpossibleNeed if one job needs more of a budget than the whole pool has."""
    if not needs:
        return
    row = Pool.objects.using(settings.DATABASE).get(name=pool)
    sizes = {"memory_mb": row.max_memory_mb, "cpu_weight": row.max_cpu_weight, "disk_mb": row.max_disk_mb}
    for name, need in needs.items():
        size = sizes[name] if name in sizes else row.resources.get(name, 0)
        if size is not None and need > size:
            raise ImpossibleNeed(pool, name, need, size)


def limit_name(task: str) -> str:
    """The name of the row that limits how many jobs of a task are in flight."""
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
    declared = []
    if options.max_concurrent is not None or options.conflict is not None:
        size: float = options.max_concurrent or 1
        policy = options.conflict or Policy.WAIT
        declared.append(Declared(limit_name(task), LimitKind.CONCURRENCY, by, size, policy=policy))
    if options.rate is not None:
        size, period, burst = parse(options.rate)
        declared.append(Declared(rate_name(task), LimitKind.RATE, by, size, period, burst))
    return declared


def _changed(wanted: Sequence[Declared], pool: str) -> set[str]:
    """The pools of the rows that will be rewritten."""
    rows = Limit.objects.using(settings.DATABASE).filter(name__in=[limit.name for limit in wanted])
    recorded = {limit.name: limit.recorded for limit in wanted}
    return {row.pool for row in rows if row.declared != recorded[row.name] or row.pool not in ("", pool)}


def _write(limit: Declared, task: str, pool: str) -> None:
    rows = Limit.objects.using(settings.DATABASE)
    row, is_new = rows.get_or_create(
        name=limit.name, defaults={**limit.columns, "task": task, "pool": pool, "declared": limit.recorded}
    )
    if is_new:
        return
    if row.declared != limit.recorded:
        rows.filter(name=limit.name).update(**limit.columns, task=task, declared=limit.recorded)
        locks.shorten_wait(Limit(name=limit.name, **limit.columns))
    if row.pool not in ("", pool):
        _span(limit, task, row.pool)


def _span(limit: Declared, task: str, pool: str) -> None:
    """Make a limit of one pool span all pools, together with the rows that replace it for one partition."""
    rows = Limit.objects.using(settings.DATABASE)
    own = rows.filter(task=task, pool=pool, kind=limit.kind, partition_by=limit.partition_by).exclude(partition="")
    spanning = rows.filter(task=task, pool="", kind=limit.kind, partition_by=limit.partition_by)
    own.exclude(partition__in=list(spanning.values_list("partition", flat=True))).update(pool="")
    rows.filter(name=limit.name).update(pool="")
