"""A feeder that listens on PostgreSQL: who is woken, by which commits, and that a lost connection is replaced."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.db import Error, connection, transaction
from django.utils import timezone

from jobs import job_manager
from jobs.admission import wakeup
from jobs.models import Worker
from jobs.worker.listener import Ear
from tests.app import stages
from tests.services import Stack


def listening(**columns: Any) -> UUID:
    """A worker's row as its feeder has marked it."""
    boot_id = stages.start_worker(pools=["default"])
    Worker.objects.filter(pk=boot_id).update(listens=True, **columns)
    return boot_id


@pytest.fixture
def ear(stack: Stack) -> Iterator[Ear]:
    yield Ear(listening())
    connection.close()


@pytest.mark.parametrize("gone", [{"fenced_at": timezone.now()}, {"draining_at": timezone.now()}, {"pools": ["other"]}])
def test_who_is_going_or_serves_others_is_not_woken(stack: Stack, gone: dict[str, Any]) -> None:
    stages.start_worker()
    assert wakeup.is_left_to_caller("default")
    listening(**gone)
    assert wakeup.is_left_to_caller("default")
    listening()
    assert not wakeup.is_left_to_caller("default")


def test_the_ear_hears_what_was_committed(ear: Ear) -> None:
    assert ear.attend()
    assert not ear.attend()  # it goes on
    with transaction.atomic():
        job_manager.submit("nobody.runs.this")
        transaction.set_rollback(True)
    assert ear.heard() == set()
    job_manager.submit_many("nobody.runs.this", [((), {})] * 3)
    assert ear.has_heard  # on this very connection it comes in beside the statement
    assert ear.heard() == {"default"}
    assert ear.heard() == set()


def test_the_ear_listens_anew_on_a_new_connection(ear: Ear) -> None:
    ear.attend()
    live: Any = connection.connection
    other: Any = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [live.info.backend_pid])
    other.close()
    with pytest.raises(Error):
        [ear.heard() for _ in range(3)]  # first the server's farewell, then the end of the line
    connection.close()
    assert ear.socket is None
    assert ear.attend()  # whoever was told meanwhile was not heard: the feeder looks at everything
    job_manager.submit("nobody.runs.this")
    assert ear.heard() == {"default"}


def test_behind_a_pooler_nobody_listens(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    boot_id = stages.start_worker()
    monkeypatch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
    ear = Ear(boot_id)
    assert not ear.attend()
    assert ear.socket is None
    assert wakeup.is_left_to_caller("default")
