"""The servers that fault tests harm: they break as told, and come back on the same address."""

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, connections
from kombu import Connection, Queue

from tests.services import Stack


def reachable(stack: Stack) -> bool:
    with Connection(stack.broker_url, connect_timeout=1, transport_options={"socket_timeout": 1}) as broker:
        try:
            with broker.channel() as channel:
                Queue("default")(channel).declare()
        except broker.connection_errors:
            return False
    return True


@pytest.mark.every_stack
def test_a_broker_that_is_killed_comes_back(stack: Stack) -> None:
    assert stack.broker
    before = stack.broker.pid
    stack.broker.kill()
    assert not reachable(stack)
    stack.broker.start()
    assert reachable(stack)
    assert stack.broker.pid != before


@pytest.mark.every_stack
def test_a_frozen_broker_does_not_answer(stack: Stack) -> None:
    assert stack.broker
    stack.broker.freeze()
    assert not reachable(stack)
    stack.broker.thaw()
    assert reachable(stack)


def test_a_database_that_crashes_keeps_what_was_committed(stack: Stack) -> None:
    User.objects.create_user("committed")
    if not stack.server:
        assert connection.vendor == "sqlite"  # no server, nothing to crash
        return
    stack.server.stop()
    with pytest.raises(OperationalError):
        User.objects.count()
    stack.server.start()
    connections.close_all()
    assert User.objects.filter(username="committed").exists()
