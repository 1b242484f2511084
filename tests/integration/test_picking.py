"""Admission takes as many as there is room for, whatever PostgreSQL's planner believes of the table."""

import uuid

from django.conf import settings
from django.db import connection
from django.test import override_settings

from jobs import Job, job_manager
from jobs.admission import passes, publishing
from jobs.execution import heartbeats
from jobs.execution.heartbeats import Identity
from tests.services import Stack


def test_no_more_than_the_room_whatever_the_plan(stack: Stack) -> None:
    """A sub-select with LIMIT, run once per row of a join, skipped what it had locked and admitted all 1,500."""
    job_manager.submit_many("nobody.runs.this", [((), {})] * 1500)
    heartbeats.register(Identity(uuid.uuid4(), "nobody", 1, ("default",), 1))
    publishing.breaker.succeeded()
    _leave_only_nested_loops()

    with override_settings(JOBS={**settings.JOBS, "STALE_AFTER": 60}):  # the plan takes seconds, without a heartbeat
        assert passes.admit("default") == 2  # one slot and the look-ahead of one
    assert Job.objects.filter(state="queued").count() == 2


def test_no_more_than_the_room_of_several_lanes(stack: Stack) -> None:
    """PostgreSQL sums counts to a decimal, and a decimal does not cut a list: the feeder died of it."""
    for task in ("nobody.runs.this", "nobody.runs.that"):
        job_manager.submit_many(task, [((), {})] * 10)
    heartbeats.register(Identity(uuid.uuid4(), "nobody", 1, ("default",), 1))
    publishing.breaker.succeeded()

    assert passes.admit("default") == 2
    assert Job.objects.filter(state="queued").count() == 2


def _leave_only_nested_loops() -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for way in ("hashjoin", "mergejoin", "hashagg", "sort", "material", "memoize", "indexscan", "bitmapscan"):
                cursor.execute(f"SET enable_{way} = off")
