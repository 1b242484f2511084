"""What all tests share: the tier a test belongs to, the rule about skips, and the fixtures of a live stack.

The directory of a test is its tier. How tests are run, and what the fixtures give: tests/README.md.
"""

import os
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from django.db import connections

from jobs.admission import pools
from jobs.admission.limits import declared
from tests.app import ledger
from tests.invariants import check_invariants
from tests.services import Stack, Worker

pytest_plugins = ["jobs.testing.plugin"]  # an installed package is found by its entry point

TIERS = ("unit", "tools", "integration", "faults", "property", "browser")
LIVE = ("integration", "faults")
HERE = Path(__file__).parent
NO_STACK = "needs a database and a broker: python -m tests.run {tier}"
NAMELESS = re.compile(r"0x[0-9a-f]{6,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
SKIPS_FORBIDDEN = os.environ.get("REQUIRE_SERVICES") == "1"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Two processes of `-n 2` must name a test alike, but an address or a random id is another in each of them."""
    for mark in metafunc.definition.iter_markers("parametrize"):
        if isinstance(mark.kwargs, dict) and callable(name := mark.kwargs.get("ids")):
            mark.kwargs["ids"] = partial(_named_alike, name)


def pytest_make_parametrize_id(val: object) -> str | None:
    return NAMELESS.sub("…", val) if isinstance(val, str) and NAMELESS.search(val) else None


def _named_alike(name: Callable[[object], object], value: object) -> object:
    told = name(value)
    return NAMELESS.sub("…", told) if isinstance(told, str) else told


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        tier = item.path.relative_to(HERE).parts[0]
        if tier in TIERS:
            item.add_marker(tier)
        if tier in LIVE and Stack.current() is None:
            item.add_marker(pytest.mark.skip(reason=NO_STACK.format(tier=tier)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With REQUIRE_SERVICES=1 a skipped test is a failed one."""
    return _forbid_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself."""
    return _forbid_skip((yield))


def _forbid_skip(report: Report) -> Report:
    if SKIPS_FORBIDDEN and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"REQUIRE_SERVICES=1 forbids to skip: {report.longrepr}"
    return report


@pytest.fixture
def stack(transactional_db: None, django_db_serialized_rollback: None) -> Iterator[Stack]:
    """The database (migrated, with nothing in it but what migrations put there) and the broker (empty) of this run."""
    stack = Stack.current()
    assert stack, "this fixture is for tests/integration and tests/faults"
    pools.forget()  # what this process knows of rows is of those that were there before
    declared.forget()
    stack.heal()
    stack.empty_broker()
    yield stack
    stack.heal()
    connections.close_all()  # what a fault has cut must not meet what follows
    check_invariants()


@pytest.fixture
def ledger_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the test jobs of this test note what they do; `ledger.read(ledger_file)` tells."""
    path = tmp_path / "ledger"
    monkeypatch.setenv(ledger.VARIABLE, str(path))
    return path


@pytest.fixture
def start_worker(stack: Stack, ledger_file: Path, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """`start_worker(pool="threads", concurrency=4, …)`: a ready worker on the stack, gone when the test ends.

    The arguments are those of `Worker`. What it wrote is shown when the test fails.
    """
    workers: list[Worker] = []
    with ExitStack() as closing:

        def start(**how: Any) -> Worker:
            worker = Worker(tmp_path / f"worker-{len(workers)}.log", **how)
            stack.queues.update(worker.queues)
            workers.append(worker)
            return closing.enter_context(worker)

        yield start
    for worker in workers:
        print(f"--- {worker.log.name}\n{worker.text()[-20_000:]}")  # noqa: T201  # pytest shows it with a failure
