"""What a worker does not take from its queues: messages that are none, over which Celery ends or goes round for ever.

A missing id raises KeyError in Celery's handler, which counts as a lost connection: the message is put back and fetched
again. A body that is no list, or a task's name that is no text, ends the worker. Whether a message is ours and may run
is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery, bootsteps
from kombu.exceptions import ContentDisallowed, DecodeError

Receive = Callable[[Any], None]


def install(app: Celery) -> None:
    """Have the consumers of this process look first. Called by the worker, before it makes one."""
    app.steps["consumer"].add(Screen)


class Screen(bootsteps.Step):
    """A step of Celery's consumer that stands in front of its handler of messages."""

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        make: Callable[..., Receive] = parent.create_task_handler
        parent.create_task_handler = lambda *args, **more: _screened(parent, make(*args, **more))


def _screened(consumer: Any, receive: Receive) -> Receive:
    def look_and_receive(message: Any) -> None:
        if is_readable(message):
            receive(message)
        else:
            consumer.on_unknown_message(None, message)  # logs it and rejects it

    return look_and_receive


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
