"""Jobs under limits, for tests: each notes that it ran, and stays until its gate opens or for some seconds."""

from __future__ import annotations

import time
from typing import Any

from jobs import JobTask, job
from tests.app.jobs import note_effect, until_open

NEEDS: dict[str, Any] = {"memory_mb": 100, "cpu_weight": 0.5, "disk_mb": 10, "resources": {"gpu": 1}}


@job(bind=True, max_concurrent=2)
def two(self: JobTask, gate: str) -> str:
    return _stay(self, gate)


@job(bind=True, max_concurrent=1, partition_by="customer")
def by_argument(self: JobTask, gate: str, customer: str = "nobody") -> str:
    return _stay(self, gate)


@job(bind=True, max_concurrent=1, partition_by="tenant")
def by_metadata(self: JobTask, gate: str) -> str:
    return _stay(self, gate)


def shard(gate: str, number: int) -> int:
    return number % 2


@job(bind=True, max_concurrent=1, partition_by=shard)
def by_callable(self: JobTask, gate: str, number: int) -> str:
    return _stay(self, gate)


@job(bind=True, partition_by="book", access="shared")
def read_book(self: JobTask, gate: str, book: str) -> str:
    return _stay(self, gate)


@job(bind=True, partition_by="book", access="exclusive")
def write_book(self: JobTask, gate: str, book: str) -> str:
    return _stay(self, gate)


@job(bind=True, rate="20/s burst 3")
def paced(self: JobTask) -> None:
    note_effect(self)


@job(bind=True, **NEEDS)
def heavy(self: JobTask, gate: str) -> str:
    return _stay(self, gate)


@job(bind=True, partition_by="door", max_concurrent=3, conflict="refuse")
def refusing(self: JobTask, gate: str, door: str) -> str:
    return _stay(self, gate)


@job(bind=True, partition_by="door", conflict="latest")
def latest(self: JobTask, gate: str, door: str) -> str:
    return _stay(self, gate)


@job(bind=True, partition_by="door", max_concurrent=2, conflict="cancel_running")
def replacing(self: JobTask, gate: str, door: str) -> str:
    return _stay(self, gate)


@job(bind=True, max_concurrent=3)
def spanning(self: JobTask, seconds: float = 0) -> None:
    note_effect(self)
    time.sleep(seconds)


@job(bind=True, partition_by="customer", max_concurrent=2, rate="60/s burst 4", memory_mb=100)
def mixed(self: JobTask, customer: str) -> None:
    """Under a limit, a rate and a budget at once."""
    note_effect(self)
    time.sleep(0.01)


@job(bind=True, partition_by="customer", max_concurrent=1)
def one_by_one(self: JobTask, customer: str) -> None:
    """One of each customer at a time, for a tenth of a second."""
    note_effect(self)
    time.sleep(0.1)


def _stay(task: JobTask, gate: str) -> str:
    note_effect(task)
    for _ in until_open(gate):
        task.job.check()
    return "opened"
