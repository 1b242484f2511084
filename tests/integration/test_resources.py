"""What jobs use is measured, and who uses more than it has declared is stopped: real bodies in a real worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs import Job, job_manager
from jobs.execution.resources import tmpdirs
from jobs.models import Attempt
from tests.app import hungry, ledger
from tests.integration.house import LONG, House, attempts
from tests.services import Worker
from tests.services.processes import alive, wait_until

pytestmark = pytest.mark.broker


def the_attempt(job: Job) -> Attempt:
    (attempt,) = attempts(job)
    return attempt


def noted(house: House, job: Job, what: str) -> dict[str, object]:
    """The line that the body has noted of itself."""

    def lines() -> list[dict[str, object]]:
        return [line for line in ledger.read(house.ledger, what) if line["job"] == str(job.id)]

    wait_until(lines, LONG, f"{what!r} in the ledger")
    return lines()[0]


def test_where_jobs_share_a_process_nobody_is_stopped(start_worker: Callable[..., Worker]) -> None:
    """Threads: their processor time and their directories are their own, the memory is not."""
    worker = start_worker(pool="threads")
    jobs = [job_manager.submit(hungry.allocate, ["", 200], memory_mb=50), job_manager.submit(hungry.burn, [0.2])]
    greedy, busy = (job_manager.handle(row.id).wait(LONG) for row in jobs)
    assert (greedy.state, busy.state) == ("completed", "completed")
    assert [the_attempt(job).peak_memory_mb for job in jobs] == [None, None]
    assert the_attempt(busy).cpu_seconds == pytest.approx(0.2, abs=0.2)
    assert "not enforced" in worker.text()


def test_a_second_of_processor_time_is_counted(house: House) -> None:
    attempt = the_attempt(house.run(hungry.burn, 1.0))
    assert attempt.cpu_seconds == pytest.approx(1.1, abs=0.3)
    assert attempt.average_cpu is not None
    assert 10 < attempt.average_cpu < 130


def test_that_of_a_child_process_as_well(house: House) -> None:
    assert the_attempt(house.run(hungry.burn_in_a_child, 1.0)).cpu_seconds == pytest.approx(1.15, abs=0.35)


def test_a_job_that_does_nothing_has_used_next_to_nothing(house: House) -> None:
    attempt = the_attempt(house.run("tests.app.jobs.probe"))
    assert attempt.cpu_seconds is not None
    assert attempt.peak_memory_mb is not None
    assert attempt.cpu_seconds < 0.3
    assert attempt.peak_memory_mb < 16
    assert attempt.peak_disk_mb is None


def test_the_peak_of_a_short_job_is_known(house: House) -> None:
    """It has come and gone between two looks; the kernel remembers."""
    attempt = the_attempt(house.run(hungry.allocate, "", 200, memory_mb=250))
    assert attempt.peak_memory_mb == pytest.approx(200, abs=16)
    following = the_attempt(house.run("tests.app.jobs.probe"))
    assert following.peak_memory_mb is not None
    assert following.peak_memory_mb < 16  # the peak was the other's


def test_over_its_memory_a_job_is_stopped(house: House) -> None:
    job = house.run(hungry.allocate, str(house.gate()), 200, memory_mb=100)
    assert (job.state, job.error_category, job.error_type) == ("failed", "memory", "MemoryExceeded")
    attempt = the_attempt(job)
    assert attempt.error_message == job.error_message
    assert "MB of 100 MB memory declared; from 132 MB on" in job.error_message
    assert attempt.peak_memory_mb is not None
    assert 132 <= attempt.peak_memory_mb < 216  # it may have been stopped while it grew
    assert attempt.cpu_seconds is not None


def test_within_the_tolerance_it_goes_on(house: House) -> None:
    gate = house.gate()
    within = house.in_body(hungry.allocate, gate, 115, memory_mb=100)
    assert house.run(hungry.allocate, str(gate), 200, memory_mb=100).state == "failed"  # the guard has looked
    gate.touch()
    assert house.done(within).state == "completed"
    assert the_attempt(within).peak_memory_mb == pytest.approx(115, abs=16)


def test_one_that_never_lets_go_of_the_interpreter_is_stopped_as_well(house: House) -> None:
    job = house.run(hungry.hold_the_interpreter, 200, memory_mb=100)
    assert (job.state, job.error_category) == ("failed", "memory")
    assert house.run("tests.app.jobs.probe").state == "completed"


def test_the_memory_of_descendants_counts_and_they_end_with_it(house: House) -> None:
    job = house.submit(hungry.spawn, str(house.gate()), 200, memory_mb=100)
    child = noted(house, job, "spawned")["child"]
    done = house.done(job)
    assert (done.state, done.error_category) == ("failed", "memory")
    attempt = the_attempt(job)
    assert attempt.peak_memory_mb is not None
    assert attempt.peak_memory_mb > 132
    assert attempt.metrics == {"child_processes": 2}
    assert isinstance(child, int)
    wait_until(lambda: not alive(child), 5, "the end of the child process")


@pytest.mark.parametrize(("again", "outcomes"), [({}, ["failed"]), ({"retry_on": ["memory"]}, ["retried", "failed"])])
def test_another_attempt_is_granted_to_who_asks_for_it(
    house: House, again: dict[str, Any], outcomes: list[str]
) -> None:
    """As a rule it would meet the same end."""
    gate = str(house.gate())
    job = house.run(hungry.allocate, gate, 200, memory_mb=100, max_retries=1, retry_delay=0.1, **again)
    assert job.state == "failed"
    assert [(one.outcome, one.error_category) for one in attempts(job)] == [(one, "memory") for one in outcomes]


def test_over_its_disk_a_job_is_stopped(house: House) -> None:
    job = house.run(hungry.fill, str(house.gate()), 20, disk_mb=10)
    assert (job.state, job.error_category, job.error_type) == ("failed", "disk", "DiskExceeded")
    assert "MB of 10 MB disk declared; from 12 MB on" in job.error_message
    attempt = the_attempt(job)
    assert attempt.peak_disk_mb is not None
    assert 12 <= attempt.peak_disk_mb < 21
    wait_until(lambda: not tmpdirs.path_of(attempt.id).exists(), 5, "the end of the directory")


@pytest.mark.parametrize(("how", "state"), [("return", "completed"), ("raise", "failed"), ("exit", "failed")])
def test_the_directory_is_gone_when_the_job_has_ended(house: House, how: str, state: str) -> None:
    job = house.submit(hungry.fill, "", 3, how)
    place = Path(str(noted(house, job, "filled")["place"]))
    assert house.done(job).state == state
    assert not place.exists()
    assert the_attempt(job).peak_disk_mb == pytest.approx(3, abs=0.1)


def test_each_attempt_has_a_directory_of_its_own(house: House) -> None:
    job = house.run(hungry.fill, "", 1, "snooze")
    places = [str(line["place"]) for line in ledger.read(house.ledger, "filled") if line["job"] == str(job.id)]
    assert [Path(place).name for place in places] == [str(one.id) for one in attempts(job)]
    assert not any(Path(place).exists() for place in places)


def test_the_next_job_does_not_find_itself_nowhere(house: House) -> None:
    house.run(hungry.fill, "", 1)
    for job in [house.submit(hungry.where) for _ in range(4)]:
        assert house.done(job).result == str(Path(__file__).resolve().parents[2])


def test_the_directory_of_a_cancelled_job_is_gone(house: House) -> None:
    job = house.submit(hungry.fill, str(house.gate()), 1)
    place = Path(str(noted(house, job, "filled")["place"]))
    job_manager.cancel_job(job.id)
    assert house.done(job).state == "cancelled"
    assert not place.exists()
