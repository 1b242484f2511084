"""Finding jobs among millions of rows: every lookup here has an index, or looks at a bounded number of rows."""

from __future__ import annotations

import contextlib
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import F

from jobs.models.expressions import KEY_HEAD, KeyHead, KeyTail
from jobs.models.querysets import JobQuerySet

WINDOW = 100_000
FOUND = 500


def with_key_text(jobs: JobQuerySet, key: str) -> JobQuerySet:
    """Jobs with exactly this key, finished ones too, of any manager.

    Head and tail are compared instead of the key: given `key = …`, SQLite would not use the index on the head.
    """
    if not connections[jobs.db].features.supports_expression_indexes:
        return jobs.filter(key=key)  # MariaDB indexes a prefix of the column, and uses it by itself
    parts = jobs.alias(key_head=KeyHead(F("key")), key_tail=KeyTail(F("key")))
    return parts.filter(key__isnull=False, key_head=key[:KEY_HEAD], key_tail=key[KEY_HEAD:])


def matching(jobs: JobQuerySet, word: str) -> JobQuerySet:
    """Jobs whose id, key or external id is exactly this word; of very many, the newest of each."""
    ids = [*_newest(with_key_text(jobs, word)), *_newest(jobs.filter(external_id=word).exclude(external_id=""))]
    with contextlib.suppress(ValueError):
        ids.append(UUID(word))
    return jobs.filter(pk__in=ids)


def within_newest(jobs: JobQuerySet, window: int = WINDOW) -> JobQuerySet:
    """The newest `window` of these jobs: a bound for a condition that has no index."""
    edge = list(jobs.newest().values_list("pk", flat=True)[window : window + 1])
    return jobs.filter(pk__gt=edge[0]) if edge else jobs


def recent_tasks(jobs: JobQuerySet, window: int = 300) -> list[str]:
    """Names of the tasks among the newest jobs, sorted: suggestions, not a list of all."""
    return sorted(set(jobs.newest().values_list("task", flat=True)[:window]))


def _newest(jobs: JobQuerySet) -> list[Any]:
    return list(jobs.newest().values_list("pk", flat=True)[:FOUND])
