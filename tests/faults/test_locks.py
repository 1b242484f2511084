"""Somebody holds a lock for five seconds, or every connection to the database is cut: nobody notices but the clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections, transaction

from jobs import job_manager
from jobs.models import Job, Pool
from jobs.models import Worker as WorkerRow
from tests.app import ledger
from tests.app.faulty import EFFECT, hold, touch
from tests.faults.conftest import Recovered, StartWorker
from tests.faults.observing import events, outcomes, state_of, wait_for_end, wait_for_lines

HELD = 5.0  # seconds


@pytest.mark.main_stack_only(reason="SELECT FOR UPDATE locks a row")
def test_a_row_that_is_locked_for_five_seconds_loses_no_transition(
    served: StartWorker, ledger_file: Path, gate: Path, recovered: Recovered
) -> None:
    """Fault 27: the end of a body and a request to cancel wait for it, in whichever order they come."""
    served(concurrency=3)
    ending, asked, other = (job_manager.submit(hold, [str(gate)]) for _ in range(3))
    wait_for_lines(ledger_file, "begin", 3, 20)
    begin = time.monotonic()
    with _locked(Job, [ending.pk, asked.pk]):
        gate.touch()
        wait_for_end([other], 10)
        answer = job_manager.cancel_job(asked.id)
        assert time.monotonic() - begin >= HELD - 0.5
    recovered("27: two rows are locked for 5 s; their ends are recorded", wait_for_end([ending, asked], 20))
    assert (state_of(ending), outcomes(ending)) == ("completed", ["completed"])
    assert events(ending) == ["create", "admit", "claim", "complete"]
    assert answer in ("REQUESTED", "ALREADY_FINAL")
    assert (state_of(asked), outcomes(asked)) == ("completed", ["completed"])


@pytest.mark.main_stack_only(reason="SELECT FOR UPDATE locks a row, and SKIP LOCKED passes over it")
def test_a_pool_that_is_locked_for_five_seconds_makes_no_caller_wait(
    served: StartWorker, ledger_file: Path, recovered: Recovered
) -> None:
    """Fault 27: whoever would admit finds the lock taken and leaves; the steward comes back to it."""
    served()
    with _locked(Pool, ["default"]):
        begin = time.monotonic()
        jobs = [job_manager.submit(touch) for _ in range(5)]
        assert time.monotonic() - begin < 2
        assert {state_of(job) for job in jobs} == {"pending"}
    recovered("27: the pool is locked for 5 s; all five done", wait_for_end(jobs, 20))
    assert [outcomes(job) for job in jobs] == [["completed"]] * 5


@contextmanager
def _locked(model: type[Job | Pool], keys: list[Any]) -> Iterator[None]:
    """Another connection has locked these rows, and lets go after five seconds."""
    taken = threading.Event()

    def take() -> None:
        try:
            with transaction.atomic():
                assert len(model.objects.select_for_update().filter(pk__in=keys)) == len(keys)
                taken.set()
                time.sleep(HELD)
        finally:
            connections.close_all()

    holder = threading.Thread(target=take)
    holder.start()
    assert taken.wait(10)
    yield
    holder.join(HELD + 5)


@pytest.mark.main_stack_only(reason="pg_terminate_backend cuts them")
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_connections_that_are_cut_while_bodies_run_are_replaced(
    pool: str, served: StartWorker, ledger_file: Path, gate: Path, recovered: Recovered
) -> None:
    """Fault 26: all of them, three times, the last time just before the end; one body talks and one is silent."""
    served(pool=pool)
    jobs = [job_manager.submit(hold, [str(gate)], {"talking": talking}) for talking in (False, True)]
    wait_for_lines(ledger_file, "begin", 2, 20)
    for _ in range(3):
        assert _cut_all_others() >= 2
        time.sleep(1)  # they come back, each in its own time
    _cut_all_others()
    gate.touch()
    recovered(f"26: every connection is cut, on {pool}; both ends recorded", wait_for_end(jobs, 20))
    for job in jobs:
        assert outcomes(job) == ["completed"]
        assert events(job) == ["create", "admit", "claim", "complete"]
    assert len(ledger.read(ledger_file, EFFECT)) == 2
    assert not WorkerRow.objects.filter(fenced_at__isnull=False).exists()


def _cut_all_others() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        (count,) = cursor.fetchone()
    return int(count)
