"""A real Celery worker of the threads pool in the test process, on the configured broker.

It has what every worker of the platform has: heartbeat, feeder and steward. Only the feeder is a thread here, because a
test process has threads and connections of its own that a fork must not inherit.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from celery import current_app, signals
from celery.contrib.testing.worker import TestWorkController, start_worker
from celery.worker import state
from django.db import connections

from jobs import worker
from jobs.admission import publishing
from jobs.client.task import JobTask
from jobs.core.conf import checks, settings
from jobs.execution.progress import flusher
from jobs.maintenance.steward import Steward
from jobs.models import Pool
from jobs.worker.feeder import Feeder, loop
from jobs.worker.listener import Ear

SHUTDOWN_WITHIN = 10.0  # seconds for jobs that still run
WAKE_EVERY = 0.2


@contextmanager
def threads_worker(concurrency: int = 2) -> Iterator[Any]:
    """Start a worker for every pool, wait until it is ready, and stop it at the end; yields Celery's controller.

    RuntimeError where the database is SQLite in memory: its locks do not make one thread wait for another.
    """
    error = checks.memory_database_error()
    if error is not None:
        raise RuntimeError(
            f"{error.msg} Give the test database a file (DATABASES[…]['TEST'] = {{'NAME': …}}), use PostgreSQL, or run "
            "the jobs with jobs_inline."
        )
    before, worker.make_feeder = worker.make_feeder, ThreadFeeder
    signals.task_postrun.connect(_close_connections)
    how: dict[str, Any] = {"pool": "threads", "concurrency": concurrency, "perform_ping_check": False}
    try:
        with start_worker(current_app, WorkController=_Controller, queues=sorted(_pools()), **how) as controller:
            try:
                yield controller
            finally:
                _shut_down(cast(_Controller, controller))
    finally:
        worker.make_feeder = before
        signals.task_postrun.disconnect(_close_connections)
        flusher.stop()
        publishing.disconnect()


class ThreadFeeder(Feeder):
    """The feeder as a thread."""

    def start(self) -> None:
        """Begin to feed."""
        self._goes_on = True
        self._thread = threading.Thread(target=self._run, name="jobs-feeder", daemon=True)
        self._declare()
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End it; afterwards the thread that frees a slot in this process admits by itself."""
        self._is_own.close()
        self._goes_on = False
        self.ring()
        self._thread.join()

    def _run(self) -> None:
        try:
            loop(self._read, lambda: self._goes_on, Steward(self.label), Ear(JobTask.worker_id))
        finally:
            publishing.disconnect()
            connections.close_all()


class _Controller(TestWorkController):
    """Says that it is ready in the way of a worker of its own process, too: the heartbeat begins with it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.ended = threading.Event()
        super().__init__(*args, **kwargs)

    def stop(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().stop(*args, **kwargs)
        finally:
            self.ended.set()

    def on_consumer_ready(self, consumer: Any) -> None:
        hub = getattr(self, "hub", None)
        if hub is not None:  # on AMQP nothing else wakes it for ten seconds, and it must see that it is to end
            hub.call_repeatedly(WAKE_EVERY, lambda: None)
        signals.worker_ready.send(sender=consumer)
        super().on_consumer_ready(consumer)


def _shut_down(controller: _Controller) -> None:
    """Let running jobs end, and with the worker its heart and its feeder; `start_worker` by itself would cut it off."""
    flags: Any = state
    flags.should_stop = 0
    controller.ended.wait(SHUTDOWN_WITHIN)
    flags.should_stop = None


def _close_connections(**_: Any) -> None:
    """Close what a thread of the pool has opened: it ends with the test, and nothing else would close it."""
    connections.close_all()


def _pools() -> set[str]:
    declared = {task.options.pool for task in current_app.tasks.values() if isinstance(task, JobTask)}
    rows = Pool.objects.using(settings.DATABASE).values_list("name", flat=True)
    return {*rows, *(name for name in declared if name), str(current_app.conf.task_default_queue)}
