"""Messages that are not ours, or broken, in a worker's queue: nothing of them runs, and the worker serves on."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kombu import Connection, Producer

from jobs import job_manager
from jobs.models import Job
from tests.app import ledger
from tests.app.faulty import EFFECT, touch
from tests.faults.conftest import Recovered, StartWorker
from tests.faults.observing import no_database, wait_for_end
from tests.services import Stack
from tests.services.processes import wait_until

Send = Callable[..., Any]
ID, PAIR = str(uuid4()), [str(uuid4()), str(uuid4())]
BODY: Any = [[], {}, {}]


class _Trap:
    """Makes a directory as soon as somebody unpickles it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._path),)


def _headers(**more: Any) -> dict[str, Any]:
    return {"lang": "py", "task": touch.name, "id": ID, "root_id": ID, **more}


def _pickled(send: Send, trap: Path) -> None:
    body = pickle.dumps([[_Trap(trap)], {}, {}])
    for kind in ("application/x-python-serialize", "application/pickle"):
        send(body, content_type=kind, content_encoding="binary", headers=_headers())


def _yaml(send: Send, trap: Path) -> None:
    body = f"[[!!python/object/apply:os.mkdir [{trap}]], {{}}, {{}}]"
    send(body.encode(), content_type="application/x-yaml", content_encoding="utf-8", headers=_headers())


def _garbage(send: Send, trap: Path) -> None:
    for body in (b"", b"\xff\xfe\0garbage", b"{", b"null", b'"text"', b"[" * 10_000):
        send(body, content_type="application/json", content_encoding="utf-8", headers=_headers())
    send(b"\xff\xfe", content_type="application/json", content_encoding="no-such-code", headers=_headers())
    send(os.urandom(4096), content_type="application/octet-stream", content_encoding="binary")


def _without_headers(send: Send, trap: Path) -> None:
    send(BODY, serializer="json")
    send({"hello": "there"}, serializer="json")
    send(BODY, serializer="json", headers={"jobs": [PAIR]})
    send(BODY, serializer="json", headers={"task": touch.name})
    send({"task": touch.name, "id": ID, "args": "no list", "kwargs": 7}, serializer="json")  # protocol 1
    for task in (None, 7, ["a", "list"]):
        send(BODY, serializer="json", headers=_headers(task=task))
    send(BODY, serializer="json", headers={"task": "nobody.knows"})
    send({"task": "nobody.knows"}, serializer="json")


def _strange_pairs(send: Send, trap: Path) -> None:
    """Ours by name, with a header that names no job; the last ones do, of jobs that never were."""
    for pairs in (
        "text",
        7,
        {"a": 1},
        [],
        [["one"]],
        [["x", "y"]],
        [[1, 2]],
        [PAIR[:1]],
        [[*PAIR, *PAIR]],
        [[None] * 2],
    ):
        send(BODY, serializer="json", headers=_headers(jobs=pairs))
    send(BODY, serializer="json", headers=_headers(jobs=[PAIR] * 100))
    send(BODY, serializer="json", headers=_headers(task="nobody.knows", jobs="text"))
    send(
        [["an argument"], {"self": 1}, {"chord": {"task": touch.name}}],
        serializer="json",
        headers=_headers(jobs=[PAIR]),
    )


@pytest.mark.parametrize("foreign", [_pickled, _yaml, _garbage, _without_headers, _strange_pairs])
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_message_that_is_no_doorbell_runs_nothing(
    pool: str,
    foreign: Callable[[Send, Path], None],
    served: StartWorker,
    stack: Stack,
    ledger_file: Path,
    tmp_path: Path,
    recovered: Recovered,
) -> None:
    """Fault 22."""
    worker = served(pool=pool)
    trap = tmp_path / "trap"
    with Connection(stack.broker_url) as connection:
        producer = Producer(connection.channel())
        foreign(lambda body, **how: producer.publish(body, routing_key="default", **how), trap)
    jobs = [job_manager.submit(touch) for _ in range(8)]
    seconds = wait_for_end(jobs, 30)
    recovered(f"22: {foreign.__name__.strip('_')} messages on {pool}; eight jobs behind them done", seconds)
    assert not worker.ended()
    assert not trap.exists()
    assert {job.state for job in Job.objects.all()} == {"completed"}
    assert Job.objects.count() == len(ledger.read(ledger_file, EFFECT)) == 8


@pytest.mark.parametrize("headers", [{}, {"jobs": [PAIR]}], ids=["message", "doorbell"])
def test_a_task_that_nobody_knows_while_the_database_is_away(
    headers: dict[str, Any], served: StartWorker, stack: Stack, recovered: Recovered
) -> None:
    """Faults 22 and 23 with 24: Celery would record the failure from its event loop, and end over it."""
    worker = served()
    with no_database(stack), Connection(stack.broker_url) as connection:
        headers = _headers(task="nobody.knows") | headers
        Producer(connection.channel()).publish(BODY, serializer="json", routing_key="default", headers=headers)
        wait_until(lambda: "nobody.knows" in worker.text(), 15, "the message")
    job = job_manager.submit(touch)
    recovered(f"22, 23, 24: {'doorbell' if headers else 'message'} for nobody, no database", wait_for_end([job], 30))
    assert not worker.ended()
