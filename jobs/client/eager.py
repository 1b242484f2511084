"""The inline worker: jobs run in the process that asks for it, each from submission to its end on the real way.

Doorbells are answered here instead of being sent; everything else is what a worker does: a row with a heartbeat,
admission under every limit, claim, finish. For `jobs.testing` and for Celery's eager mode. Time that would be waited
for is skipped: where nothing else is left to run, the clock of this thread goes to the next `run_after`.

It must not be used where real workers run the same jobs: nothing would break (the claim decides), but its clock runs
ahead of theirs.
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
from jobs.admission.publishing import Doorbell
from jobs.core.conf import settings
from jobs.core.db.dialects import bound_now, dialect
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

NOBODY = UUID(int=0)
SLOTS = 1000  # room for whatever else the rows say is in flight


def run(job: Job) -> None:
    """Run one job until it has ended, or waits for more than time (a person, room in its pool)."""
    alone = _working.get() is None
    with worker() as mine:
        mine.run(job.id)
        if alone:  # what its admission let in beside it has no other worker
            mine.answer_all()


@contextmanager
def worker() -> Iterator[InlineWorker]:
    """The inline worker that is at work in this thread already, or a new one for the time of the block."""
    present = _working.get()
    if present is not None:
        yield present
        return
    with ExitStack() as until_the_end:
        made = InlineWorker(until_the_end)
        until_the_end.callback(_working.reset, _working.set(made))
        until_the_end.enter_context(publishing.delivered_by(made.receive))
        until_the_end.enter_context(_everything_in_this_thread())
        until_the_end.callback(made.leave)
        yield made


class Bell(NamedTuple):
    """A doorbell that waits to be answered; the best-ranked one is the smallest."""

    rank: float
    job_id: UUID
    attempt_id: UUID
    task: str
    pool: str


@runtime_checkable
class Runnable(Protocol):
    """What is asked of a job's task object."""

    hooks: Hooks

    def body(self, *args: Any, **kwargs: Any) -> Any:
        """The function, called as a job."""

    def push_request(self, *args: Any, **kwargs: Any) -> None:
        """Celery's `self.request` for what follows."""

    def pop_request(self) -> None:
        """And its end."""


class InlineWorker:
    """Admits, answers doorbells in the order of rank, and moves the clock on. Made by `worker()` only."""

    def __init__(self, until_the_end: ExitStack) -> None:
        self._until_the_end = until_the_end
        self._bells: list[Bell] = []
        self._boot_ids: dict[str, UUID] = {}  # one worker row per pool: pools may come into being meanwhile

    def work(self) -> Iterator[UUID]:
        """Run attempt after attempt until nothing can run; yields the job's id after each of them."""
        self._take_over()
        while True:
            while self._bells:
                bell = heappop(self._bells)
                if self._answer(bell):
                    yield bell.job_id
            if not self._admit() and not self._skip_to(Job.objects.using(settings.DATABASE).all()):
                self._clean_up()
                return

    def run(self, job_id: UUID) -> None:
        """Run the attempts of one job only."""
        this = Job.objects.using(settings.DATABASE).filter(pk=job_id)
        while True:
            self._admit()
            bell = next((bell for bell in self._bells if bell.job_id == job_id), None)
            if bell is not None:
                self._bells.remove(bell)
                heapify(self._bells)
                self._answer(bell)
            elif not self._skip_to(this):
                return

    def answer_all(self) -> None:
        """Run what has been admitted, and what that lets in."""
        while self._bells:
            self._answer(heappop(self._bells))

    def receive(self, doorbells: Sequence[Doorbell]) -> None:
        """The transport: keep the doorbells, in the order of rank."""
        ids = [job_id for bell in doorbells for job_id, _ in bell.pairs]
        ranks = dict(Job.objects.using(settings.DATABASE).filter(pk__in=ids).values_list("pk", "rank"))
        for bell in doorbells:
            for job_id, attempt_id in bell.pairs:
                heappush(self._bells, Bell(ranks[job_id], job_id, attempt_id, bell.task, bell.pool))

    def leave(self) -> None:
        """Give back what was not begun, and end the worker's rows."""
        if self._bells:
            db = dialect(settings.DATABASE)
            ids = db.id_list(bell.job_id for bell in self._bells)
            transitions.move("release", db.id_in("id"), [ids], actor=HOSTNAME, data={"why": "not begun"})
        for boot_id in self._boot_ids.values():
            heartbeats.retire(boot_id)

    def _take_over(self) -> None:
        """The doorbells of jobs that somebody admitted before: whoever was to answer them is not here."""
        known = {bell.attempt_id for bell in self._bells}
        for job in Job.objects.using(settings.DATABASE).filter(state=JobState.QUEUED):
            if job.attempt_id is not None and job.attempt_id not in known:
                heappush(self._bells, Bell(job.rank, job.id, job.attempt_id, job.task, job.pool))

    def _admit(self) -> int:
        for pool in self._pools():
            if pool not in self._boot_ids:
                self._boot_ids[pool] = uuid4()
                heartbeats.register(
                    Identity(self._boot_ids[pool], f"inline@{HOSTNAME}"[:200], os.getpid(), (pool,), SLOTS)
                )
        self._beat()
        return passes.admit_everywhere()

    def _clean_up(self) -> None:
        """Run the hooks of jobs that ended without a process of their own."""
        last: UUID | None = NOBODY
        while last is not None:
            found, last = hooks.due(last, 0)
            for row in found:
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
        """Let the time come for which the first of the wanted jobs waits; False when none waits for time."""
        scheduled = wanted.filter(state=JobState.SCHEDULED)
        moment = scheduled.aggregate(first=Min("run_after"))["first"]
        if moment is None:
            return False
        if not scheduled.due().exists():
            self._until_the_end.enter_context(bound_now(moment))
            self._beat()
        promoter.promote()
        return True

    def _answer(self, bell: Bell) -> bool:
        """Run one attempt as a worker would; False when the job has been cancelled, or taken by another, meanwhile."""
        task: object = current_app.tasks.get(bell.task)
        if not isinstance(task, Runnable):
            heappush(self._bells, bell)
            raise UnknownTask(bell.task, current_app.tasks)
        request = {"id": str(bell.attempt_id), "delivery_info": {"routing_key": bell.pool}}
        outside = context.bind(None)
        task.push_request(**request, task=bell.task, is_eager=True, called_directly=False, hostname=HOSTNAME)
        try:
            return perform(bell.job_id, bell.attempt_id, task.body, self._boot_ids.get(bell.pool), task.hooks)
        finally:
            task.pop_request()
            context.unbind(outside)


_working: ContextVar[InlineWorker | None] = ContextVar("inline_worker", default=None)


@contextmanager
def _everything_in_this_thread() -> Iterator[None]:
    """What bodies say is written at once, by their own connection; whoever frees a slot admits by itself."""
    flushes, bell = flusher.inline, passes.bell
    flusher.inline, passes.bell = True, None
    try:
        yield
    finally:
        flusher.inline, passes.bell = flushes, bell
