"""One worker for the tests that can share it. They come last, in random order among themselves: see `house`.

What brings servers or a project of its own (demo, quickstart), and what tests the tests' own workers, runs beside
one stack only, not once for each; what only one kind of database can do runs on that.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.core.management import call_command
from pytest_django import DjangoDbBlocker

from jobs.admission import publishing
from tests.app import ledger
from tests.integration.house import QUICK, House
from tests.invariants import check_probe
from tests.services import Stack, Worker
from tests.services.stacks import NAME, STACKS

_stack = os.environ.get(NAME, STACKS[0])
collect_ignore = [] if _stack == STACKS[0] else ["test_demo.py", "test_quickstart.py"]
if _stack != "postgres+redis":
    collect_ignore.append("test_services.py")  # a worker is started and watched alike on each
if _stack not in (STACKS[0], "postgres+redis"):
    collect_ignore.append("test_spread.py")  # it is about admission, and takes real time
if not _stack.startswith("postgres"):
    collect_ignore.append("test_listening.py")  # no other database notifies
if not _stack.endswith("redis"):
    collect_ignore.append("test_reception.py")  # no other broker's acknowledgements are emulated
if _stack.startswith("sqlite"):
    collect_ignore.append("test_deadlocks.py")  # one writer at a time
if not _stack.startswith("mariadb"):
    collect_ignore.append("test_mariadb.py")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that empty the database after themselves come before those that share one."""
    items.sort(key=lambda item: "house" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def shared_house(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """The house, built when its first test begins, and standing to the end of the run."""
    stack = Stack.current()
    assert stack, "this fixture is for tests/integration"
    directory = tmp_path_factory.mktemp("house")
    with ExitStack() as closing, pytest.MonkeyPatch.context() as patch:
        closing.enter_context(django_db_blocker.unblock())
        patch.setenv(ledger.VARIABLE, str(directory / "ledger"))
        call_command("migrate", verbosity=0)  # pytest-django does so only for tests that ask for its own fixtures
        call_command("flush", verbosity=0, interactive=False)
        stack.empty_broker()
        worker = Worker(directory / "worker.log", env={"JOBCENTER_TEST_JOBS": QUICK}, fresh=True)
        yield House(stack, closing.enter_context(worker), directory)


@pytest.fixture(scope="module")
def _served(shared_house: House) -> Iterator[None]:
    """Whatever a module has done to the house, a probe is served there afterwards by itself (I7)."""
    yield
    check_probe()


@pytest.fixture
def house(shared_house: House, _served: None) -> Iterator[House]:
    """The shared house; afterwards nothing of the test is under way, and the invariants hold."""
    if shared_house.worker.ended():
        shared_house.worker.start()
    publishing.breaker.succeeded()
    begin = shared_house.worker.log.stat().st_size
    yield shared_house
    print(shared_house.worker.text(begin)[-20_000:])  # noqa: T201  # pytest shows it with a failure
    shared_house.settle()
