"""Takes the times. Waiting jobs are cancelled without a worker; running ones in a worker of three processes.

Needs Django set up before it is imported.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from uuid import UUID

import psutil
from django.db import connections
from django.db.models import Max

from benchmarks.cancelling.figures import PROBES, Cancelling
from benchmarks.place import Place
from benchmarks.systems.ours import Ours
from benchmarks.workers import ours_tasks
from jobs import Job, job_manager
from jobs.models import Attempt

ROUNDS = 20
WITHIN = 30.0  # seconds after which what should have happened did not
DRAINED = 4000  # jobs of the others, at most
EVERY = 2.0  # seconds between two that are cancelled by force


class Stopping(Ours):
    """This platform with a process more than elsewhere: one is held by whoever is to be cancelled."""

    worker_commands = (("celery", "--app", "benchmarks.workers.ours", "worker", "--pool", "prefork", "-c", "3"),)

    def last_finish(self) -> float:
        """Of those that have completed: whoever is killed ends as well."""
        newest = Job.objects.filter(state="completed").aggregate(newest=Max("finished_at"))["newest"]
        return float(newest.timestamp())


def measure(waiting: int) -> Cancelling:
    """All figures of one run."""
    system = Stopping(Place.from_environ())
    system.prepare()
    try:
        submitted, cancelled = _many(system, waiting)
        submit_s, cancel_s = _one_by_one(system, min(waiting, PROBES))
        system.start_worker()
        aborted_s = [_aborted(system, number) for number in range(ROUNDS)]
        dead_s = [_force(*_running(_held())) for _ in range(ROUNDS)]
        drained = min(waiting, DRAINED)
        undisturbed, _ = _drain(system, drained, forced=False)
        disturbed, forced = _drain(system, drained, forced=True)
    finally:
        system.stop()
    return Cancelling(
        waiting, submitted, cancelled, submit_s, cancel_s, aborted_s, dead_s, undisturbed, disturbed, forced
    )


def _many(system: Ours, jobs: int) -> tuple[float, float]:
    submit_s = _seconds(lambda: system.enqueue(jobs))
    system.analyze()
    cancel_s = _seconds(lambda: job_manager.cancel_jobs(task=ours_tasks.noop.name))
    done = Job.objects.filter(state="cancelled").count()
    if done != jobs:
        raise AssertionError(f"{done} of {jobs} were cancelled: the figures would mean nothing")
    system.clear()
    return jobs / submit_s, jobs / cancel_s


def _one_by_one(system: Ours, jobs: int) -> tuple[list[float], list[float]]:
    submit_s = [_seconds(system.submit) for _ in range(jobs)]
    ids = list(Job.objects.values_list("id", flat=True))
    cancel_s = [_seconds(lambda job_id=job_id: job_manager.cancel_job(job_id)) for job_id in ids]  # type: ignore[misc]
    system.clear()
    return submit_s, cancel_s


def _aborted(system: Ours, number: int) -> float:
    """Seconds from the request to what the body did when it saw it; at another moment of the second each time."""
    job_id, _ = _running(job_manager.submit(ours_tasks.obey).id)
    time.sleep(number % ROUNDS / ROUNDS)
    seen = system.stamps.count()
    return _seconds(lambda: _cancel(job_id, lambda: system.stamps.count() > seen))


def _running(job_id: UUID) -> tuple[UUID, int]:
    """Wait until it is in its body; the job, and the process that runs it."""
    begun = Attempt.objects.filter(job=job_id, pid__isnull=False)
    _until(begun.exists)
    return job_id, begun.get().pid or 0


def _force(job_id: UUID, pid: int) -> float:
    return _seconds(lambda: _cancel(job_id, lambda: not _alive(pid), force=True))


def _cancel(job_id: UUID, seen: Callable[[], bool], *, force: bool = False) -> None:
    job_manager.cancel_job(job_id, force=force)
    _until(seen)


def _drain(system: Ours, jobs: int, *, forced: bool) -> tuple[float, int]:
    """Jobs per second of the others beside one that holds its process, and how many of that kind were killed."""
    system.stop()
    system.clear()
    _held()
    system.enqueue(jobs)
    system.analyze()
    ready = system.start_worker()
    meanwhile: AbstractContextManager[list[float]] = _killing() if forced else nullcontext([])
    with meanwhile as killed:
        seconds = system.wait_drained(jobs) - ready
    job_manager.cancel_jobs(task=ours_tasks.hold.name, force=True)
    _until(lambda: not Job.objects.filter(task=ours_tasks.hold.name).unfinished().exists())
    return jobs / seconds, len(killed)


def _held() -> UUID:
    """A job that holds a process until it is killed, and does not wait for its turn."""
    return job_manager.submit(ours_tasks.hold, priority="critical").id


@contextmanager
def _killing() -> Iterator[list[float]]:
    """Meanwhile whichever job holds its process is cancelled by force, and the next one follows it."""
    over, took = threading.Event(), []

    def kill() -> None:
        try:
            while not over.is_set():
                running = Attempt.objects.filter(job__task=ours_tasks.hold.name, finished_at=None, pid__isnull=False)
                if found := running.values_list("job_id", "pid").first():
                    took.append(_force(found[0], found[1] or 0))
                    _held()
                over.wait(EVERY if found else 0.05)
        finally:
            connections.close_all()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield took
    finally:
        over.set()
        killer.join()


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {WITHIN:g} s something that should have happened has not")
        time.sleep(0.005)


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
