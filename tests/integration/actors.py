"""What the members of a crowd do: functions of (number, barrier, …) that run in processes of their own.

Imported by the server that forks these processes, so it sets Django up, and opens nothing.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import Any

import django
from django.apps import apps

if not apps.ready:
    django.setup()

from celery import current_app  # all of these need Django set up
from celery.result import AsyncResult
from django.contrib.auth.models import Group
from django.db import connection, connections, transaction

from jobs import job_manager
from jobs.admission import passes, publishing
from jobs.admission.publishing import JobMessage
from jobs.exceptions import JobAborted, JobRefused
from jobs.execution import back_to_queue, claims, rescue
from jobs.execution.context import JobContext
from jobs.maintenance import promoter, republisher
from jobs.models import transitions
from jobs.workflows import fallbacks
from tests.app import (
    limited,  # noqa: F401  # registers what a crowd submits by name
    stages,
)
from tests.app.jobs import nap, probe

CONNECTIONS = 12  # of each process, where its threads share a pool of them
RISING = ("low", "medium", "high", "critical")


def run_one_key(number: int, barrier: Barrier, key: str, threads: int, in_transaction: bool) -> list[tuple[str, str]]:
    """Ask for the same key from many threads at once; returns (answer, job id) of each."""
    _share_connections()
    together, room = threading.Barrier(threads), threading.Semaphore(_room(threads))

    def ask() -> tuple[str, str]:
        together.wait(30)
        room.acquire()
        try:
            return _ask_inside(key) if in_transaction else _ask(key)
        finally:
            connections.close_all()
            room.release()

    with ThreadPoolExecutor(threads) as crew:
        barrier.wait()
        answers = [asked.result() for asked in [crew.submit(ask) for _ in range(threads)]]
    if connection.vendor == "postgresql":
        connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's own
    return answers


def _ask(key: str) -> tuple[str, str]:
    answer = job_manager.run_job(key, probe)
    return answer.type, str(answer.job.id)


def _ask_inside(key: str) -> tuple[str, str]:
    """Inside a transaction of the caller's, which must be usable afterwards, and keep what it wrote."""
    with transaction.atomic():
        Group.objects.create(name=f"before {uuid.uuid4()}")
        answer = _ask(key)
        Group.objects.create(name=f"after {uuid.uuid4()}")
    return answer


def _share_connections() -> None:
    """PostgreSQL has fewer connections than there are threads here: they share a pool, as a web server's would."""
    if connection.vendor == "postgresql":
        pool = {"min_size": 0, "max_size": CONNECTIONS, "timeout": 60}
        connections.settings["default"]["OPTIONS"] = {**connections.settings["default"]["OPTIONS"], "pool": pool}
        connections.settings["default"]["CONN_MAX_AGE"] = 0


def _room(threads: int) -> int:
    """How many threads may have a connection at once: MariaDB has 151 of them, and Django no pool for it."""
    return CONNECTIONS if connection.vendor == "mysql" else threads


def submit_rounds(number: int, barrier: Barrier, rounds: int, pools: Sequence[str]) -> int:
    """Submit round after round, each of a better rank than the one before; every commit admits. Returns how many."""
    barrier.wait()
    for turn in range(rounds):
        job_manager.submit(nap, priority=RISING[turn * len(RISING) // rounds], pool=pools[(number + turn) % len(pools)])
    return rounds


def read_result(number: int, barrier: Barrier, job_id: str) -> tuple[str, Any]:
    """What Celery's own handle says of a job, in a process that knows nothing but its id."""
    result: AsyncResult[Any] = AsyncResult(job_id, app=current_app)
    value = result.get(timeout=20, propagate=False)
    return result.state, value if not isinstance(value, Exception) else f"{type(value).__name__}: {value}"


def settle_fallbacks(number: int, barrier: Barrier) -> int:
    """Submit whatever is due in place of failed jobs, as a steward would; returns for how many jobs this one did."""
    barrier.wait()
    return fallbacks.submit_due()


def do_chores(number: int, barrier: Barrier, times: int) -> list[tuple[str, str]]:
    """Promote, admit and publish so many times, as a steward does; returns the pairs that were sent."""
    sent: list[JobMessage] = []
    stages.start_worker()
    with publishing.delivered_by(sent.extend):
        barrier.wait()
        for _ in range(times):
            promoter.promote()
            passes.admit("default")
            republisher.publish()
    return [(str(job_id), str(attempt_id)) for message in sent for job_id, attempt_id in message.pairs]


def revoke(number: int, barrier: Barrier, job_id: str) -> None:
    """Cancel with Celery's own spelling."""
    probe.AsyncResult(job_id).revoke()


def ask_in(number: int, barrier: Barrier, task: str, gate: str, door: str, times: int, key: str = "") -> list[str]:
    """Submit to one partition so many times at once, or ask for one key there; returns the answers."""
    _share_connections()
    with ThreadPoolExecutor(times) as crew:
        barrier.wait()
        answers = list(crew.map(lambda _: _knock(task, gate, door, key), range(times)))
    if connection.vendor == "postgresql":
        connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's own
    return answers


def _knock(task: str, gate: str, door: str, key: str) -> str:
    try:
        if key:
            return job_manager.run_job(key, task, [gate, door]).type
        with transaction.atomic():
            job_manager.submit(task, [gate, door])
            time.sleep(0.01)  # others are before their commit at the same time
    except JobRefused:
        return "JobRefused"
    finally:
        connections.close_all()
    return "submitted"


def ask_many(number: int, barrier: Barrier, task: str, gate: str, doors: Sequence[str]) -> int:
    """Submit to many partitions at once, every second process in the opposite order; returns how many."""
    order = doors[:: -1 if number % 2 else 1]
    barrier.wait()
    return sum(len(job_manager.submit_many(task, [([gate, door], {}) for door in order])) for _ in range(6))


def submit_mixed(number: int, barrier: Barrier, rounds: int, task: str) -> int:
    """Submit round after round for three customers, each of a better rank than the one before. Returns how many."""
    barrier.wait()
    for turn in range(rounds):
        job_manager.submit(task, [f"customer {(number + turn) % 3}"], priority=RISING[turn * len(RISING) // rounds])
    return rounds


def submit_to_pools(number: int, barrier: Barrier, rounds: int, task: str, pools: Sequence[str]) -> int:
    """Submit round after round, to one pool after the other, each of a better rank. Returns how many."""
    barrier.wait()
    for turn in range(rounds):
        job_manager.submit(task, priority=RISING[turn * len(RISING) // rounds], pool=pools[turn * len(pools) // rounds])
    return rounds


def wish(number: int, barrier: Barrier, jobs: Sequence[Any], acts: Sequence[str]) -> list[str]:
    """Do to one job after the other what this process wishes, each at the same moment as the others; the answers."""
    act = _WISHES[acts[number]]
    answers = []
    for job_id, attempt_id in jobs:
        barrier.wait()
        answers.append(str(act(job_id, attempt_id)))
    return answers


def _claim(job_id: Any, attempt_id: Any) -> str:
    claimed = claims.claim(job_id, attempt_id, None)
    return "refused" if claimed is None else "claimed"


def _finish(job_id: Any, attempt_id: Any) -> str:
    moved = transitions.move("complete", "id = %s AND attempt_id = %s", [job_id, attempt_id], source="running")
    return "finished" if moved else "refused"


def _snooze(job_id: Any, attempt_id: Any) -> str:
    moved = back_to_queue.return_to_queue(
        "snooze", "id = %s AND attempt_id = %s", [job_id, attempt_id], source="running"
    )
    return moved[0].to_state if moved else "refused"


def _keep(job_id: Any, attempt_id: Any) -> str:
    try:
        JobContext(id=job_id, attempt_id=attempt_id).checkpoint("kept")
    except JobAborted:
        return "refused"
    return "kept"


_WISHES: dict[str, Any] = {
    "pause": lambda job_id, _: job_manager.pause_job(job_id, reason="wish"),
    "resume": lambda job_id, _: job_manager.resume_job(job_id),
    "retry": lambda job_id, _: job_manager.retry_job(job_id),
    "cancel": lambda job_id, _: job_manager.cancel_job(job_id, reason="wish"),
    "claim": _claim,
    "finish": _finish,
    "snooze": _snooze,
    "keep": _keep,
    "rescue": lambda job_id, attempt_id: len(rescue.rescue([(job_id, attempt_id)], "dead", "test")),
}
