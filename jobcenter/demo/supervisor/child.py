"""One process that the supervisor starts and ends, with all that it has started in turn."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

BURIAL = 2.0  # seconds that a killed group may take to vanish
LAST_LINES = 15
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded here: nothing may be loaded after a fork


class Child:
    """A program in a session, hence a process group, of its own: a Ctrl-C of the terminal does not reach it."""

    def __init__(
        self, name: str, words: Sequence[str], directory: Path, env: Mapping[str, str], stop: signal.Signals
    ) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self._words, self._directory, self._env, self._stop = words, directory, env, stop
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._words,
                cwd=self._directory,
                env=dict(self._env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - one system call, in a process without threads
            )

    @property
    def pid(self) -> int:
        """Its process, and its process group."""
        assert self._process is not None  # noqa: S101 - asked of a started one only
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it has ended by itself, or been ended."""
        return self._process is not None and self._process.poll() is not None

    def last_words(self) -> str:
        """Which process ended, how, and what it wrote last."""
        assert self._process is not None  # noqa: S101 - asked of an ended one only
        lines = self.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        wrote = "\n".join(f"    {line}" for line in lines) or "    (nothing)"
        return f"{self.name} (process {self.pid}) {_how(self._process.returncode)}. It wrote last:\n{wrote}"

    def ask_to_stop(self) -> None:
        """Send it the signal that it ends on in good order."""
        if self._process is not None and not self.has_ended:
            self._process.send_signal(self._stop)

    def end(self, patience_ends_at: float) -> None:
        """Wait for its end until that monotonic moment, then kill; returns when nothing of its group is left."""
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, patience_ends_at - time.monotonic()))
        buried_at = time.monotonic() + BURIAL
        while self._kill_group() and time.monotonic() < buried_at:
            self._process.poll()
            time.sleep(0.02)

    def _kill_group(self) -> bool:
        """Kill what is left; False when nothing was."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
            return False
        return True


def _die_with(supervisor: int) -> Callable[[], None] | None:
    """What the new process does first on Linux: have itself killed when the supervisor dies, however that dies."""
    libc = _libc
    if libc is None:
        return None

    def bind() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:  # it died before the call
            os._exit(1)

    return bind


def _how(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended unexpectedly with exit code {code}"
