"""Which pools exist; remembered per process, because every submit asks."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

from django.db import transaction

from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import query
from jobs.exceptions import UnknownPool
from jobs.models import Pool

logger = logging.getLogger(__name__)

_certain: set[str] = set()


def known(name: str, declared: Callable[[], set[str]]) -> str:
    """The name of a pool that exists, or that a task declares, which creates it; else UnknownPool."""
    if name in _certain:
        return name
    using = settings.DATABASE
    there = _names()
    if name not in there:
        if name not in declared():
            raise UnknownPool(name, there | declared())
        Pool.objects.using(using).get_or_create(name=name)
    # Remembered after the commit: this transaction may have read its own row, which a rollback removes.
    transaction.on_commit(functools.partial(_certain.update, there), using=using)
    return name


def forget() -> None:
    """Ask the database again at the next submit: the tables may have been emptied."""
    _certain.clear()


def restore() -> list[str]:
    """Recreate pools that were deleted while a job was being submitted to them; returns their names.

    The pools of pending jobs are found by walking the index from pool to pool, which costs almost nothing.
    """
    using = settings.DATABASE
    waited_for = _SKIPPING if dialect(using).skips_in_index else _WAITED_FOR
    names = [name for (name,) in query(using, waited_for)]
    for name in names:
        Pool.objects.using(using).get_or_create(name=name)
        logger.warning("pool %s: recreated, because jobs wait in it", name)
    return names


_WAITED_FOR = """
WITH RECURSIVE walk AS (
    SELECT min(pool) AS pool FROM jobs_job WHERE state = 'pending'
    UNION ALL
    SELECT (SELECT min(pool) FROM jobs_job WHERE state = 'pending' AND pool > w.pool)
      FROM walk w WHERE w.pool IS NOT NULL
)
SELECT pool FROM walk WHERE pool IS NOT NULL AND NOT EXISTS (SELECT 1 FROM jobs_pool p WHERE p.name = walk.pool)
"""


_SKIPPING = """
SELECT pool FROM (SELECT DISTINCT pool, state FROM jobs_job WHERE state = 'pending') walk
 WHERE NOT EXISTS (SELECT 1 FROM jobs_pool p WHERE p.name = walk.pool)
"""


def must_exist(name: str) -> None:
    """Raise UnknownPool unless the pool exists."""
    there = _names()
    if name not in there:
        raise UnknownPool(name, there)


def _names() -> set[str]:
    return set(Pool.objects.using(settings.DATABASE).values_list("name", flat=True))
