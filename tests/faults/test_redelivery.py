"""The broker delivers again what it believes nobody has dealt with, or refuses what is large: neither reaches a job."""

import time
from pathlib import Path
from typing import Any

from kombu import Connection, Queue

from jobs import job_manager, liveness
from tests.app import ledger
from tests.app.faulty import EFFECT, hold, touch
from tests.app.jobs import measure
from tests.faults.conftest import Recovered, StartWorker
from tests.faults.observing import events, let_callers_admit, outcomes, wait_for, wait_for_end, wait_for_lines
from tests.services import Stack

SOON = {"JOBCENTER_TEST_VISIBILITY": "1"}  # seconds after which Redis's messages are delivered again
LONG = 8.0  # seconds of a body: many times as long


def test_no_doorbell_is_delivered_again_for_taking_long(served: StartWorker, ledger_file: Path, gate: Path) -> None:
    """Fault 18: bodies and what waits behind them in two workers outlast the visibility time-out eight times."""
    workers = [served(env=SOON, concurrency=1) for _ in range(2)]
    jobs = [job_manager.submit(hold, [str(gate)]) for _ in range(2)]
    wait_for_lines(ledger_file, "begin", 2, 20)
    jobs += [job_manager.submit(touch) for _ in range(4)]
    time.sleep(LONG)  # what would happen happens in that time
    gate.touch()
    wait_for_end(jobs, 20)
    assert [outcomes(job) for job in jobs] == [["completed"]] * 6
    assert len(ledger.read(ledger_file, EFFECT)) == 6
    assert all(not worker.ended() for worker in workers)


def test_a_doorbell_that_is_delivered_again_after_the_end_starts_nothing(
    served: StartWorker, stack: Stack, ledger_file: Path, recovered: Recovered
) -> None:
    """Fault 18: a consumer that is none of ours had taken it, and was gone without a word; Redis gives it back."""
    worker = served(env=SOON)
    wait_for(liveness.heartbeats, 10, "the first beat")
    let_callers_admit()
    worker.freeze()
    job = job_manager.submit(touch)
    job.refresh_from_db()
    taken = _take_and_vanish(stack)
    assert taken == str(job.attempt_id)
    worker.thaw()
    recovered("18: a foreign consumer took the doorbell and vanished; done", wait_for_end([job], 20))
    wait_for(lambda: f"[{taken}] received" in worker.text(), 40, "the second delivery")
    wait_for_end([job_manager.submit(touch) for _ in range(4)], 15)  # it is behind them by now
    assert outcomes(job) == ["completed"]
    assert events(job) == ["create", "admit", "release", "admit", "claim", "complete"]
    assert len(ledger.read(ledger_file, EFFECT)) == 5


def _take_and_vanish(stack: Stack) -> str:
    """Fetch the doorbell as any client of kombu does, and end without an answer to it; returns its id."""
    options = {"visibility_timeout": 1}
    connection = Connection(stack.broker_url, transport_options=options)
    channel: Any = connection.channel()
    message: Any = Queue("default")(channel).get(no_ack=False)
    channel.qos._on_collect.cancel()  # which would put it back in order when this process ends
    channel.connection_pool.disconnect()
    return str(message.headers["id"])


def test_a_payload_of_megabytes_is_not_in_the_message(
    served: StartWorker, stack: Stack, settings: Any, ledger_file: Path
) -> None:
    """Fault 20: the broker sees ids, however much the job is given. (Over the cap: integration/test_running.py.)"""
    settings.JOBS = {**settings.JOBS, "MAX_PAYLOAD": 8 * 2**20}
    worker = served()
    wait_for(liveness.heartbeats, 10, "the first beat")
    let_callers_admit()
    worker.freeze()
    text = "jobcenter " * 500_000
    job = job_manager.submit(measure, [text])
    assert stack.broker
    with Connection(stack.broker_url) as connection:
        channel: Any = connection.channel()
        (raw,) = channel.client.lrange("default", 0, -1)
        assert len(raw) < 2000
        assert b"jobcenter jobcenter" not in raw
    worker.thaw()
    wait_for_end([job], 30)
    assert job_manager.get_job_results(job.id) == len(text)
