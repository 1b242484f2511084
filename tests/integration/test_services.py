"""The ground the other tests stand on: a real worker on this stack runs what was sent, and dies when told to."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection

from tests.app import ledger
from tests.app.tasks import echo, linger
from tests.services import Stack, Worker
from tests.services.processes import alive, wait_until

StartWorker = Callable[..., Worker]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_runs_what_was_sent(pool: str, start_worker: StartWorker, ledger_file: Path) -> None:
    worker = start_worker(pool=pool)
    assert len(worker.children()) == (2 if pool == "prefork" else 0)
    assert worker.feeder() not in (None, *worker.children())
    for number in range(5):
        echo.delay(str(number))
    wait_until(lambda: len(ledger.read(ledger_file)) == 5, 15, "five echoes")
    assert {line["text"] for line in ledger.read(ledger_file)} == set("01234")
    assert worker.stop() == 0


def test_a_killed_worker_leaves_nothing(start_worker: StartWorker, ledger_file: Path) -> None:
    worker = start_worker()
    linger.delay(60)
    wait_until(lambda: ledger.read(ledger_file, "begin"), 15, "the body began")
    everything = worker.processes()
    assert everything[0] == worker.pid
    assert ledger.read(ledger_file)[0]["pid"] in worker.children()
    worker.kill()
    worker.close()
    wait_until(lambda: not [pid for pid in everything if alive(pid)], 5, "the end of all of it")


def test_a_frozen_worker_goes_on_after_it_is_thawed(start_worker: StartWorker, ledger_file: Path) -> None:
    worker = start_worker()
    worker.freeze()
    echo.delay("later")
    worker.thaw()
    wait_until(lambda: ledger.read(ledger_file), 15, "the echo")


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
