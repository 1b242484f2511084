"""The virtual workers, and the broker between admission and them: messages in, claims and ends of bodies out.

No body runs. What it would do is known beforehand: how long it takes, and how it ends. Claim and end are written by
`execution`, as a worker's child writes them; a worker that crashes writes nothing more, and the steward finds out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from jobs import models
from jobs.admission.publishing import JobMessage
from jobs.core.conf import settings
from jobs.exceptions import JobAborted, JobFailed
from jobs.execution import attempt, claims, heartbeats
from jobs.execution.claims import Claimed
from jobs.execution.context import JobContext
from jobs.execution.fence import Pair
from jobs.execution.heartbeats import Identity
from jobs.models import Job
from jobs.states import JobState
from jobs.testing.clock import Clock, Event

Duration = float | Callable[[JobContext], float]
Fails = BaseException | Callable[[JobContext], BaseException | None] | None


@dataclass(eq=False)
class Worker:
    """A virtual worker: the pools it serves, and how many jobs it runs at once."""

    pools: Sequence[str] = ("default",)
    slots: int = 4
    name: str = ""
    boot_id: UUID | None = field(default=None, init=False, repr=False)
    is_leaving: bool = field(default=False, init=False, repr=False)
    running: dict[UUID, Run] = field(default_factory=dict, init=False, repr=False)

    @property
    def is_alive(self) -> bool:
        """Whether it has been started, and has neither crashed nor been stopped."""
        return self.boot_id is not None


@dataclass(frozen=True)
class Run:
    """An attempt under way, and its end on the clock."""

    claimed: Claimed
    end: Event


@dataclass(frozen=True)
class FakeBody:
    """What a body would do: seconds it lasts, and what it raises at the end."""

    takes: Duration
    fails: Fails = None

    def seconds(self, job: JobContext) -> float:
        """How long this attempt lasts."""
        return self.takes(job) if callable(self.takes) else self.takes

    def error(self, job: JobContext) -> BaseException | None:
        """What this attempt raises; None where it succeeds."""
        return self.fails(job) if callable(self.fails) else self.fails


class Broker:
    """A queue for each pool. Messages may be lost here, or come twice."""

    def __init__(self) -> None:
        self.queues: dict[str, deque[Pair]] = {}
        self.missing: set[Pair] = set()
        self.to_lose = self.to_repeat = 0

    def receive(self, messages: Sequence[JobMessage]) -> None:
        """The transport of `publishing`."""
        for message in messages:
            queue = self.queues.setdefault(message.pool, deque())
            if self.to_lose:
                self.to_lose -= 1
                self.missing.update(message.pairs)
                continue
            queue.extend(message.pairs)
            if self.to_repeat:
                self.to_repeat -= 1
                queue.extend(message.pairs)

    def depth(self, pool: str) -> int:
        """How many messages wait for a pool."""
        return len(self.queues.get(pool, ()))

    def take(self, pools: Sequence[str]) -> Pair | None:
        """The next message of one of these pools, whichever holds most."""
        pool = max(pools, key=self.depth)
        return self.queues[pool].popleft() if self.depth(pool) else None


class Workers:
    """All workers of a simulation."""

    def __init__(self, clock: Clock, takes: Duration | Mapping[str, Duration]) -> None:
        self.broker = Broker()
        self.workers: list[Worker] = []
        self.bodies: dict[UUID, FakeBody] = {}
        self._clock = clock
        self._takes = takes
        self._beat_at = 0.0
        self._dead: set[UUID] = set()

    def expect(self, job: Job, takes: Duration | None, fails: Fails) -> None:
        """What a job's body will do, where it is not the usual."""
        if takes is not None or fails is not None:
            self.bodies[job.id] = FakeBody(self._usual(job.task) if takes is None else takes, fails)

    def start(self, worker: Worker) -> None:
        """Begin a life of a worker: a new boot id, a row, a heartbeat."""
        if worker.is_alive:
            raise ValueError(f"worker: {worker!r} is running already; crash or stop it first")
        if worker not in self.workers:
            self.workers.append(worker)
        worker.boot_id = uuid4()
        name = worker.name or f"simulated-{self.workers.index(worker) + 1}"
        heartbeats.register(Identity(worker.boot_id, name, 1, tuple(worker.pools), worker.slots))

    def crash(self, worker: Worker) -> None:
        """Its heartbeat stops and its bodies are gone, without a word."""
        self._dead.add(_life(worker))
        self._drop_all(worker)
        worker.boot_id, worker.is_leaving = None, False

    def stop(self, worker: Worker) -> None:
        """It takes no new work, and leaves when what it runs has ended."""
        heartbeats.drain(_life(worker))
        worker.is_leaving = True
        self._let_go(worker)

    def beat(self) -> None:
        """The heartbeats that were due up to now. Nothing reads them between two events, so the last one will do."""
        if self._clock.seconds - self._beat_at < settings.HEARTBEAT:
            return
        self._beat_at = self._clock.seconds
        for worker in self.workers:
            if worker.boot_id is not None:
                heartbeats.beat(worker.boot_id, worker.slots)

    def serve(self) -> None:
        """Hand messages to free slots, until one of the two runs out."""
        while sum(map(self._serve, self.workers)):
            pass

    def stop_what_should(self) -> None:
        """End the bodies of jobs that were asked to stop."""
        rows = Job.objects.using(settings.DATABASE).filter(state=JobState.RUNNING, cancel_requested_at__isnull=False)
        asked = set(rows.values_list("attempt_id", flat=True))
        for worker in self.workers:
            for attempt_id, run in list(worker.running.items()):
                if attempt_id in asked:
                    self._clock.drop(run.end)
                    self._end(worker, attempt_id, JobAborted("told to stop"))

    def needs_the_steward(self) -> bool:
        """Whether something has gone wrong that only the steward's looking round will mend."""
        if self._dead:
            rows = models.Worker.objects.using(settings.DATABASE).unfenced()
            self._dead = set(rows.filter(pk__in=self._dead).values_list("pk", flat=True))
        missing = self.broker.missing
        if missing:
            queued = Job.objects.using(settings.DATABASE).filter(state=JobState.QUEUED)
            still = set(queued.filter(attempt_id__in=[pair[1] for pair in missing]).values_list("attempt_id", "pool"))
            served = {pool for worker in self.workers if worker.is_alive for pool in worker.pools}
            kept = {attempt_id for attempt_id, _ in still}
            self.broker.missing = {pair for pair in missing if pair[1] in kept}
            return bool(self._dead) or any(pool in served for _, pool in still)
        return bool(self._dead)

    def leave(self) -> None:
        """The end of the simulation: no row of a worker that looks alive stays behind."""
        for worker in self.workers:
            self._drop_all(worker)
            worker.is_leaving = True
            self._let_go(worker)

    def _serve(self, worker: Worker) -> bool:
        """Let a worker take one message; False when there is no free slot, or no message."""
        if worker.boot_id is None or worker.is_leaving or len(worker.running) >= worker.slots:
            return False
        pair = self.broker.take(worker.pools)
        if pair is None:
            return False
        claimed = claims.claim(*pair, worker.boot_id)
        if claimed is not None:
            self._begin(worker, claimed)
        return True

    def _begin(self, worker: Worker, claimed: Claimed) -> None:
        job, job_id = claimed.context, claimed.row["id"]
        body = self.bodies.get(job_id) or FakeBody(self._usual(claimed.row["task"]))
        seconds, error = body.seconds(job), body.error(job)
        timeout = Job.objects.using(settings.DATABASE).values_list("timeout", flat=True).get(pk=job_id)
        if timeout is not None and seconds > timeout:
            seconds, error = timeout, JobFailed(f"took longer than its {timeout:g} s", category="timeout")
        attempt_id = claimed.row["attempt_id"]
        end = self._clock.at(self._clock.seconds + seconds, lambda: self._end(worker, attempt_id, error))
        worker.running[attempt_id] = Run(claimed, end)

    def _usual(self, task: str) -> Duration:
        return self._takes.get(task, 1.0) if isinstance(self._takes, Mapping) else self._takes

    def _end(self, worker: Worker, attempt_id: UUID, error: BaseException | None) -> None:
        def body(*_: Any, **__: Any) -> None:
            if error is not None:
                raise error

        attempt.run(worker.running.pop(attempt_id).claimed, body)
        self._let_go(worker)

    def _drop_all(self, worker: Worker) -> None:
        """Its bodies are gone."""
        for run in worker.running.values():
            self._clock.drop(run.end)
        worker.running.clear()

    @staticmethod
    def _let_go(worker: Worker) -> None:
        """The end of a worker that is to leave, once it runs nothing more."""
        if worker.boot_id is not None and worker.is_leaving and not worker.running:
            heartbeats.retire(worker.boot_id)
            worker.boot_id, worker.is_leaving = None, False


def _life(worker: Worker) -> UUID:
    if worker.boot_id is None:
        raise ValueError(f"worker: {worker!r} is not running; start it first")
    return worker.boot_id
