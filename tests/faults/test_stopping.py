"""Running attempts that must not go on: stopped by their worker, exactly they, and named."""

import os
import signal
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from jobs import Job, job_manager
from jobs.client.task import JobTask
from jobs.models import Attempt
from tests.app import ledger, points
from tests.app.faulty import EFFECT, touch
from tests.app.stubborn import brood, finish_late, fumble, obey, refuse, sit, spin, until, wait_for_child
from tests.faults.conftest import Recovered, StartWorker
from tests.faults.observing import events, outcomes, state_of, wait_for, wait_for_end, wait_for_lines
from tests.services.processes import alive, wait_until

ROUNDS = 20
GRACE = {"JOBCENTER_TEST_JOBS": '{"GRACE": 1}'}


def _begun(ledger_file: Path, task: JobTask, args: Sequence[Any] = (), **options: Any) -> tuple[Job, int]:
    """A job in its body, and the process that runs it."""
    job = job_manager.submit(task, args, **options)
    wait_until(lambda: _line(ledger_file, "begin", job), 15, f"{task.name} in its body")
    return job, _line(ledger_file, "begin", job)[-1]["pid"]


def _line(ledger_file: Path, what: str, job: Job) -> list[dict[str, Any]]:
    return [line for line in ledger.read(ledger_file, what) if line["job"] == str(job.id)]


def _fresh(job: Job) -> Job:
    return Job.objects.get(pk=job.id)


def _p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1]


@pytest.mark.every_stack
def test_a_busy_loop_in_c_is_stopped_by_force(served: StartWorker, ledger_file: Path, recovered: Recovered) -> None:
    """Fault 36. It holds the GIL: only another process can stop it."""
    worker = served()
    job, pid = _begun(ledger_file, spin)
    begin = time.monotonic()
    assert job_manager.cancel_job(job.id, force=True, reason="it hangs", actor="ann") == "REQUESTED"
    wait_until(lambda: not alive(pid), 5, "its death")
    recovered("36: a C loop that holds the GIL, forced: dead", time.monotonic() - begin)
    wait_for_end([job], 5)
    recovered("36: a C loop that holds the GIL, forced: recorded", time.monotonic() - begin)
    done = _fresh(job)
    assert (done.state, done.reason, done.cancel_requested_by) == ("cancelled", "it hangs", "ann")
    assert outcomes(job) == ["cancelled"]
    assert events(job)[-2:] == ["cancel_requested", "cancel"]
    follower = job_manager.submit(touch)
    wait_for_end([follower], 10)
    wait_until(lambda: len(worker.children()) == 2, 5, "its replacement")
    assert pid not in worker.children()


def test_a_request_is_seen_within_a_second_and_a_half(
    served: StartWorker, ledger_file: Path, recovered: Recovered
) -> None:
    """Cooperative: from the request to JobAborted in the body."""
    served()
    seconds: list[float] = []
    for _ in range(ROUNDS):
        job, _ = _begun(ledger_file, obey)
        time.sleep(0.05 * (len(seconds) % 20))  # at another moment of the second each time
        begin = time.monotonic()
        job_manager.cancel_job(job.id)
        wait_until(lambda job=job: _line(ledger_file, "stopped", job), 5, "JobAborted")  # type: ignore[misc]
        seconds.append(time.monotonic() - begin)
        wait_for_end([job], 5)
        assert outcomes(job) == ["cancelled"]
    recovered(f"cancel: request → JobAborted, p50 of {ROUNDS}", statistics.median(seconds))
    recovered(f"cancel: request → JobAborted, p95 of {ROUNDS}", _p95(seconds))
    assert _p95(seconds) <= 1.5
    assert {line["error"] for line in ledger.read(ledger_file, "stopped")} == {"JobAborted"}


def test_force_kills_within_two_seconds(served: StartWorker, ledger_file: Path, recovered: Recovered) -> None:
    """Forced: from the request to the death of the process, and to the outcome."""
    served()
    dead: list[float] = []
    named: list[float] = []
    for _ in range(ROUNDS):
        job, pid = _begun(ledger_file, sit)
        time.sleep(0.05 * (len(dead) % 20))
        begin = time.monotonic()
        job_manager.cancel_job(job.id, force=True)
        wait_until(lambda pid=pid: not alive(pid), 5, "its death")  # type: ignore[misc]
        dead.append(time.monotonic() - begin)
        wait_for_end([job], 5)
        named.append(time.monotonic() - begin)
        assert outcomes(job) == ["cancelled"]
    recovered(f"cancel by force: request → dead, p50 of {ROUNDS}", statistics.median(dead))
    recovered(f"cancel by force: request → dead, p95 of {ROUNDS}", _p95(dead))
    recovered(f"cancel by force: request → cancelled, p95 of {ROUNDS}", _p95(named))
    assert _p95(dead) <= 2


def test_who_does_not_look_is_told_to_end_after_the_grace(
    served: StartWorker, ledger_file: Path, recovered: Recovered
) -> None:
    """TERM first: `finally` runs. The grace of the submit counts, not the setting's."""
    served()
    job, pid = _begun(ledger_file, sit, grace=1.5)
    begin = time.monotonic()
    assert job_manager.cancel_job(job.id, reason="no need") == "REQUESTED"
    wait_for_end([job], 10)
    took = time.monotonic() - begin
    recovered("36: sleeping, cancelled, grace 1.5 s", took)
    assert 1.5 <= took <= 6.5
    assert not alive(pid)
    assert _line(ledger_file, "cleaned", job)
    assert (state_of(job), outcomes(job)) == ("cancelled", ["cancelled"])


def test_a_remapped_term_lets_it_clean_up_as_well(served: StartWorker, ledger_file: Path) -> None:
    """As hosts do whose platform sends SIGTERM for a cold shutdown: a child is deaf to the real one."""
    served(env=GRACE | {"REMAP_SIGTERM": "SIGQUIT"})
    job, pid = _begun(ledger_file, sit)
    job_manager.cancel_job(job.id)
    wait_for_end([job], 5)
    assert _line(ledger_file, "cleaned", job)
    assert (outcomes(job), alive(pid)) == (["cancelled"], False)


def test_who_refuses_to_end_is_killed(served: StartWorker, ledger_file: Path, recovered: Recovered) -> None:
    """It catches JobAborted, and the SystemExit of TERM: KILL follows, within grace + 5 s."""
    served(env=GRACE)
    job, pid = _begun(ledger_file, refuse)
    begin = time.monotonic()
    job_manager.cancel_job(job.id)
    wait_for_end([job], 10)
    took = time.monotonic() - begin
    recovered("36: refuses to stop, grace 1 s", took)
    assert took <= 6
    assert not alive(pid)
    assert {"JobAborted", "SystemExit"} <= {line["error"] for line in _line(ledger_file, "refused", job)}
    assert outcomes(job) == ["cancelled"]


@pytest.mark.every_stack
def test_who_fails_to_clean_up_ends_all_the_same(
    served: StartWorker, ledger_file: Path, gate: Path, recovered: Recovered
) -> None:
    """What `finally` raises over TERM keeps neither the process nor the slot; the next job has a process of its own."""
    served(concurrency=1)
    job, pid = _begun(ledger_file, fumble, timeout=1, grace=1)
    follower = job_manager.submit(until, [str(gate)])
    begin = time.monotonic()
    wait_for_end([job], 8)
    recovered("7: time-out of 1 s, grace of 1 s, clean-up that fails: recorded", time.monotonic() - begin)
    assert (outcomes(job), _fresh(job).error_category, _fresh(job).rescue_count) == (["failed"], "timeout", 0)
    assert not alive(pid)
    wait_until(lambda: _line(ledger_file, "begin", follower), 10, "the next job in its body")
    gate.touch()
    wait_for_end([follower], 10)
    assert outcomes(follower) == ["completed"]
    assert job_manager.get_job_results(follower.id) != pid


def test_force_may_be_added_to_a_request(served: StartWorker, ledger_file: Path) -> None:
    served()
    job, _ = _begun(ledger_file, sit, grace=60)
    assert job_manager.cancel_job(job.id, reason="first", actor="ann") == "REQUESTED"
    time.sleep(1)
    assert state_of(job) == "running"
    assert job_manager.cancel_job(job.id, True, "second", actor="bob") == "REQUESTED"
    wait_for_end([job], 5)
    assert (_fresh(job).reason, _fresh(job).cancel_requested_by) == ("first", "ann")


@pytest.mark.parametrize("force", [True, False], ids=["KILL", "TERM"])
def test_the_processes_of_a_stopped_job_end_with_it(served: StartWorker, ledger_file: Path, force: bool) -> None:
    served()
    job, _ = _begun(ledger_file, brood, grace=1)
    (line,) = _line(ledger_file, "begin", job)
    job_manager.cancel_job(job.id, force=force)
    wait_for_end([job], 5)
    wait_until(lambda: not alive(line["child"]), 2, "the end of its child")


def test_the_processes_of_an_interrupted_job_end_with_it(served: StartWorker, ledger_file: Path) -> None:
    worker = served()
    job, pid = _begun(ledger_file, brood)
    (line,) = _line(ledger_file, "begin", job)
    worker.send(signal.SIGQUIT)
    wait_until(lambda: not alive(pid), 10, "its death")
    wait_until(lambda: not alive(line["child"]), 2, "the end of its child")
    wait_for(lambda: outcomes(job) == ["interrupted"], 10, "the outcome")
    job_manager.cancel_job(job.id)
    worker.wait()
    served()


def test_on_abort_is_called_while_the_body_waits(served: StartWorker, ledger_file: Path) -> None:
    served()
    job, pid = _begun(ledger_file, wait_for_child)
    job_manager.cancel_job(job.id)
    wait_for_end([job], 5)
    assert outcomes(job) == ["cancelled"]
    assert alive(pid)  # nobody had to stop it


def test_a_time_out_is_told_to_the_body_first(served: StartWorker, ledger_file: Path, recovered: Recovered) -> None:
    """Fault 7, soft: JobTimedOut at its next look; the process lives on."""
    served()
    begin = time.monotonic()
    job, pid = _begun(ledger_file, obey, timeout=1)
    wait_for_end([job], 5)
    recovered("7: time-out of 1 s, soft", time.monotonic() - begin)
    done = _fresh(job)
    assert (done.state, done.error_category, done.error_type) == ("failed", "timeout", "jobs.exceptions.JobTimedOut")
    assert "its time-out is 1 s" in done.error_message
    assert (outcomes(job), events(job)[-1]) == (["failed"], "fail")
    assert alive(pid)


def test_a_time_out_that_is_caught_may_end_well(served: StartWorker, ledger_file: Path) -> None:
    """Fault 8."""
    served()
    job, _ = _begun(ledger_file, finish_late, timeout=1)
    wait_for_end([job], 5)
    assert job_manager.get_job_results(job.id) == "JobTimedOut"


@pytest.mark.every_stack
def test_a_time_out_that_is_ignored_is_enforced_once(
    served: StartWorker, ledger_file: Path, recovered: Recovered
) -> None:
    """Faults 7 and 8, hard: one failure for each attempt, and the retry policy once."""
    served()
    begin = time.monotonic()
    job, pid = _begun(ledger_file, spin, timeout=1, grace=1, max_retries=1, retry_delay=0)
    wait_for(lambda: outcomes(job)[:1] == ["retried"], 10, "the first time-out")
    recovered("7: time-out of 1 s, grace of 1 s, C loop: recorded", time.monotonic() - begin)
    assert not alive(pid)
    wait_for_end([job], 15)
    done = _fresh(job)
    assert (done.state, done.error_category) == ("failed", "timeout")
    assert "its time-out of 1 s" in done.error_message
    assert "its grace of 1 s" in done.error_message
    assert outcomes(job) == ["retried", "failed"]
    assert [name for name in events(job) if name in ("retry", "fail")] == ["retry", "fail"]
    assert [one.error_category for one in Attempt.objects.filter(job=job)] == ["timeout"] * 2


def test_celerys_own_limits_do_not_reach_a_job(served: StartWorker, ledger_file: Path, gate: Path) -> None:
    """Of a worker that has some for its other tasks: not while it runs, and not while it waits for its last jobs."""
    worker = served(options=["--soft-time-limit", "1", "--time-limit", "2"])
    job, pid = _begun(ledger_file, until, args=[str(gate)])
    time.sleep(3)
    worker.send(signal.SIGTERM)
    time.sleep(1)
    assert alive(pid)
    gate.touch()
    wait_for_end([job], 5)
    assert outcomes(job) == ["completed"]
    worker.wait()
    served()


def test_a_request_weighs_more_than_a_time_out(served: StartWorker, ledger_file: Path) -> None:
    served()
    job, _ = _begun(ledger_file, spin, timeout=1, grace=2)
    job_manager.cancel_job(job.id, reason="ann was first")
    wait_for_end([job], 10)
    assert (state_of(job), outcomes(job)) == ("cancelled", ["cancelled"])


def test_only_the_one_is_stopped(served: StartWorker, ledger_file: Path, gate: Path) -> None:
    """The neighbour in the other process, and whoever follows in the same one, are left alone."""
    worker = served()
    neighbour = job_manager.submit(until, [str(gate)])
    victim, pid = _begun(ledger_file, sit)
    job_manager.cancel_job(victim.id, force=True)
    wait_for_end([victim], 5)
    followers = [job_manager.submit(touch) for _ in range(10)]
    wait_for_end(followers, 10)
    gate.touch()
    wait_for_end([neighbour], 5)
    assert {state_of(job) for job in [neighbour, *followers]} == {"completed"}
    assert len(ledger.read(ledger_file, EFFECT)) == 11
    assert pid not in worker.children()


@pytest.mark.every_stack
@pytest.mark.parametrize("force", [True, False], ids=["KILL", "TERM"])
def test_who_has_gone_on_to_another_job_is_not_touched(
    served: StartWorker, ledger_file: Path, gate: Path, force: bool
) -> None:
    """Fault 36: the body ends after the guard has chosen its process, which is at the next job when the blow comes."""
    served(concurrency=1, env={points.POINT: "before_blow"})
    victim, pid = _begun(ledger_file, until, [f"{gate}-victim"], grace=0)
    innocent = job_manager.submit(until, [str(gate)])
    job_manager.cancel_job(victim.id, force=force)
    wait_for_lines(ledger_file, "about to strike", 1, 10)
    Path(f"{gate}-victim").touch()
    wait_until(lambda: _line(ledger_file, "begin", innocent), 10, "the next job in the same process")
    assert _line(ledger_file, "begin", innocent)[0]["pid"] == pid
    points.blow_gate(ledger_file).touch()
    (blow,) = wait_for_lines(ledger_file, "blow", 1, 10)
    gate.touch()
    wait_for_end([victim, innocent], 10)
    assert (blow["is_struck"], outcomes(victim), outcomes(innocent)) == (False, ["completed"], ["completed"])
    assert job_manager.get_job_results(innocent.id) == pid


def test_a_child_that_dies_by_itself_is_lost(served: StartWorker, ledger_file: Path) -> None:
    """Nobody pronounced a verdict: its death is no cancellation, and no time-out."""
    served()
    job, pid = _begun(ledger_file, sit, timeout=60)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: outcomes(job)[:1] == ["lost"], 5, "the outcome")
    job_manager.cancel_job(job.id, force=True)
    wait_for_end([job], 10)
