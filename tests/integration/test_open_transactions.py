"""A body that returns inside a transaction: its end must be recorded all the same, for everybody to see."""

from collections.abc import Callable

import pytest
from django.db import connection, transaction

from jobs import job_manager
from jobs.models import Job, Pool
from tests.app import stages
from tests.services import Stack


def leaves_an_atomic_block() -> None:
    transaction.atomic().__enter__()
    Pool.objects.create(name="never-committed")


def turns_autocommit_off() -> None:
    transaction.set_autocommit(False)
    Pool.objects.create(name="never-committed")


def fails_in_it() -> None:
    leaves_an_atomic_block()
    raise ValueError("in the middle")


@pytest.mark.parametrize("body", [leaves_an_atomic_block, turns_autocommit_off, fails_in_it])
def test_what_a_body_left_open_is_rolled_back_and_a_failure(stack: Stack, body: Callable[[], None]) -> None:
    row, following = (job_manager.submit("nobody.runs.this") for _ in range(2))
    stages.perform(row, body)
    stages.perform(following, lambda: 5)
    connection.close()  # what was not committed is gone now
    seen = Job.objects.get(pk=row.pk)
    assert seen.state == "failed"
    assert ("middle" if body is fails_in_it else "rolled back") in seen.error_message
    assert Job.objects.get(pk=following.pk).result == 5
    assert not Pool.objects.filter(name="never-committed").exists()
