"""Workers that are told to end (fault 6), and bodies that end as none should (fault 10): each is named."""

import signal
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from jobs import Job, JobTask, job_manager
from jobs.models import Worker as WorkerRow
from tests.app import ledger
from tests.app.faulty import hold, touch
from tests.app.stubborn import BAD_ENDS, end_badly, keep, obey, spin, tidy, until
from tests.faults.conftest import Recovered, StartWorker
from tests.faults.observing import events, outcomes, state_of, wait_for, wait_for_end, wait_for_lines
from tests.services import Worker
from tests.services.workers import PoolName

UNHURRIED = {"JOBCENTER_TEST_JOBS": '{"LOST_AFTER": 60}'}  # what was fetched ahead is not released meanwhile
QUIT, TERM = signal.SIGQUIT, signal.SIGTERM


class Shutdown(NamedTuple):
    """How a worker is ended: its environment, the signals in turn."""

    name: str
    signals: tuple[signal.Signals, ...]
    env: dict[str, str] = {}  # noqa: RUF012 - never written


PATIENT = [Shutdown("warm", (TERM,)), Shutdown("double SIGTERM", (TERM, TERM))]
IMPATIENT = [
    Shutdown("cold", (QUIT,)),
    Shutdown("soft", (QUIT,), {"JOBCENTER_TEST_SOFT_SHUTDOWN": "1"}),
    Shutdown("warm, then cold", (TERM, QUIT)),
    Shutdown("REMAP_SIGTERM", (TERM,), {"REMAP_SIGTERM": "SIGQUIT"}),
]


def _full(served: StartWorker, ledger_file: Path, gate: Path, how: Shutdown) -> tuple[Worker, list[Job], list[Job]]:
    """A worker with two jobs running and two fetched ahead; a job of another kind waits behind them."""
    worker = served(env=how.env | UNHURRIED)
    running = [job_manager.submit(until, [str(gate)]) for _ in range(2)]
    wait_for_lines(ledger_file, "begin", 2, 15)
    waiting = [job_manager.submit(touch) for _ in range(2)]
    wait_for(lambda: [state_of(job) for job in waiting] == ["queued"] * 2, 5, "two jobs fetched ahead")
    time.sleep(0.5)
    return worker, running, waiting


@pytest.mark.parametrize("how", PATIENT, ids=lambda how: how.name)
def test_who_may_take_his_time_ends_well(
    served: StartWorker, ledger_file: Path, gate: Path, how: Shutdown, recovered: Recovered
) -> None:
    """What runs runs on; what has not begun does not wait for that."""
    worker, running, waiting = _full(served, ledger_file, gate, how)
    other = served(queues=["elsewhere"], env=UNHURRIED)  # the steward, and nobody who could take the jobs
    begin = time.monotonic()
    for number, pause in zip(how.signals, (0.3, 0), strict=False):
        worker.send(number)
        time.sleep(pause)
    wait_for(lambda: [state_of(job) for job in waiting] == ["pending"] * 2, 5, "what was not begun is given back")
    recovered(f"6: {how.name}: given back what was not begun", time.monotonic() - begin)
    assert [state_of(job) for job in running] == ["running"] * 2
    gate.touch()
    wait_for_end(running, 10)
    assert worker.wait() == 0
    assert [outcomes(job) for job in running] == [["completed"]] * 2
    served()
    wait_for_end(waiting, 15)
    assert [outcomes(job) for job in waiting] == [["completed"]] * 2
    assert not other.ended()


@pytest.mark.parametrize("how", IMPATIENT, ids=lambda how: how.name)
def test_what_a_shutdown_stops_was_interrupted(
    served: StartWorker, ledger_file: Path, gate: Path, how: Shutdown, recovered: Recovered
) -> None:
    """No failure, no retry, no rescue: another worker runs it again."""
    worker, running, waiting = _full(served, ledger_file, gate, how)
    begin = time.monotonic()
    for number, pause in zip(how.signals, (0.3, 0), strict=False):
        worker.send(number)
        time.sleep(pause)
    wait_for(lambda: [outcomes(job) for job in running] == [["interrupted"]] * 2, 10, "the outcome")
    recovered(f"6: {how.name}: named", time.monotonic() - begin)
    worker.wait()
    recovered(f"6: {how.name}: ended", time.monotonic() - begin)
    gate.touch()
    served()
    wait_for_end([*running, *waiting], 15)
    assert [outcomes(job) for job in running] == [["interrupted", "completed"]] * 2
    assert [outcomes(job) for job in waiting] == [["completed"]] * 2
    for job in running:
        job.refresh_from_db()
        assert (job.retry_count, job.rescue_count, job.error_count) == (0, 0, 0)
        assert [name for name in events(job) if name in ("retry", "rescue", "fail")] == []
        assert events(job).count("interrupt") == 1
    log = worker.text()
    assert "cancelled by Celery" not in log
    assert "Retry" not in log


def test_a_body_that_ignores_the_shutdown_is_killed(
    served: StartWorker, ledger_file: Path, recovered: Recovered
) -> None:
    """A loop in C hears of no signal: after its grace it is killed, and the worker ends."""
    worker = served()
    job = job_manager.submit(spin, grace=1)
    wait_for_lines(ledger_file, "begin", 1, 15)
    begin = time.monotonic()
    worker.send(QUIT)
    wait_for(lambda: outcomes(job) == ["interrupted"], 10, "the outcome")
    worker.wait()
    recovered("6: cold, a C loop, grace 1 s: ended", time.monotonic() - begin)
    job_manager.cancel_job(job.id)
    served()


@pytest.mark.parametrize("how", IMPATIENT[::3], ids=lambda how: how.name)
def test_a_body_has_its_grace_to_clean_up(served: StartWorker, ledger_file: Path, how: Shutdown) -> None:
    """No second signal cuts its `finally` short."""
    worker = served(env=how.env)
    job = job_manager.submit(tidy)
    wait_for_lines(ledger_file, "begin", 1, 15)
    worker.send(how.signals[0])
    worker.wait()
    assert outcomes(job) == ["interrupted"]
    assert ledger.read(ledger_file, "cleaned")
    job_manager.cancel_job(job.id)
    served()


@pytest.mark.parametrize("body", [obey, keep], ids=["check", "checkpoint"])
@pytest.mark.parametrize("pool", ["threads", "solo", "gevent"])
def test_where_nobody_can_stop_the_code_it_is_asked(
    served: StartWorker, ledger_file: Path, pool: PoolName, body: JobTask, recovered: Recovered
) -> None:
    """But greenlets, which Celery ends by an exception."""
    worker = served(pool=pool)
    job = job_manager.submit(body)
    wait_for_lines(ledger_file, "begin", 1, 15)
    begin = time.monotonic()
    worker.send(QUIT)
    wait_for(lambda: outcomes(job) == ["interrupted"], 10, "the outcome")
    worker.wait()
    recovered(f"6: cold, {pool}, {body.name}: ended", time.monotonic() - begin)
    job_manager.cancel_job(job.id)
    served()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_whatever_a_body_does_the_next_job_runs(
    served: StartWorker, ledger_file: Path, pool: PoolName, recovered: Recovered
) -> None:
    """Fault 10, each pool, one process or thread: an outcome in bounds, and the same worker serves on."""
    deadly = {"os._exit", "os._exit(0)", "abort", "SIGKILL"}
    worker = served(pool=pool, concurrency=1, env={"JOBCENTER_TEST_JOBS": '{"MAX_RESCUES": 0}'})
    for how in sorted(BAD_ENDS.keys() - (set() if pool == "prefork" else deadly)):
        begin = time.monotonic()
        bad, good = job_manager.submit(end_badly, [how]), job_manager.submit(touch)
        wait_for_end([bad, good], 20)
        recovered(f"10: {how} on {pool}: ended, and the next one done", time.monotonic() - begin)
        bad.refresh_from_db()
        assert bad.state == "failed", how
        assert (bad.error_category == "lost") is (how in deadly), how
        assert (state_of(good), outcomes(bad)) == ("completed", [outcomes(bad)[0]])
        assert not worker.ended()


@pytest.mark.parametrize("pool", ["threads", "solo", "gevent"])
def test_a_time_out_where_nobody_can_stop_the_code(
    served: StartWorker, ledger_file: Path, gate: Path, pool: PoolName, recovered: Recovered
) -> None:
    """Fault 9: recorded when it is due; what the body says later is refused."""
    served(pool=pool)
    begin = time.monotonic()
    job = job_manager.submit(until, [str(gate)], timeout=1, grace=1)
    wait_for_end([job], 10)
    recovered(f"9: time-out of 1 s, grace of 1 s, on {pool}: recorded", time.monotonic() - begin)
    job.refresh_from_db()
    assert (job.state, job.error_category) == ("failed", "timeout")
    gate.touch()
    wait_for(lambda: "stale" in events(job), 10, "the refusal")
    assert (state_of(job), outcomes(job)) == ("failed", ["failed"])
    assert not WorkerRow.objects.filter(can_stop=True).exists()


@pytest.mark.parametrize("pool", ["threads", "gevent"])
def test_who_cannot_be_stopped_is_honestly_requested(
    served: StartWorker, ledger_file: Path, gate: Path, pool: PoolName
) -> None:
    """Fault 36 where there are no processes: force changes nothing, and `why` says so."""
    served(pool=pool)
    job = job_manager.submit(until, [str(gate)])
    wait_for_lines(ledger_file, "begin", 1, 15)
    assert job_manager.cancel_job(job.id, force=True) == "REQUESTED"
    time.sleep(1.5)
    assert state_of(job) == "running"
    assert "cannot stop the code from outside" in str(job_manager.why(job.id))
    gate.touch()
    wait_for_end([job], 10)
    assert state_of(job) == "completed"


def test_a_cancelled_job_does_not_run_after_a_restart(served: StartWorker, ledger_file: Path, gate: Path) -> None:
    """Fault 36, all workers down; and what waits for its next attempt has none."""
    worker = served()
    held = [job_manager.submit(hold, [str(gate)]) for _ in range(2)]  # in both processes: no other can begin
    wait_for_lines(ledger_file, "begin", 2, 15)
    queued = [job_manager.submit(touch) for _ in range(4)]
    failing = job_manager.submit(end_badly, ["sys.exit"], max_retries=3, retry_delay=60)
    worker.kill()
    assert {job_manager.cancel_job(job.id) for job in held} == {"REQUESTED"}
    assert {job_manager.cancel_job(job.id) for job in queued} == {"CANCELLED"}
    served()
    wait_for_end([*held, *queued], 15)
    wait_for(lambda: state_of(failing) == "scheduled", 10, "its retry")
    assert job_manager.cancel_job(failing.id) == "CANCELLED"
    assert {state_of(job) for job in [*held, *queued, failing]} == {"cancelled"}
    assert [outcomes(job) for job in held] == [["cancelled"]] * 2
    assert not ledger.read(ledger_file, "effect")
