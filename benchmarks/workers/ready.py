"""Leaves the time at which a worker began to take jobs: the start of the clock for every system."""

from typing import Any

from celery.signals import worker_ready

from benchmarks.place import Place
from benchmarks.stamps import Stamps


@worker_ready.connect
def leave_time(**kwargs: Any) -> None:
    """Celery sends this in the worker's main process before its loop takes the first message."""
    Stamps(Place.from_environ().ready).mark()
