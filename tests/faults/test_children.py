"""Processes of a worker are killed one by one; its main process lives and gets along."""

import os
import signal
from pathlib import Path

import pytest

from jobs import job_manager
from jobs.models import Job
from tests.app import ledger
from tests.app.faulty import EFFECT, hold, poison, touch
from tests.faults.conftest import Recovered, StartWorker
from tests.faults.observing import events, outcomes, state_of, wait_for, wait_for_end
from tests.services.processes import alive


@pytest.mark.every_stack
def test_a_killed_child_costs_one_attempt(
    served: StartWorker, ledger_file: Path, gate: Path, recovered: Recovered
) -> None:
    """Fault 1, three times over: Celery overlooks some deaths at first, by a race."""
    served(concurrency=3)
    killed = [_kill_the_child_of(job_manager.submit(hold, [str(gate)]), ledger_file, recovered) for _ in range(3)]
    gate.touch()
    wait_for_end(killed, 15)
    for job in killed:
        assert outcomes(job) == ["lost", "completed"]
        assert events(job) == ["create", "admit", "claim", "rescue", "admit", "claim", "complete"]
        assert [line["attempt"] for line in ledger.read(ledger_file, EFFECT) if line["job"] == str(job.id)] == [2]


def _kill_the_child_of(job: Job, ledger_file: Path, recovered: Recovered) -> Job:
    """Kill it in the middle of the body and see the next attempt begin, which is then left to its gate."""

    def begun() -> list[int]:
        return [line["pid"] for line in ledger.read(ledger_file, "begin") if line["job"] == str(job.id)]

    wait_for(begun, 15, "the first attempt")
    os.kill(begun()[0], signal.SIGKILL)
    seconds = wait_for(lambda: len(begun()) == 2, 15, "the second attempt")
    recovered("1: a pool child is killed; begun again", seconds)
    assert seconds < 2
    return job


def test_a_poison_pill_is_given_up_and_harms_nobody(
    served: StartWorker, ledger_file: Path, recovered: Recovered
) -> None:
    """Fault 4: three rescues, and then it is over."""
    worker = served(concurrency=1)
    pill = job_manager.submit(poison)
    recovered("4: a body that kills its process four times; given up", wait_for_end([pill], 20))
    assert outcomes(pill) == ["lost", "lost", "lost", "failed"]
    pill.refresh_from_db()
    assert (pill.state, pill.error_category, pill.rescue_count) == ("failed", "lost", 3)
    assert "given up after 3 rescues" in pill.error_message
    assert len(ledger.read(ledger_file, "begin")) == 4
    assert not worker.ended()


def test_a_killed_feeder_is_started_again(served: StartWorker, ledger_file: Path, recovered: Recovered) -> None:
    """Without it nobody would admit what finds no slot at its submission."""
    worker = served()
    feeder = worker.feeder()
    assert feeder
    os.kill(feeder, signal.SIGKILL)
    jobs = job_manager.submit_many(touch, [((), {})] * 20)  # the caller admits no more than the worker has room for
    recovered("the feeder is killed; 20 jobs done", wait_for_end(jobs, 10))
    assert {state_of(job) for job in jobs} == {"completed"}
    assert len(ledger.read(ledger_file, EFFECT)) == 20
    wait_for(lambda: "starting it again" in worker.text(), 5, "the new feeder")
    assert not alive(feeder)
    assert worker.feeder()
