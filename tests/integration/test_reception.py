"""What Redis keeps of a message that a worker has taken: nothing of a doorbell, a copy of any other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Self
from uuid import uuid4

import pytest
from celery import current_app
from kombu import Connection, Consumer, Queue
from kombu.transport import redis

from jobs.admission import publishing
from jobs.admission.publishing import JobMessage
from jobs.worker import redis_acks
from tests.services import Stack

POOL = "reception"
UNACKED = "unacked"


@pytest.fixture
def connection(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    monkeypatch.setattr(redis.Channel, "QoS", redis.QoS)  # put back afterwards
    redis_acks.install()
    stack.queues.add(POOL)
    publishing.breaker.succeeded()
    with current_app.connection_for_write() as connection:
        current_app.amqp.queues[POOL](connection).declare()
        yield connection
    publishing.disconnect()


def test_a_doorbell_is_kept_in_memory_and_counts_for_the_prefetch(connection: Connection) -> None:
    _ring(3)
    with _taking(connection, prefetch=2) as taken:
        messages = _drain(connection, taken)
        assert len(messages) == 2
        assert _kept(connection) == 0
        messages[0].ack()
        assert len(_drain(connection, taken)) == 3
        assert publishing.queue_depth(POOL) == 0


def test_a_doorbell_that_is_rejected_rings_again(connection: Connection) -> None:
    _ring(1)
    with _taking(connection) as taken:
        (first,) = _drain(connection, taken)
        first.reject(requeue=True)
        (_, again) = _drain(connection, taken)
        assert again.headers == {**first.headers, "redelivered": True}
        again.reject()
        assert len(_drain(connection, taken)) == 2
    assert publishing.queue_depth(POOL) == 0


def test_what_was_taken_and_not_begun_is_put_back(connection: Connection) -> None:
    _ring(2)
    with _taking(connection) as taken:
        first, _ = _drain(connection, taken)
        first.ack()
        first.channel.qos.restore_unacked()
        (_, second, again) = _drain(connection, taken)
        assert again.headers == {**second.headers, "redelivered": True}
        again.ack()
    assert publishing.queue_depth(POOL) == 0


def test_every_other_message_is_kept_as_before(connection: Connection) -> None:
    connection.Producer().publish({}, routing_key=POOL, exchange="")
    with _taking(connection) as taken:
        (message,) = _drain(connection, taken)
        assert _kept(connection) == 1
        message.ack()
        assert _kept(connection) == 0


class _Taking(list[Any]):
    """The messages that a consumer has been given, as long as it consumes."""

    def __init__(self, connection: Connection, prefetch: int) -> None:
        self._consumer: Any = Consumer(
            connection.channel(), [Queue(POOL)], on_message=self.append, accept=["json"], auto_declare=False
        )
        self._consumer.qos(prefetch_count=prefetch)

    def __enter__(self) -> Self:
        self._consumer.consume()
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.cancel()
        self._consumer.channel.close()


def _taking(connection: Connection, prefetch: int = 0) -> _Taking:
    return _Taking(connection, prefetch)


def _ring(times: int) -> None:
    messages = [JobMessage(POOL, "nobody.runs.this", ((uuid4(), uuid4()),)) for _ in range(times)]
    assert publishing.publish(messages) == times


def _drain(connection: Connection, taken: _Taking) -> list[Any]:
    """All that comes; half a second of nothing says that no more does."""
    with suppress(TimeoutError):
        while True:
            connection.drain_events(timeout=0.5)
    return list(taken)


def _kept(connection: Connection) -> int:
    channel: Any
    with connection.channel() as channel:
        return int(channel.client.hlen(UNACKED))
