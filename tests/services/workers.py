"""Real Celery workers for tests: started as anybody would start them, watched, killed, and never left behind."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import psutil

from tests.services import nursery
from tests.services.nursery import MARK, ROOT
from tests.services.processes import alive, kill_marked, marked, wait_until

PoolName = Literal["prefork", "threads", "solo", "gevent"]
FEEDER = "jobs-feeder"  # the name that process gives itself


class Worker:
    """`celery -A jobcenter worker …` as a process of its own; its output goes to the file `log`.

    It is forked from a process that has the imports behind it (`nursery.py`). With `fresh=True` it has them before it,
    as anybody's worker; so it has where something must come before them: gevent, a variable that libraries read.

    The environment of this process (the stack) is passed on, with `env` over it. Leaving the `with` kills whatever is
    left of it, children that survived their parent included.
    """

    def __init__(
        self,
        log: Path,
        *,
        pool: PoolName = "prefork",
        concurrency: int = 2,
        queues: Sequence[str] = ("default",),
        env: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        fresh: bool = False,
    ) -> None:
        self.log = log
        self.name = f"test-{uuid.uuid4().hex[:8]}@localhost"
        self.queues = tuple(queues)
        self._mark = uuid.uuid4().hex
        self._env = os.environ | (env or {}) | {MARK: self._mark, "PYTHONUNBUFFERED": "1"}
        self._words = [
            *("-A", "jobcenter", "worker", "--hostname", self.name),
            *("--pool", pool, "--concurrency", str(concurrency), "--queues", ",".join(queues), "--loglevel", "INFO"),
            *("--without-gossip", "--without-mingle", *options),
        ]
        self._is_fresh = fresh or pool == "gevent"
        self._process: subprocess.Popen[bytes] | nursery.Forked | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def start(self, *, ready_within: float = 30) -> Self:
        """Start it; return when it consumes from its queues."""
        self.log.touch()
        begin = self.log.stat().st_size
        forked = None if self._is_fresh else nursery.fork(self._words, self._env, self.log)
        self._process = forked or self._fresh()
        try:
            wait_until(lambda: f"{self.name} ready." in self.text(begin) or self.ended(), ready_within, "worker ready")
            if self.ended():
                raise RuntimeError("the worker ended at its start")
        except (TimeoutError, RuntimeError) as error:
            error.add_note(self.text(begin)[-4000:])
            self.close()
            raise
        return self

    def _fresh(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "celery", *self._words],
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The main process."""
        assert self._process, "the worker was not started"
        return self._process.pid

    def children(self) -> list[int]:
        """The processes of the pool (prefork), while the main process lives; the feeder is not among them."""
        return [pid for pid, name in self._family() if name != FEEDER]

    def feeder(self) -> int | None:
        """The process that admits and publishes for this worker, while the main process lives."""
        return next((pid for pid, name in self._family() if name == FEEDER), None)

    def _family(self) -> list[tuple[int, str]]:
        try:
            return [(child.pid, child.name()) for child in psutil.Process(self.pid).children() if alive(child.pid)]
        except psutil.NoSuchProcess:
            return []

    def processes(self) -> list[int]:
        """Everything that belongs to this worker and still lives, main process first."""
        return sorted((process.pid for process in marked(MARK, self._mark)), key=lambda pid: (pid != self.pid, pid))

    def ended(self) -> bool:
        """Whether the main process is no more."""
        assert self._process, "the worker was not started"
        return self._process.poll() is not None

    def text(self, begin: int = 0) -> str:
        """What it has written so far, from byte `begin` on."""
        return self.log.read_bytes()[begin:].decode(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """A signal to the main process."""
        os.kill(self.pid, number)

    def wait(self, *, within: float = 30) -> int:
        """Its end; returns the exit code."""
        assert self._process, "the worker was not started"
        return self._process.wait(timeout=within)

    def stop(self, by: signal.Signals = signal.SIGTERM, *, within: float = 30) -> int:
        """A warm shutdown by default; returns the exit code."""
        os.kill(self.pid, by)
        assert self._process
        return self._process.wait(timeout=within)

    def kill(self) -> None:
        """`kill -9` of the main process alone; its children are the business of the test."""
        os.kill(self.pid, signal.SIGKILL)
        assert self._process
        self._process.wait(timeout=10)

    def freeze(self) -> None:
        """SIGSTOP to all of it, as a machine that swaps or a paused container."""
        for pid in self.processes():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """All of it goes on, the main process first: which may end the others at once, having been declared dead."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        """Nothing of it is left afterwards."""
        kill_marked(MARK, self._mark)
        if self._process:
            self._process.wait(timeout=10)
