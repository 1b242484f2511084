"""What the platform adds to a Celery worker: a heartbeat, a guard, and a feeder beside it.

Connected to Celery's signals when the app is ready: a worker started with plain `celery -A … worker` needs no more.
"""

from __future__ import annotations

import atexit
import functools
import logging
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from billiard.process import current_process
from celery import signals

from jobs.client.task import JobTask
from jobs.core.conf.checks import memory_database_error
from jobs.execution.resources import meter
from jobs.execution.resources.scoreboard import SLOTS, Scoreboard
from jobs.worker import message_filter, redis_acks, sampler
from jobs.worker.feeder import Feeder
from jobs.worker.guard import Guard
from jobs.worker.guard.guard import can_stop
from jobs.worker.heartbeat import Pulse
from jobs.worker.request import JobRequest, News, news, pairs_in

__all__ = ["JobRequest", "connect"]

logger = logging.getLogger(__name__)

make_feeder: Callable[[str, Callable[[], object]], Feeder] = Feeder
"""What a worker starts beside itself. `jobs.testing` puts a thread in its place: a test process should not fork."""


def connect() -> None:
    """Listen to the worker's life. Called once, by the app's `ready()`."""
    signals.worker_init.connect(_start_feeder, weak=False, dispatch_uid="jobs.worker.init")
    signals.worker_process_init.connect(_take_seat, weak=False, dispatch_uid="jobs.worker.child")
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
    redis_acks.install()
    message_filter.install(sender.app)
    JobTask.worker_id = uuid4()  # known to every pool child: it comes with the fork
    set_up_logs = functools.partial(sender.app.log.setup, sender.loglevel, sender.logfile, hostname=sender.hostname)
    _running.board = Scoreboard()
    _running.feeder = make_feeder(str(sender.hostname), set_up_logs)
    _running.feeder.start()


def _take_seat(**_: Any) -> None:
    """In a pool child, which has the scoreboard from its parent; Celery numbers its children from 0 on."""
    slot = getattr(current_process(), "index", None)
    if _running.board is not None and slot is not None and slot < SLOTS:
        meter.use_slot(_running.board, slot)


def _start_pulse(sender: Any, **_: Any) -> None:
    """The first time the consumer is ready; a reconnection to the broker comes by here as well."""
    if _running.pulse is None and _running.feeder is not None:
        _running.pulse = Pulse(sender.controller, _running.feeder)
        _running.pulse.start()
        _measure(sender.controller.pool)
        _running.guard = Guard(sender.controller, _running.feeder)
        _running.guard.start()
        atexit.register(_stop)  # Celery says nothing of a cold shutdown's end


def _measure(pool: Any) -> None:
    """Sample the use of pool processes, if there are any; without processes and threads nothing can be measured."""
    if _running.board is not None and can_stop(pool):
        sampler.begin(_running.board)
        return
    logger.info("jobs share a process here: what each uses of memory and disk is admitted, and not enforced")
    if type(pool).__module__.rpartition(".")[2] in {"gevent", "eventlet"}:
        meter.share_threads()


def _report_unknown(message: Any, **_: Any) -> None:
    """A message for a task that this worker has not imported. Another worker may know it: the job is released."""
    news.put(News(pairs_in(message.headers or {})))


def _drain(**_: Any) -> None:
    if _running.pulse is not None:
        _running.pulse.drain()


def _stop(**_: Any) -> None:
    """Name what was interrupted before the worker's row says that it is gone: what is found then was lost."""
    atexit.unregister(_stop)
    if _running.guard is not None:
        _running.guard.stop()
    if _running.pulse is not None:
        _running.pulse.stop()
    sampler.end()
    if _running.feeder is not None:
        _running.feeder.stop()
    _running.guard = _running.pulse = _running.feeder = None  # a test process starts one worker after another


class _Running:
    feeder: Feeder | None = None
    pulse: Pulse | None = None
    guard: Guard | None = None
    board: Scoreboard | None = None


_running = _Running()
