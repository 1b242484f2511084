"""The network between a worker and its broker is cut, or falls silent, while bodies run: each runs once to its end."""

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from jobs import job_manager
from tests.app import ledger
from tests.app.faulty import EFFECT, hold, touch
from tests.faults.conftest import Recovered, StartWorker
from tests.faults.observing import events, outcomes, wait_for, wait_for_end, wait_for_lines
from tests.services import Proxy, Stack

OUTAGE = 6  # seconds: many times the socket time-out, which is 1.5


@pytest.fixture
def network(stack: Stack) -> Iterator[Proxy]:
    """What lies between the worker of this test and its broker, to the end of the test's last probe."""
    port = urlsplit(stack.broker_url).port
    assert port
    with Proxy(port) as proxy:
        yield proxy


@pytest.mark.parametrize("how", ["cut", "cut, and Celery shall cancel", "silent"])
def test_a_worker_that_is_cut_off_from_its_broker_ends_what_it_runs(
    how: str, network: Proxy, served: StartWorker, stack: Stack, ledger_file: Path, gate: Path, recovered: Recovered
) -> None:
    """Fault 16. One body ends during the outage and one after it; what is submitted meanwhile runs afterwards."""
    late = gate.with_name("late")
    cancel = {"JOBCENTER_TEST_CANCEL_ON_LOSS": "1"} if "cancel" in how else {}
    worker = served(env={"CELERY_BROKER_URL": _through(network, stack), **cancel})
    running = [job_manager.submit(hold, [str(one)]) for one in (gate, late)]
    wait_for_lines(ledger_file, "begin", 2, 20)
    (network.silence if how == "silent" else network.cut)()
    gate.touch()
    wait_for_end(running[:1], 10)
    waiting = [job_manager.submit(touch) for _ in range(5)]
    time.sleep(OUTAGE)  # the outage itself: there is nothing to wait for
    before = network.accepted
    network.heal()
    late.touch()
    recovered(f"16: the broker's network is {how}, for 6 s; all done", wait_for_end([*running, *waiting], 60))
    if how != "silent":
        wait_for(lambda: network.accepted > before, 60, "its new connection")
    assert not worker.ended()
    assert [outcomes(job) for job in [*running, *waiting]] == [["completed"]] * 7
    assert [events(job) for job in running] == [["create", "admit", "claim", "complete"]] * 2
    assert len(ledger.read(ledger_file, EFFECT)) == 7


def _through(proxy: Proxy, stack: Stack) -> str:
    parts = urlsplit(stack.broker_url)
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{proxy.port}"))
