"""A system's worker: one or several child processes, ended by their ids, and what they leave behind with them.

Must not know which system it runs.
"""

import subprocess
import sys
import time
from collections.abc import Sequence

import psutil

from benchmarks.place import Place
from benchmarks.stamps import Stamps

PROCESSES = 2
READY_SECONDS = 60
STOP_SECONDS = 30

Commands = Sequence[Sequence[str]]
"""What to start: for each process the arguments after `python -m`."""


class WorkerError(Exception):
    """A worker ended or never became ready; the text has the end of its log."""


def celery(app: str) -> Commands:
    """One Celery worker of the app in a module: prefork, two processes, all other options as Celery has them."""
    return [["celery", "--app", app, "worker", "--pool", "prefork", "--concurrency", str(PROCESSES)]]


def django_command(*words: str) -> Commands:
    """A management command that runs one job at a time, as many processes of it as Celery's worker has."""
    return [["benchmarks.workers.command", *words]] * PROCESSES


class Worker:
    """The processes that work for one system."""

    def __init__(self, commands: Commands, place: Place) -> None:
        self._commands = commands
        self._place = place
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def pids(self) -> list[int]:
        """The processes started; each may have children. Raises `WorkerError` when there are none."""
        if not self._processes:
            raise WorkerError(f"no worker is running: {self._name}")
        return [process.pid for process in self._processes]

    def start(self) -> float:
        """Start it, wait until every process takes jobs, and return the time since when the first of them does."""
        self._place.ready.unlink(missing_ok=True)
        with self._place.worker_log.open("ab") as log:
            for words in self._commands:
                self._processes.append(subprocess.Popen([sys.executable, "-m", *words], stdout=log, stderr=log))
        return self._wait_ready()

    def check(self) -> None:
        """Raise `WorkerError` when one of its processes has ended."""
        for process in self._processes:
            if process.poll() is not None:
                raise WorkerError(f"{self._name} ended with {process.returncode}: {self._log_end()}")

    def stop(self) -> None:
        """Ask them to finish what they run and end; insist after a while. Does nothing when none runs."""
        processes, self._processes = self._processes, []
        living = [process for process in processes if process.poll() is None]
        families = [child for process in living for child in psutil.Process(process.pid).children(recursive=True)]
        for process in living:
            process.terminate()
        for process in living:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        _kill_left(families)

    def _wait_ready(self) -> float:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            self.check()
            if self._place.ready.exists() and (ready := Stamps(self._place.ready)).count() == len(self._commands):
                return min(ready.at(index) for index in range(ready.count()))
            time.sleep(0.005)
        raise WorkerError(f"{self._name} was not ready after {READY_SECONDS} s: {self._log_end()}")

    @property
    def _name(self) -> str:
        return f"{len(self._commands)} × {' '.join(self._commands[0])}"

    def _log_end(self) -> str:
        return self._place.worker_log.read_text(errors="replace")[-3000:]


def _kill_left(family: list[psutil.Process]) -> None:
    """What outlives its main process; psutil compares start times, so a reused id is never hit."""
    for child in family:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
