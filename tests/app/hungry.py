"""Jobs that use memory, processor, disk and child processes: what the resource guard is tested with.

Each notes in the ledger when it has what it wanted; then it goes on until its gate, a file, is opened.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from jobs import JobTask, job
from tests.app import ledger

LONGEST = 60  # seconds before a gate that nobody opens
MB = 2**20


@job(bind=True)
def allocate(self: JobTask, gate: str, megabytes: int) -> int:
    """Hold so much memory, and have touched it."""
    held = b"x" * (megabytes * MB)
    _wait(self, gate)
    return len(held)


@job(bind=True)
def hold_the_interpreter(self: JobTask, megabytes: int) -> None:
    """Allocate, then stay in one call of C code that never lets go of the interpreter's lock."""
    _note(self)  # before: it may be stopped while it grows
    held = b"x" * (megabytes * MB)
    re.match(r"(a+)+$", "a" * 64 + "b")
    raise AssertionError(f"the search ended, holding {len(held)}")


@job(bind=True)
def spawn(self: JobTask, gate: str, megabytes: int) -> None:
    """Have a child process that has a child process, which holds so much memory."""
    inner = f"held = b'x' * {megabytes * MB}; import time; time.sleep({LONGEST})"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    with subprocess.Popen([sys.executable, "-c", outer]) as child:
        ledger.note("spawned", job=str(self.job.id), child=child.pid)
        _wait(self, gate)
        child.kill()


@job(bind=True)
def burn(self: JobTask, seconds: float) -> float:
    """Use so many seconds of processor time."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        sum(range(1000))
    return time.process_time() - until + seconds


@job(bind=True)
def burn_in_a_child(self: JobTask, seconds: float) -> None:
    """The same in a process of its own, whose end is waited for."""
    code = f"import time\nwhile time.process_time() < {seconds}: sum(range(1000))"
    subprocess.run([sys.executable, "-c", code], check=True)


@job(bind=True)
def fill(self: JobTask, gate: str, megabytes: int, how: str = "return") -> str:
    """Write so much into the job's directory, and step into it; `how` says how the body ends."""
    place = self.job.tmpdir
    os.chdir(place)
    Path("file").write_bytes(os.urandom(MB) * megabytes)
    ledger.note("filled", job=str(self.job.id), place=str(place))
    _wait(self, gate)
    return _end(self, how, place)


@job
def where() -> str:
    """Where the process stands."""
    return str(Path.cwd())


def _end(task: JobTask, how: str, place: Path) -> str:
    if how == "raise":
        raise ValueError("as told")
    if how == "snooze" and task.job.attempt == 1:
        task.job.snooze(0)
    if how == "exit":
        sys.exit(3)
    if how == "die":
        os.kill(os.getpid(), 9)
    return str(place)


def _note(task: JobTask) -> None:
    ledger.note("begin", job=str(task.job.id), attempt=task.job.attempt)
    ledger.note("effect", job=str(task.job.id))


def _wait(task: JobTask, gate: str) -> None:
    _note(task)
    until = time.monotonic() + LONGEST
    while gate and not Path(gate).exists() and time.monotonic() < until:
        task.job.check()
        time.sleep(0.02)
