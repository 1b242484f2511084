"""A submit wakes a feeder that listens, with its own commit. On SQLite nobody can listen: the caller admits."""

from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from jobs import job_manager
from jobs.admission import wakeup
from jobs.models import Worker
from tests.app import stages
from tests.app.jobs import whoami
from tests.integration.house import LONG, StartWorker
from tests.services import Stack
from tests.services.processes import wait_until

NO_TICKS = {"JOBCENTER_TEST_JOBS": '{"TICK": 600, "PUBLISH_AFTER": 1200}'}  # who is not woken sleeps on


def test_beside_a_living_worker_a_submit_is_one_statement(start_worker: StartWorker) -> None:
    """And it starts at once: nobody else would begin it."""
    start_worker(env=NO_TICKS)
    can_listen = connection.vendor == "postgresql"
    if can_listen:
        wait_until(lambda: Worker.objects.filter(listens=True).exists(), LONG, "a feeder that listens")
    job_manager.submit(whoami)  # asks which pools there are, once per process
    for _ in range(5):
        with CaptureQueriesContext(connection) as asked:
            row = job_manager.submit(whoami)
        assert (len(asked) == 1) is can_listen
        assert job_manager.handle(row.id).wait(LONG).state == "completed"
    assert Worker.objects.get().listens is can_listen


def test_a_worker_that_cannot_tell_is_passed_over(stack: Stack) -> None:
    assert wakeup.is_left_to_caller("default") is (connection.vendor != "postgresql")  # nobody there, nothing to admit
    stages.start_worker()
    assert wakeup.is_left_to_caller("default")


def test_who_finds_nobody_that_listens_admits_without_asking_again(stack: Stack) -> None:
    """On PostgreSQL the insert has asked already."""
    asked: list[str] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        asked.append(sql)
        return execute(sql, *rest)

    stages.start_worker()
    with connection.execute_wrapper(note):
        row = job_manager.submit("nobody.runs.this")
    assert len([sql for sql in asked if "pg_notify" in sql]) == (1 if connection.vendor == "postgresql" else 0)
    assert stages.fresh(row).state == "queued"
