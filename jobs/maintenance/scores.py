"""Chore: gives the attempts that completed their performance score, in batches, a moment after their end.

100 × expected ÷ actual duration × declared ÷ used memory, neither factor above 1. Expected is the median of what the
task's completed jobs took before, or what was declared where these are few; without either there is no score.
"""

from __future__ import annotations

import functools
import statistics
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction

from jobs.core.conf import settings
from jobs.core.db.dialects import Dialect, dialect
from jobs.core.db.statements import execute_many, query
from jobs.core.db.values import prepare
from jobs.models import Job
from jobs.states import FINAL

BATCH, BATCHES = 500, 4  # rows of one statement, and statements of one round
HISTORY, LEAST = 101, 5  # completed jobs that speak for a task, and how many there must be
SEARCHED = 500  # jobs of a task that are looked through for them
SETTLED = 2.0  # seconds after which whatever ended is there to be read: the moment in the row is older than its commit
LOOKS_BACK = 300.0  # seconds, of a new steward


class Ended(NamedTuple):
    """One completed attempt. The first three as the database gives them; seconds, megabytes."""

    finished_at: Any
    job_id: Any
    attempt_id: Any
    task: str
    duration: float
    estimate: float | None
    declared_mb: int | None
    used_mb: float | None


class Scoring:
    """What one steward knows of its tasks, and how far it has come. It need not be right to be of use."""

    def __init__(self) -> None:
        self._mark: tuple[Any, Any] | None = None
        self._history: dict[str, deque[float]] = {}

    def forget(self) -> None:
        """Another process was the steward: look back a little; attempts with a score are skipped."""
        self._mark = None

    def run(self) -> int:
        """Score what has completed since the last time; returns how many got a score."""
        total = 0
        for _ in range(BATCHES):
            ended = self._next()
            total += _write([(score, one.attempt_id) for one in ended if (score := self._score(one)) is not None])
            if len(ended) < BATCH:
                break
        return total

    def _next(self) -> list[Ended]:
        db, began = dialect(settings.DATABASE), None
        if self._mark is None:
            sql = f"SELECT {db.later('{now}')}, {db.later('{now}')}"
            ((moment, began),) = query(settings.DATABASE, sql, [-LOOKS_BACK, -SETTLED])
            self._mark = moment, prepare(settings.DATABASE, Job, "id", UUID(int=0))
        since, last = self._mark
        rows = query(settings.DATABASE, _ended_sql(db), [since, since, last, -SETTLED, BATCH])
        ended = [Ended(*row) for row in rows]
        if ended:
            self._mark = ended[-1].finished_at, ended[-1].job_id
        if began is not None and len(ended) < BATCH:  # all the others have their score: not to be read with every tick
            self._mark = began, prepare(settings.DATABASE, Job, "id", UUID(int=2**128 - 1))
        return ended

    def _score(self, one: Ended) -> float | None:
        history = self._history_of(one)
        expected = statistics.median(history) if len(history) >= LEAST else one.estimate
        history.append(one.duration)
        return None if expected is None else score(expected, one.duration, one.declared_mb, one.used_mb)

    def _history_of(self, one: Ended) -> deque[float]:
        if one.task not in self._history:
            sql = _history_sql(dialect(settings.DATABASE))
            rows = query(settings.DATABASE, sql, [one.task, one.job_id, SEARCHED, HISTORY])
            self._history[one.task] = deque((seconds for (seconds,) in reversed(rows)), HISTORY)
        return self._history[one.task]


def score(expected: float, duration: float, declared_mb: float | None, used_mb: float | None) -> float:
    """0-100: 100 for an attempt that was as quick and as small as it was meant to be, or better."""
    quick = min(1.0, expected / duration) if duration > 0 else 1.0
    small = min(1.0, declared_mb / used_mb) if declared_mb is not None and used_mb else 1.0
    return round(100 * quick * small, 1)


def _write(scores: Sequence[tuple[float, Any]]) -> int:
    if scores:
        with transaction.atomic(using=settings.DATABASE):
            execute_many(settings.DATABASE, "UPDATE jobs_attempt SET performance_score = %s WHERE id = %s", scores)
    return len(scores)


@functools.cache
def _ended_sql(db: Dialect) -> str:
    """In the order of the index on the ends; its condition is spelled out, so that SQLite sees it."""
    final = ", ".join(repr(str(state)) for state in sorted(FINAL))
    return (
        f"SELECT j.finished_at, j.id, a.id, j.task, {_seconds(db, 'j.')}, j.estimated_duration, j.memory_mb,"
        " a.peak_memory_mb FROM jobs_job j JOIN jobs_attempt a ON a.id = j.attempt_id AND a.performance_score IS NULL"
        f" WHERE j.state IN ({final}) AND j.state = 'completed' AND j.finished_at >= %s"
        f" AND (j.finished_at > %s OR j.id > %s) AND j.finished_at <= {db.later('{now}')}"
        " ORDER BY j.finished_at, j.id LIMIT %s"
    )


@functools.cache
def _history_sql(db: Dialect) -> str:
    """Of jobs submitted before one that has ended, so that a backlog need not be looked through."""
    older = "SELECT state, started_at, finished_at FROM jobs_job WHERE task = %s AND id < %s ORDER BY id DESC LIMIT %s"
    return f"SELECT {_seconds(db)} FROM ({older}) o WHERE state = 'completed' AND started_at IS NOT NULL LIMIT %s"


def _seconds(db: Dialect, of: str = "") -> str:
    return f"{db.epoch(f'{of}finished_at')} - {db.epoch(f'{of}started_at')}"
