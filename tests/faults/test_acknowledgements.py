"""RabbitMQ closes the channel of a consumer that is slow to acknowledge. Runs on stacks with that broker."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs import job_manager
from tests.app import ledger
from tests.app.faulty import EFFECT, hold, touch
from tests.faults.conftest import Recovered, StartWorker
from tests.faults.observing import outcomes, state_of, wait_for_end, wait_for_lines
from tests.services import PrivateRabbitMQ, Stack

IMPATIENT = "[{rabbit, [{consumer_timeout, 2000}, {channel_tick_interval, 1000}]}]."  # ms; by default 30 min and 1 min


@pytest.fixture
def impatient(stack: Stack) -> Iterator[PrivateRabbitMQ]:
    """The broker of the stack, restarted with a consumer_timeout of 2 s; afterwards it has its own again."""
    broker = stack.broker
    assert isinstance(broker, PrivateRabbitMQ)
    file = broker.directory / "config.config"
    file.write_text(IMPATIENT)
    try:
        broker.stop()
        broker.start()
        yield broker
    finally:
        file.unlink()
        broker.stop()
        broker.start()


@pytest.mark.every_stack
def test_a_consumer_time_out_disturbs_nobody(
    impatient: PrivateRabbitMQ, served: StartWorker, ledger_file: Path, gate: Path, recovered: Recovered
) -> None:
    """Fault 19: the bodies take four times as long, and what is fetched behind them is not acknowledged meanwhile."""
    worker = served()
    running = [job_manager.submit(hold, [str(gate)]) for _ in range(2)]
    wait_for_lines(ledger_file, "begin", 2, 20)
    waiting = [job_manager.submit(touch) for _ in range(6)]
    time.sleep(8)  # the time-out itself: there is nothing to wait for
    assert [state_of(job) for job in running] == ["running"] * 2
    gate.touch()
    recovered("19: consumer_timeout of 2 s, bodies of 8 s; all eight done", wait_for_end([*running, *waiting], 60))
    assert [outcomes(job) for job in [*running, *waiting]] == [["completed"]] * 8
    assert len(ledger.read(ledger_file, EFFECT)) == 8
    assert "PRECONDITION_FAILED" in worker.text()  # the broker has closed its channel, over what waited
    assert not worker.ended()
