"""Heartbeats as rows."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from jobs import liveness
from jobs.liveness import Identity
from jobs.models import Worker
from jobs.querysets.dialect import bound_now
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("microsecond", [0, 1000, 123_000])
def test_a_worker_is_fenced_whenever_it_beat_last(microsecond: int) -> None:
    """SQLite compares texts, and Django writes 12:00:00.000 as 12:00:00."""
    with bound_now(datetime(2030, 1, 1, 12, 0, 0, microsecond, tzinfo=UTC)):
        boot_id = stages.start_worker()
    ((_, seen),) = liveness.heartbeats()
    assert liveness.fence(boot_id, seen)
    assert not Worker.objects.unfenced().exists()


def test_a_worker_that_has_beaten_since_is_not_fenced(clock: Clock) -> None:
    boot_id = stages.start_worker()
    ((_, seen),) = liveness.heartbeats()
    clock.forward(0.001)
    assert liveness.beat(boot_id, 1)
    assert not liveness.fence(boot_id, seen)


def test_a_registration_whose_answer_was_lost_may_be_repeated() -> None:
    identity = Identity(uuid4(), "test", 1, ("default",), 2)
    liveness.register(identity)
    liveness.register(identity)
    assert liveness.beat(identity.boot_id, 2)
    assert Worker.objects.count() == 1
