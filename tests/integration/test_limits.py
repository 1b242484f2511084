"""Order and maxima: who comes first, and never one too many, whoever admits at the same moment."""

import random
from typing import Any

import pytest
from django.db import IntegrityError
from django.db.models import Max

from jobs import Job, job_manager
from jobs.models import JobEvent, Limit, Pool
from jobs.states import FINAL
from tests.app import stages
from tests.app.jobs import hold, nap
from tests.integration.actors import submit_rounds
from tests.integration.crowd import crowd
from tests.integration.house import House, StartWorker, fresh
from tests.invariants import check_invariants, check_probe, peak_in_flight
from tests.services import Stack
from tests.services.processes import wait_until

pytestmark = pytest.mark.broker

SUBMITTERS, ROUNDS, MAXIMUM = 12, 8, 5


@pytest.mark.parametrize("kind", ["pool", "system"])
def test_the_maximum_holds(kind: str, start_worker: StartWorker) -> None:
    """Twelve processes submit and admit, two workers finish and admit, and each round outranks the one before.

    What counts is the order in which the database recorded admissions and ends. Without the lock it is six and more:
    `tests/mutations.py`.
    """
    pools = ["default"] if kind == "pool" else ["default", "second"]
    for _ in range(2):
        start_worker(concurrency=3, queues=["default", "second"])
    if kind == "pool":
        Pool.objects.filter(name="default").update(max_concurrent=MAXIMUM)
    else:
        Limit.objects.filter(name="system").update(size=MAXIMUM)
    submitted = crowd(SUBMITTERS, submit_rounds, ROUNDS, pools)
    wait_until(lambda: not Job.objects.exclude(state__in=FINAL).exists(), 60, "the end of all jobs")
    assert Job.objects.filter(state="completed").count() == sum(submitted) == SUBMITTERS * ROUNDS
    check_invariants(limit=MAXIMUM)
    assert peak_in_flight() == MAXIMUM  # the room there was has been used
    check_probe()


def test_the_best_rank_goes_first_and_equals_in_their_order(house: House) -> None:
    Limit.objects.filter(name="system").update(size=1)
    gate = house.gate()
    house.in_body(hold, gate)
    words = ["low", "medium", "high", "critical"] * 3
    random.shuffle(words)
    submitted = [house.submit(nap, priority=word) for word in words]
    begun_before = JobEvent.objects.aggregate(last=Max("id"))["last"]
    gate.touch()
    for job in submitted:
        house.done(job)
    claims = JobEvent.objects.filter(id__gt=begun_before, name="claim", job__in=submitted).order_by("id")
    best_first = sorted(submitted, key=_goes_before)
    assert list(claims.values_list("job_id", flat=True)) == [job.id for job in best_first]


def test_a_better_rank_overtakes_what_waits_but_not_what_is_admitted(house: House) -> None:
    Pool.objects.filter(name="default").update(max_concurrent=3)
    gates = [house.gate() for _ in range(3)]
    for gate in gates[:2]:
        house.in_body(hold, gate)
    admitted = house.until(house.submit(hold, str(gates[2]), priority="low"), "queued")
    waiting = house.submit(nap, priority="low")
    late = house.submit(nap, priority="critical")
    gates[0].touch()  # room for one
    assert house.until(admitted, "running").started_at
    assert house.until(late, "queued").priority == "critical"
    assert fresh(waiting).state == "pending"
    house.open_gates()
    assert house.done(waiting).state == "completed"


def test_doorbells_of_one_admission_ring_in_the_order_of_rank(stack: Stack) -> None:
    stages.start_worker()
    Pool.objects.filter(name="default").update(max_concurrent=0)
    words = ["low", "medium", "high", "critical"] * 8
    random.shuffle(words)
    submitted = [job_manager.submit(nap, priority=word) for word in words]
    Pool.objects.filter(name="default").update(max_concurrent=None)
    sent = stages.admit()
    assert [message.pairs[0][0] for message in sent] == [job.id for job in sorted(submitted, key=_goes_before)]


@pytest.mark.parametrize(("model", "column"), [(Pool, "max_concurrent"), (Limit, "size")])
def test_every_database_refuses_a_negative_maximum(house: House, model: Any, column: str) -> None:
    with pytest.raises(IntegrityError):
        model.objects.update(**{column: -1})
    assert house.run(nap).state == "completed"


def _goes_before(job: Job) -> tuple[int, object]:
    return ["critical", "high", "medium", "low"].index(job.priority), job.id
