"""The way out, as far as it needs no server: kombu's transport in memory, and a broker that refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from jobcenter import celery_app
from jobs import Job, job, job_manager
from jobs.admission import publishing
from jobs.admission.publishing import _OPEN_FOR, Breaker, JobMessage
from jobs.execution import claims
from jobs.models import transitions
from tests.app import stages

pytestmark = pytest.mark.django_db


@job(name="publishing.nothing")
def nothing() -> None: ...


@pytest.fixture(autouse=True)
def own_breaker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Breaker]:
    breaker = Breaker()
    monkeypatch.setattr(publishing, "breaker", breaker)
    yield breaker
    publishing.disconnect()


@pytest.fixture
def queue() -> Iterator[Any]:
    """A queue of the broker in memory, of this test alone."""
    with celery_app.connection_for_read() as connection:
        made = connection.SimpleQueue(f"queue-{uuid4()}")
        yield made
        made.queue.delete()
        made.close()


def _message(pool: str) -> JobMessage:
    row = job_manager.submit(nothing)
    return JobMessage(pool, row.task, ((row.id, stages.queue(row)),))


def test_a_doorbell_names_the_task_and_carries_ids_only(queue: Any) -> None:
    message = _message(queue.queue.name)
    ((job_id, attempt_id),) = message.pairs
    assert publishing.publish([message]) == 1
    message = queue.get(timeout=1)
    message.ack()
    assert message.headers["task"] == "publishing.nothing"
    assert message.headers["id"] == message.headers["root_id"] == str(attempt_id)
    assert message.headers["jobs"] == [[str(job_id), str(attempt_id)]]
    assert message.properties["correlation_id"] == str(attempt_id)
    assert message.content_type == "application/json"
    assert json.loads(message.body)[:2] == [[], {}]


def test_what_was_sent_is_marked(queue: Any) -> None:
    messages = [_message(queue.queue.name) for _ in range(3)]
    assert publishing.publish(messages) == 3
    for message in messages:
        assert job_manager.get_job(message.pairs[0][0]).published_at is not None


def test_what_was_sent_may_be_marked_later(queue: Any) -> None:
    """By then a worker has claimed most of it, and says so itself."""
    waits, runs = _message(queue.queue.name), _message(queue.queue.name)
    with publishing.marked_later() as mark:
        publishing.publish([waits, runs])
        assert job_manager.get_job(waits.pairs[0][0]).published_at is None
        assert claims.claim(*runs.pairs[0], None) is not None
        noted = job_manager.get_job(runs.pairs[0][0]).published_at
        assert noted is not None
        mark()
        assert job_manager.get_job(waits.pairs[0][0]).published_at is not None
        assert job_manager.get_job(runs.pairs[0][0]).published_at == noted
    publishing.publish([_message(queue.queue.name)])
    assert Job.objects.filter(published_at=None).count() == 0


def test_a_job_that_went_on_meanwhile_is_not_marked(queue: Any) -> None:
    message = _message(queue.queue.name)
    row = job_manager.get_job(message.pairs[0][0])
    transitions.move("release", "id = %s", [stages.key(row)])
    stages.queue(row)
    assert publishing.publish([message]) == 1
    assert stages.fresh(row).published_at is None


def test_nothing_to_send_touches_no_broker(refusals: list[Any]) -> None:
    assert publishing.publish([]) == 0
    assert refusals == []


def test_how_much_a_queue_holds(queue: Any) -> None:
    name = queue.queue.name
    assert publishing.queue_depth(name) == 0
    publishing.publish([_message(name), _message(name)])
    assert publishing.queue_depth(name) == 2


def test_an_empty_queue_is_told_from_a_broker_that_cannot_say(own_breaker: Breaker) -> None:
    """A lost message is found by it; asking must not cost the connection."""
    producer = publishing._producer()
    assert publishing.queue_depth("nobody.has.declared.it") == 0
    assert publishing._producer() is producer
    assert not own_breaker.is_open


# --- a broker that is away


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A broker that refuses every connection; the list counts the tries."""
    tries: list[Any] = []

    def refuse(**how: Any) -> None:
        tries.append(how)
        raise ConnectionRefusedError("refused")

    publishing.disconnect()
    monkeypatch.setattr(celery_app, "connection_for_write", refuse)
    return tries


def test_a_broker_that_is_away_is_no_error_and_is_remembered(
    refusals: list[Any], own_breaker: Breaker, caplog: pytest.LogCaptureFixture
) -> None:
    message = _message("default")
    assert publishing.publish([message]) == 0
    assert own_breaker.is_open
    assert "broker away, 1 messages wait" in caplog.text
    assert publishing.publish([message]) == 0
    assert publishing.queue_depth("default") is None
    assert len(refusals) == 1
    assert job_manager.get_job(message.pairs[0][0]).published_at is None


def test_a_connection_that_died_is_replaced_once(queue: Any, own_breaker: Breaker) -> None:
    publishing.publish([_message(queue.queue.name)])
    producer: Any = publishing._producer()
    producer.connection.collect()
    producer.channel.close()
    assert publishing.publish([_message(queue.queue.name)]) == 1
    assert publishing.queue_depth(queue.queue.name) == 1  # in memory the first went with the channel
    assert not own_breaker.is_open


def test_the_breaker_opens_longer_each_time_and_closes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(publishing, "time", SimpleNamespace(monotonic=lambda: now[0]))
    breaker = Breaker()
    assert not breaker.is_open
    for seconds in [*_OPEN_FOR, _OPEN_FOR[-1], _OPEN_FOR[-1]]:
        breaker.failed()
        now[0] += seconds - 0.5
        assert _is_open(breaker)
        now[0] += 0.5
        assert not _is_open(breaker)
    breaker.failed()
    breaker.succeeded()
    assert not _is_open(breaker)
    breaker.failed()
    now[0] += _OPEN_FOR[0]
    assert not _is_open(breaker)
    assert sorted(_OPEN_FOR) == list(_OPEN_FOR)


def _is_open(breaker: Breaker) -> bool:
    return breaker.is_open


# --- the connection


def test_disconnecting_really_closes_the_connection() -> None:
    producer = publishing._producer()
    connection: Any = producer.connection
    connection.connect()
    assert connection.connected
    publishing.disconnect()
    assert not connection.connected
    assert publishing._producer() is not producer


def test_a_connection_is_bounded_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = celery_app.connection_for_write
    for url, option in (("redis://127.0.0.1:1/0", "socket_timeout"), ("amqp://127.0.0.1:1//", "read_timeout")):
        publishing.disconnect()
        made = connect(url)  # not connected
        monkeypatch.setattr(celery_app, "connection_for_write", lambda made=made, **_: made)
        connection: Any = publishing._producer().connection
        assert connection.transport_options[option] == publishing.SOCKET_TIMEOUT


def test_another_transport_may_say_how_much_it_holds() -> None:
    with publishing.delivered_by(lambda _: None, {"gpu": 3}.get):
        assert (publishing.queue_depth("gpu"), publishing.queue_depth("default")) == (3, None)
        with stages.collected():
            assert publishing.queue_depth("gpu") is None


def test_delivered_by_another_transport_and_back(queue: Any) -> None:
    with stages.collected() as outer:
        with stages.collected() as inner:
            publishing.publish([_message("default")])
        publishing.publish([_message("default")])
    assert (len(outer), len(inner)) == (1, 1)
    publishing.publish([_message(queue.queue.name)])
    assert publishing.queue_depth(queue.queue.name) == 1
