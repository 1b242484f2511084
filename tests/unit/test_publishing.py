"""The way out, as far as it needs no server: kombu's transport in memory, and a broker that refuses."""

from __future__ import annotations

from typing import Any

import pytest

from jobs import publishing

pytestmark = pytest.mark.django_db


def test_disconnecting_really_closes_the_connection() -> None:
    producer = publishing._producer()
    connection: Any = producer.connection
    connection.connect()
    assert connection.connected
    publishing.disconnect()
    assert not connection.connected
    assert publishing._producer() is not producer
    publishing.disconnect()


def test_an_empty_queue_is_told_from_a_broker_that_cannot_say() -> None:
    """A lost doorbell shows by it; and the question must not cost the connection."""
    producer = publishing._producer()
    assert publishing.queue_depth("nobody.has.declared.it") == 0
    assert publishing._producer() is producer
    publishing.disconnect()
