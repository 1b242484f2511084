"""Fault 29: the clock of a process may be wrong by minutes. All moments are the database's, so nothing comes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import time_machine

from jobs import job_manager
from jobs.admission import publishing
from jobs.core.db.statements import query
from jobs.execution import heartbeats
from jobs.execution.heartbeats import Identity
from jobs.maintenance import promoter
from jobs.models import Job, Worker
from tests.app.faulty import touch
from tests.services import Stack

NEAR = timedelta(seconds=30)


@pytest.mark.parametrize("seconds", [600, -600])
def test_a_process_whose_clock_is_wrong_is_right(stack: Stack, seconds: int) -> None:
    """It submits, beats, admits and promotes as the others do."""
    with (
        time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True),
        publishing.delivered_by(lambda _: None),
    ):
        worker = uuid4()
        heartbeats.register(Identity(worker, "skewed", 1, ("default",), 10))
        assert heartbeats.beat(worker, 10)
        later = job_manager.submit(touch, run_after=60)
        assert promoter.promote() == 0
        now = job_manager.submit(touch)
    ((clock,),) = query("default", "SELECT {now}")
    right = clock if isinstance(clock, datetime) else datetime.fromisoformat(clock)
    right = right if right.tzinfo else right.replace(tzinfo=UTC)
    rows = [Job.objects.get(pk=one.pk) for one in (later, now)]
    seen = [rows[1].created_at, rows[1].eligible_at, rows[1].queued_at, Worker.objects.get(pk=worker).beat_at]
    assert all(moment and abs(moment - right) < NEAR for moment in seen), (right, seen)
    assert rows[0].run_after
    assert abs(rows[0].run_after - right - timedelta(seconds=60)) < NEAR
    assert rows[1].state == "queued"
