"""What is left behind when processes die: directories are swept, descendants end, and what was measured is kept."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from jobs import Job, job_manager
from jobs.client.task import JobTask
from jobs.models import Attempt
from tests.app import hungry, ledger
from tests.faults.conftest import Recovered, StartWorker
from tests.faults.observing import outcomes, state_of, wait_for, wait_for_end, wait_for_lines
from tests.services.processes import alive


def _env(tmp_path: Path, **jobs: Any) -> dict[str, str]:
    """Directories of this test's own."""
    return {"JOBCENTER_TEST_JOBS": json.dumps({"TMPDIR": str(tmp_path / "dirs"), **jobs})}


def _begun(task: JobTask, args: list[Any], ledger_file: Path, **options: Any) -> tuple[Job, dict[str, Any]]:
    job = job_manager.submit(task, args, **options)
    (line,) = wait_for_lines(ledger_file, "begin", 1, 20)
    return job, line


@pytest.mark.every_stack
def test_a_job_that_never_lets_go_of_the_interpreter_and_eats_memory_is_stopped(
    served: StartWorker, ledger_file: Path, recovered: Recovered
) -> None:
    """Nothing inside that process could: only main sees it grow."""
    worker = served()
    job, line = _begun(hungry.hold_the_interpreter, [300], ledger_file, memory_mb=100)
    recovered("a C loop that holds the GIL is over its memory; recorded", wait_for_end([job], 10))
    job.refresh_from_db()
    assert (job.state, job.error_category) == ("failed", "memory")
    assert "of 100 MB memory declared; from 132 MB on" in job.error_message  # stopped while it grew, as a rule
    assert outcomes(job) == ["failed"]
    assert not alive(line["pid"])
    assert not worker.ended()


@pytest.mark.every_stack
def test_what_a_killed_child_has_written_is_gone(
    served: StartWorker, ledger_file: Path, tmp_path: Path, recovered: Recovered
) -> None:
    """The next attempt finds a directory of its own, and the dead one's figures are kept."""
    served(env=_env(tmp_path))
    gate = tmp_path / "gate"
    job, line = _begun(hungry.fill, [str(gate), 5], ledger_file)
    attempt = Attempt.objects.get(job=job)
    left = tmp_path / "dirs" / str(attempt.id)
    assert left.is_dir()
    _let_main_look()
    os.kill(line["pid"], signal.SIGKILL)
    recovered("a child with a directory is killed; swept", wait_for(lambda: not left.exists(), 10, "the sweep"))
    wait_for_lines(ledger_file, "begin", 2, 20)
    gate.touch()
    wait_for_end([job], 15)
    assert outcomes(job) == ["lost", "completed"]
    wait_for(lambda: Attempt.objects.get(pk=attempt.id).cpu_seconds is not None, 5, "the dead one's figures")
    assert Attempt.objects.get(pk=attempt.id).peak_disk_mb == pytest.approx(5, abs=0.2)
    assert not list((tmp_path / "dirs").iterdir())


def _let_main_look() -> None:
    """It does so several times while another job runs for half a second."""
    other = job_manager.submit(hungry.burn, [0.5])
    wait_for_end([other], 15)


def test_what_a_killed_worker_has_left_is_swept_by_the_next_and_what_is_alive_is_not(
    served: StartWorker, ledger_file: Path, tmp_path: Path, recovered: Recovered
) -> None:
    """Both share a root, as all workers of a host do."""
    env, gate = _env(tmp_path, STALE_AFTER=60, LEASE=30), tmp_path / "gate"
    elsewhere = served(concurrency=1, queues=["elsewhere"], env=env)
    doomed = served(concurrency=1, env=env)
    alive_one = job_manager.submit(hungry.fill, [str(gate), 1], pool="elsewhere")
    dead_one = job_manager.submit(hungry.fill, [str(gate), 1])
    lines = wait_for_lines(ledger_file, "filled", 2, 20)
    places = {line["job"]: Path(line["place"]) for line in lines}
    elsewhere.freeze()  # so that it sweeps nothing
    doomed.kill()
    wait_for(lambda: not doomed.processes(), 10, "the end of the pool")
    assert all(place.is_dir() for place in places.values())
    served(concurrency=1, queues=["third"], env=env)
    seconds = wait_for(lambda: not places[str(dead_one.id)].exists(), 10, "the sweep")
    recovered("a worker with a directory is killed; swept by another", seconds)
    assert places[str(alive_one.id)].is_dir()
    elsewhere.thaw()
    gate.touch()
    wait_for_end([alive_one], 15)
    assert state_of(alive_one) == "completed"
    assert not places[str(alive_one.id)].exists()
    served(concurrency=1)  # for what is left
    job_manager.cancel_job(dead_one.id)


def test_a_warm_shutdown_leaves_nothing(served: StartWorker, ledger_file: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    worker = served(concurrency=1, env=_env(tmp_path))
    job, _ = _begun(hungry.fill, [str(gate), 1], ledger_file)
    os.kill(worker.pid, signal.SIGTERM)
    gate.touch()
    wait_for_end([job], 15)
    wait_for(worker.ended, 15, "its end")
    assert not list((tmp_path / "dirs").iterdir())
    assert ledger.read(ledger_file, "filled")
    served()
