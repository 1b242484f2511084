"""The performance score: what it says, which attempts get one, and what it costs to find them."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from jobs import Job, job, job_manager
from jobs.execution import attempt
from jobs.maintenance import promoter
from jobs.maintenance import scores as scoring
from jobs.maintenance.scores import Scoring, score
from jobs.models import Attempt
from tests.app import stages
from tests.app.stages import Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]


@job(name="scoring.work")
def work() -> None: ...


@pytest.mark.parametrize(
    ("expected", "duration", "declared", "used", "result"),
    [
        (10, 10, None, None, 100),
        (10, 20, None, None, 50),
        (10, 5, None, None, 100),  # quicker than expected is no more than all of it
        (10, 10, 100, 200, 50),
        (10, 20, 100, 400, 12.5),
        (10, 10, 100, 50, 100),
        (10, 10, 100, None, 100),  # not measured
        (10, 10, 100, 0, 100),
        (10, 0, None, None, 100),
        (0, 10, None, None, 0),
    ],
)
def test_the_score(expected: float, duration: float, declared: float, used: float, result: float) -> None:
    assert score(expected, duration, declared, used) == result


def done(clock: Clock, seconds: float, *, used_mb: float | None = None, **options: Any) -> Job:
    """A job that took so long."""
    row = job_manager.submit(work, **options)
    claimed = stages.claim(row)
    clock.forward(seconds)
    attempt.run(claimed, lambda: None)
    Attempt.objects.filter(job=row).update(peak_memory_mb=used_mb)
    return row


def scores(*rows: Job) -> list[float | None]:
    return [Attempt.objects.get(job=row).performance_score for row in rows]


def test_what_was_declared_is_expected_where_there_is_no_history(clock: Clock) -> None:
    row = done(clock, 20, estimated_duration=10, memory_mb=100, used_mb=200)
    clock.forward(10)
    assert Scoring().run() == 1
    assert scores(row) == [25]


def test_without_either_there_is_no_score(clock: Clock) -> None:
    row = done(clock, 20)
    clock.forward(10)
    assert Scoring().run() == 0
    assert scores(row) == [None]


def test_the_median_of_the_tasks_history_says_more_than_what_was_declared(clock: Clock) -> None:
    before = [done(clock, seconds) for seconds in (10, 10, 12, 9, 100)]
    clock.forward(10)
    scoring = Scoring()
    scoring.run()
    row = done(clock, 20, estimated_duration=1)
    clock.forward(10)
    scoring.run()
    assert scores(row) == [50]
    assert scores(*before) == [None] * 5


def test_a_new_steward_reads_the_history_from_the_rows(clock: Clock) -> None:
    for seconds in (10, 10, 12, 9, 100):
        done(clock, seconds)
    clock.forward(1000)  # further back than it looks
    row = done(clock, 20)
    clock.forward(10)
    assert Scoring().run() == 1
    assert scores(row) == [50]


def test_only_completed_attempts_get_one(clock: Clock) -> None:
    row = job_manager.submit(work, estimated_duration=10, max_retries=1)
    stages.perform(row, fail)
    clock.forward(1000)
    promoter.promote()
    stages.perform(row, fail)
    clock.forward(10)
    assert Scoring().run() == 0


def fail() -> None:
    raise ValueError("as told")


def test_an_end_that_is_just_being_written_is_waited_for(clock: Clock) -> None:
    """Its moment is older than its commit: to have passed it by would be for ever."""
    row = done(clock, 20, estimated_duration=10)
    one = Scoring()
    clock.forward(scoring.SETTLED - 0.5)
    assert one.run() == 0
    clock.forward(1)
    assert one.run() == 1
    assert scores(row) == [50]


def test_each_is_read_once(clock: Clock, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    rows = [done(clock, 1) for _ in range(3)]
    clock.forward(10)
    one = Scoring()
    one.run()
    Attempt.objects.update(performance_score=None)
    with django_assert_num_queries(1):
        assert one.run() == 0
    assert scores(*rows) == [None] * 3


def test_what_had_its_score_before_is_read_once_as_well(clock: Clock) -> None:
    """A steward that begins looks back; idle after that, it must not look at all that again with every tick."""
    rows = [done(clock, 1, estimated_duration=1) for _ in range(3)]
    clock.forward(10)
    assert Scoring().run() == 3
    one = Scoring()
    assert one.run() == 0
    Attempt.objects.update(performance_score=None)
    assert one.run() == 0
    assert scores(*rows) == [None] * 3
    rows.append(done(clock, 1, estimated_duration=1))
    clock.forward(10)
    assert (one.run(), scores(rows[-1])) == (1, [100])


def test_more_than_a_batch_are_scored_in_order(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends at the very same moment among them."""
    monkeypatch.setattr(scoring, "BATCH", 3)
    monkeypatch.setattr(scoring, "BATCHES", 10)
    rows = [done(clock, 1, estimated_duration=1) for _ in range(2)]
    rows += [done(clock, 0, estimated_duration=1) for _ in range(8)]
    clock.forward(10)
    assert Scoring().run() == 10
    assert scores(*rows) == [100] * 10
