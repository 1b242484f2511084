"""What a trial asks of a system under test. Must not measure: the trial holds the clock."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import redis

from benchmarks.place import Place
from benchmarks.stamps import Stamps
from benchmarks.worker import Commands, Worker

Room = Callable[[], AbstractContextManager[None]]


class NotDrainedError(Exception):
    """The jobs were not all finished in time; the text says how far they came."""


class System(ABC):
    """One way to run background jobs."""

    worker_commands: Commands
    submits_many = False
    """Whether `enqueue` is one call of the system's own."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.stamps = Stamps(place.stamps)
        self.worker = Worker(self.worker_commands, place)

    def prepare(self) -> None:
        """Begin with an empty broker; systems with a database make theirs as well. Called once, before all else."""
        with redis.Redis(unix_socket_path=self.place.redis_socket, db=self.place.redis_database) as client:
            client.flushdb()

    @abstractmethod
    def submit(self) -> None:
        """Submit one no-op job, as a caller would."""

    def enqueue(self, jobs: int) -> None:
        """Make `jobs` no-op jobs wait, by the quickest way the system offers; without one, one by one."""
        for _ in range(jobs):
            self.submit()

    def rooms(self) -> Mapping[str, Room]:
        """The situations in which submitting one by one is measured: name → what makes and ends the situation."""
        return {"no worker": nullcontext}

    def start_worker(self) -> float:
        """Start the worker and return the time since when it takes jobs."""
        return self.worker.start()

    def wait_drained(self, jobs: int) -> float:
        """Wait until `jobs` jobs have finished and return the time at which the system says the last one did.

        Raises `NotDrainedError` or `WorkerError`.
        """
        deadline = time.monotonic() + 60 + jobs / 10
        # Bodies tell when it is worth asking, so that no query is made while the system works.
        self._poll(lambda: self.stamps.count() >= jobs, deadline)
        self._poll(lambda: self.finished() >= jobs, deadline)
        return self.last_finish()

    def finished(self) -> int:
        """How many jobs the system says are finished."""
        return self.stamps.count()

    def last_finish(self) -> float:
        """When the last one did, in seconds of the wall clock; the body's own time where nothing is recorded."""
        return self.stamps.latest()

    def clear(self) -> None:
        """Forget all jobs, waiting and finished."""
        self.stamps.clear()

    def analyze(self) -> None:  # noqa: B027  # nothing to do without a database
        """Refresh the database planner's statistics, where there is a database."""

    def disconnect(self) -> None:  # noqa: B027  # the same
        """Let go of this process's connections, so that the database has counted all they did."""

    def stop(self) -> None:
        """Stop the worker, if one runs."""
        self.worker.stop()

    def _poll(self, done: Callable[[], bool], deadline: float) -> None:
        while not done():
            self.worker.check()
            if time.monotonic() > deadline:
                raise NotDrainedError(
                    f"{self.stamps.count()} bodies ran, {self.finished()} jobs finished, then time was up"
                )
            time.sleep(0.01)
