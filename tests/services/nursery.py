"""Workers without the price of their imports: a nursery has those behind it, and forks a worker when told to.

A process that is started costs three seconds of a core, most of it imports; a forked one a quarter of that. It is the
same worker else: Celery's own `main`, in a session of its own, its output in its own file. This is the side of the
test process; what the other one does stands in `nurse.py`.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.app import ledger

ROOT = Path(__file__).resolve().parents[2]
MARK = "JOBCENTER_TEST_WORKER"
UNBORN = "0" * 32  # as long as a mark: it is written over where /proc shows it
APP, LIBRARIES = "app", "libraries"  # what a nursery has loaded
# How variables begin that nothing reads before settings are imported; others may be a library's.
READ_BY_SETTINGS = ("DATABASE_URL", "CELERY_BROKER_URL", "DJANGO_SETTINGS_MODULE", "JOBCENTER_", "JOB_")
READ_LATE = {MARK, ledger.VARIABLE, "PYTEST_CURRENT_TEST"}  # no module reads them while it is imported
_TOO_LATE = 60.0  # seconds; a nursery answers within one


class Forked:
    """A worker that a nursery has forked, with that part of `subprocess.Popen` which tests use."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self._nursery = nursery
        self._end = os.pidfd_open(pid)  # becomes readable when it has ended; it stays a zombie until its nursery waits
        self._code: int | None = None
        self._reaping = threading.Lock()  # the soak asks from several threads

    def __del__(self) -> None:
        os.close(self._end)

    def poll(self) -> int | None:
        """The exit code (negative: the signal it died of), None while it runs."""
        return self._ended_within(0)

    def wait(self, timeout: float) -> int:
        """The same, once it has ended."""
        code = self._ended_within(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"worker {self.pid}", timeout)
        return code

    def _ended_within(self, seconds: float) -> int | None:
        if self._code is None and select.select([self._end], [], [], seconds)[0]:
            with self._reaping:
                if self._code is None:
                    self._code = self._nursery.ask(wait=self.pid)
        return self._code


class Nursery:
    """A process with everything imported, or only the libraries, and nothing opened. It lives as long as this one."""

    def __init__(self, what: str) -> None:
        self.env = os.environ | {MARK: UNBORN, "PYTHONUNBUFFERED": "1"}
        self._asking = threading.Lock()
        mine, its = socket.socketpair()
        mine.settimeout(_TOO_LATE)
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.services.nurse", str(its.fileno()), what],
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
                start_new_session=True,
            )
        self._line, self._stream = mine, mine.makefile("rwb")
        atexit.register(self.close)

    def others(self, env: Mapping[str, str]) -> set[str]:
        """The variables that are not in `env` what they are here, but for those that are read only when used."""
        return {name for name, _ in env.items() ^ self.env.items()} - READ_LATE

    def start(self, words: Sequence[str], env: Mapping[str, str], log: Path) -> Forked:
        """`python -m celery` with these words and no other environment than this."""
        return Forked(self, self.ask(words=[*words], env={**env}, log=str(log)))

    def ask(self, **order: Any) -> int:
        with self._asking:
            self._stream.write(json.dumps(order).encode() + b"\n")
            self._stream.flush()
            answer = self._stream.readline()
        if not answer:
            raise RuntimeError(f"the nursery has ended by {self._process.wait()}")
        return int(answer)

    def close(self) -> None:
        """It ends when nobody can ask any more; what it has forked goes on."""
        self._line.shutdown(socket.SHUT_RDWR)
        self._stream.close()
        self._line.close()
        self._process.wait(_TOO_LATE)


_nurseries: dict[str, Nursery] = {}
_opening = threading.Lock()


def fork(words: Sequence[str], env: Mapping[str, str], log: Path) -> Forked | None:
    """A worker out of the nursery that has loaded most of what it needs, and nothing that it must load otherwise.

    None where there is no such nursery: libraries, too, read variables while they are imported (REMAP_SIGTERM).
    """
    nursery = _nursery(APP)
    if others := nursery.others(env):
        if not all(name.startswith(READ_BY_SETTINGS) for name in others):
            return None
        nursery = _nursery(LIBRARIES)
    return nursery.start(words, env, log)


def _nursery(what: str) -> Nursery:
    with _opening:
        if what not in _nurseries:
            _nurseries[what] = Nursery(what)
        return _nurseries[what]
