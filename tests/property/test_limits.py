"""Random work under random limits, simulated: nothing is ever admitted beyond a limit, and nothing is lost.

Each admission is judged by a count of its own, made from the recorded events: at the moment it came, did every limit
that counts the job have room? What was admitted before a limit was lowered may stay; nothing more may come.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jobs import job_manager
from jobs.exceptions import ImpossibleNeed, JobFailed, UnknownTask
from jobs.models import Attempt, Job, JobEvent, Limit, Pool
from jobs.states import IN_FLIGHT
from jobs.testing import Worker, simulation

JOBS = {
    "STALE_AFTER": 20,
    "LOST_AFTER": 15,
    "RESERVE_AFTER": 20,
    "AGED_AFTER": 60,
    "MAX_RESCUES": 100,
    "MAX_CONCURRENT": 6,
    "RETRY": {"jitter": False, "initial_delay": 5},
}
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]  # to shrink a failure takes minutes: add Phase.shrink for that
POOLS, TASKS, TENANTS = ["default", "gpu"], ["a", "b"], ["x", "y", "z"]
INTERVAL, BURST = 10, 2  # of the rate, for each tenant
FREE = {"a": None, "everyone": None, "both pools": None, "system": 10**6}
COLUMNS = (
    "pk",
    "from_state",
    "to_state",
    "at",
    "job_id",
    "job__task",
    "job__pool",
    "job__partition",
    "job__memory_mb",
    "job__access",
    "job__max_concurrent",
    "job__priority",
    "job__rank",
    "job__resources",
)


@dataclass(frozen=True)
class Move:
    """An event with what the limits look at."""

    pk: int
    before: str
    after: str
    at: Any
    job: Any
    task: str
    pool: str
    tenant: str
    memory: int | None
    access: str
    own: int | None
    priority: str
    rank: float
    resources: dict[str, float]

    @property
    def place(self) -> tuple[bool, float]:
        """Where it stands among the readers and writers of its tenant."""
        return self.priority != "critical", self.rank

    @property
    def change(self) -> int:
        """+1 into flight, -1 out of it."""
        return (self.after in IN_FLIGHT) - (self.before in IN_FLIGHT)

    @property
    def counters(self) -> list[tuple[str, ...]]:
        """What it is counted under."""
        by_task: dict[str, list[tuple[str, ...]]] = {"a": [("a", self.tenant)], "b": [("both pools",)]}
        return [
            ("pool", self.pool),
            ("system",),
            ("everyone", self.tenant),
            *by_task.get(self.task, []),
            self.own_counter,
            self.accessing(),
        ]

    @property
    def own_counter(self) -> tuple[str, ...]:
        """What a job's own maximum counts: its task's jobs of its tenant, in its pool."""
        return "own", self.pool, self.task, self.tenant

    def accessing(self, how: str | None = None) -> tuple[str, ...]:
        """Readers or writers of its tenant, in its pool: those like itself, or those who access it otherwise."""
        return "access", self.pool, self.tenant, self.access if how is None else how


class Limits(RuleBasedStateMachine):
    """Two pools, two tasks, three tenants, and limits of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.all = ExitStack()
        self.all.enter_context(override_settings(JOBS=JOBS))
        block = self.all.enter_context(ExitStack())
        block.enter_context(transaction.atomic())
        block.callback(transaction.set_rollback, True)
        self.sim = self.all.enter_context(simulation([Worker(("default",), 2), Worker(("default", "gpu"), 3)]))
        self.sizes: dict[str, float | None] = {}
        self.paused: set[str] = set()
        self.seen = 0
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.memory = self.gpus = 0
        self.starts: dict[str, list[float]] = defaultdict(list)
        self.waiting: dict[Any, Move] = {}  # readers and writers

    @initialize(a=st.integers(1, 2), shared=st.integers(1, 3), system=st.integers(2, 6), memory=st.integers(4, 8))
    def limits(self, a: int, shared: int, system: int, memory: int) -> None:
        for name in POOLS:
            self.sim.set_pool(name, resources={"gpu": 1})
        self.sim.set_limit("a", task="a", partition_by="tenant", size=a)
        self.sim.set_limit("both pools", task="b", size=shared)
        self.sim.set_limit("everyone", partition_by="tenant", size=4)
        self.sim.set_limit("system", size=system)
        self.sim.set_limit("pace", task="b", partition_by="tenant", kind="rate", size=60 / INTERVAL, period=60, burst=2)
        self.sizes = {"a": a, "both pools": shared, "everyone": 4, "system": system}
        self.set_budget(memory)

    @rule(
        task=st.sampled_from(TASKS),
        tenant=st.sampled_from(TENANTS),
        pool=st.sampled_from(POOLS),
        priority=st.sampled_from(["low", "medium", "high", "critical"]),
        number=st.integers(1, 4),
        takes=st.sampled_from([1, 10, 40]),
        memory=st.sampled_from([None, 1, 4]),
        own=st.sampled_from([None, 1, 2]),
        timeout=st.sampled_from([None, 30, 60]),
        fails=st.booleans(),
        later=st.sampled_from([None, 15]),
        access=st.sampled_from(["", "", "shared", "exclusive"]),
        resources=st.sampled_from([{}, {}, {"gpu": 1}]),
    )
    def submit(
        self,
        task: str,
        tenant: str,
        number: int,
        takes: int,
        fails: bool,
        later: int | None,
        memory: int | None,
        own: int | None,
        **options: Any,
    ) -> None:
        calls = [((), {"tenant": tenant})] * number
        with suppress(ImpossibleNeed):  # of more memory than the pool has just now
            self.sim.submit_many(
                task,
                calls,
                partition_by="tenant",
                takes=takes,
                memory_mb=memory,
                max_concurrent=own,
                run_after=later,
                fails=JobFailed("no") if fails else None,
                max_retries=1,
                **options,
            )

    @precondition(lambda self: "default" not in self.paused)
    @rule(
        tenant=st.sampled_from(TENANTS),
        queue=st.lists(st.sampled_from(["shared", "shared", "exclusive"]), min_size=4, max_size=6),
    )
    def readers_and_writers_come_together(self, tenant: str, queue: list[str]) -> None:
        """One admission sees them all, and nothing but one another keeps them apart."""
        self.sim.pause_pool("default")
        for access in queue:
            self.sim.submit("c", kwargs={"tenant": tenant}, partition_by="tenant", takes=10, access=access)
            self.sim.run(self.sim.seconds + 0.01)
        self.sim.resume_pool("default")

    @rule(seconds=st.sampled_from([0, 1, 10, 45]))
    def time_passes(self, seconds: int) -> None:
        self.sim.run(self.sim.seconds + seconds)

    @precondition(lambda self: any(worker.is_alive for worker in self.sim.workers.workers))
    @rule(data=st.data(), act=st.sampled_from(["crash", "stop"]))
    def end_a_worker(self, data: st.DataObject, act: str) -> None:
        alive = [worker for worker in self.sim.workers.workers if worker.is_alive and not worker.is_leaving]
        if alive:
            getattr(self.sim, act)(data.draw(st.sampled_from(alive)))

    @rule()
    def start_the_workers(self) -> None:
        for worker in self.sim.workers.workers:
            if not worker.is_alive:
                self.sim.start(worker)

    @rule(name=st.sampled_from(["a", "both pools", "everyone", "system"]), size=st.integers(0, 5))
    def set_limit(self, name: str, size: int) -> None:
        self.sim.set_limit(name, size=size)
        self.sizes[name] = size

    @rule(memory=st.integers(0, 8))
    def set_budget(self, memory: int) -> None:
        self.sim.set_pool(max_memory_mb=memory)
        self.sizes["memory"] = memory

    @rule(name=st.sampled_from(POOLS), size=st.integers(0, 3))
    def set_pool(self, name: str, size: int) -> None:
        self.sim.set_pool(name, max_concurrent=size)
        self.sizes[name] = size

    @rule(name=st.sampled_from(POOLS))
    def close_or_open(self, name: str) -> None:
        self.sim.resume_pool(name) if name in self.paused else self.sim.pause_pool(name)
        self.paused ^= {name}

    @rule(task=st.sampled_from(TASKS))
    def pause_or_resume_a_task(self, task: str) -> None:
        with suppress(UnknownTask):  # no job has named it yet
            job_manager.resume_task(task) if task in self.paused else job_manager.pause_task(task)
            self.paused ^= {task}

    @rule(data=st.data(), priority=st.sampled_from(["low", "medium", "high", "critical"]))
    def set_priority(self, data: st.DataObject, priority: str) -> None:
        rows = list(Job.objects.unfinished().order_by("pk"))
        if rows:
            job_manager.set_priority(data.draw(st.sampled_from(rows)).id, priority)

    @rule(what=st.sampled_from(["lose_doorbells", "repeat_doorbells"]), number=st.integers(1, 3))
    def the_broker_errs(self, what: str, number: int) -> None:
        getattr(self.sim, what)(number)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        rows = list(Job.objects.unfinished().order_by("pk"))
        if rows:
            job_manager.cancel_job(data.draw(st.sampled_from(rows)).id)

    @invariant()
    def every_admission_had_room(self) -> None:
        events = JobEvent.objects.filter(pk__gt=self.seen).order_by("pk").values_list(*COLUMNS)
        for together in _in_order(Move(*event) for event in events):
            for move in together:
                if move.change > 0:
                    self._judge(move)
                for counter in move.counters:
                    self.counts[counter] += move.change
                if move.pool == "default":
                    self.gpus += move.change * bool(move.resources)
                    self.memory += move.change * (move.memory or 0)
                self.seen = max(self.seen, move.pk)
            self._judge_who_waits(together)

    def _judge_who_waits(self, together: list[Move]) -> None:
        """No reader or writer passes another one of its tenant."""
        for move in together:
            self.waiting.pop(move.job, None)
            if move.access and move.after == "pending":
                self.waiting[move.job] = move
        for move in together:
            if move.access and move.change > 0:
                front = [one for one in self.waiting.values() if one.accessing("") == move.accessing("")]
                assert all(one.place >= move.place for one in front), (move, front)

    def _judge(self, move: Move) -> None:
        assert not {move.pool, move.task} & self.paused
        assert not (move.resources and move.pool == "default" and self.gpus)
        for counter in move.counters:
            size = self.sizes.get(counter[1] if counter[0] == "pool" else counter[0])
            assert size is None or self.counts[counter] < size, (counter, size)
        assert move.own is None or self.counts[move.own_counter] < move.own
        budget = self.sizes.get("memory")
        if move.memory and move.pool == "default" and budget is not None:
            assert self.memory + move.memory <= budget
        if move.access:
            assert not self.counts[move.accessing("exclusive")]
            assert move.access == "shared" or not self.counts[move.accessing("shared")]
        if move.task == "b":
            self._judge_rate(move)

    def _judge_rate(self, move: Move) -> None:
        """In no window more than the burst and what has come since its beginning; a millisecond is the clock's."""
        starts = self.starts[move.tenant]
        starts.append(move.at.timestamp())
        for first, begun in enumerate(starts):
            assert len(starts) - first <= BURST + (starts[-1] - begun + 0.002) / INTERVAL

    @invariant()
    def one_open_attempt_per_running_job(self) -> None:
        running = Counter(Job.objects.filter(state="running").values_list("attempt_id", flat=True))
        assert running == Counter(Attempt.objects.filter(finished_at=None).values_list("pk", flat=True))

    def teardown(self) -> None:
        try:
            if self.sizes:
                self._everything_ends_once_limits_allow()
        finally:
            self.all.close()

    def _everything_ends_once_limits_allow(self) -> None:
        for name, size in FREE.items():
            Limit.objects.filter(name=name).update(size=size)
        for name in self.paused:
            self.sim.resume_pool(name) if name in POOLS else job_manager.resume_task(name)
        Pool.objects.update(max_concurrent=None, max_memory_mb=None)
        self.sim.start(Worker(POOLS, 4))  # those there are may be about to leave
        self.sim.run_until_idle()
        self.sizes, self.paused = {}, set()
        self.every_admission_had_room()
        assert not Job.objects.unfinished().exists()


def _in_order(moves: Iterable[Move]) -> Iterator[list[Move]]:
    """As they came. What one admission let in at once has no order in the events: the jobs' own limits give it one."""
    for _, batch in groupby(moves, key=lambda move: (move.change, move.at, move.pool)):
        yield sorted(batch, key=lambda move: move.own or math.inf)


@pytest.mark.django_db
def test_no_order_of_events_breaks_a_limit_or_loses_a_job() -> None:
    how = settings(
        max_examples=10, stateful_step_count=25, phases=PHASES, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Limits, settings=how)
