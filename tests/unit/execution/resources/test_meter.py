"""What an attempt used, as its own process tells."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from jobs.execution.resources import meter
from jobs.execution.resources.scoreboard import Sample, Scoreboard
from tests.services.processes import forked

MB = 2**20


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    """This process has the first seat of a scoreboard."""
    made = Scoreboard()
    meter.use_slot(made, 0)
    yield made
    meter._process.slot = None


def burn(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_processor_time_of_a_process_and_its_share_of_a_core(board: Scoreboard) -> None:
    running = meter.start(uuid4())
    burn(0.05)
    used = running.stop(None)
    assert used["cpu_seconds"] == pytest.approx(0.05, abs=0.03)
    assert 0 < used["average_cpu"] < 150
    assert used["peak_disk_mb"] is None


def test_a_child_process_that_was_waited_for_is_counted(board: Scoreboard) -> None:
    running = meter.start(uuid4())
    os.waitpid(forked(lambda: burn(0.05)), 0)
    assert running.stop(None)["cpu_seconds"] >= 0.045


def test_the_peak_is_what_came_and_went(board: Scoreboard) -> None:
    running = meter.start(uuid4())
    held = b"x" * (100 * MB)
    del held
    assert running.stop(None)["peak_memory_mb"] == pytest.approx(100, abs=4)


def test_the_next_attempt_is_not_charged_with_the_last_ones_peak_nor_leak(board: Scoreboard) -> None:
    running = meter.start(uuid4())
    leaked = b"x" * (50 * MB)
    gone = b"x" * (50 * MB)
    del gone
    running.stop(None)
    assert meter.start(uuid4()).stop(None)["peak_memory_mb"] < 4
    assert len(leaked) == 50 * MB


def test_the_board_says_what_runs_and_what_it_began_with(board: Scoreboard) -> None:
    attempt = uuid4()
    running = meter.start(attempt)
    ((slot, entry),) = board.running()
    assert (slot, entry.pid, entry.attempt_id) == (0, os.getpid(), attempt)
    assert entry.memory_kb > 1000
    assert entry.cpu_seconds > 0
    running.stop(None)
    assert not list(board.running())


def test_what_main_has_seen_counts_where_it_is_more(board: Scoreboard) -> None:
    """Descendants: the process itself knows nothing of them."""
    running = meter.start(uuid4())
    ((slot, entry),) = board.running()
    board.note(slot, entry.turn, Sample(300 * 1024, 7.0, 2048, 3))
    used = running.stop(1024 * 1024)
    assert (used["peak_memory_mb"], used["cpu_seconds"], used["peak_disk_mb"]) == (300, 7.0, 2)
    assert used["metrics"] == {"child_processes": 3}


def test_one_that_runs_inside_another_leaves_it_its_seat(board: Scoreboard) -> None:
    outer = uuid4()
    running = meter.start(outer)
    inner = meter.start(uuid4())
    assert inner.stop(None)["peak_memory_mb"] is None
    assert [entry.attempt_id for _, entry in board.running()] == [outer]
    running.stop(None)


def test_a_process_that_the_body_forks_has_no_seat(board: Scoreboard) -> None:
    os.waitpid(forked(lambda: meter.start(uuid4())), 0)
    assert not list(board.running())


def test_where_attempts_share_a_process_a_thread_tells_of_its_processor_time_only() -> None:
    other = threading.Thread(target=burn, args=(0.1,))
    running = meter.start(uuid4())
    other.start()
    other.join()
    used = running.stop(3 * MB)
    assert used["cpu_seconds"] < 0.05
    assert (used["peak_memory_mb"], used["peak_disk_mb"]) == (None, 3)


def test_attempts_that_share_threads_have_no_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter._process, "has_thread_per_attempt", meter._process.has_thread_per_attempt)
    meter.share_threads()
    assert meter.start(uuid4()).stop(3 * MB) == {"peak_disk_mb": 3}


def test_a_closed_file_costs_the_figure_and_not_the_job(board: Scoreboard) -> None:
    seat = meter._process.slot
    assert seat is not None
    assert seat._statm is not None
    os.close(seat._statm)
    assert meter.start(uuid4()).stop(None)["peak_memory_mb"] is None


def test_another_file_with_the_number_is_not_written_to(board: Scoreboard, tmp_path: Path) -> None:
    """A body may close what it did not open; the next file that it opens has the number."""
    seat = meter._process.slot
    assert seat is not None
    assert seat._watermark is not None
    with (tmp_path / "precious").open("w+") as file:
        os.dup2(file.fileno(), seat._watermark)
        running = meter.start(uuid4())
        held = b"x" * (20 * MB)
        running.stop(None)
        del held
        meter.start(uuid4()).stop(None)
        assert file.read() == ""
