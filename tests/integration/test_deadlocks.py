"""A real deadlock, where the database tells of it: the move that falls to it is done again, and nobody notices."""

import threading
import time
from uuid import UUID

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError, connection, connections, transaction

from jobs import Job, job_manager
from jobs.core.db import deadlock_retry
from jobs.core.db.dialects import dialect
from jobs.models import transitions
from tests.app import stages
from tests.services import Stack
from tests.services.processes import wait_until

_WAITING = {
    "mysql": "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
    "postgresql": "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND pid IN (SELECT l.pid FROM pg_locks l"
    " JOIN pg_database d ON d.oid = l.database WHERE d.datname = current_database())",
}


def test_a_move_that_falls_to_a_deadlock_is_done_again(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another transaction, which has written more and come later, holds the second job and then wants the first."""
    seen: list[bool] = []
    is_deadlock = deadlock_retry.is_deadlock

    def note(error: OperationalError) -> bool:
        seen.append(is_deadlock(error))
        return seen[-1]

    monkeypatch.setattr(deadlock_retry, "is_deadlock", note)
    first, second = (job_manager.submit("nobody.runs.this") for _ in range(2))
    cancelled = threading.Thread(target=_cancel, args=([first.id, second.id],))
    with transaction.atomic():
        Group.objects.bulk_create(Group(name=str(number)) for number in range(100))
        _lock(second)
        cancelled.start()
        wait_until(_somebody_waits, 10, "a move that waits for a lock")
        _lock(first)
    cancelled.join(20)
    assert {stages.fresh(row).state for row in (first, second)} == {"cancelled"}
    assert seen == [True]
    assert Group.objects.count() == 100


def _cancel(ids: list[UUID]) -> None:
    db = dialect("default")
    try:
        transitions.move("cancel", db.id_in("id"), [db.id_list(ids)])
    finally:
        connections.close_all()


def _somebody_waits() -> bool:
    """On MariaDB whoever asks again within a tenth of a second is told the same."""
    time.sleep(0.2)
    with connection.cursor() as cursor:
        cursor.execute(_WAITING[connection.vendor])
        return bool(cursor.fetchone()[0])


def _lock(row: Job) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM jobs_job WHERE id = %s FOR UPDATE", [row.id])
