"""The inline worker: runs jobs in the calling process, through all the steps of a real worker.

It delivers messages to itself, and does everything else as a worker: a row with a heartbeat, admission under all
limits, claim, finish. For `jobs.testing` and for Celery's eager mode. It does not wait for time: when nothing else is
left to run, it sets the clock of this thread to the next `run_after`.

Do not use it while real workers run the same jobs: it would break nothing (the claim decides), but its clock runs ahead
of theirs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple, Protocol, runtime_checkable
from uuid import UUID, uuid4

from celery import current_app
from django.db.models import Min

from jobs.admission import passes, publishing
from jobs.admission.publishing import JobMessage
from jobs.admission.wakeup import own_feeder
from jobs.core.conf import settings
from jobs.core.db.clock import bound_now
from jobs.core.db.dialects import dialect
from jobs.core.hostname import HOSTNAME
from jobs.exceptions import UnknownTask
from jobs.execution import context, heartbeats, hooks
from jobs.execution.attempt import perform
from jobs.execution.heartbeats import Identity
from jobs.execution.hooks import Hooks
from jobs.execution.progress import flusher
from jobs.maintenance import promoter
from jobs.models import Job, Pool, transitions
from jobs.states import JobState

FIRST_HOOK = UUID(int=0)
SLOTS = 1000  # room also for jobs in flight elsewhere


def run(job: Job) -> None:
    """Run one job until it has ended, or waits for something else than time (a person, a slot)."""
    is_outermost = _working.get() is None
    with worker() as inline:
        inline.run(job.id)
        if is_outermost:  # other jobs that it has admitted have no other worker
            inline.run_delivered()


@contextmanager
def worker() -> Iterator[InlineWorker]:
    """The inline worker of this thread, or a new one for the time of the block."""
    present = _working.get()
    if present is not None:
        yield present
        return
    with ExitStack() as until_the_end:
        inline = InlineWorker(until_the_end)
        until_the_end.callback(_working.reset, _working.set(inline))
        until_the_end.enter_context(publishing.delivered_by(inline.receive))
        until_the_end.enter_context(_everything_in_this_thread())
        until_the_end.callback(inline.leave)
        yield inline


class Delivery(NamedTuple):
    """A job's delivered message, until its attempt runs; ordered by rank."""

    rank: float
    job_id: UUID
    attempt_id: UUID
    task: str
    pool: str


@runtime_checkable
class Runnable(Protocol):
    """What the inline worker needs of a task object."""

    hooks: Hooks

    def body(self, *args: Any, **kwargs: Any) -> Any:
        """The function, called as a job."""

    def push_request(self, *args: Any, **kwargs: Any) -> None:
        """Set Celery's `self.request`."""

    def pop_request(self) -> None:
        """Reset it."""


class InlineWorker:
    """Admits jobs, runs them in the order of rank, and moves the clock on. Created by `worker()` only."""

    def __init__(self, until_the_end: ExitStack) -> None:
        self._until_the_end = until_the_end
        self._deliveries: list[Delivery] = []
        self._boot_ids: dict[str, UUID] = {}  # one worker row per pool: pools may be added while it runs

    def work(self) -> Iterator[UUID]:
        """Run attempts until no job can run; yields the job's id after each attempt."""
        self._take_queued()
        while True:
            while self._deliveries:
                delivery = heappop(self._deliveries)
                if self._run_attempt(delivery):
                    yield delivery.job_id
            if not self._admit() and not self._skip_to(Job.objects.using(settings.DATABASE).all()):
                self._run_hooks()
                return

    def run(self, job_id: UUID) -> None:
        """Run the attempts of one job only."""
        job = Job.objects.using(settings.DATABASE).filter(pk=job_id)
        while True:
            self._admit()
            delivery = next((delivery for delivery in self._deliveries if delivery.job_id == job_id), None)
            if delivery is not None:
                self._deliveries.remove(delivery)
                heapify(self._deliveries)
                self._run_attempt(delivery)
            elif not self._skip_to(job):
                return

    def run_delivered(self) -> None:
        """Run the admitted jobs, and those that they admit when they end."""
        while self._deliveries:
            self._run_attempt(heappop(self._deliveries))

    def receive(self, messages: Sequence[JobMessage]) -> None:
        """Take messages in place of the broker, in the order of rank."""
        ids = [job_id for message in messages for job_id, _ in message.pairs]
        ranks = dict(Job.objects.using(settings.DATABASE).filter(pk__in=ids).values_list("pk", "rank"))
        for message in messages:
            for job_id, attempt_id in message.pairs:
                heappush(self._deliveries, Delivery(ranks[job_id], job_id, attempt_id, message.task, message.pool))

    def leave(self) -> None:
        """Release the jobs that were not started, and end the worker's rows."""
        if self._deliveries:
            db = dialect(settings.DATABASE)
            ids = db.id_list(delivery.job_id for delivery in self._deliveries)
            transitions.move("release", db.id_in("id"), [ids], actor=HOSTNAME, data={"why": "not begun"})
        for boot_id in self._boot_ids.values():
            heartbeats.retire(boot_id)

    def _take_queued(self) -> None:
        """Take the jobs that were queued before: no other worker will run them."""
        known = {delivery.attempt_id for delivery in self._deliveries}
        for job in Job.objects.using(settings.DATABASE).filter(state=JobState.QUEUED):
            if job.attempt_id is not None and job.attempt_id not in known:
                heappush(self._deliveries, Delivery(job.rank, job.id, job.attempt_id, job.task, job.pool))

    def _admit(self) -> int:
        for pool in self._pools():
            if pool not in self._boot_ids:
                self._boot_ids[pool] = uuid4()
                heartbeats.register(
                    Identity(self._boot_ids[pool], f"inline@{HOSTNAME}"[:200], os.getpid(), (pool,), SLOTS)
                )
        self._beat()
        return passes.admit_everywhere()

    def _run_hooks(self) -> None:
        """Run the hooks of jobs that ended without their process."""
        last: UUID | None = FIRST_HOOK
        while last is not None:
            rows, last = hooks.due(last, 0)
            for row in rows:
                task: object = current_app.tasks.get(row.job.task)
                if isinstance(task, Runnable):
                    hooks.run_remaining(row.job_id, row.id, task.hooks, self._boot_ids.get(row.job.pool))

    def _pools(self) -> list[str]:
        waiting = Job.objects.using(settings.DATABASE).filter(state=JobState.PENDING)
        names = Pool.objects.using(settings.DATABASE).values_list("name")
        return sorted(name for (name,) in names.union(waiting.order_by().values_list("pool")))

    def _beat(self) -> None:
        for boot_id in self._boot_ids.values():
            heartbeats.beat(boot_id, SLOTS)

    def _skip_to(self, wanted: Any) -> bool:
        """Set the clock to the time that the first of these jobs waits for; False if none waits for time."""
        scheduled = wanted.filter(state=JobState.SCHEDULED)
        moment = scheduled.aggregate(first=Min("run_after"))["first"]
        if moment is None:
            return False
        if not scheduled.due().exists():
            self._until_the_end.enter_context(bound_now(moment))
            self._beat()
        promoter.promote()
        return True

    def _run_attempt(self, delivery: Delivery) -> bool:
        """Run one attempt as a worker; False if the job is cancelled, or claimed by another worker."""
        task: object = current_app.tasks.get(delivery.task)
        if not isinstance(task, Runnable):
            heappush(self._deliveries, delivery)
            raise UnknownTask(delivery.task, current_app.tasks)
        request = {"id": str(delivery.attempt_id), "delivery_info": {"routing_key": delivery.pool}}
        outside = context.bind(None)
        task.push_request(**request, task=delivery.task, is_eager=True, called_directly=False, hostname=HOSTNAME)
        try:
            return perform(
                delivery.job_id, delivery.attempt_id, task.body, self._boot_ids.get(delivery.pool), task.hooks
            )
        finally:
            task.pop_request()
            context.unbind(outside)


_working: ContextVar[InlineWorker | None] = ContextVar("inline_worker", default=None)


@contextmanager
def _everything_in_this_thread() -> Iterator[None]:
    """Progress is written at once, by the body's own connection; the process that frees a slot admits by itself."""
    before, flusher.inline = flusher.inline, True
    try:
        with own_feeder.woken_by(None):
            yield
    finally:
        flusher.inline = before
