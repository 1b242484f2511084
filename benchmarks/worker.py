"""A Celery worker as a child process: prefork, two processes, defaults otherwise; ended by its id, and its children.

Must not know which system it runs.
"""

import subprocess
import sys
import time

import psutil

from benchmarks.place import Place
from benchmarks.stamps import Stamps

PROCESSES = 2
READY_SECONDS = 60
STOP_SECONDS = 30


class WorkerError(Exception):
    """A worker ended or never became ready; the text has the end of its log."""


class Worker:
    """One worker process of the Celery app in module `app`."""

    def __init__(self, app: str, place: Place) -> None:
        self._app = app
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The main process. Raises `WorkerError` when none was started."""
        if self._process is None:
            raise WorkerError(f"no worker of {self._app} is running")
        return self._process.pid

    def start(self) -> float:
        """Start it, wait until it takes jobs, and return the time since when it does."""
        self._place.ready.unlink(missing_ok=True)
        arguments = ["--app", self._app, "worker", "--pool", "prefork", "--concurrency", str(PROCESSES)]
        with self._place.worker_log.open("ab") as log:
            command = [sys.executable, "-m", "celery", *arguments]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        return self._wait_ready()

    def check(self) -> None:
        """Raise `WorkerError` when the worker has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise WorkerError(f"the worker of {self._app} ended with {self._process.returncode}: {self._log_end()}")

    def stop(self) -> None:
        """Ask it to finish what it runs and end; insist after a while. Does nothing when none runs."""
        if self._process is None:
            return
        process, self._process = self._process, None
        if process.poll() is not None:
            return
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _kill_left(family)

    def _wait_ready(self) -> float:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            self.check()
            if self._place.ready.exists() and (ready := Stamps(self._place.ready)).count():
                return ready.at(0)
            time.sleep(0.005)
        raise WorkerError(f"the worker of {self._app} was not ready after {READY_SECONDS} s: {self._log_end()}")

    def _log_end(self) -> str:
        return self._place.worker_log.read_text(errors="replace")[-3000:]


def _kill_left(family: list[psutil.Process]) -> None:
    """What outlives its main process; psutil compares start times, so a reused id is never hit."""
    for child in family:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
