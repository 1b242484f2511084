"""What fell to a deadlock is done again where the transaction is ours, and told to the caller where it is not."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError, connection, transaction

from jobs import Job, job_manager
from jobs.control import cancellation, pausing, pools, priorities, retries, stopping, tasks
from jobs.core.db import deadlock_retry
from jobs.core.db.deadlock_retry import DEADLOCK, retry_on_deadlock
from tests.app import stages


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was waited, without waiting."""
    waited: list[float] = []
    monkeypatch.setattr(deadlock_retry, "time", SimpleNamespace(sleep=waited.append))
    return waited


class Falling:
    """Falls so many times, then succeeds."""

    def __init__(self, times: int, error: OperationalError) -> None:
        self.left, self.error, self.calls = times, error, 0

    def __call__(self, word: str) -> str:
        self.calls += 1
        self.left -= 1
        if self.left >= 0:
            raise self.error
        return word


def of_mariadb(number: int = DEADLOCK) -> OperationalError:
    return OperationalError(number, "Deadlock found when trying to get lock; try restarting transaction")


def of_postgresql() -> OperationalError:
    error, cause = OperationalError("deadlock detected"), Exception()
    cause.sqlstate = "40P01"  # type: ignore[attr-defined]  # as psycopg's errors have it
    error.__cause__ = cause
    return error


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [of_mariadb(), of_postgresql()], ids=["mariadb", "postgresql"])
def test_our_own_transaction_is_done_again(error: OperationalError, pauses: list[float]) -> None:
    act = Falling(3, error)
    assert retry_on_deadlock(act)("done") == "done"
    assert (act.calls, len(pauses)) == (4, 3)


@pytest.mark.django_db(transaction=True)
def test_not_for_ever(pauses: list[float]) -> None:
    act = Falling(100, of_mariadb())
    with pytest.raises(OperationalError, match="Deadlock"):
        retry_on_deadlock(act)("never")
    assert act.calls == 6
    assert sum(pauses) < 0.4


@pytest.mark.django_db(transaction=True)
def test_inside_a_callers_transaction_it_is_the_callers() -> None:
    act = Falling(1, of_mariadb())
    with pytest.raises(OperationalError, match="Deadlock"), transaction.atomic():
        retry_on_deadlock(act)("never")
    assert act.calls == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [of_mariadb(1205), OperationalError("database is locked")])
def test_other_errors_are_not_done_again(error: OperationalError) -> None:
    act = Falling(1, error)
    with pytest.raises(OperationalError):
        retry_on_deadlock(act)("never")
    assert act.calls == 1


REQUESTS: dict[str, tuple[str, Callable[[UUID], object]]] = {
    "cancel": ("pending", lambda one: cancellation.cancel([one])[one]),
    "cancel a running one": ("running", lambda one: cancellation.cancel([one])[one]),
    "stop": ("running", lambda one: stopping.stop([one], "enough")[one]),
    "pause": ("pending", lambda one: pausing.pause([one])[one]),
    "resume": ("paused", lambda one: pausing.resume([one])[one]),
    "retry": ("failed", lambda one: retries.retry([one])[one]),
    "priority": ("pending", lambda one: priorities.set_priority([one], "high")[one]),
    "pause its task": ("queued", lambda _: tasks.pause("deadlocks.nobody")),
    "pause its pool": ("queued", lambda _: pools.pause("default")),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", REQUESTS)
def test_no_person_is_told_of_a_deadlock(name: str) -> None:
    """Each statement of a request may be the one that falls; the request is done all the same, with one answer."""
    state, ask = REQUESTS[name]
    falls = [0]

    def count(execute: Any, sql: str, *args: Any) -> Any:
        falls[0] -= 1
        if falls[0] == 0 and not sql.startswith(("BEGIN", "SAVEPOINT", "RELEASE")):
            raise of_mariadb()
        return execute(sql, *args)

    answers = set()
    for statement in range(1, 8):
        row: Job = stages.put(job_manager.submit("deadlocks.nobody"), state)
        tasks.resume("deadlocks.nobody")
        pools.resume("default")
        falls[0] = statement
        with connection.execute_wrapper(count):
            answers.add(ask(row.id))
        falls[0] = 0
    assert len(answers) == 1, answers
