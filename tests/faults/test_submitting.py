"""The submitter fails: it rolls back, dies before or after its commit, or dies while others wait for its key."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connections, transaction

from jobs import job_manager
from jobs.admission import publishing
from jobs.client.manager import RunAnswer
from jobs.execution import heartbeats
from jobs.models import Job, JobEvent
from tests.app import ledger
from tests.app.faulty import EFFECT, hold, touch
from tests.faults import actors
from tests.faults.conftest import Recovered, StartWorker
from tests.faults.observing import events, let_callers_admit, outcomes, wait_for, wait_for_end, wait_for_lines


class Abandoned(Exception):  # noqa: N818  # no error
    """Somebody changed his mind within a transaction."""


def test_what_was_rolled_back_never_happened(served: StartWorker, ledger_file: Path) -> None:
    """Fault 14: no row, no event, no message, no run; neither of one nor of many nor of a key."""
    worker = served()
    wait_for(heartbeats.heartbeats, 10, "the first beat")
    with pytest.raises(Abandoned):
        _submit_and_abandon()
    _check_that_nothing_happened()
    answer = job_manager.run_job("castle", touch)
    assert answer.created
    wait_for_end([answer.job], 10)
    assert len(ledger.read(ledger_file, EFFECT)) == 1
    assert worker.text().count("] received") == 1


@transaction.atomic
def _submit_and_abandon() -> None:
    job_manager.submit(touch)
    job_manager.submit_many(touch, [((), {})] * 10)
    assert job_manager.run_job("castle", touch).created
    raise Abandoned


def test_who_dies_before_the_commit_has_submitted_nothing(served: StartWorker, ledger_file: Path) -> None:
    """Fault 14 by `kill -9`."""
    served()
    assert actors.start("die_before_committing").wait(30) == -signal.SIGKILL
    _check_that_nothing_happened()


def _check_that_nothing_happened() -> None:
    assert not Job.objects.exists()
    assert not JobEvent.objects.exists()


@pytest.mark.parametrize("point", ["publishing", "admitting"])
def test_who_dies_after_the_commit_has_submitted(
    point: str, served: StartWorker, ledger_file: Path, recovered: Recovered
) -> None:
    """Fault 15: the steward admits and publishes instead."""
    served()
    wait_for(heartbeats.heartbeats, 10, "the first beat")
    let_callers_admit()
    assert actors.start(f"die_before_{point}").wait(30) == -signal.SIGKILL
    job = Job.objects.get()
    recovered(f"15: the submitter died before {point}; done", wait_for_end([job], 10))
    assert outcomes(job) == ["completed"]
    assert events(job) == ["create", "admit", "claim", "complete"]


@pytest.mark.every_stack
def test_a_key_is_free_when_its_holder_dies_within_its_transaction(
    served: StartWorker, ledger_file: Path, gate: Path, recovered: Recovered
) -> None:
    """Fault 32: ten threads wait for the key of a transaction that never ends; one of them gets it."""
    served()
    holder = actors.start("hold_the_key", "castle", str(gate))
    wait_for_lines(ledger_file, "holding", 1, 30)
    with ThreadPoolExecutor(10) as threads:
        coming = [threads.submit(_run_the_job, "castle", gate) for _ in range(10)]
        time.sleep(0.5)  # they wait for a lock, of which SQLite tells nobody
        assert not any(one.done() for one in coming)
        holder.kill()
        begin = time.monotonic()
        answers = [one.result(10) for one in coming]
    recovered("32: the holder of a key died in its transaction; ten answers", time.monotonic() - begin)
    assert [answer.created for answer in answers].count(True) == 1
    job = Job.objects.get()
    assert {answer.job.id for answer in answers} == {job.id}
    gate.touch()
    wait_for_end([job], 10)
    assert len(ledger.read(ledger_file, EFFECT)) == 1
    assert holder.wait(10) == -signal.SIGKILL


def _run_the_job(key: str, gate: Path) -> RunAnswer:
    try:
        return job_manager.run_job(key, hold, [str(gate)])
    finally:
        connections.close_all()
        publishing.disconnect()
