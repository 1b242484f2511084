"""What main sees of its pool children, one look at a time; with a real worker it looks in the integration tests."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import override_settings

from jobs import job_manager
from jobs.execution import termination
from jobs.execution.resources import meter, tmpdirs
from jobs.execution.resources.scoreboard import Scoreboard
from jobs.models import Attempt
from jobs.worker import sampler as sampling
from jobs.worker.guard import rules
from jobs.worker.guard.running import Holder
from jobs.worker.sampler import Reading, Sampler
from tests.app import stages
from tests.services.processes import forked

MB = 2**20
Start = Callable[[Callable[[], object]], UUID]


@pytest.fixture(autouse=True)
def root(tmp_path: Path) -> Iterator[Path]:
    """Every attempt is looked at, whatever its age."""
    with override_settings(JOBS={"TMPDIR": str(tmp_path / "root"), "SAMPLE_EVERY": 0.001}):
        yield tmp_path / "root"


@pytest.fixture
def board() -> Scoreboard:
    return Scoreboard()


@pytest.fixture
def child(board: Scoreboard) -> Iterator[Start]:
    """`child(act)`: a process in the first seat that runs an attempt, does `act()` and then nothing; returns its id."""
    pids: list[int] = []

    def start(act: Callable[[], object]) -> UUID:
        attempt, (read, write) = uuid4(), os.pipe()

        def run() -> None:
            meter.use_slot(board, 0)
            meter.start(attempt)
            kept = act()
            os.write(write, b"x")
            time.sleep(60)
            del kept

        pids.append(forked(run))
        os.read(read, 1)
        time.sleep(0.002)  # older than SAMPLE_EVERY
        return attempt

    yield start
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def look(board: Scoreboard, times: int = 2) -> Sampler:
    sampler = Sampler(board)
    for _ in range(times):
        sampler.look()
    return sampler


def test_what_an_attempt_has_added_is_its_memory(board: Scoreboard, child: Start) -> None:
    attempt = child(lambda: b"x" * (64 * MB))
    reading = look(board).readings[attempt]
    assert reading.memory_kb / 1024 == pytest.approx(64, abs=4)
    assert reading.columns["peak_memory_mb"] == pytest.approx(64, abs=4)
    assert reading.columns["cpu_seconds"] < 1
    assert (reading.columns["peak_disk_mb"], reading.columns.get("metrics")) == (None, None)


def test_one_look_is_no_proof(board: Scoreboard, child: Start) -> None:
    attempt = child(lambda: b"x" * (64 * MB))
    reading = look(board, times=1).readings[attempt]
    assert reading.memory_kb == 0
    assert reading.columns["peak_memory_mb"] > 60


def test_memory_shared_by_no_file_counts(board: Scoreboard, child: Start) -> None:

    def share() -> mmap.mmap:
        memory = mmap.mmap(-1, 64 * MB)
        memory.write(b"x" * (64 * MB))
        return memory

    attempt = child(share)
    assert look(board).readings[attempt].memory_kb >= 60 * 1024


def test_descendants_count_and_are_counted(board: Scoreboard, child: Start) -> None:
    inner = f"held = b'x' * {64 * MB}; print('y', flush=True); import time; time.sleep(60)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"

    def spawn() -> Any:
        started = subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE)
        assert started.stdout
        started.stdout.read(1)
        return started

    attempt = child(spawn)
    reading = look(board).readings[attempt]
    assert reading.memory_kb > 64 * 1024
    assert reading.columns["metrics"] == {"child_processes": 2}


def test_what_a_forked_descendant_shares_counts_once(board: Scoreboard, child: Start) -> None:
    def fork() -> bytes:
        held = b"x" * (64 * MB)
        forked(lambda: time.sleep(5))
        time.sleep(0.05)
        return held

    attempt = child(fork)
    reading = look(board).readings[attempt]
    assert 60 * 1024 < reading.memory_kb < 100 * 1024
    assert reading.columns["metrics"] == {"child_processes": 1}


def test_the_directory_is_measured(board: Scoreboard, child: Start) -> None:
    attempt = child(lambda: None)
    held = tmpdirs.make(attempt)
    (held.path / "file").write_bytes(os.urandom(3 * MB))
    reading = look(board).readings[attempt]
    assert reading.disk_kb / 1024 == pytest.approx(3, abs=0.1)
    tmpdirs.remove(held)


def test_a_large_directory_is_added_up_rarely(board: Scoreboard, child: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    child(lambda: None)
    asked: list[Path] = []

    def slowly(path: Path) -> int:
        asked.append(path)
        time.sleep(0.05)
        return 0

    monkeypatch.setattr(tmpdirs, "size", slowly)
    look(board, times=5)
    assert len(asked) == 1  # the next one a second later


def test_the_child_is_told_what_main_has_seen(board: Scoreboard, child: Start) -> None:
    child(lambda: b"x" * (64 * MB))
    look(board)
    ((slot, entry),) = board.running()
    seen = board.sampled(slot, entry.turn)
    assert seen is not None
    assert seen.memory_kb > 60 * 1024


def test_of_a_dead_process_the_last_reading_stays_and_its_directory_goes(
    board: Scoreboard, child: Start, root: Path
) -> None:
    attempt = child(lambda: None)
    forked_holder = tmpdirs.make(attempt)
    os.close(forked_holder.lock)
    sampler = look(board, times=0)
    ((_, entry),) = board.running()
    sampler.look()
    before = sampler.readings[attempt]
    os.kill(entry.pid, signal.SIGKILL)
    os.waitid(os.P_PID, entry.pid, os.WEXITED | os.WNOWAIT)
    sampler.look()
    assert sampler.readings[attempt] == before
    assert not list(root.iterdir())


@pytest.mark.django_db
@pytest.mark.parametrize(("before", "after"), [(None, 2.0), (0.5, 0.5)])
def test_what_was_seen_of_the_dead_is_kept_where_nothing_stands(before: float | None, after: float) -> None:
    attempt = stages.claim(job_manager.submit("tests.app.jobs.probe")).row["attempt_id"]
    Attempt.objects.update(cpu_seconds=before)
    termination.note_usage(attempt, {"cpu_seconds": 2.0, "peak_memory_mb": 7.0})
    assert Attempt.objects.get(pk=attempt).cpu_seconds == after


def test_a_young_attempt_is_left_alone(board: Scoreboard, child: Start) -> None:
    attempt = child(lambda: None)
    with override_settings(JOBS={"SAMPLE_EVERY": 3600}):
        assert attempt not in look(board).readings


HOLDER = Holder(
    job_id=uuid4(),
    attempt_id=uuid4(),
    pid=1,
    elapsed=9,
    timeout=None,
    grace=1,
    asked=None,
    is_forced=False,
    memory_mb=500,
    disk_mb=100,
)


def read(monkeypatch: pytest.MonkeyPatch, memory_mb: float = 0, disk_mb: float = 0) -> None:
    """The guard's next question is answered so."""
    reading = Reading(0.0, int(memory_mb * 1024), int(disk_mb * 1024), {"cpu_seconds": 2.0})
    monkeypatch.setattr(sampling, "reading", {HOLDER.attempt_id: reading}.get)


def test_over_its_memory_with_the_tolerance_it_must_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    read(monkeypatch, memory_mb=612)
    verdict = rules.verdict_on(HOLDER)
    assert verdict is not None
    assert verdict.failure is not None
    assert (verdict.edge, verdict.failure.category, verdict.failure.type) == ("fail", "memory", "MemoryExceeded")
    assert verdict.why == "used 612 MB of 500 MB memory declared; from 600 MB on a job is stopped"
    assert verdict.attempt == {"cpu_seconds": 2.0}
    assert verdict.failure.may_retry is not False  # the retry policy decides
    assert not verdict.is_gentle  # a body that is out of memory is not asked to clean up


@pytest.mark.parametrize(("declared", "used"), [(500, 599), (1, 32), (None, 10_000)])
def test_within_it_may(monkeypatch: pytest.MonkeyPatch, declared: int | None, used: float) -> None:
    read(monkeypatch, memory_mb=used)
    assert rules.verdict_on(replace(HOLDER, memory_mb=declared)) is None


def test_what_was_not_measured_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "reading", lambda attempt_id: None)
    assert rules.verdict_on(HOLDER) is None


def test_the_tolerance_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    read(monkeypatch, memory_mb=900, disk_mb=190)
    with override_settings(JOBS={"MEMORY_TOLERANCE": 2, "DISK_TOLERANCE": 2}):
        assert rules.verdict_on(HOLDER) is None


def test_over_its_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    read(monkeypatch, disk_mb=121)
    verdict = rules.verdict_on(HOLDER)
    assert verdict is not None
    assert verdict.failure is not None
    assert (verdict.failure.category, verdict.failure.type) == ("disk", "DiskExceeded")
    read(monkeypatch, disk_mb=119)
    assert rules.verdict_on(HOLDER) is None


def test_memory_weighs_more_than_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    read(monkeypatch, memory_mb=10_000, disk_mb=10_000)
    verdict = rules.verdict_on(HOLDER)
    assert verdict is not None
    assert verdict.failure is not None
    assert verdict.failure.category == "memory"
    assert termination.stronger(verdict, None) is verdict
