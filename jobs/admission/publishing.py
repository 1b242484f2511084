"""Publishes messages to Celery's broker. A message names the user's task and carries ids, never a payload.

A message that is not sent is sent later by the steward, so a broker that is away is no error for the caller: `publish`
returns how many were sent. It remembers for a while that the broker is away, and returns 0 at once then. This module
changes no state but `published_at`.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from celery import Celery, current_app
from kombu import Connection, Producer
from kombu.utils.json import dumps

from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import execute
from jobs.models import Job

logger = logging.getLogger(__name__)

SOCKET_TIMEOUT = 0.8  # seconds; a hung broker costs a caller two of these at most: one to connect, one to send
_OPEN_FOR = (1.0, 2.0, 5.0)  # seconds the breaker stays open after the n-th failure in a row
_ONCE = {"max_retries": 0}  # else kombu sleeps for 2 s and tries again where a connection is refused
_BOUNDS: dict[str, dict[str, Any]] = {
    "redis": {
        **_ONCE,
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_connect_timeout": SOCKET_TIMEOUT,
        "retry_on_timeout": False,
    },
    "pyamqp": {**_ONCE, "confirm_publish": True, "read_timeout": SOCKET_TIMEOUT, "write_timeout": SOCKET_TIMEOUT},
}
_BODY = dumps([[], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
JOBS_HEADER = "jobs"
HOOKS_HEADER = "hooks"  # of a message that asks for the hooks of a job that has ended: see `jobs.execution.hooks`


@dataclass(frozen=True)
class JobMessage:
    """One message: the pool's queue, the task's name, and the (job id, attempt id) pairs that it carries."""

    pool: str
    task: str
    pairs: tuple[tuple[UUID, UUID], ...]
    header: str = JOBS_HEADER


Transport = Callable[[Sequence[JobMessage]], None]
Depth = Callable[[str], int | None]
_instead: ContextVar[tuple[Transport, Depth] | None] = ContextVar("instead_of_the_broker", default=None)
_unmarked: ContextVar[list[JobMessage] | None] = ContextVar("messages_to_be_marked", default=None)


class Breaker:
    """Remembers that the broker is away, so that not every caller waits for a time-out."""

    def __init__(self) -> None:
        self._failures = 0
        self._closed_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether publishing is pointless just now."""
        return _instead.get() is None and time.monotonic() < self._closed_at

    def failed(self) -> None:
        """Open for a while, longer each time."""
        self._closed_at = time.monotonic() + _OPEN_FOR[min(self._failures, len(_OPEN_FOR) - 1)]
        self._failures += 1

    def succeeded(self) -> None:
        """Close."""
        self._failures, self._closed_at = 0, 0.0


breaker = Breaker()
_local = threading.local()


def publish(messages: Sequence[JobMessage]) -> int:
    """Send messages and mark their jobs as published; returns how many were sent: all, or none."""
    if not messages or breaker.is_open:
        return 0
    try:
        _send(messages)
    except Exception as error:  # noqa: BLE001 - kombu's transports raise many types
        breaker.failed()
        disconnect()
        logger.warning("broker away, %d messages wait for the steward: %r", len(messages), error)
        return 0
    breaker.succeeded()
    unmarked = _unmarked.get()
    if unmarked is None:
        _mark_published(messages)
    else:
        unmarked.extend(messages)
    return len(messages)


@contextmanager
def delivered_by(transport: Transport, depth: Depth = lambda _: None) -> Iterator[None]:
    """Hand messages to `transport` and not to the broker, in this thread or asyncio task: see `jobs.client.eager`.

    `depth` answers `queue_depth` for it; by default it cannot say.
    """
    token = _instead.set((transport, depth))
    try:
        yield
    finally:
        _instead.reset(token)


@contextmanager
def marked_later() -> Iterator[Callable[[], None]]:
    """Inside, sent messages are marked only when the yielded function is called, at least twice per PUBLISH_AFTER.

    Most jobs have been claimed by then and need no mark.
    """
    unmarked: list[JobMessage] = []

    def mark() -> None:
        messages = unmarked.copy()
        unmarked.clear()
        if messages:
            _mark_published(messages)

    token = _unmarked.set(unmarked)
    try:
        yield mark
    finally:
        _unmarked.reset(token)


def disconnect() -> None:
    """Drop this thread's connection to the broker; the next publish opens a new one."""
    producer: Producer | None = _local.__dict__.pop("producer", None)
    if producer is not None and _local.pid == os.getpid():
        _quietly_close(producer)


def queue_depth(pool: str) -> int | None:
    """How many messages the broker holds for a pool's queue; None when it does not answer."""
    if breaker.is_open:
        return None
    instead = _instead.get()
    if instead is not None:
        return instead[1](pool)
    begun = time.monotonic()
    try:
        return _length(_producer().channel, pool)
    except Exception:  # noqa: BLE001 - the same
        disconnect()
        if time.monotonic() - begun >= SOCKET_TIMEOUT:
            breaker.failed()  # it hangs; the steward asks for every pool and must not wait each time
        return None


def _length(channel: Any, queue: str) -> int:
    """In Redis an empty queue does not exist, so a passive declare is an error; kombu can ask for its size."""
    size = getattr(channel, "_size", None)  # of kombu's virtual transports, all but AMQP
    return int(channel.queue_declare(queue, passive=True).message_count if size is None else size(queue))


def _send(messages: Sequence[JobMessage]) -> None:
    instead = _instead.get()
    if instead is not None:
        instead[0](messages)
        return
    reused, begun = "producer" in _local.__dict__, time.monotonic()
    try:
        _send_batch(_producer(), messages)
    except Exception:
        if not reused or time.monotonic() - begun >= SOCKET_TIMEOUT:
            raise  # it was refused, or it hangs
        disconnect()  # the broker may have been restarted since this connection was last used
        _send_batch(_producer(), messages)


def _send_batch(producer: Producer, messages: Sequence[JobMessage]) -> None:
    with producer.batch():  # type: ignore[attr-defined]  # new in kombu 5.7, not in its stubs
        for message in messages:
            message_id = str(message.pairs[0][1])
            producer.publish(
                _BODY,
                exchange="",
                routing_key=message.pool,
                headers=_headers(message, message_id),
                correlation_id=message_id,
                content_type="application/json",
                content_encoding="utf-8",
                delivery_mode=2,
            )


def _headers(message: JobMessage, message_id: str) -> dict[str, Any]:
    pairs = [[str(job_id), str(attempt_id)] for job_id, attempt_id in message.pairs]
    return {**_template(message.task), "id": message_id, "root_id": message_id, message.header: pairs}


@functools.cache
def _template(task: str) -> Mapping[str, Any]:
    """Celery's own headers for a task, made once."""
    message = _app().amqp.as_task_v2("", task, ignore_result=True, argsrepr="()", kwargsrepr="{}")
    return cast(Mapping[str, Any], message.headers)


def _producer() -> Producer:
    """This thread's producer; a connection that came through a fork is left alone, not closed."""
    if getattr(_local, "pid", None) != os.getpid():
        _local.__dict__.clear()
    if "producer" not in _local.__dict__:
        app = _app()
        connection: Connection = app.connection_for_write(connect_timeout=SOCKET_TIMEOUT)
        connection.transport_options = {**(connection.transport_options or {}), **_bounds(connection)}
        _local.producer = app.amqp.Producer(connection, auto_declare=False)
        _local.pid = os.getpid()
    return cast(Producer, _local.producer)


def _bounds(connection: Connection) -> dict[str, Any]:
    return _BOUNDS.get("pyamqp" if connection.transport_cls in {"amqp", "pyamqp", "amqps"} else "redis", {})


def _app() -> Celery:
    return cast(Celery[Any], current_app)


def _quietly_close(producer: Producer) -> None:
    try:
        cast(Any, producer.connection).collect(SOCKET_TIMEOUT)
    except Exception:
        logger.debug("closing a broken broker connection failed", exc_info=True)


def _mark_published(messages: Sequence[JobMessage]) -> None:
    """Set `published_at`, except for jobs that a worker has already claimed."""
    using = settings.DATABASE
    db = dialect(using)
    pairs = [pair for message in messages for pair in message.pairs]
    execute(
        using,
        f"UPDATE {Job._meta.db_table} SET published_at = {{now}}"
        f" WHERE {db.id_in('id')} AND {db.id_in('attempt_id')} AND COALESCE(state, '') = 'queued'",
        [db.id_list(job_id for job_id, _ in pairs), db.id_list(attempt_id for _, attempt_id in pairs)],
    )
