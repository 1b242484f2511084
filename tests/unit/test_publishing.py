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
