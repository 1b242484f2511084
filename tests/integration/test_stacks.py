"""What each test finds on each stack: the database as migrations left it, and no message of the test before."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection

from tests.app import ledger
from tests.app.tasks import echo
from tests.services import Stack, Worker
from tests.services.processes import wait_until

StartWorker = Callable[..., Worker]
pytestmark = pytest.mark.broker


@pytest.mark.parametrize("round_", [1, 2])
def test_each_test_finds_the_database_as_migrations_left_it(round_: int, stack: Stack) -> None:
    vendors = {"sqlite": "sqlite", "postgres": "postgresql", "mariadb": "mysql"}
    assert connection.vendor == vendors[stack.name.partition("+")[0]]
    assert not User.objects.exists()
    User.objects.create_user("left-over")


@pytest.mark.parametrize("round_", [1, 2])
def test_each_test_finds_the_broker_empty(
    round_: int, stack: Stack, start_worker: StartWorker, ledger_file: Path
) -> None:
    echo.delay(f"only of round {round_}")
    start_worker()
    wait_until(lambda: ledger.read(ledger_file), 15, "the echo")
    assert [line["text"] for line in ledger.read(ledger_file)] == [f"only of round {round_}"]
    echo.delay("left over")
