"""The guard, one step at a time, with real processes to stop; under a real worker it is in the fault tests."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import psutil
import pytest
from celery.concurrency.prefork import TaskPool
from celery.worker import state
from django.db import OperationalError
from django.test import override_settings

from jobs import JobTask, job, job_manager
from jobs.execution.resources.scoreboard import Scoreboard
from jobs.execution.termination import INTERRUPTED, Termination
from jobs.models import Attempt, Job
from jobs.worker import sampler
from jobs.worker.feeder import Feeder
from jobs.worker.guard import descendants, kill, terminations
from jobs.worker.guard import guard as watch
from jobs.worker.guard.guard import Guard
from jobs.worker.guard.rules import verdict_on
from jobs.worker.guard.running import Holder, holders
from tests.app import stages

pytestmark = pytest.mark.django_db
FORCED = Termination("cancel", "stopped by force")
QUIET = Holder(
    uuid4(), uuid4(), 1, elapsed=5, timeout=None, grace=10, asked=None, is_forced=False, memory_mb=None, disk_mb=None
)


@job(name="guard.nothing")
def nothing() -> None: ...


class StillFeeder:
    rings = 0

    def ring(self) -> None:
        self.rings += 1


@pytest.fixture(autouse=True)
def empty_book() -> Iterator[None]:
    terminations._entries.clear()
    descendants._families.clear()
    yield
    terminations._entries.clear()
    descendants._families.clear()


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def parent() -> Iterator[tuple[subprocess.Popen[bytes], psutil.Process]]:
    """A process, and one that it has started."""
    process = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    started = psutil.Process(int(process.stdout.readline()))
    yield process, started
    for one in (process, started):
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.communicate()


@pytest.fixture
def boot_id(monkeypatch: pytest.MonkeyPatch) -> UUID:
    made = stages.start_worker()
    monkeypatch.setattr(JobTask, "worker_id", made)
    return made


@pytest.fixture
def guard(boot_id: UUID, child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> Guard:
    monkeypatch.setattr(state, "active_requests", {object()})
    pool = SimpleNamespace(_pool=SimpleNamespace(_pool=[SimpleNamespace(pid=child.pid)]))
    return Guard(SimpleNamespace(hostname="celery@host", pool=pool), cast(Feeder, StillFeeder()))


def _run_on(boot_id: UUID, pid: int, **options: Any) -> Job:
    row = job_manager.submit(nothing, **options)
    claimed = stages.claim(row, boot_id)
    Attempt.objects.filter(pk=claimed.row["attempt_id"]).update(pid=pid)
    return stages.fresh(row)


def _is_stopped(process: subprocess.Popen[bytes]) -> bool:
    return psutil.Process(process.pid).status() == psutil.STATUS_STOPPED


# --- who holds what


def test_the_rows_say_who_holds_what(boot_id: UUID) -> None:
    row = _run_on(boot_id, 71, timeout=30, grace=2, memory_mb=64)
    _run_on(stages.start_worker(), 71)  # another worker's process of that number
    job_manager.cancel_job(row.id, force=True)
    (found,) = holders(boot_id)
    assert (found.pair, found.pid, found.timeout, found.grace) == ((row.id, row.attempt_id), 71, 30, 2)
    assert found.is_forced
    assert found.asked is not None
    assert found.memory_mb == 64


@override_settings(JOBS={"GRACE": 7})
def test_without_a_grace_of_its_own_the_settings_counts(boot_id: UUID) -> None:
    _run_on(boot_id, 71)
    assert [(found.grace, found.asked) for found in holders(boot_id)] == [(7, None)]


def test_of_two_attempts_of_one_process_the_younger_is_run(boot_id: UUID) -> None:
    """The older one's process died, its end was not recorded yet, and its number came again."""
    old = _run_on(boot_id, 71)
    Attempt.objects.filter(job=old).update(started_at=datetime(2020, 1, 1, tzinfo=UTC))
    young = _run_on(boot_id, 71)
    assert [found.job_id for found in holders(boot_id)] == [young.id]


# --- why


@pytest.mark.parametrize(
    ("changes", "weight"),
    [
        ({}, None),
        ({"asked": 9.9}, None),
        ({"asked": 10.0}, "cancel"),
        ({"asked": 0.0, "is_forced": True}, "cancel"),
        ({"timeout": 1.0}, None),
        ({"timeout": 1.0, "grace": 4.0}, "timeout"),
        ({"timeout": 1.0, "grace": 4.0, "asked": 4.0}, "cancel"),
    ],
)
def test_reasons(changes: dict[str, Any], weight: str | None) -> None:
    found = verdict_on(dataclasses.replace(QUIET, **changes))
    assert (found and (found.failure.category if found.failure else found.edge)) == weight


# --- the blow


def test_the_process_that_holds_the_attempt_is_killed(child: subprocess.Popen[bytes]) -> None:
    holder = dataclasses.replace(QUIET, pid=child.pid, elapsed=0)
    assert kill.stop(holder, [child.pid], signal.SIGKILL, lambda _: holder)
    assert kill.wait_for_death(child.pid)


@pytest.mark.parametrize("now", [None, dataclasses.replace(QUIET, pid=1, elapsed=0)], ids=["ended", "elsewhere"])
def test_one_that_holds_it_no_more_goes_on(child: subprocess.Popen[bytes], now: Holder | None) -> None:
    seen: list[bool] = []
    holder = dataclasses.replace(QUIET, pid=child.pid, elapsed=0)

    def reread(_: UUID) -> Holder | None:
        seen.append(_is_stopped(child))
        return now

    assert not kill.stop(holder, [child.pid], signal.SIGKILL, reread)
    assert seen == [True]  # it stood still while the rows were read
    assert child.poll() is None
    assert not _is_stopped(child)


def test_a_stranger_is_not_even_frozen(child: subprocess.Popen[bytes]) -> None:
    """Not of this pool; or begun after the attempt, so another one with its number."""

    def reread(_: UUID) -> Holder | None:
        raise AssertionError("too late to ask")

    holder = dataclasses.replace(QUIET, pid=child.pid, elapsed=0)
    assert not kill.stop(holder, [], signal.SIGKILL, reread)
    assert not kill.stop(dataclasses.replace(holder, elapsed=3600), [child.pid], signal.SIGKILL, reread)
    assert child.poll() is None


def test_a_stranger_is_told_of_once(child: subprocess.Popen[bytes], caplog: pytest.LogCaptureFixture) -> None:
    kill._say_once.cache_clear()
    holder = dataclasses.replace(QUIET, pid=child.pid, elapsed=3600)
    for _ in range(2):
        assert not kill.stop(holder, [child.pid], signal.SIGKILL, lambda _: holder)
    assert caplog.text.count("is not touched") == 1


def test_the_word_of_a_process_weighs_more_than_two_clocks(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database's clock was put forward by an hour."""
    board = Scoreboard()
    board.begin(0, 1, child.pid, QUIET.attempt_id.bytes, 0.0, 0.0, 0)
    monkeypatch.setattr(sampler._running, "sampler", sampler.Sampler(board))
    holder = dataclasses.replace(QUIET, pid=child.pid, elapsed=3600)
    other = dataclasses.replace(holder, attempt_id=uuid4())
    assert not kill.stop(other, [child.pid], signal.SIGKILL, lambda _: other)
    assert kill.stop(holder, [child.pid], signal.SIGKILL, lambda _: holder)


@pytest.mark.parametrize(("elapsed", "is_it"), [(10_000, True), (10_090, True), (10_200, False)])
def test_two_clocks_may_drift_apart(elapsed: float, is_it: bool) -> None:
    process: Any = SimpleNamespace(create_time=lambda: time.time() - 10_000)
    assert kill._is_old_enough(process, dataclasses.replace(QUIET, elapsed=elapsed)) == is_it


def test_a_database_that_fails_stops_nobody(child: subprocess.Popen[bytes]) -> None:
    def reread(_: UUID) -> Holder | None:
        raise OperationalError("away")

    holder = dataclasses.replace(QUIET, pid=child.pid, elapsed=0)
    with pytest.raises(OperationalError):
        kill.stop(holder, [child.pid], signal.SIGKILL, reread)
    assert child.poll() is None
    assert not _is_stopped(child)


def test_a_database_that_hangs_freezes_nobody(child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is let go; when the answer comes at last, it may be at another job."""
    monkeypatch.setattr(kill, "FROZEN_AT_MOST", 0.05)
    holder = dataclasses.replace(QUIET, pid=child.pid, elapsed=0)
    let_go = threading.Event()
    resume = psutil.Process.resume

    def resume_and_tell(process: psutil.Process) -> None:
        resume(process)
        let_go.set()

    monkeypatch.setattr(psutil.Process, "resume", resume_and_tell)

    def reread(_: UUID) -> Holder:
        assert let_go.wait(5)
        return holder

    assert not kill.stop(holder, [child.pid], signal.SIGKILL, reread)
    assert child.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_it_has_started_dies_with_it(
    parent: tuple[subprocess.Popen[bytes], psutil.Process], number: signal.Signals
) -> None:
    process, started = parent
    holder = dataclasses.replace(QUIET, pid=process.pid, elapsed=0)
    assert kill.stop(holder, [process.pid], number, lambda _: holder)
    assert process.wait() == -number
    descendants.bury()
    assert kill.wait_for_death(started.pid)
    assert not descendants._families


def test_what_it_has_started_lives_as_long_as_it_cleans_up(
    parent: tuple[subprocess.Popen[bytes], psutil.Process],
) -> None:
    process, started = parent
    descendants.remember(process.pid)
    descendants.bury()
    assert started.is_running()
    process.kill()
    process.wait()
    descendants.bury()
    assert kill.wait_for_death(started.pid)


# --- the look


def test_a_forced_one_is_killed_and_named(guard: Guard, boot_id: UUID, child: subprocess.Popen[bytes]) -> None:
    row = _run_on(boot_id, child.pid)
    guard._look()
    assert child.poll() is None
    job_manager.cancel_job(row.id, True, "it hangs")
    guard._look()
    assert child.wait() == -signal.SIGKILL
    assert (stages.fresh(row).state, Attempt.objects.get(job=row).outcome) == ("cancelled", "cancelled")
    assert (
        terminations.verdict_on(Attempt.objects.get(job=row).pk) == FORCED
    )  # for Celery, which hears of the death later
    assert cast(StillFeeder, guard._feeder).rings == 1


def test_who_had_his_grace_is_told_before_he_is_killed(
    guard: Guard, boot_id: UUID, child: subprocess.Popen[bytes]
) -> None:
    row = _run_on(boot_id, child.pid, grace=0)
    job_manager.cancel_job(row.id)
    guard._look()
    assert child.wait() == -signal.SIGTERM
    assert stages.fresh(row).state == "running"  # the code may only just have ended
    guard._look()
    assert stages.fresh(row).state == "cancelled"


def test_who_was_not_reached_was_not_told(
    guard: Guard, boot_id: UUID, child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database fails between the look and the blow: TERM comes first, with its time, once it answers again."""
    row = _run_on(boot_id, child.pid, grace=0)
    job_manager.cancel_job(row.id)
    reread = guard._reread

    def fail(_: UUID) -> Holder | None:
        raise OperationalError("away")

    monkeypatch.setattr(guard, "_reread", fail)
    guard._guarded(guard._look)
    assert terminations.is_empty()
    monkeypatch.setattr(guard, "_reread", reread)
    guard._look()
    assert child.wait() == -signal.SIGTERM


def test_what_a_shutdown_has_told_stays_told(
    guard: Guard, boot_id: UUID, child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = _run_on(boot_id, child.pid, grace=0)
    assert row.attempt_id is not None
    terminations.pronounce(row.attempt_id, INTERRUPTED, is_told=True)
    told = terminations.entry(row.attempt_id)
    monkeypatch.setattr(watch, "stop", lambda *_: False)  # not judged in time
    guard._look()
    assert terminations.entry(row.attempt_id) == told


def test_after_term_it_has_a_little_time(guard: Guard, boot_id: UUID, child: subprocess.Popen[bytes]) -> None:
    row = _run_on(boot_id, child.pid, grace=0)
    job_manager.cancel_job(row.id)
    assert row.attempt_id is not None
    terminations.pronounce(row.attempt_id, FORCED, is_told=True)
    (holder,) = holders(boot_id)
    gentle = dataclasses.replace(FORCED, is_gentle=True)
    assert watch._next_signal(holder, gentle) is None
    assert watch._next_signal(holder, FORCED) == signal.SIGKILL


@pytest.mark.parametrize("is_followed", [False, True], ids=["idle", "at the next job"])
def test_who_ended_between_the_look_and_the_blow_goes_on(
    guard: Guard, boot_id: UUID, child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, is_followed: bool
) -> None:
    """Its body ends in that very moment, and the process may have begun another job."""
    row = _run_on(boot_id, child.pid)
    job_manager.cancel_job(row.id, True)
    suspend = psutil.Process.suspend

    def end_first(process: psutil.Process) -> None:
        stages.put(row, "completed")
        if is_followed:
            _run_on(boot_id, child.pid)
        suspend(process)

    monkeypatch.setattr(psutil.Process, "suspend", end_first)
    guard._look()
    assert child.poll() is None, "another job's process was killed"
    assert not _is_stopped(child)
    assert stages.fresh(row).state == "completed"
    assert terminations.is_empty()


def test_what_a_shutdown_stopped_is_named_once_it_is_dead(
    guard: Guard, boot_id: UUID, child: subprocess.Popen[bytes]
) -> None:
    row = _run_on(boot_id, child.pid)
    assert row.attempt_id is not None
    terminations.pronounce(row.attempt_id, INTERRUPTED, is_told=True)
    guard._look()
    assert stages.fresh(row).state == "running"
    child.kill()
    child.wait()
    guard._look()
    assert (stages.fresh(row).state, Attempt.objects.get(job=row).outcome) == ("pending", "interrupted")


def test_the_last_word(guard: Guard, boot_id: UUID, child: subprocess.Popen[bytes]) -> None:
    """Whatever still runs when the worker ends is stopped, and was interrupted; a request weighs more."""
    row = _run_on(boot_id, child.pid)
    guard._close()
    assert child.wait() == -signal.SIGKILL
    assert stages.fresh(row).state == "pending"
    other = _run_on(boot_id, child.pid)
    job_manager.cancel_job(other.id)
    guard._close()
    assert stages.fresh(other).state == "cancelled"


def test_an_idle_worker_asks_nothing(
    guard: Guard, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(state, "active_requests", set())
    with django_assert_num_queries(0):
        guard._look()


def test_one_look_is_one_statement(
    guard: Guard, boot_id: UUID, child: subprocess.Popen[bytes], django_assert_num_queries: Any
) -> None:
    for _ in range(3):
        _run_on(boot_id, child.pid)
    with django_assert_num_queries(1):
        guard._look()


@pytest.mark.parametrize("error", [OperationalError("away"), ValueError("a bug")])
def test_whatever_goes_wrong_it_goes_on(guard: Guard, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise error

    guard._guarded(fail)
    assert str(error) in caplog.text


def test_only_processes_can_be_stopped() -> None:
    assert watch.can_stop(TaskPool(1))
    assert not watch.can_stop(SimpleNamespace())
    assert watch.children(SimpleNamespace()) == []


# --- the book


def test_the_first_telling_counts_and_the_weightier_verdict() -> None:
    attempt_id = uuid4()
    terminations.pronounce(attempt_id, INTERRUPTED, is_told=True)
    told = terminations._entries[attempt_id].told_at
    terminations.pronounce(attempt_id, FORCED, is_told=True)
    terminations.pronounce(attempt_id, INTERRUPTED, is_told=False)
    found = terminations.entry(attempt_id)
    assert found
    assert (found.verdict, found.told_at) == (FORCED, told)
    terminations.forget_old([])
    assert not terminations.is_empty()


def test_what_nobody_asks_for_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    terminations.pronounce(uuid4(), FORCED, is_told=True)
    monkeypatch.setattr(terminations, "_KEPT", -1.0)
    terminations.forget_old([])
    assert terminations.is_empty()


def test_what_cleans_up_for_long_is_not_forgotten(
    guard: Guard, boot_id: UUID, child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cold shutdown, and a grace of minutes: when it is over KILL must follow, or the worker waits for ever."""
    row = _run_on(boot_id, child.pid, grace=600)
    assert row.attempt_id is not None
    terminations.pronounce(row.attempt_id, INTERRUPTED, is_told=True)
    monkeypatch.setattr(terminations, "_KEPT", -1.0)
    guard._look()
    assert terminations.verdict_on(row.attempt_id) == INTERRUPTED


def test_the_clock_is_the_databases(clock: stages.Clock, boot_id: UUID) -> None:
    _run_on(boot_id, 71)
    clock.forward(90)
    assert [found.elapsed for found in holders(boot_id)] == [90]
