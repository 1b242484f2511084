"""The broker forgets, is away, hangs, or repeats itself: what was submitted runs, and runs once."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from django.db import transaction
from kombu import Connection, Producer, Queue

from jobs import job_manager
from jobs.admission import passes, publishing
from jobs.admission.publishing import JobMessage
from jobs.execution import heartbeats
from jobs.models import Attempt, Job, transitions
from tests.app import ledger
from tests.app.faulty import EFFECT, hold, touch
from tests.faults.conftest import Recovered, StartWorker
from tests.faults.observing import events, let_callers_admit, outcomes, state_of, wait_for, wait_for_end, wait_for_lines
from tests.services import PrivateValkey, Stack

T = TypeVar("T")
FAR_AHEAD = '{"LOOK_AHEAD": 24}'  # of a hundred jobs half are with the broker, the others wait for room


@pytest.mark.every_stack
def test_a_broker_that_forgets_everything_loses_no_job(
    served: StartWorker, stack: Stack, ledger_file: Path, settings: Any, recovered: Recovered
) -> None:
    """Fault 11."""
    settings.JOBS = {**settings.JOBS, "LOOK_AHEAD": 24}
    worker = served(env={"JOBCENTER_TEST_JOBS": FAR_AHEAD})
    wait_for(heartbeats.heartbeats, 10, "the first beat")
    let_callers_admit()
    worker.freeze()
    jobs = job_manager.submit_many(touch, [((), {})] * 100)
    assert Counter(state_of(job) for job in jobs) == {"queued": 50, "pending": 50}
    _forget_everything(stack)
    worker.thaw()
    recovered("11: the broker forgot 50 doorbells; 100 jobs done", wait_for_end(jobs, 30))
    assert [outcomes(job) for job in jobs] == [["completed"]] * 100
    assert set(Counter(line["job"] for line in ledger.read(ledger_file, EFFECT)).values()) == {1}


def _forget_everything(stack: Stack) -> None:
    """FLUSHALL on Redis; on RabbitMQ the queue itself is deleted under its consumer."""
    if isinstance(stack.broker, PrivateValkey):
        stack.broker.flush()
        return
    with Connection(stack.broker_url) as connection:
        Queue("default")(connection.channel()).delete()


@pytest.mark.every_stack
def test_jobs_are_submitted_while_the_broker_is_down(
    served: StartWorker, stack: Stack, ledger_file: Path, recovered: Recovered
) -> None:
    """Fault 12: alone, within a transaction, and by Celery's spelling; what others do on commit is done."""
    assert stack.broker
    served()
    wait_for(heartbeats.heartbeats, 10, "the first beat")
    let_callers_admit()
    stack.broker.kill()
    done: list[str] = []
    alone, seconds = _timed(lambda: job_manager.submit(touch))
    assert seconds < 2
    with transaction.atomic():
        transaction.on_commit(lambda: done.append("before"))
        within, seconds = _timed(lambda: job_manager.submit(touch))
        transaction.on_commit(lambda: done.append("after"))
    assert seconds < 2
    assert done == ["before", "after"]
    result, seconds = _timed(touch.delay)
    assert seconds < 2
    jobs = [alone, within, job_manager.get_job(result.id)]
    assert {state_of(job) for job in jobs} <= {"pending", "queued"}
    stack.broker.start()
    recovered("12: the broker is back; 3 jobs done", wait_for_end(jobs, 30))
    assert [outcomes(job) for job in jobs] == [["completed"]] * 3


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "unconnected"])
def test_submitting_to_a_broker_that_hangs_takes_little(
    connected: bool, served: StartWorker, stack: Stack, ledger_file: Path, recovered: Recovered
) -> None:
    """Fault 13: it accepts connections and never answers."""
    assert stack.broker
    served()
    wait_for(heartbeats.heartbeats, 10, "the first beat")
    let_callers_admit()
    if connected:
        wait_for_end([job_manager.submit(touch)], 10)
    stack.broker.freeze()
    first = [_timed(lambda: job_manager.submit(touch))]
    while not publishing.breaker.is_open:  # the worker's feeder was there before this process, and published it
        assert len(first) < 10
        first.append(_timed(lambda: job_manager.submit(touch)))
    more = [_timed(lambda: job_manager.submit(touch)) for _ in range(5)]
    slowest, slowest_of_more = (max(seconds for _, seconds in timed) for timed in (first, more))
    recovered(f"13: the broker hangs; first submit ({'' if connected else 'un'}connected)", slowest)
    recovered("13: the broker hangs; slowest submit with the breaker open", slowest_of_more)
    assert slowest < 2
    assert slowest_of_more < 0.05
    stack.broker.thaw()
    jobs = [job for job, _ in first + more]
    recovered("13: the broker answers again; all done", wait_for_end(jobs, 30))
    assert all(outcomes(job) == ["completed"] for job in jobs)


def _timed(act: Callable[[], T]) -> tuple[T, float]:
    begin = time.monotonic()
    return act(), time.monotonic() - begin


@pytest.mark.every_stack
def test_a_doorbell_that_rings_twenty_times_is_answered_once(
    served: StartWorker, stack: Stack, ledger_file: Path, gate: Path
) -> None:
    """Fault 17: on two workers, while the job runs and after its end."""
    workers = [served(), served()]
    wait_for(lambda: len(heartbeats.heartbeats()) == 2, 10, "the first beats")
    let_callers_admit(2)
    for worker in workers:
        worker.freeze()
    job = job_manager.submit(hold, [str(gate)])
    job.refresh_from_db()
    message = _doorbell(job)
    _ring(stack, [message] * 19)
    for worker in workers:
        worker.thaw()
    wait_for_lines(ledger_file, "begin", 1, 15)
    wait_for(lambda: sum(worker.text().count(_received(message)) for worker in workers) >= 10, 15, "half of the rings")
    gate.touch()
    wait_for_end([job], 15)
    _ring(stack, [message])
    wait_for(lambda: sum(worker.text().count(_received(message)) for worker in workers) == 21, 15, "all of the rings")
    _check_refusals(job, ledger_file)


def _received(message: JobMessage) -> str:
    return f"{message.task}[{message.pairs[0][1]}] received"


def _check_refusals(job: Job, ledger_file: Path) -> None:
    """A probe of each worker's children has come through behind the last ring: nothing of it is still to come."""
    wait_for_end([job_manager.submit(touch) for _ in range(8)], 15)
    assert outcomes(job) == ["completed"]
    assert events(job) == ["create", "admit", "claim", "complete"]
    assert len([line for line in ledger.read(ledger_file) if line["job"] == str(job.id)]) == 2  # begin, effect


@pytest.mark.main_stack_only(reason="a broker that pushes has handed on the doorbell that is to be lost")
def test_the_doorbell_of_a_bygone_admission_starts_nothing(
    served: StartWorker, stack: Stack, ledger_file: Path
) -> None:
    """The job was released and admitted again; the first doorbell turns up, the second one is lost."""
    worker = served()
    wait_for(heartbeats.heartbeats, 10, "the first beat")
    let_callers_admit()
    worker.freeze()
    job = job_manager.submit(touch)
    job.refresh_from_db()
    bygone = _doorbell(job)
    assert transitions.move("release", "id = %s", [job.id])
    assert passes.admit("default") == 1
    job.refresh_from_db()
    assert job.attempt_id != bygone.pairs[0][1]
    stack.empty_broker()
    _ring(stack, [bygone])
    worker.thaw()
    wait_for(lambda: _received(bygone) in worker.text(), 10, "the bygone doorbell")
    wait_for_end([job], 15)
    assert events(job) == ["create", "admit", "release", "admit", "release", "admit", "claim", "complete"]
    assert Attempt.objects.get(job=job).id not in (bygone.pairs[0][1], job.attempt_id)


def _doorbell(job: Job) -> JobMessage:
    assert job.attempt_id
    return JobMessage(job.pool, job.task, ((job.id, job.attempt_id),))


def _ring(stack: Stack, messages: list[JobMessage]) -> None:
    """Publish as anybody could who has seen the message: by plain kombu."""
    with Connection(stack.broker_url) as connection:
        producer = Producer(connection.channel())
        for message in messages:
            attempt_id = str(message.pairs[0][1])
            pairs = [[str(job_id), str(attempt)] for job_id, attempt in message.pairs]
            headers = {"lang": "py", "task": message.task, "id": attempt_id, "root_id": attempt_id, "jobs": pairs}
            producer.publish([[], {}, {}], routing_key=message.pool, serializer="json", headers=headers)
