"""Limits while children and workers are killed at random: what is in flight never goes over, and each job ends."""

import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from jobs import job_manager
from jobs.models import Job, JobEvent, Limit, Pool
from tests.app import ledger
from tests.app.limited import spanning
from tests.faults.conftest import Recovered, StartWorker
from tests.faults.observing import wait_for
from tests.invariants import check_invariants, peak_in_flight
from tests.services import Worker
from tests.services.processes import alive, kill

NO_GIVING_UP = {"JOBCENTER_TEST_JOBS": '{"MAX_RESCUES": 100}'}
LONGEST, EVERY = 90.0, 0.3  # seconds
_dice = Random()  # noqa: S311 - chance, no secret


@pytest.mark.every_stack
def test_a_limit_of_three_holds_while_children_are_killed(
    served: StartWorker, ledger_file: Path, recovered: Recovered
) -> None:
    served(concurrency=4, env=NO_GIVING_UP)
    jobs = job_manager.submit_many(spanning, [([0.3], {})] * 30)
    kills, seconds = _kill_at_random(lambda: _any_that_runs(ledger_file), times=10)
    assert {job.state for job in Job.objects.filter(task=spanning.name)} == {"completed"}
    rescues = JobEvent.objects.filter(name="rescue").count()
    peak = peak_in_flight(task=spanning.name)
    recovered(f"limit 3, {len(jobs)} jobs, {kills} children killed, {rescues} rescues: overlap {peak:g}", seconds)
    assert (peak, kills > 3, rescues > 3) == (3, True, True)


def test_the_system_wide_maximum_holds_while_workers_and_children_are_killed(
    served: StartWorker, recovered: Recovered
) -> None:
    """Three pools, four workers; one after the other is killed with `kill -9` and replaced."""
    pools = ["default", "second", "third"]
    for name in pools:
        Pool.objects.get_or_create(name=name)
    Limit.objects.filter(name="system").update(size=5)
    workers = [served(concurrency=2, queues=pools, env=NO_GIVING_UP) for _ in range(4)]
    for number in range(60):
        job_manager.submit("tests.app.jobs.nap", [0.2], pool=pools[number % 3])

    def victims() -> list[int]:
        one = _dice.choice(workers)
        if _dice.random() < 0.8 or len(workers) < 3:
            return [_dice.choice(one.children() or [0])]
        workers.remove(one)
        return _family_of(one)

    kills, seconds = _kill_at_random(victims, times=10)
    peak, dead = peak_in_flight(), 4 - len(workers)
    recovered(f"maximum 5, 60 jobs, 3 pools, {kills} kills, {dead} of 4 workers: overlap {peak:g}", seconds)
    assert not Job.objects.exclude(state="completed").exists()
    check_invariants(limit=5)
    assert peak == 5


def _family_of(worker: Worker) -> list[int]:
    return [worker.pid, *worker.children()]


def _any_that_runs(ledger_file: Path) -> list[int]:
    """The process of a job that is running."""
    running = {str(job_id) for job_id in Job.objects.filter(state="running").values_list("id", flat=True)}
    pids = {line["job"]: line["pid"] for line in ledger.read(ledger_file, "effect")}
    here = [pid for job_id, pid in pids.items() if job_id in running and alive(pid)]
    return [_dice.choice(here)] if here else []


def _kill_at_random(victims: Callable[[], list[int]], times: int) -> tuple[int, float]:
    """Kill some, so many times, until no job is left; returns how many were, and the seconds it took."""
    kills, begin = 0, time.monotonic()
    kill_at = begin + EVERY

    def is_over() -> bool:
        nonlocal kills, kill_at
        if time.monotonic() >= kill_at and kills < times:
            kill_at = time.monotonic() + EVERY * _dice.uniform(0.5, 1.5)
            kills += sum(map(kill, filter(None, victims())))
        return not Job.objects.unfinished().exists()

    wait_for(is_over, LONGEST, "the end of all jobs")
    return kills, time.monotonic() - begin
