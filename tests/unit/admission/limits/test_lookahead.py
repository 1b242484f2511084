"""How far admission looks ahead: by time for short jobs of one task, else as the setting says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import override_settings

from jobs.admission.limits import lookahead


class Clock:
    """What the module reads for the time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(lookahead, "time", clock)
    with lookahead.watched():
        yield clock


def _passes(clock: Clock, seconds: float, task: str = "short", number: int = 20, *, filled: bool = True) -> None:
    """Passes of two jobs each for two slots: so one slot takes as long for a job as lies between two passes."""
    for _ in range(number):
        clock.now += seconds
        lookahead.note("default", {task}, 2, 2, filled=filled)


def test_the_setting_counts_until_something_was_measured(clock: Clock) -> None:
    assert lookahead.of("default", {"short"}) == lookahead.at_most() == 1
    assert lookahead.pause() == lookahead.TOGETHER
    _passes(clock, 0.02, number=1)
    assert lookahead.of("default", {"short"}) == 1


@pytest.mark.parametrize(("seconds", "jobs"), [(0.021, 4), (0.004, lookahead.MOST), (0.2, 1), (0.051, 1)])
def test_a_tenth_of_a_second_of_work_is_ahead(clock: Clock, seconds: float, jobs: int) -> None:
    _passes(clock, seconds)
    assert lookahead.of("default", {"short"}) == lookahead.at_most() == jobs
    assert lookahead.pause() == pytest.approx(jobs * seconds / 2 if jobs > 1 else lookahead.TOGETHER)


def test_another_task_and_several_of_them_are_not_looked_ahead_for(clock: Clock) -> None:
    _passes(clock, 0.01)
    assert (
        lookahead.of("default", {"long"})
        == lookahead.of("default", {"short", "long"})
        == lookahead.of("gpu", {"short"})
        == 1
    )
    _passes(clock, 0.01, task="long", number=1)
    assert lookahead.of("default", {"long"}) == 1
    lookahead.note("default", {"short", "long"}, 2, 2, filled=True)
    assert lookahead.of("default", {"short"}) == 1


def test_what_did_not_take_every_slot_says_nothing_of_the_jobs(clock: Clock) -> None:
    _passes(clock, 0.01, filled=False)
    assert lookahead.of("default", {"short"}) == 1


def test_jobs_that_become_longer_are_noticed(clock: Clock) -> None:
    _passes(clock, 0.004)
    _passes(clock, 0.4, number=2)
    assert lookahead.of("default", {"short"}) == 1


def test_a_pool_that_was_idle_is_measured_anew(clock: Clock) -> None:
    _passes(clock, 0.004)
    clock.now += 1
    assert lookahead.of("default", {"short"}) == lookahead.at_most() == 1
    assert lookahead.pause() == lookahead.TOGETHER


def test_nothing_is_admitted_early_where_the_setting_forbids_it(clock: Clock) -> None:
    with override_settings(JOBS={"LOOK_AHEAD": 0}):
        _passes(clock, 0.004)
        assert lookahead.of("default", {"short"}) == lookahead.at_most() == 0


def test_only_who_watches_measures() -> None:
    for _ in range(9):
        lookahead.note("default", {"short"}, 2, 2, filled=True)
    assert lookahead.of("default", {"short"}) == lookahead.at_most() == 1
