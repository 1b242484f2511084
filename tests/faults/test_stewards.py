"""Two stewards: one stands still in the middle of a chore, past its lease; what it does afterwards changes nothing."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen

import pytest

from jobs import job_manager
from jobs.execution import heartbeats
from jobs.models import Lease
from jobs.models import Worker as WorkerRow
from tests.app import ledger
from tests.app.faulty import hold
from tests.faults import actors
from tests.faults.conftest import Recovered, StartWorker
from tests.faults.observing import events, outcomes, wait_for, wait_for_end, wait_for_lines

StartActor = Callable[[str], Popen[bytes]]


@pytest.fixture
def start_actor(ledger_file: Path) -> Iterator[StartActor]:
    """Actors that are gone when the test ends."""
    running: list[Popen[bytes]] = []

    def start(name: str) -> Popen[bytes]:
        running.append(actors.start(name))
        return running[-1]

    yield start
    for actor in running:
        actor.kill()
        actor.wait(10)


def test_a_steward_that_stood_still_fences_nobody_who_has_beaten_since(
    served: StartWorker, start_actor: StartActor, ledger_file: Path, gate: Path, recovered: Recovered
) -> None:
    """Fault 31: it has found a worker stale; that comes back, and its own candidate takes the office meanwhile."""
    worker = served()
    job = job_manager.submit(hold, [str(gate)])
    wait_for_lines(ledger_file, "begin", 1, 15)
    worker.freeze()
    steward = start_actor("stand_still_before_fencing")
    wait_for_lines(ledger_file, "stands still", 1, 20)
    worker.thaw()
    recovered("31: the steward stands still; the next one leads", wait_for(_led_by(worker.name), 10, "the new steward"))

    os.kill(steward.pid, signal.SIGCONT)
    (late,) = wait_for_lines(ledger_file, "went on", 1, 10)
    assert late["done"] is False
    assert not WorkerRow.objects.filter(fenced_at__isnull=False).exists()
    gate.touch()
    wait_for_end([job], 10)
    assert events(job) == ["create", "admit", "claim", "complete"]


def test_a_steward_that_stood_still_takes_back_no_later_attempt(
    served: StartWorker, start_actor: StartActor, ledger_file: Path, gate: Path
) -> None:
    """Fault 31: it has read what a dead worker held; another rescued that, and the next attempt is running."""
    victim = served()
    job = job_manager.submit(hold, [str(gate)])
    wait_for_lines(ledger_file, "begin", 1, 15)
    victim.kill()
    steward = start_actor("stand_still_before_rescuing")
    wait_for_lines(ledger_file, "stands still", 1, 20)
    successor = served()
    wait_for(_led_by(successor.name), 10, "the new steward")
    wait_for_lines(ledger_file, "begin", 2, 15)

    os.kill(steward.pid, signal.SIGCONT)
    (late,) = wait_for_lines(ledger_file, "went on", 1, 10)
    assert late["done"] == 0
    assert outcomes(job) == ["lost", ""]
    gate.touch()
    wait_for_end([job], 10)
    assert outcomes(job) == ["lost", "completed"]
    assert events(job).count("rescue") == 1


def test_only_one_of_several_candidates_leads(served: StartWorker, start_actor: StartActor, ledger_file: Path) -> None:
    """The office passes on when its holder dies, after the lease and not before.

    A lease of 2 s: while the second one starts, two cores may leave the first one without any for a second.
    """
    longer = {"JOBCENTER_TEST_JOBS": '{"LEASE": 2}'}
    first = served(env=longer)
    wait_for(_led_by(first.name), 10, "the first steward")
    second = served(env=longer)
    wait_for(lambda: len(heartbeats.heartbeats()) == 2, 10, "the second worker")
    assert Lease.objects.get().label == first.name
    first.kill()
    wait_for(_led_by(second.name), 5, "the second steward")
    assert ledger.read(ledger_file) == []


def _led_by(label: str) -> Callable[[], bool]:
    return lambda: Lease.objects.filter(label=label).exists()
