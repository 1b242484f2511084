"""What a worker refuses to look at."""

from types import SimpleNamespace
from typing import Any

import pytest
from kombu.exceptions import DecodeError

from jobs.worker.screening import Screen, is_readable

NAMED = {"task": "a.b", "id": "x"}
BODY: Any = [[], {}, {}]


@pytest.mark.parametrize(
    ("headers", "payload", "expected"),
    [
        (NAMED, BODY, True), ({}, {**NAMED, "args": []}, True), (None, NAMED, True),
        ({"task": "a.b"}, BODY, False), ({"id": "x"}, BODY, False), ({"task": None, "id": "x"}, BODY, False),
        ({"task": ["a"], "id": "x"}, BODY, False), ({"task": "a.b", "id": 7}, BODY, False),
        (NAMED, None, False), (NAMED, "text", False), (NAMED, b"", False), ({}, BODY, False), ({}, {"id": "x"}, False),
    ],
)  # fmt: skip
def test_a_message_says_its_task_and_its_id(headers: Any, payload: Any, expected: bool) -> None:
    taken: list[Any] = []
    refused: list[Any] = []
    message = SimpleNamespace(headers=headers, payload=payload)
    consumer = SimpleNamespace(
        create_task_handler=lambda: taken.append, on_unknown_message=lambda _, message: refused.append(message)
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
