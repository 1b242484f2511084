"""Retention: delete finished jobs that are older than their state is kept, with all that belongs to them.

A tree of jobs (`Job.parent`) goes when every member has ended and is old enough, and not before. Each transaction is
small, reads the rows again, and skips rows that are locked elsewhere. So a run that is killed has only done less, and
the next one goes on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from jobs.control import deletion
from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import execute, resolve_pick
from jobs.maintenance import counters, job_trees
from jobs.models import Job

BATCH = 500
PAUSE = 0.02  # seconds between two full batches, in which others have the database to themselves
RESTED = 60.0  # seconds since the next start of a rate was free
LATEST = 1000  # turns of partitions that are kept of each pool, however old
DAY = 86_400.0

Retention = Mapping[str, float | None]  # seconds by state; None, or no entry, keeps for ever


def prune(
    retention: Retention | None = None, *, manager: str = "", dry_run: bool = False, batch: int = BATCH
) -> Counter[str]:
    """Delete what is older than its retention, the setting's by default; returns how many jobs by their state.

    A named manager's own jobs only, with what is below them. With `dry_run` nothing is deleted and the counts are what
    would be.
    """
    total: Counter[str] = Counter()
    for gone in steps(retention, manager=manager, dry_run=dry_run, batch=batch):
        total += gone
        if gone.total() >= batch and not dry_run:
            time.sleep(PAUSE)
    if not dry_run:
        counters.pruned(total)
    return total


def steps(
    retention: Retention | None = None, *, manager: str = "", dry_run: bool = False, batch: int = BATCH
) -> Iterator[Counter[str]]:
    """The same, one transaction for each `next`: yields what it deleted, by state."""
    kept = dict(configured() if retention is None else retention)
    take, take_tree = (job_trees.count, job_trees.count_tree) if dry_run else (_delete, job_trees.delete_tree)
    for state in kept:
        for page in _pages(kept, state, manager, batch):
            roots = job_trees.with_children(page)
            yield take([job_id for job_id in page if job_id not in roots], kept)
            for root in sorted(roots):
                yield from take_tree(root, kept, batch)


def run() -> Iterator[None]:
    """The steward's run by the setting, in steps. Its counts are recorded at its end, also when it is broken off."""
    total: Counter[str] = Counter()
    try:
        for deleted in steps():
            total += deleted
            yield
    finally:
        counters.pruned(total)


def configured() -> dict[str, float | None]:
    """The setting's retention, seconds by state."""
    return dict(settings.RETENTION)


def forget_rates() -> int:
    """Delete the rows of rate limits and conflict locks that are at rest; returns how many.

    A row that is locked is in use, and stays; one that is needed later is created again.
    """
    db = dialect(settings.DATABASE)
    at_rest = f"SELECT id FROM jobs_rate WHERE tat < {db.epoch('{now}')} - %s LIMIT %s"
    return _in_batches("DELETE FROM jobs_rate WHERE", db.pick_skip_locked(at_rest), [RESTED, BATCH])


def forget_turns() -> int:
    """Delete the turns of partitions that were not served for AGED_AFTER, but for the latest; returns how many.

    Where a round of all partitions takes longer than that, there are few of them, and their turns still count.
    """
    db = dialect(settings.DATABASE)
    numbered = "SELECT id, row_number() OVER (PARTITION BY pool ORDER BY at DESC, id) AS place FROM jobs_turn"
    served_long_ago = (
        f"SELECT id FROM jobs_turn WHERE at < {db.epoch('{now}')} - %s"
        f" AND id IN (SELECT id FROM ({numbered}) numbered WHERE place > %s) LIMIT %s"
    )
    return _in_batches(
        "DELETE FROM jobs_turn WHERE", db.pick_skip_locked(served_long_ago), [settings.AGED_AFTER, LATEST, BATCH]
    )


def forget_workers() -> int:
    """Delete the rows of workers that ended longer ago than any job is kept, and run nothing; returns how many.

    Younger ones stay: the attempts of jobs that are still there name them.
    """
    longest = max([DAY, *(seconds for seconds in configured().values() if seconds is not None)])
    db = dialect(settings.DATABASE)
    sql = (
        f"DELETE FROM jobs_worker WHERE fenced_at < {db.later('{now}')} AND NOT EXISTS ("
        "SELECT 1 FROM jobs_attempt a WHERE a.worker_id = jobs_worker.boot_id AND a.finished_at IS NULL)"
    )
    return execute(settings.DATABASE, sql, [-longest])


def _pages(kept: Retention, state: str, manager: str, batch: int) -> Iterator[list[UUID]]:
    """The roots of one state that are old enough, in the order of their end: each is looked at once in a run."""
    old = Job.objects.using(settings.DATABASE).prunable({state: kept[state]}).filter(parent__isnull=True)
    if manager:
        old = old.filter(manager=manager)
    rows = old.order_by("finished_at", "id").values_list("finished_at", "id")
    page = list(rows[:batch])
    while page:
        yield [job_id for _, job_id in page]
        page = list(rows.filter(job_trees.after(*page[-1]))[:batch])


def _delete(job_ids: Sequence[UUID], kept: Retention) -> Counter[str]:
    """Delete jobs without children, if they are still old, not locked elsewhere, and still without a child."""
    if not job_ids:
        return Counter()
    with transaction.atomic(using=settings.DATABASE):
        locked = job_trees.lock(job_ids, kept)
        parents = job_trees.with_children(list(locked))
        childless = {job_id: state for job_id, state in locked.items() if job_id not in parents}
        deletion.delete_rows(list(childless))
    return Counter(childless.values())


def _in_batches(delete: str, picked: str, params: list[Any]) -> int:
    using, total = settings.DATABASE, 0
    while True:
        with transaction.atomic(using=using):
            where, found = resolve_pick(using, picked, params)
            gone = execute(using, f"{delete} {where}", found)
        total += gone
        if gone < BATCH:
            return total
