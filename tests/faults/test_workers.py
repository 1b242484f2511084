"""Whole workers die, or stand still until they are taken for dead and then come back."""

import os
import signal
import time
from pathlib import Path

import pytest
from django.db import connection

from jobs import job_manager
from jobs.core.conf import settings
from jobs.execution import heartbeats
from jobs.models import Attempt, Job, Lease
from jobs.models import Worker as WorkerRow
from tests.app import ledger
from tests.app.faulty import EFFECT, hold, touch
from tests.faults.conftest import Recovered, StartWorker
from tests.faults.observing import events, let_callers_admit, outcomes, state_of, wait_for, wait_for_end, wait_for_lines
from tests.services import Worker
from tests.services.processes import alive, wait_until

SOME_TICKS = 5 * settings.TICK
STALLED = settings.STALE_AFTER  # where the machine itself stood still, the steward's observation begins anew once
PATIENT = {"JOBCENTER_TEST_JOBS": '{"HEARTBEAT": 4, "STALE_AFTER": 12}'}


@pytest.mark.every_stack
def test_what_a_killed_worker_held_finishes_on_another(
    served: StartWorker, ledger_file: Path, gate: Path, recovered: Recovered
) -> None:
    """Fault 3, where the dead worker was the steward as well: the next one has the office to take, and to look anew."""
    victim = served()
    wait_for(lambda: Lease.objects.filter(label=victim.name).exists(), 10, "the steward to be")
    served(concurrency=1, queues=["elsewhere"])
    within = settings.STALE_AFTER + settings.LEASE + settings.STALE_AFTER + SOME_TICKS
    _kill_and_replace(victim, served, ledger_file, gate, recovered, "3: a worker and steward is killed", within)


def test_what_a_killed_worker_held_is_found_by_a_steward_elsewhere(
    served: StartWorker, ledger_file: Path, gate: Path, recovered: Recovered
) -> None:
    """Fault 3, with the steward at a worker of another pool."""
    elsewhere = served(concurrency=1, queues=["elsewhere"])
    wait_for(lambda: Lease.objects.filter(label=elsewhere.name).exists(), 10, "the steward elsewhere")
    within = settings.STALE_AFTER + SOME_TICKS
    _kill_and_replace(served(), served, ledger_file, gate, recovered, "3: a worker is killed", within)
    assert Lease.objects.filter(label=elsewhere.name).exists()


def test_a_job_whose_wake_up_went_to_a_dead_worker_is_not_lost(
    served: StartWorker, ledger_file: Path, recovered: Recovered
) -> None:
    """Its row says for a while that it listens. Another worker's steward looks by itself."""
    victim, other = served(), served()
    can_listen = connection.vendor == "postgresql"
    wait_for(lambda: WorkerRow.objects.filter(listens=True).count() == 2 * can_listen, 10, "two that listen")
    victim.kill()
    WorkerRow.objects.filter(pid=other.pid).update(listens=False)  # so that the dead one is drawn each time
    begin = time.monotonic()
    jobs = [job_manager.submit(touch) for _ in range(5)]
    wait_for_end(jobs, 10)
    recovered("3: submitted to a worker that was just killed; all five done by another", time.monotonic() - begin)
    assert {job.state for job in Job.objects.all()} == {"completed"}


def _kill_and_replace(
    victim: Worker, served: StartWorker, ledger_file: Path, gate: Path, recovered: Recovered, fault: str, within: float
) -> None:
    """Kill a worker with two jobs running, two fetched ahead and two pending; see all six end on the next."""
    running = [job_manager.submit(hold, [str(gate)]) for _ in range(2)]
    wait_for_lines(ledger_file, "begin", 2, 15)
    others = [job_manager.submit(touch) for _ in range(4)]
    fetched_ahead = ["queued", "queued", "pending", "pending"]
    wait_for(lambda: [state_of(job) for job in others] == fetched_ahead, 5, "two jobs fetched ahead")
    family = victim.processes()
    begin = time.monotonic()
    victim.kill()
    wait_until(lambda: not any(alive(pid) for pid in family), 5, "the end of its children")
    found = wait_for(lambda: all("rescue" in events(job) for job in running), within + STALLED, "its jobs to be found")
    recovered(f"{fault}; what it ran is found", found)
    gate.touch()
    served()
    wait_for_end([*running, *others], 20)
    recovered(f"{fault}; all six done, its replacement's start included", time.monotonic() - begin)
    assert [outcomes(job) for job in running] == [["lost", "completed"]] * 2
    assert [outcomes(job) for job in others] == [["completed"]] * 4
    assert {line["pid"] for line in ledger.read(ledger_file, EFFECT)}.isdisjoint(family)


@pytest.mark.every_stack
def test_a_worker_that_stood_still_changes_nothing_and_begins_anew(
    served: StartWorker, ledger_file: Path, gate: Path, recovered: Recovered
) -> None:
    """Fault 5. Of its two bodies one ends after the thaw and is refused; the other is killed by its own worker."""
    old = served()
    jobs = [job_manager.submit(hold, [str(gate)]) for _ in range(2)]
    first = {line["job"]: line["pid"] for line in wait_for_lines(ledger_file, "begin", 2, 15)}
    new = served()
    old.freeze()
    wait_for_lines(ledger_file, "begin", 4, 15)
    assert {line["pid"] for line in ledger.read(ledger_file, "begin")[2:]} <= set(new.children())

    _end_the_first_attempt(jobs[0], first[str(jobs[0].id)], gate)
    assert [outcomes(job) for job in jobs] == [["lost", ""]] * 2
    assert [state_of(job) for job in jobs] == ["running"] * 2

    before = WorkerRow.objects.get(hostname=old.name)
    assert before.fenced_at
    old.thaw()
    reborn = WorkerRow.objects.filter(hostname=old.name, fenced_at__isnull=True)
    recovered("5: thawed after it was given up; begun anew", wait_for(reborn.exists, 10, "the new life"))
    assert reborn.get().boot_id != before.boot_id
    wait_until(lambda: not alive(first[str(jobs[1].id)]), 5, "the end of the body that still ran there")

    gate.touch()
    wait_for_end(jobs, 10)
    assert [outcomes(job) for job in jobs] == [["lost", "completed"]] * 2
    assert len([line for line in ledger.read(ledger_file, EFFECT) if line["attempt"] == 2]) == 2
    assert not [line for line in ledger.read(ledger_file, EFFECT) if line["job"] == str(jobs[1].id)][1:]
    _serves_again(old, new)


def _end_the_first_attempt(job: Job, pid: int, gate: Path) -> None:
    """Thaw the one process, and let that attempt come to its end: it is told that it is too late."""
    os.kill(pid, signal.SIGCONT)
    Path(f"{gate}1").touch()
    wait_for(lambda: "stale" in events(job), 10, "the refusal")
    Path(f"{gate}1").unlink()


def _serves_again(reborn: Worker, other: Worker) -> None:
    assert other.stop() == 0
    job = job_manager.submit(touch)
    wait_for_end([job], 10)
    assert job_manager.get_job_results(job.id) in reborn.children()
    assert Attempt.objects.get(job=job).worker == WorkerRow.objects.get(hostname=reborn.name, fenced_at__isnull=True)


def test_a_fenced_worker_cannot_claim(served: StartWorker, gate: Path) -> None:
    """It was given up while a doorbell waited for it, and fetches that before it hears of its own death."""
    worker = served(env=PATIENT)
    wait_for(heartbeats.heartbeats, 10, "the first beat")
    let_callers_admit()
    worker.freeze()
    job = job_manager.submit(touch)
    assert state_of(job) == "queued"
    ((boot_id, beat_seen),) = heartbeats.heartbeats()
    assert heartbeats.fence(boot_id, beat_seen)
    worker.thaw()
    wait_for(lambda: WorkerRow.objects.filter(fenced_at__isnull=True).exists(), 10, "its new life")
    wait_for_end([job], 15)
    assert outcomes(job) == ["completed"]
    assert events(job) == ["create", "admit", "release", "admit", "claim", "complete"]
    assert Attempt.objects.get(job=job).worker_id != boot_id
