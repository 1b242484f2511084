"""The broker delivers again what it believes nobody has dealt with, or refuses what is large: neither reaches a job."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Queue

from jobs import job_manager
from jobs.execution import heartbeats
from tests.app import ledger
from tests.app.faulty import EFFECT, hold, touch
from tests.app.jobs import measure
from tests.faults.conftest import Recovered, StartWorker
from tests.faults.observing import events, let_callers_admit, outcomes, wait_for, wait_for_end, wait_for_lines
from tests.services import Stack
from tests.services.processes import forked

SOON = {"JOBCENTER_TEST_VISIBILITY": "1"}  # seconds after which Redis's messages are delivered again
REDIS = pytest.mark.main_stack_only(reason="visibility time-outs and lists are Redis's")
LONG = 8.0  # seconds of a body: many times as long


@REDIS
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


@REDIS
def test_a_doorbell_that_is_delivered_again_after_the_end_starts_nothing(
    served: StartWorker, stack: Stack, ledger_file: Path, recovered: Recovered
) -> None:
    """Fault 18: a consumer that is none of ours had taken it, and was gone without a word; Redis gives it back."""
    worker = served(env=SOON)
    wait_for(heartbeats.heartbeats, 10, "the first beat")
    let_callers_admit()
    worker.freeze()
    job_manager.submit(touch)  # what a frozen worker has asked for, Redis gives it
    job = job_manager.submit(touch)
    job.refresh_from_db()
    taken = job.attempt_id
    _take_and_vanish(stack)
    worker.thaw()
    recovered("18: a foreign consumer took the doorbell and vanished; done", wait_for_end([job], 20))
    wait_for(lambda: f"[{taken}] received" in worker.text(), 40, "the second delivery")
    wait_for_end([job_manager.submit(touch) for _ in range(4)], 15)  # it is behind them by now
    assert outcomes(job) == ["completed"]
    assert events(job) == ["create", "admit", "release", "admit", "claim", "complete"]
    assert len(ledger.read(ledger_file, EFFECT)) == 6


def _take_and_vanish(stack: Stack) -> None:
    """Fetch all there is as any client of kombu does, and end without a word, in another process."""

    def take() -> None:
        options = {"visibility_timeout": 1}
        channel: Any = Connection(stack.broker_url, transport_options=options).channel()
        while Queue("default")(channel).get(no_ack=False):
            pass

    os.waitpid(forked(take), 0)


@REDIS
def test_a_payload_of_megabytes_is_not_in_the_message(
    served: StartWorker, stack: Stack, settings: Any, ledger_file: Path
) -> None:
    """Fault 20: the broker sees ids, however much the job is given. (Over the cap: integration/test_running.py.)"""
    settings.JOBS = {**settings.JOBS, "MAX_PAYLOAD": 8 * 2**20}
    worker = served()
    wait_for(heartbeats.heartbeats, 10, "the first beat")
    let_callers_admit()
    worker.freeze()
    text = "jobcenter " * 500_000
    job_manager.submit(touch)  # as above
    job = job_manager.submit(measure, [text])
    assert stack.broker
    with Connection(stack.broker_url) as connection:
        channel: Any = connection.channel()
        messages = channel.client.lrange("default", 0, -1)
    (message,) = [one for one in messages if str(job.id).encode() in one]
    assert len(message) < 2000
    worker.thaw()
    wait_for_end([job], 30)
    assert job_manager.get_job_results(job.id) == len(text)
