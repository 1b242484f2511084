"""Run keys: at most one unfinished job each, whoever asks, at whatever moment, inside whichever transaction."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError, connection, connections, transaction

from jobs import JobManager, job_manager
from jobs.exceptions import KeyBusy
from jobs.models import Job
from tests.app.jobs import add, hold, probe
from tests.integration.actors import run_one_key
from tests.integration.crowd import crowd
from tests.integration.house import House
from tests.services import Stack

PROCESSES, THREADS = 4, 50
ON_SQLITE = bool((stack := Stack.current()) and stack.is_sqlite)


@pytest.mark.parametrize("in_transaction", [False, True])
def test_two_hundred_callers_at_once_get_one_job(stack: Stack, in_transaction: bool) -> None:
    answers = [answer for told in crowd(PROCESSES, run_one_key, "castle", THREADS, in_transaction) for answer in told]
    words = Counter(word for word, _ in answers)
    assert words == {"JOB_CREATED": 1, "JOB_ALREADY_RUNNING": PROCESSES * THREADS - 1}
    assert {job_id for _, job_id in answers} == {str(Job.objects.get().id)}
    assert Group.objects.count() == (2 * PROCESSES * THREADS if in_transaction else 0)  # no transaction was aborted


class Holder:
    """Another's transaction that has taken a key and stays open, in a thread with a connection of its own."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._taken, self._end = threading.Event(), threading.Event()
        self._commit = True
        self._thread = threading.Thread(target=self._live)

    def take(self) -> None:
        self._thread.start()
        assert self._taken.wait(10)

    def let_go(self, *, commit: bool) -> None:
        self._commit = commit
        self._end.set()
        self._thread.join(10)

    def _live(self) -> None:
        try:
            with transaction.atomic():
                job_manager.run_job(self._key, probe)
                self._taken.set()
                self._end.wait(10)
                transaction.set_rollback(not self._commit)
        finally:
            connections.close_all()


@pytest.fixture
def holder(stack: Stack) -> Iterator[Holder]:
    holder = Holder("castle")
    holder.take()
    yield holder
    holder.let_go(commit=True)


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """SQLite waits for the whole database, as long as its connection is told to."""
    if ON_SQLITE:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
    yield
    connection.close()


@pytest.mark.parametrize("inside", [False] if ON_SQLITE else [False, True])  # on SQLite BEGIN itself would wait
def test_a_key_in_anothers_open_transaction_is_busy(holder: Holder, inside: bool) -> None:
    with patience(2):
        began = time.monotonic()
        if inside:
            with transaction.atomic():
                Group.objects.create(name="before")
                _assert_busy()
                Group.objects.create(name="after")
        else:
            _assert_busy()
        assert 1.8 <= time.monotonic() - began < 6
    assert Group.objects.count() == 2 * inside


def _assert_busy() -> None:
    with pytest.raises(KeyBusy, match="castle"):
        job_manager.run_job("castle", probe)


@pytest.mark.parametrize(("commit", "answer"), [(True, "JOB_ALREADY_RUNNING"), (False, "JOB_CREATED")])
def test_an_answer_waits_for_the_other_transaction(holder: Holder, commit: bool, answer: str) -> None:
    timer = threading.Timer(0.5, holder.let_go, kwargs={"commit": commit})
    timer.start()
    with patience(5):
        assert job_manager.run_job("castle", probe).type == answer
    timer.join()
    assert Job.objects.count() == 1


def test_two_that_want_each_others_key_both_get_an_answer(stack: Stack) -> None:
    """PostgreSQL ends one of two waits in a circle: that transaction stays usable. On SQLite the second comes later.

    MariaDB ends a whole transaction, whose caller alone can begin it again: the other one goes on, its keys are free.
    """
    meet = threading.Barrier(2)
    told: list[Any] = []

    def cross(mine: str, other: str) -> None:
        try:
            with transaction.atomic():
                job_manager.run_job(mine, probe)
                if not ON_SQLITE:
                    meet.wait(10)
                told.append(_word(other))
                Group.objects.create(name=mine)
        except OperationalError as error:
            told.append(f"{error.args[0]}, {Group.objects.filter(name=mine).count()} groups")
        finally:
            connections.close_all()

    crew = [threading.Thread(target=cross, args=pair) for pair in (("red", "blue"), ("blue", "red"))]
    for member in crew:
        member.start()
    for member in crew:
        member.join(20)
    if connection.vendor == "mysql":
        assert set(told) == {"JOB_CREATED", "1213, 0 groups"}
    else:
        assert set(told) == {"JOB_ALREADY_RUNNING", "JOB_CREATED" if ON_SQLITE else "KeyBusy"}
        assert Group.objects.count() == 2
    assert Job.objects.count() == 2


def _word(key: str) -> str:
    try:
        return job_manager.run_job(key, probe).type
    except KeyBusy:
        return "KeyBusy"


def test_the_key_belongs_to_its_manager_and_its_type(house: House) -> None:
    other = JobManager[Any, Any, Any]("other")
    made = [
        manager.run_job(key, hold, [str(house.gate())])
        for manager in (job_manager, other)
        for key in ("1", 1, (1, "1"))
    ]
    assert [answer.type for answer in made] == ["JOB_CREATED"] * 6
    again = other.run_job((1, "1"), add, [1, 1])  # of another task
    assert (again.type, again.job) == ("JOB_ALREADY_RUNNING", made[-1].job)


def test_a_key_is_free_again_when_its_job_has_ended(house: House) -> None:
    first = job_manager.run_job("castle", probe).job
    house.done(first)
    assert job_manager.get_running_job("castle") is None
    second = job_manager.run_job("castle", hold, [str(house.gate())])
    assert second.created
    assert second.job != first
    handle = job_manager.get_running_job("castle")
    assert handle
    assert handle.id == second.job.id


def test_a_retry_finds_its_key_taken(house: House) -> None:
    first = job_manager.run_job("castle", hold, [str(house.gate())], run_after=60).job
    job_manager.cancel_job(first.id)
    second = job_manager.run_job("castle", hold, [str(house.gate())])
    assert second.created
    assert job_manager.retry_job(first.id) == "KEY_TAKEN"
    job_manager.cancel_job(second.job.id)
    house.done(second.job)
    assert job_manager.retry_job(first.id) == "REQUEUED"
    house.open_gates()
    assert house.done(first).result == "opened"


def test_a_factory_is_called_only_when_there_is_room_for_its_job(house: House) -> None:
    called: list[str] = []

    def make() -> Any:
        called.append("made")
        return hold.s(str(house.gate()))

    first = job_manager.run_job("castle", make)
    second = job_manager.run_job("castle", make)
    assert (first.type, second.type, called) == ("JOB_CREATED", "JOB_ALREADY_RUNNING", ["made"])
    assert second.job == first.job


def test_a_factory_that_fails_writes_nothing(house: House) -> None:
    def fail() -> Any:
        raise LookupError("no scene")

    before = Job.objects.count()
    with pytest.raises(LookupError, match="no scene"):
        job_manager.run_job("castle", fail)
    assert Job.objects.count() == before
    assert job_manager.get_running_job("castle") is None


def test_a_factory_that_loses_the_race_has_made_nothing(house: House) -> None:
    def overtaken() -> Any:
        job_manager.run_job("castle", hold, [str(house.gate())])
        return add.s(1, 1)

    before = Job.objects.count()
    answer = job_manager.run_job("castle", overtaken)
    assert (answer.type, answer.job.task) == ("JOB_ALREADY_RUNNING", hold.name)
    assert Job.objects.count() == before + 1
