"""The memory that main and its pool children share: what one writes the other reads; half a word is not believed."""

from __future__ import annotations

import os
from uuid import uuid4

from jobs.execution.resources.scoreboard import RunningAttempt, Sample, Scoreboard
from tests.services.processes import forked


def test_what_a_child_says_main_reads() -> None:
    board, attempt = Scoreboard(), uuid4()

    def say() -> None:
        board.end(0, 0, 7)
        board.begin(1, 3, os.getpid(), attempt.bytes, 12.5, 0.25, 4096)

    pid = forked(say)
    os.waitpid(pid, 0)
    assert list(board.running()) == [(1, RunningAttempt(3, pid, attempt, 12.5, 0.25, 4096))]
    assert board.last_turn(1) == 3


def test_who_has_ended_runs_nothing() -> None:
    board = Scoreboard()
    board.begin(0, 1, 7, uuid4().bytes, 0.0, 0.0, 0)
    board.end(0, 1, 7)
    assert list(board.running()) == []


def test_half_of_a_word_is_not_believed() -> None:
    """A child was just writing: the turn at the beginning is another than that at the end."""
    board, first, second = Scoreboard(), uuid4(), uuid4()
    board.begin(0, 1, 7, first.bytes, 0.0, 0.0, 0)
    board.begin(1, 1, 8, second.bytes, 0.0, 0.0, 0)
    board._memory[0] = 2
    assert [entry.attempt_id for _, entry in board.running()] == [second]


def test_what_main_has_seen_is_of_one_turn() -> None:
    board, seen = Scoreboard(), Sample(memory_kb=5, cpu_seconds=1.5, disk_kb=7, processes=2)
    board.note(4, 1, seen)
    assert board.sampled(4, 1) == seen
    assert board.sampled(4, 2) is None
    assert board.sampled(3, 1) is None
