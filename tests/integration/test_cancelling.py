"""Cancelling: at once what waits, by request what runs; and who wins when both ends come together."""

import time
from collections.abc import Callable

import pytest

from jobs import Job, job_manager
from jobs.exceptions import JobCancelled
from jobs.models import Pool
from tests.app import ledger
from tests.app.jobs import add, answer_request, count_to, fail_first, hold, ignore_requests, probe
from tests.integration.house import LONG, House, attempts, fresh, outcomes, story
from tests.services.processes import wait_until

pytestmark = pytest.mark.broker


def _scheduled(house: House) -> str:
    return str(house.submit(add, 1, 1, run_after=60).id)


def _paused(house: House) -> str:
    return str(house.submit(add, 1, 1, start=False).id)


def _pending(house: House) -> str:
    Pool.objects.update(max_concurrent=0)
    return str(house.submit(add, 1, 1).id)


def _between_two_attempts(house: House) -> str:
    return str(house.until(house.submit(fail_first, 9, max_retries=3, retry_delay=60), "scheduled").id)


def _queued(house: House) -> str:
    gate = house.gate()
    for _ in range(2):
        house.in_body(hold, gate)
    return str(house.until(house.submit(add, 1, 1), "queued").id)


@pytest.mark.parametrize("waiting", [_scheduled, _paused, _pending, _between_two_attempts, _queued])
def test_what_waits_is_cancelled_at_once(house: House, waiting: object) -> None:
    assert callable(waiting)
    job = job_manager.get_job(waiting(house))
    ran_before = len(house.effects(job))
    assert job_manager.cancel_job(job.id, reason="no need", actor="ann") == "CANCELLED"
    cancelled = fresh(job)
    assert (cancelled.state, cancelled.reason, cancelled.cancel_requested_by) == ("cancelled", "no need", "ann")
    assert story(job)[-1] == "cancel"
    assert job_manager.cancel_job(job.id) == "ALREADY_FINAL"
    with pytest.raises(JobCancelled, match="no need"):
        job_manager.get_job_results(job.id)
    house.open_gates()
    Pool.objects.update(max_concurrent=None)
    assert [house.run(probe).state for _ in range(2)] == ["completed"] * 2  # its doorbell has been answered by now
    assert len(house.effects(job)) == ran_before


def _looking(house: House) -> Job:
    return house.in_body(hold, house.gate())


def _telling(house: House) -> Job:
    job = house.submit(count_to, 3000, 0.01)
    wait_until(lambda: fresh(job).progress > 0, LONG, "the first word of its body")
    return job


@pytest.mark.parametrize("running", [_looking, _telling])
def test_a_running_job_stops_at_its_next_look_or_word(house: House, running: Callable[[House], Job]) -> None:
    job = running(house)
    began = time.monotonic()
    assert job_manager.cancel_job(job.id, reason="too slow", actor="ann") == "REQUESTED"
    assert job_manager.cancel_job(job.id, reason="too slow", actor="ann") in ("REQUESTED", "ALREADY_FINAL")
    done = house.done(job)
    assert time.monotonic() - began < 4  # asked once a second
    assert (done.state, done.reason, done.cancel_requested_by) == ("cancelled", "too slow", "ann")
    assert done.progress < 100
    assert outcomes(job) == ["cancelled"]
    assert story(job)[3] == "cancel_requested"
    assert story(job)[-1] == "cancel"


@pytest.mark.parametrize("by", ["raise", "snooze"])
def test_a_request_wins_over_a_failure_a_retry_and_a_snooze(house: House, by: str) -> None:
    job = house.in_body(answer_request, house.gate(), by)
    assert job_manager.cancel_job(job.id) == "REQUESTED"
    done = house.done(job)
    assert done.state == "cancelled"
    assert outcomes(job) == ["cancelled"]
    assert [line["job"] for line in ledger.read(house.ledger, "aborted")].count(str(job.id)) == 1
    if by == "raise":
        (attempt,) = attempts(job)
        assert (attempt.error_type, attempt.error_message) == ("ValueError", "no clean end")  # kept


def test_a_body_that_ends_well_wins_over_the_request(house: House) -> None:
    gate = house.gate()
    job = house.in_body(ignore_requests, gate)
    assert job_manager.cancel_job(job.id) == "REQUESTED"
    gate.touch()
    done = house.done(job)
    assert (done.state, done.result) == ("completed", "opened")
    assert job_manager.cancel_job(job.id) == "ALREADY_FINAL"


def test_a_cancelled_job_may_be_run_again(house: House) -> None:
    job = house.submit(add, 1, 2, run_after=60)
    job_manager.cancel_job(job.id)
    assert job_manager.retry_job(job.id) == "REQUEUED"
    done = house.done(job)
    assert (done.state, done.result, done.run, done.reason) == ("completed", 3, 2, "")
    assert job_manager.retry_job(job.id) == "NOT_FINAL"
