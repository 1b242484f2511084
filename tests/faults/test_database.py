"""The database is away while jobs run: nobody is declared dead for it, and every end is recorded once it is back."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from jobs import job_manager
from jobs.execution import heartbeats
from jobs.models import Job, Lease
from jobs.models import Worker as WorkerRow
from tests.app import ledger
from tests.app.faulty import EFFECT, hold, touch
from tests.faults.conftest import Recovered, StartWorker
from tests.faults.observing import (
    events,
    let_callers_admit,
    no_database,
    outcomes,
    state_of,
    wait_for,
    wait_for_end,
    wait_for_lines,
)
from tests.services import Stack
from tests.services.processes import wait_until

OUTAGE = 40  # seconds: the promise of the issue; many times STALE_AFTER, which is 3 here


@pytest.mark.every_stack
def test_a_database_that_is_away_at_the_end_of_a_body_gets_the_outcome_later(
    served: StartWorker, stack: Stack, ledger_file: Path, gate: Path, recovered: Recovered
) -> None:
    """Fault 25: the body ends while nothing can be written; 5 s, on SQLite longer than a writer waits for its lock."""
    served()
    jobs = [job_manager.submit(hold, [str(gate)], {"talking": talking}) for talking in (False, True)]
    wait_for_lines(ledger_file, "begin", 2, 15)
    with no_database(stack):
        gate.touch()
        wait_for_lines(ledger_file, EFFECT, 2, 10)
        time.sleep(25 if stack.is_sqlite else 5)  # the outage itself: there is nothing to wait for
    recovered("25: the database is back after the bodies ended; recorded", wait_for_end(jobs, 20))
    _check_that_nothing_was_lost(jobs, ledger_file)


def test_a_doorbell_that_rings_while_the_database_is_away_starts_nothing_then(
    served: StartWorker, stack: Stack, ledger_file: Path, recovered: Recovered
) -> None:
    """Fault 24: it is with the broker when the database goes; nobody can claim, and afterwards it runs once."""
    worker = served()
    wait_for(heartbeats.heartbeats, 10, "the first beat")
    let_callers_admit()
    worker.freeze()
    job = job_manager.submit(touch)
    assert state_of(job) == "queued"
    job.refresh_from_db()
    with no_database(stack):
        worker.thaw()
        wait_until(lambda: f"{touch.name}[{job.attempt_id}] received" in worker.text(), 15, "the doorbell")
        time.sleep(5)  # the outage itself, as above
        assert ledger.read(ledger_file) == []
    recovered("24: the database is back after the doorbell rang; done", wait_for_end([job], 30))
    assert (state_of(job), outcomes(job)) == ("completed", ["completed"])
    assert len(ledger.read(ledger_file, EFFECT)) == 1


def test_an_outage_of_forty_seconds_rescues_nobody(
    served: StartWorker, stack: Stack, ledger_file: Path, gate: Path, recovered: Recovered
) -> None:
    """Two bodies end in the middle of the outage and two after it.

    The steward sees the database again before the worker does, and in it a heartbeat that is 40 s old.
    """
    early, late = gate.with_name("early"), gate.with_name("late")
    worker = served(concurrency=4)
    jobs = [job_manager.submit(hold, [str(one)], {"talking": talking}) for one in (early, late) for talking in (0, 1)]
    wait_for_lines(ledger_file, "begin", 4, 15)
    with no_database(stack):
        time.sleep(OUTAGE / 2)  # the outage itself, as above
        early.touch()
        wait_for_lines(ledger_file, EFFECT, 2, 5)
        time.sleep(OUTAGE / 2)
        os.kill(worker.pid, signal.SIGSTOP)  # its main process, which beats; its feeder, the steward, goes on
    _see_the_steward_tick(3)
    os.kill(worker.pid, signal.SIGCONT)
    recovered("the database is back after 40 s; what ended meanwhile is recorded", wait_for_end(jobs[:2], 20))
    late.touch()
    wait_for_end(jobs, 10)
    _check_that_nothing_was_lost(jobs, ledger_file)


def _see_the_steward_tick(times: int) -> None:
    """Each tick renews the lease, so one that is renewed `times` times has looked at the heartbeats."""
    for _ in range(times + 1):
        before = Lease.objects.get().expires_at
        wait_for(Lease.objects.exclude(expires_at=before).exists, 5, "the steward's tick")


def _check_that_nothing_was_lost(jobs: Sequence[Job], ledger_file: Path) -> None:
    for job in jobs:
        assert outcomes(job) == ["completed"]
        assert events(job) == ["create", "admit", "claim", "complete"]
    assert len(ledger.read(ledger_file, EFFECT)) == len(jobs)
    assert not WorkerRow.objects.filter(fenced_at__isnull=False).exists()
