"""What the platform adds to a Celery worker: a heartbeat, a feeder beside it, and an eye on the pool's children.

Connected to Celery's signals when the app is ready: a worker started with plain `celery -A … worker` needs no more.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from celery import signals

from jobs.checks import memory_database_error
from jobs.task import JobTask
from jobs.worker import reception
from jobs.worker.feeder import Feeder
from jobs.worker.pulse import Pulse
from jobs.worker.request import JobRequest, News, news, pairs_in

__all__ = ["JobRequest", "connect"]

logger = logging.getLogger(__name__)

make_feeder: Callable[[str, Callable[[], object]], Feeder] = Feeder
"""What a worker starts beside itself. `jobs.testing` puts a thread in its place: a test process should not fork."""


def connect() -> None:
    """Listen to the worker's life. Called once, by the app's `ready()`."""
    signals.worker_init.connect(_start_feeder, weak=False, dispatch_uid="jobs.worker.init")
    signals.worker_ready.connect(_start_pulse, weak=False, dispatch_uid="jobs.worker.ready")
    signals.task_unknown.connect(_report_unknown, weak=False, dispatch_uid="jobs.worker.unknown")
    signals.worker_shutting_down.connect(_drain, weak=False, dispatch_uid="jobs.worker.draining")
    signals.worker_shutdown.connect(_stop, weak=False, dispatch_uid="jobs.worker.shutdown")


def _start_feeder(sender: Any, **_: Any) -> None:
    """Fork the feeder while this process has no threads, no pool and no connections of its own.

    Refuses to start on a database in this process's memory: no other process could see its jobs.
    """
    error = memory_database_error()
    if error is not None:
        raise SystemExit(str(error))
    reception.install()
    JobTask.worker_id = uuid4()  # known to every pool child: it comes with the fork
    set_up_logs = functools.partial(sender.app.log.setup, sender.loglevel, sender.logfile, hostname=sender.hostname)
    _running.feeder = make_feeder(str(sender.hostname), set_up_logs)
    _running.feeder.start()


def _start_pulse(sender: Any, **_: Any) -> None:
    """The first time the consumer is ready; a reconnection to the broker comes by here as well."""
    if _running.pulse is None and _running.feeder is not None:
        _running.pulse = Pulse(sender.controller, _running.feeder)
        _running.pulse.start()


def _report_unknown(message: Any, **_: Any) -> None:
    """A doorbell for a task that this worker has not imported; another may know it, after the next ring."""
    news.put(News(pairs_in(message.headers or {})))


def _drain(**_: Any) -> None:
    if _running.pulse is not None:
        _running.pulse.drain()


def _stop(**_: Any) -> None:
    if _running.pulse is not None:
        _running.pulse.stop()
    if _running.feeder is not None:
        _running.feeder.stop()
    _running.pulse = _running.feeder = None  # a test process starts one worker after another


class _Running:
    feeder: Feeder | None = None
    pulse: Pulse | None = None


_running = _Running()
