"""Tries limits out on a virtual clock: hours of work of many workers, in the time that the SQL takes.

Submission, admission, claim, finish and the steward's chores are the production ones, on the test's own database. What
is simulated is time, the workers' life, the broker between them, and how long bodies take; no body runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

from django.db.models import Min

from jobs import job_manager
from jobs.admission import limits, passes, publishing
from jobs.admission import pools as known_pools
from jobs.admission.limits import declared
from jobs.admission.wakeup import own_feeder
from jobs.control import pools
from jobs.core.conf import settings
from jobs.core.options.declared_task import JobLike
from jobs.maintenance import lost_messages, promoter, republisher, unknown_tasks
from jobs.maintenance.dead_workers import Watch
from jobs.models import Job, Limit, Pool
from jobs.signals import job_cancel_requested
from jobs.states import JobState
from jobs.testing.clock import Act, Clock, whole
from jobs.testing.commits import Commits
from jobs.testing.report import Report
from jobs.testing.workers import Duration, Fails, Worker, Workers

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
ENOUGH = 100_000  # events, after which a run without an end takes the work for endless


@contextmanager
def simulation(
    workers: Iterable[Worker] = (), *, start: datetime = NOON, takes: Duration | Mapping[str, Duration] = 1.0
) -> Iterator[Simulation]:
    """A simulation with these workers running. In this thread the clock is virtual until the end of the block.

    `takes` is what bodies last, in seconds, where a submit does not say it: a number, a callable that gets what the
    body would have as `self.job`, or either by the name of the task. Code under test may submit, cancel, pause or edit
    rows as ever; the next `run` sees it. Use it inside a test's transaction, or on a database that is emptied.
    """
    if start.tzinfo is None:
        raise ValueError(f"start: {start!r} has no time zone; use an aware datetime")
    with ExitStack() as until_the_end:
        clock = Clock(start, until_the_end)
        made = Simulation(clock, Workers(clock, takes))
        broker = made.workers.broker
        until_the_end.enter_context(publishing.delivered_by(broker.receive, broker.depth))
        until_the_end.enter_context(_informed_of_changes(made))
        until_the_end.callback(made.workers.leave)
        for worker in workers:
            made.start(worker)
        yield made


@contextmanager
def _informed_of_changes(made: Simulation) -> Iterator[None]:
    """A submit, a free slot or a cancel wakes the simulation; what the process remembers of rows is dropped."""
    job_cancel_requested.connect(made.asked_to_stop)
    try:
        with own_feeder.woken_by(made.wake):
            yield
    finally:
        job_cancel_requested.disconnect(made.asked_to_stop)
        known_pools.forget()
        declared.forget()


class Simulation(Report):
    """Made by `simulation()`. Times are seconds since its start."""

    def __init__(self, clock: Clock, workers: Workers) -> None:
        super().__init__(clock)
        self.workers = workers
        self._commits = Commits()
        self._watch = Watch(lambda: clock.seconds)
        self._has_rung = self._is_asked = False
        self._tick_at: float | None = None
        self._opens_at: float | None = None

    # --- what happens

    def submit(
        self,
        task: JobLike | str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        takes: Duration | None = None,
        fails: Fails = None,
        **options: Any,
    ) -> Job:
        """`job_manager.submit`, with what the body will do: the seconds it takes, and what it raises at its end.

        Both may be callables that get what the body would have as `self.job`, called for each attempt.
        """
        (job,) = self.submit_many(task, [(args, kwargs or {})], takes=takes, fails=fails, **options)
        return job

    def submit_many(
        self,
        task: JobLike | str,
        calls: Iterable[tuple[Sequence[Any], Mapping[str, Any]]],
        *,
        takes: Duration | None = None,
        fails: Fails = None,
        **options: Any,
    ) -> list[Job]:
        """The same for many (args, kwargs)."""
        rows = job_manager.submit_many(task, calls, **options)
        for row in rows:
            self.workers.expect(row, takes, fails)
        return rows

    def at(self, seconds: float, act: Act) -> None:
        """Have something happen at a moment of the virtual clock: `sim.at(60, lambda: sim.crash(worker))`."""
        self._clock.at(seconds, act)

    def start(self, worker: Worker) -> None:
        """Start a worker, or start it again after its end."""
        self.workers.start(worker)

    def crash(self, worker: Worker) -> None:
        """A worker dies with all that it runs, and says nothing. The steward finds out after STALE_AFTER."""
        self.workers.crash(worker)

    def stop(self, worker: Worker) -> None:
        """A worker takes no new work and leaves once its jobs have ended, as at a deploy."""
        self.workers.stop(worker)

    def lose_doorbells(self, count: int = 1) -> None:
        """The broker loses the next so many messages."""
        self.workers.broker.to_lose += count

    def repeat_doorbells(self, count: int = 1) -> None:
        """The broker delivers the next so many messages twice."""
        self.workers.broker.to_repeat += count

    def pause_pool(self, name: str = "default") -> None:
        """Nothing more of a pool is admitted; what runs goes on."""
        pools.pause(name, reason="paused by the test")

    def resume_pool(self, name: str = "default") -> None:
        """The end of a pause."""
        pools.resume(name)

    def set_pool(self, name: str = "default", **columns: Any) -> None:
        """Edit a pool, or make it: `max_concurrent=2, max_memory_mb=4096, resources={"gpu": 1}`."""
        Pool.objects.using(settings.DATABASE).update_or_create(name=name, defaults=columns)

    def set_limit(self, name: str, **columns: Any) -> None:
        """Edit a limit, or make it. A task's own has the task's name, and is there once the task was submitted."""
        Limit.objects.using(settings.DATABASE).update_or_create(name=name, defaults=columns)
        declared.forget()

    # --- time

    def run(self, until: float) -> None:
        """Let time pass up to a moment, with everything that happens until then."""
        self._settle()
        while (moment := self._next()) is not None and moment <= until:
            self._go_to(moment)
        self._clock.go_to(until)
        self.workers.beat()

    def run_until_idle(self) -> None:
        """Let time pass until nothing more would happen by itself; what has no room stays.

        RuntimeError where that never comes.
        """
        self._settle()
        for _ in range(ENOUGH):
            moment = self._next()
            if moment is None:
                return
            self._go_to(moment)
        raise RuntimeError(
            f"run_until_idle() has seen {ENOUGH:,} events and no end: does something retry, snooze or submit for ever? "
            "If not, say how long to run: run(until=…)."
        )

    def wake(self) -> None:
        """What wakes a worker's feeder; `admission` calls it."""
        self._has_rung = True

    def asked_to_stop(self, **_: Any) -> None:
        """Receives `job_cancel_requested`."""
        self._is_asked = True

    def _go_to(self, moment: float) -> None:
        self._clock.go_to(moment)
        self.workers.beat()
        self._clock.do_what_is_due()
        if self._tick_at is not None and moment >= self._tick_at:
            self._tick()
        self._settle()

    def _settle(self) -> None:
        """Everything that takes no time: what follows commits, admission, claims, and what these set off."""
        self._has_rung = True
        while self._has_rung:
            self._commits.run()
            self._has_rung = False
            while passes.admit_everywhere() >= passes.BATCH:
                pass  # a call ends when real time is up, though there may be room still
            self.workers.serve()
            self._commits.run()
            self._stop_what_should()
        self._look_ahead()

    def _stop_what_should(self) -> None:
        """Bodies see a request to stop at once."""
        if self._is_asked:
            self._is_asked = False
            self.workers.stop_what_should()

    def _tick(self) -> None:
        """The steward's round, but for pruning: what a test asks about should be there still."""
        for chore in (
            promoter.promote,
            self._watch.run,
            unknown_tasks.give_up,
            lost_messages.release,
            republisher.publish,
        ):
            chore()

    def _look_ahead(self) -> None:
        """When time alone will change something: a rate opens, or the steward has something to do.

        Its other ticks would find nothing, and are left out.
        """
        plans = [_plan(name) for name in _pools() if limits.has_room(name)]
        opens = [self._clock.since_start(plan.opens_at) for plan in plans if plan.opens_at is not None]
        self._opens_at = max(self.seconds, whole(min(opens))) + 0.001 if opens else None
        scheduled = Job.objects.using(settings.DATABASE).filter(state=JobState.SCHEDULED)
        first = scheduled.aggregate(first=Min("run_after"))["first"]
        if self.workers.needs_the_steward() or any(plan.tally.reservations.entries for plan in plans):
            self._tick_at = self._tick_from(self.seconds)
        else:
            self._tick_at = None if first is None else self._tick_from(self._since_start(first))

    def _tick_from(self, moment: float) -> float:
        """The first tick at a moment or later, and after now."""
        return max(math.ceil(moment / settings.TICK), math.floor(self.seconds / settings.TICK) + 1) * settings.TICK

    def _next(self) -> float | None:
        return min((at for at in (self._clock.next(), self._tick_at, self._opens_at) if at is not None), default=None)


def _pools() -> list[str]:
    return list(Pool.objects.using(settings.DATABASE).order_by("name").values_list("name", flat=True))


def _plan(pool: str) -> limits.AdmissionPlan:
    seen = limits.take_snapshot(pool)
    assert seen is not None  # noqa: S101 - a pool that has room is there
    return limits.plan(seen, 1)
