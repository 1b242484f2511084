"""What a worker refuses to look at."""

from types import SimpleNamespace
from typing import Any

import pytest
from celery import signals
from django.db import OperationalError
from kombu.exceptions import DecodeError

from jobs.worker.message_filter import Screen, is_readable
from jobs.worker.request import news

NAMED = {"task": "a.b", "id": "x"}
BODY: Any = [[], {}, {}]


@pytest.mark.parametrize(
    ("headers", "payload", "expected"),
    [
        (NAMED, BODY, True),
        ({}, {**NAMED, "args": []}, True),
        (None, NAMED, True),
        ({"task": "a.b"}, BODY, False),
        ({"id": "x"}, BODY, False),
        ({"task": None, "id": "x"}, BODY, False),
        ({"task": ["a"], "id": "x"}, BODY, False),
        ({"task": "a.b", "id": 7}, BODY, False),
        (NAMED, None, False),
        (NAMED, "text", False),
        (NAMED, b"", False),
        ({}, BODY, False),
        ({}, {"id": "x"}, False),
    ],
)
def test_a_message_says_its_task_and_its_id(headers: Any, payload: Any, expected: bool) -> None:
    taken: list[Any] = []
    refused: list[Any] = []
    message = SimpleNamespace(headers=headers, payload=payload)
    consumer = _consumer(
        create_task_handler=lambda: taken.append, on_unknown_message=lambda _, one: refused.append(one)
    )
    Screen(consumer)
    consumer.create_task_handler()(message)
    assert is_readable(message) is expected
    assert (taken, refused) == (([message], []) if expected else ([], [message]))


def test_what_cannot_be_decoded_is_celerys() -> None:
    class Broken:
        headers = NAMED

        @property
        def payload(self) -> Any:
            raise DecodeError("no JSON")

    assert is_readable(Broken())


class _Consumer(SimpleNamespace):
    __hash__ = object.__hash__  # type: ignore[assignment]  # signals keep a table of senders


def _consumer(**more: Any) -> Any:
    return _Consumer(**{"create_task_handler": list, "on_unknown_task": list, "connection_errors": (), **more})


@pytest.mark.parametrize("name", ["header", "body"])
def test_a_doorbell_for_nobody_is_announced_and_not_recorded(name: str) -> None:
    told: list[Any] = []
    rejected: list[Any] = []
    consumer = _consumer(on_unknown_task=lambda *_: pytest.fail("Celery's way writes to the database"))
    Screen(consumer)
    message = SimpleNamespace(
        headers={"jobs": [], "id": "x"} | ({"task": "a.b"} if name == "header" else {}),
        reject_log_error=lambda *how: rejected.append(how),
    )

    def hear(**said: Any) -> None:
        told.append((said["sender"], said["message"], said["name"], said["id"]))

    signals.task_unknown.connect(hear)
    try:
        consumer.on_unknown_task(None, message, KeyError("a.b"))
    finally:
        signals.task_unknown.disconnect(hear)
    assert news.get_nowait().pairs == []  # the worker has heard of it as well
    assert len(rejected) == 1
    assert told == [(consumer, message, "a.b", "x")]


@pytest.mark.django_db
def test_any_other_message_for_nobody_costs_no_worker() -> None:
    def record(*_: Any) -> None:
        raise OperationalError("the database is away")

    consumer = _consumer(on_unknown_task=record)
    Screen(consumer)
    consumer.on_unknown_task(None, SimpleNamespace(headers=None), KeyError("a.b"))
