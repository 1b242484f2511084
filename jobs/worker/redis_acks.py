"""Keeps job messages that were fetched from Redis and not started in memory only, without a copy in Redis.

kombu emulates acknowledgements on Redis: a copy of each message in a hash and its time in a sorted set, two
transactions for each message, more than half of what a worker's main process does for a job; the copies are
delivered again an hour later. A job message needs none of that: the row is the job, and the steward sends the message
again when no worker answered. Every other message is kept as kombu keeps it.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis, virtual

from jobs.admission.publishing import JOBS_HEADER

_RedisQoS: Any = redis.QoS
_in_memory: Any = virtual.QoS


def install() -> None:
    """Use this for the process's consumers on Redis. The worker calls it before it connects."""
    if redis.Channel.QoS is redis.QoS:
        redis.Channel.QoS = JobMessageQoS


class JobMessageQoS(_RedisQoS):  # type: ignore[misc]  # kombu's stubs leave half of it out
    """What kombu's channel keeps unacknowledged messages in, with an exception for job messages."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._light: set[str] = set()
        super().__init__(*args, **options)

    def append(self, message: Any, delivery_tag: str) -> None:
        if JOBS_HEADER in message.headers:
            self._light.add(delivery_tag)
            _in_memory.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        if delivery_tag in self._light:
            self._let_go(delivery_tag)
        else:
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if delivery_tag not in self._light:
            super().reject(delivery_tag, requeue=requeue)
            return
        if requeue:
            self._put_back(self._delivered[delivery_tag], leftmost=True)
        self._let_go(delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:
        """A worker that ends, or has lost its connection, puts back what it did not begin."""
        self._flush()  # of what was acknowledged
        delivered: dict[str, Any] = self._delivered or {}
        for delivery_tag in [tag for tag in delivered if tag in self._light]:
            self._put_back(delivered.pop(delivery_tag), leftmost=False)
        super().restore_unacked(client)

    def _let_go(self, delivery_tag: str) -> None:
        self._light.discard(delivery_tag)
        _in_memory.ack(self, delivery_tag)

    def _put_back(self, message: Any, *, leftmost: bool) -> None:
        channel: Any = self.channel
        where = message.delivery_info
        with channel.conn_or_acquire() as client:
            channel._do_restore_message(message._raw, where["exchange"], where["routing_key"], client, leftmost)
