"""Hooks of jobs whose process was killed run in another one, once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from jobs import Job, job_manager
from jobs.models import Hook
from tests.app import ledger
from tests.app.faulty import furnish
from tests.faults.conftest import Recovered, StartWorker
from tests.faults.observing import outcomes, state_of, wait_for, wait_for_lines
from tests.services.processes import alive, wait_until


def _begun(ledger_file: Path, gate: Path) -> tuple[Job, int]:
    """A job in its body, and the process of that."""
    job = job_manager.submit(furnish, [str(gate)])
    (line,) = wait_for_lines(ledger_file, "begin", 1, 15)
    return job, line["pid"]


def _hooks(ledger_file: Path) -> list[tuple[str, int]]:
    """What the hooks noted: name and process."""
    return [(what, line["pid"]) for what in ("on_cancel", "cleanup") for line in ledger.read(ledger_file, what)]


@pytest.mark.every_stack
def test_after_the_death_of_a_worker_another_one_runs_them(
    served: StartWorker, ledger_file: Path, gate: Path, recovered: Recovered
) -> None:
    worker = served()
    job, pid = _begun(ledger_file, gate)
    family = worker.processes()
    worker.freeze()  # else the body may be faster than the kill
    assert job_manager.cancel_job(job.id, reason="wrong file") == "REQUESTED"
    worker.kill()
    worker.thaw()
    wait_until(lambda: not any(alive(one) for one in family), 5, "the end of its children")
    served()
    recovered("a worker is killed; on_cancel and cleanup done by another", wait_for(_is_done, 30, "the hooks"))
    assert (state_of(job), outcomes(job)) == ("cancelled", ["cancelled"])
    told = _hooks(ledger_file)
    assert [what for what, _ in told] == ["on_cancel", "cleanup"]
    assert pid not in {process for _, process in told}
    assert ledger.read(ledger_file, "on_cancel")[0]["left"] == {"pid": pid}
    assert ledger.read(ledger_file, "on_cancel")[0]["reason"] == "wrong file"


def test_after_the_death_of_a_child_another_one_runs_them(
    served: StartWorker, ledger_file: Path, gate: Path, recovered: Recovered
) -> None:
    served()
    job, pid = _begun(ledger_file, gate)
    os.kill(pid, signal.SIGSTOP)
    assert job_manager.cancel_job(job.id) == "REQUESTED"
    os.kill(pid, signal.SIGKILL)
    recovered("a child is killed; on_cancel and cleanup done by another", wait_for(_is_done, 20, "the hooks"))
    assert (state_of(job), outcomes(job)) == ("cancelled", ["cancelled"])
    assert [what for what, _ in _hooks(ledger_file)] == ["on_cancel", "cleanup"]
    assert pid not in {process for _, process in _hooks(ledger_file)}


def test_an_attempt_that_is_rescued_cleans_up_once_at_the_end(
    served: StartWorker, ledger_file: Path, gate: Path
) -> None:
    served()
    job, pid = _begun(ledger_file, gate)
    os.kill(pid, signal.SIGKILL)
    wait_for_lines(ledger_file, "begin", 2, 15)
    gate.touch()
    wait_for(_is_done, 15, "the hooks")
    assert (state_of(job), outcomes(job)) == ("completed", ["lost", "completed"])
    (line,) = ledger.read(ledger_file, "cleanup")
    assert (line["attempt"], line["outcome"]) == (2, "completed")
    assert not ledger.read(ledger_file, "on_cancel")


def _is_done() -> bool:
    return not Hook.objects.exists()
