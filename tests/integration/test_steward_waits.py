"""The steward waits for nobody: what somebody's open transaction has locked is passed over until the next tick."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from jobs import job_manager
from jobs.maintenance import lost_messages, unknown_tasks
from jobs.models import Job
from tests.app import stages
from tests.services import Stack


@pytest.mark.parametrize(("chore", "ends"), [(lost_messages.release, "pending"), (unknown_tasks.give_up, "failed")])
def test_a_chore_passes_over_what_is_locked(stack: Stack, chore: Callable[[], int], ends: str) -> None:
    locked, free = (job_manager.submit("nobody.runs.this") for _ in range(2))
    for row in (locked, free):
        stages.queue(row)
    long_ago = F("created_at") - (locked.created_at - locked.created_at.replace(year=2000))
    Job.objects.update(published_at=long_ago, unknown_since=long_ago)
    stages.start_worker(slots=5)
    with _locked(locked):
        assert chore() == (2 if connection.vendor == "sqlite" else 1)
    assert stages.fresh(free).state == ends
    chore()
    assert stages.fresh(locked).state == ends


@contextmanager
def _locked(row: Job) -> Iterator[None]:
    """Another's transaction stays open (not on SQLite, where it would lock everything). Waiting for it is an error."""
    if connection.vendor == "sqlite":
        yield
        return
    other: Any = connection
    other = other.copy()
    with connection.cursor() as mine, other.cursor() as cursor:
        mine.execute(_PATIENCE[connection.vendor])
        other.set_autocommit(False)
        cursor.execute("SELECT id FROM jobs_job WHERE id = %s FOR UPDATE", [row.id])
        yield
        other.rollback()
    connection.close()
    other.close()


_PATIENCE = {"postgresql": "SET lock_timeout = '2s'", "mysql": "SET innodb_lock_wait_timeout = 2"}
