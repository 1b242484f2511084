"""How many doorbells the broker holds, asked on every broker."""

from uuid import uuid4

import pytest
from celery import current_app

from jobs.admission import publishing
from jobs.admission.publishing import JobMessage
from tests.services import Stack

pytestmark = pytest.mark.broker


def test_the_broker_says_how_much_it_holds_and_that_it_holds_nothing(stack: Stack) -> None:
    pool = "depth"
    stack.queues.add(pool)
    publishing.breaker.succeeded()
    with current_app.connection_for_write() as connection:
        current_app.amqp.queues[pool](connection).declare()
    assert publishing.queue_depth(pool) == 0
    assert publishing.publish([JobMessage(pool, "nobody.runs.this", ((uuid4(), uuid4()),))]) == 1
    assert publishing.queue_depth(pool) == 1
    publishing.disconnect()
