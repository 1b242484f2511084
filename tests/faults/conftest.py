"""What every fault test ends with: nothing was promised in vain, and a probe shows that no hand is needed.

Also the table at the end of a run: how long each recovery took.
"""

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from jobs.admission import publishing
from tests.faults.observing import probe
from tests.invariants import check_invariants
from tests.services import Stack, Worker
from tests.services.stacks import NAME, STACKS

_stack = os.environ.get(NAME, STACKS[0])
collect_ignore = [] if _stack.endswith("rabbitmq") else ["test_acknowledgements.py"]  # no other broker asks for them
if not _stack.startswith("postgres") and os.environ.get("JOBCENTER_TEST_FULL") != "1":
    collect_ignore.append("test_servers.py")  # their brokers are the same program as that of postgres+redis

StartWorker = Callable[..., Worker]
Recovered = Callable[[str, float], None]

RECOVERIES = pytest.StashKey[list[tuple[str, str, float]]]()
PASSED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    return report


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for stack, fault, seconds in config.stash.get(RECOVERIES, []):
        terminalreporter.write_line(f"{stack:<18} {seconds:6.2f} s  {fault}")


@pytest.fixture
def recovered(request: pytest.FixtureRequest, stack: Stack) -> Recovered:
    """`recovered(fault, seconds)`: note how long a recovery took, for the table."""
    table = request.config.stash.setdefault(RECOVERIES, [])
    return lambda fault, seconds: table.append((stack.name, fault, seconds))


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Bodies of `hold` end when this file is there: `gate.touch()`."""
    return tmp_path / "gate"


@pytest.fixture(autouse=True)
def _fresh_publisher(stack: Stack) -> None:
    """This process forgets what an earlier test taught it about the broker."""
    publishing.breaker.succeeded()
    publishing.disconnect()


@pytest.fixture
def served(
    request: pytest.FixtureRequest, start_worker: StartWorker, recovered: Recovered, ledger_file: Path
) -> Iterator[StartWorker]:
    """`start_worker`, and at the end: a probe is served by whatever is left (I7), and no effect is unaccounted (I8)."""
    yield start_worker
    if request.node.stash.get(PASSED, False):
        recovered(f"a probe after {request.node.name}", probe())
        check_invariants(effects=ledger_file)
