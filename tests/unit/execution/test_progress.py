"""The flusher's thread: output of bodies reaches the row soon and seldom, the last value wins; requests come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import Error

from jobs import job, job_manager
from jobs.execution import context, progress
from jobs.execution.context import JobContext
from jobs.execution.progress import Outbox, flusher
from jobs.models import Job
from tests.app import stages

pytestmark = pytest.mark.django_db(transaction=True)  # the thread has a connection of its own
DEADLINE = 10.0


@job(name="flushing.nothing")
def nothing() -> None: ...


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    flusher.stop()  # a body of another test may have started it
    yield
    flusher.stop()
    flusher._watched.clear()


@pytest.fixture
def running() -> JobContext:
    return stages.claim(job_manager.submit(nothing)).context


class Turns:
    """Counts the flusher's turns. In a database in memory a reader locks a writer out: a test looks between turns."""

    def __init__(self) -> None:
        self._ended = threading.Condition()
        self.done: list[float] = []
        self.failed: list[BaseException] = []

    def count(self, exchange: Callable[..., None]) -> Callable[..., None]:
        def counted(*args: Any) -> None:
            try:
                exchange(*args)
            except Exception as error:
                self._note(self.failed, error)
                raise
            self._note(self.done, time.monotonic())

        return counted

    def wait(self, number: int, among: str = "done") -> None:
        with self._ended:
            assert self._ended.wait_for(lambda: len(getattr(self, among)) >= number, DEADLINE), f"no turn {number}"

    def _note(self, among: list[Any], what: Any) -> None:
        with self._ended:
            among.append(what)
            self._ended.notify_all()


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    made = Turns()
    for act in ("_exchange", "_ask"):
        monkeypatch.setattr(progress, act, made.count(getattr(progress, act)))
    return made


def _message(this: JobContext) -> str:
    return Job.objects.get(pk=str(this.id)).message


# --- the outbox


def test_an_outbox_gives_its_output_once() -> None:
    outbox = Outbox()
    outbox.update(progress=1, message="a")
    outbox.update(progress=2)
    outbox.add_line(("t", "info", "line"))
    assert outbox.take() == ({"progress": 2, "message": "a"}, [("t", "info", "line")])
    assert outbox.take() == ({}, [])


def test_output_that_is_put_back_does_not_replace_newer_output() -> None:
    outbox = Outbox()
    outbox.update(progress=1, message="a")
    outbox.add_line(("t", "info", "first"))
    taken = outbox.take()
    outbox.update(progress=2)
    outbox.add_line(("t", "info", "second"))
    outbox.put_back(*taken)
    said, lines = outbox.take()
    assert said == {"progress": 2, "message": "a"}
    assert [text for _, _, text in lines] == ["first", "second"]


# --- the thread


def test_the_first_change_is_written_at_once(running: JobContext, turns: Turns) -> None:
    begin = time.monotonic()
    running.progress(10, "first")
    turns.wait(1)
    assert time.monotonic() - begin < progress.WRITE_EVERY
    assert _message(running) == "first"


def test_a_hot_loop_is_written_seldom_and_the_last_value_wins(
    running: JobContext, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert progress.WRITE_EVERY == 0.5  # at most two writes a second
    monkeypatch.setattr(progress, "WRITE_EVERY", 0.1)
    begin, number = time.monotonic(), 0
    while time.monotonic() - begin < 0.5:
        number += 1
        running.progress(50, f"message {number}")
    while running.outbox.is_dirty:
        turns.wait(len(turns.done) + 1)
    with running.outbox.writing:  # the last turn has ended
        pass
    assert 3 <= len(turns.done) <= (turns.done[-1] - begin) / 0.1 + 2
    assert _message(running) == f"message {number}"


def test_a_request_is_seen_by_a_body_without_output(
    running: JobContext, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert progress.ASK_EVERY == 1
    monkeypatch.setattr(progress, "ASK_EVERY", 0.3)
    running.check()
    turns.wait(1)
    assert running.id is not None
    job_manager.cancel_job(running.id, reason="enough")
    turns.wait(2)
    assert running.aborted
    assert running.outbox.stop_reason == "enough"


def test_a_failed_write_is_tried_again_and_loses_nothing(
    running: JobContext, turns: Turns, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "WRITE_EVERY", 0.3)
    with stages.refusing("UPDATE OF message ON jobs_job WHEN NEW.message = 'precious'"):
        running.outbox.update(message="precious")
        running.log("a precious line")
        turns.wait(1, "failed")
    turns.wait(1)
    assert "not written: refused by the test" in caplog.text
    assert _message(running) == "precious"
    assert Job.objects.get(pk=str(running.id)).logs.get().text == "a precious line"


def test_a_body_that_has_ended_is_forgotten(running: JobContext, turns: Turns) -> None:
    running.check()
    turns.wait(1)
    assert running.attempt_id is not None
    flusher.forget(running.attempt_id)
    assert flusher._watched == {}


def test_an_idle_flusher_ends_and_the_next_body_starts_another(
    running: JobContext, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINGER", 0.01)
    running.check()
    turns.wait(1)
    first = flusher._thread
    assert running.attempt_id is not None
    assert first is not None
    flusher.forget(running.attempt_id)
    first.join(DEADLINE)
    assert not first.is_alive()
    other = stages.claim(job_manager.submit(nothing)).context
    other.progress(1, "second")
    turns.wait(2)
    assert _message(other) == "second"


def test_a_thread_that_died_is_replaced(running: JobContext, turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    died = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: died.set())
    with monkeypatch.context() as patch:
        patch.setattr(progress.Flusher, "_guarded", lambda *_: 1 / 0)
        running.check()
        assert died.wait(DEADLINE)
    other = stages.claim(job_manager.submit(nothing)).context
    other.progress(1, "second")
    turns.wait(2)  # the first body's outbox is taken up again as well
    assert _message(other) == "second"


def test_the_end_waits_for_a_write_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flusher has taken the last line and not yet written it: the end must not come in between."""
    row = job_manager.submit(nothing)
    write, taken, finished = progress._write, threading.Event(), threading.Event()

    def slow(*args: Any) -> Any:
        taken.set()
        finished.wait(0.5)  # the end comes now, if nothing holds it up
        return write(*args)

    def body() -> None:
        this = context.current()
        assert this is not None
        this.outbox.update(message="the last word")
        this.log("the last line")
        assert taken.wait(DEADLINE)

    monkeypatch.setattr(progress, "_write", slow)
    done = stages.perform(row, body)
    finished.set()
    assert (done.state, done.message, done.logs.count()) == ("completed", "the last word", 1)


def test_inline_it_is_written_by_the_bodys_own_connection(running: JobContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flusher, "inline", True)
    running.progress(1, "at once")
    assert _message(running) == "at once"
    assert flusher._thread is None
    with stages.refusing("UPDATE OF message ON jobs_job WHEN NEW.message = 'refused'"), pytest.raises(Error):
        running.progress(2, "refused")
