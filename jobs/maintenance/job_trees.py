"""Trees of jobs (`Job.parent`) as retention sees them: old enough as a whole, counted, deleted from the leaves up.

What is read here decides only inside the transaction that has locked it. A tree that is larger than a batch goes in
several transactions; its root, which is checked again in each, goes with the last.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from jobs.control import deletion
from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import query
from jobs.core.db.values import prepare
from jobs.models import Job

Kept = Mapping[str, float | None]  # seconds by state

_TREE = (
    "WITH RECURSIVE tree (id, depth) AS (SELECT id, 0 FROM jobs_job WHERE id = %s"
    " UNION ALL SELECT j.id, t.depth + 1 FROM tree t JOIN jobs_job j ON j.parent_id = t.id)"
)


def after(finished_at: datetime, job_id: UUID) -> Q:
    """What comes later in the order of (finished_at, id)."""
    return Q(finished_at__gte=finished_at) & (Q(finished_at__gt=finished_at) | Q(id__gt=job_id))


def with_children(job_ids: Sequence[UUID]) -> set[UUID]:
    """The ids of these jobs that have a child."""
    return set(Job.objects.using(settings.DATABASE).filter(parent__in=job_ids).values_list("parent_id", flat=True))


def lock(job_ids: Sequence[UUID], kept: Kept) -> dict[UUID, str]:
    """Lock the jobs that have ended, are still old enough and are not locked elsewhere; returns their states.

    A concurrent submit of a child, or a retry, waits for this lock and then gets JobNotFound.
    """
    old = Job.objects.using(settings.DATABASE).prunable(kept).filter(pk__in=job_ids).order_by("pk")
    return dict(old.select_for_update(skip_locked=True).values_list("pk", "state"))


def count(job_ids: Sequence[UUID], kept: Kept) -> Counter[str]:
    """How many of these `lock` would give, by state; nothing is locked."""
    old = Job.objects.using(settings.DATABASE).prunable(kept).filter(pk__in=job_ids)
    return Counter(old.values_list("state", flat=True))


def count_tree(root: UUID, kept: Kept, _: int) -> Iterator[Counter[str]]:
    """How many jobs a tree has by state, where all of it is old enough."""
    if _is_over(root, kept):
        sql = f"{_TREE} SELECT state, count(*) FROM jobs_job WHERE id IN (SELECT id FROM tree) GROUP BY state"
        yield Counter(dict(query(settings.DATABASE, sql, [_id(root)])))


def delete_tree(root: UUID, kept: Kept, batch: int) -> Iterator[Counter[str]]:
    """Delete a tree if all of it is old enough; yields after each transaction what went, by state."""
    while True:
        with transaction.atomic(using=settings.DATABASE):
            gone = _delete_leaves(root, kept, batch)
        if not gone:
            return
        yield Counter(gone.values())
        if root in gone:
            return


def _delete_leaves(root: UUID, kept: Kept, batch: int) -> dict[UUID, str]:
    """The deepest members, at most a batch of them; none while one is locked elsewhere, or is not old enough."""
    if not lock([root], kept) or not _is_over(root, kept):
        return {}
    sql = f"{_TREE} SELECT depth, id FROM tree ORDER BY depth DESC, id LIMIT %s"
    found = [(depth, UUID(str(job_id))) for depth, job_id in query(settings.DATABASE, sql, [_id(root), batch])]
    locked = lock([job_id for _, job_id in found], kept)
    if len(locked) < len(found):
        return {}
    for _, level in itertools.groupby(found, itemgetter(0)):  # a foreign key may be checked row by row
        deletion.delete_rows([job_id for _, job_id in level])
    return locked


def _is_over(root: UUID, kept: Kept) -> bool:
    """Whether every member has ended, and long enough ago."""
    older = dialect(settings.DATABASE).later("{now}")
    ages = {state: seconds for state, seconds in kept.items() if seconds is not None}
    old = " OR ".join([f"(state = %s AND finished_at < {older})"] * len(ages)) or "id IS NULL"
    sql = f"{_TREE} SELECT 1 FROM jobs_job WHERE id IN (SELECT id FROM tree) AND NOT ({old}) LIMIT 1"
    params = [_id(root), *(value for state, seconds in ages.items() for value in (state, -seconds))]
    return not query(settings.DATABASE, sql, params)


def _id(job_id: UUID) -> Any:
    return prepare(settings.DATABASE, Job, "id", job_id)
