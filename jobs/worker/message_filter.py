"""Rejects malformed messages before Celery sees them: Celery 5.7 crashes on some and fetches others for ever.

A missing id raises KeyError in Celery's handler, which counts as a lost connection: the message is put back and fetched
again. A body that is no list, or a task's name that is no text, ends the worker. Celery records a task that this worker
does not know as failed, in the event loop, and a database that is away then ends the worker. Whether a message is a
job's and may run is not decided here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery import Celery, bootsteps, signals
from django.db import Error, close_old_connections
from kombu.exceptions import ContentDisallowed, DecodeError

from jobs.admission.publishing import JOBS_HEADER

Receive = Callable[[Any], None]
Unknown = Callable[[Any, Any, KeyError], None]

logger = logging.getLogger(__name__)


def install(app: Celery) -> None:
    """Have the consumers of this process look first. Called by the worker, before it makes one."""
    app.steps["consumer"].add(Screen)


class Screen(bootsteps.Step):
    """A step of Celery's consumer that stands in front of its handler of messages."""

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        parent.on_unknown_task = _unknown_task(parent, parent.on_unknown_task)
        make: Callable[..., Receive] = parent.create_task_handler
        parent.create_task_handler = lambda *args, **more: _screened(parent, make(*args, **more))


def _screened(consumer: Any, receive: Receive) -> Receive:
    def look_and_receive(message: Any) -> None:
        if is_readable(message):
            receive(message)
        else:
            consumer.on_unknown_message(None, message)  # logs it and rejects it

    return look_and_receive


def _unknown_task(consumer: Any, celerys: Unknown) -> Unknown:
    """In place of Celery's handler: a job message is only noted, and a database error ends no worker."""

    def on_unknown_task(body: Any, message: Any, error: KeyError) -> None:
        headers = message.headers or {}
        if JOBS_HEADER not in headers:
            return _survive(lambda: celerys(body, message, error))
        name = error.args[0]
        logger.error("no task %r is registered in this worker: its job waits for one that knows it", name)
        message.reject_log_error(logger, consumer.connection_errors)
        signals.task_unknown.send(consumer, message=message, exc=error, name=name, id=headers.get("id"))
        return None

    return on_unknown_task


def _survive(record: Callable[[], None]) -> None:
    """Celery rejects the message before it writes down the failure, so that is all that is lost."""
    try:
        record()
    except Error:
        logger.exception("the failure of a task that is not registered here could not be recorded")
        close_old_connections()


def is_readable(message: Any) -> bool:
    """Whether it says which task it is for and what its id is, in Celery's second protocol or in its first."""
    try:
        body, headers = message.payload, message.headers or {}
    except (ContentDisallowed, DecodeError):
        return True  # Celery's handler knows what to do
    named = headers if "task" in headers else body
    if not isinstance(named, dict) or not isinstance(body, (dict, list, tuple)):
        return False
    return isinstance(named.get("task"), str) and isinstance(named.get("id"), str)
