"""The process that a nursery is: `python -m tests.services.nurse <socket> app|libraries`. Must not open anything.

It reads one order a line and answers with one number: `{"words": …, "env": …, "log": …}` forks a worker, the answer is
its id; `{"wait": id}` waits for the end of one, the answer is its exit code. A worker comes out of it as `python -m
celery` would: one thread, no connection, no file but its log, a session of its own, and nothing drawn at random yet.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import celery.__main__

from tests.services.nursery import APP, MARK

# None of them reads Django's settings while it is imported.
FOR_WORKERS = """
    celery.apps.worker celery.bin.celery celery.bin.worker celery.concurrency.prefork celery.concurrency.solo
    celery.concurrency.thread celery.contrib.django.task celery.fixups.django celery.worker.autoscale
    celery.worker.components celery.worker.consumer celery.worker.strategy kombu.transport.pyamqp kombu.transport.redis
    django.contrib.admin django.core.mail django.core.management.commands.migrate django.template.defaultfilters
    django.urls django.utils.log django.views.debug django.views.generic psutil psycopg psycopg_pool pymysql
"""


def main(line: int, what: str) -> None:
    """Load, then answer until nobody asks any more; a forked process goes on as the worker that was asked for."""
    for name in FOR_WORKERS.split():
        import_module(name)
    if what == APP:
        _load_app()
    with socket.socket(fileno=line) as asked:
        order = _serve(asked)
    if order:
        _become(order)
        celery.__main__.main()


def _load_app() -> None:
    """What a worker does first: its application, Django with every app, every module with tasks."""
    app: Any = import_module("jobcenter").celery_app
    app.loader.import_default_modules()


def _serve(asked: socket.socket) -> dict[str, Any] | None:
    """Follow orders. Returns an order in the process that was forked for it, None where nobody asks any more."""
    with asked.makefile("rwb") as stream:
        while said := stream.readline():
            order: dict[str, Any] = json.loads(said)
            answer = _wait(order["wait"]) if "wait" in order else _fork()
            if answer == 0 and "words" in order:
                return order
            stream.write(b"%d\n" % answer)
            stream.flush()
    return None


def _wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _fork() -> int:
    tasks = [*Path("/proc/self/task").iterdir()]
    assert threading.active_count() == len(tasks) == 1, "a fork would lose a thread"
    return os.fork()


def _become(order: dict[str, Any]) -> None:
    """The process that `python -m celery` would be. What draws at random is seeded anew by Python itself."""
    os.setsid()
    output = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for standard in (1, 2):
        os.dup2(output, standard)
    os.close(output)
    _show_mark(order["env"][MARK])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = [celery.__main__.__file__, *order["words"]]


def _show_mark(mark: str) -> None:
    """Write it where /proc shows a process's environment: that is the memory which came with the last `exec`."""
    getenv = ctypes.CDLL(None).getenv
    getenv.argtypes, getenv.restype = [ctypes.c_char_p], ctypes.c_void_p
    assert len(mark) == len(os.environ[MARK])
    ctypes.memmove(getenv(MARK.encode()), mark.encode(), len(mark))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
