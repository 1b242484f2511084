"""Random work without limits, simulated: while anything of a tenant may run, the tenant is served within the bound."""

from __future__ import annotations

import math
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from django.db.models import Max
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
from jobs.exceptions import UnknownTask
from jobs.models import Job
from jobs.testing import Worker, simulation

TASKS, TENANTS, PRIORITIES = ["a", "b"], ["x", "y", "z"], ["low", "medium", "high"]
SLOTS, LONGEST, AGED_AFTER = 1, 20, 20
TURNS = 1 + math.ceil(len(TENANTS) / SLOTS)  # the bodies that run, and those of tenants that have waited for as long
BOUND = timedelta(seconds=AGED_AFTER + TURNS * LONGEST + 1)
JOBS = {"LOOK_AHEAD": 0, "AGED_AFTER": AGED_AFTER, "RESERVE_AFTER": 20, "GRACE": 0}


class Waits(RuleBasedStateMachine):
    """One slot, and one graphics card for those that need it: they may wait for that."""

    def __init__(self) -> None:
        super().__init__()
        self.all = ExitStack()
        self.all.enter_context(override_settings(JOBS=JOBS))
        block = self.all.enter_context(ExitStack())
        block.enter_context(transaction.atomic())
        block.callback(transaction.set_rollback, True)
        self.sim = self.all.enter_context(simulation([Worker(slots=SLOTS)]))
        self.sim.set_pool(resources={"gpu": 1})
        self.paused: set[str] = set()
        self.resumed_at = self.now
        self.changed_at: dict[str, datetime] = {}  # by tenant: another priority for one of its jobs

    @property
    def now(self) -> datetime:
        return self.sim.start_at + timedelta(seconds=self.sim.seconds)

    @initialize()
    def a_backlog(self) -> None:
        """Longer than the bound, of the tenant that came first."""
        for tenant, number in (("x", 9), ("y", 1)):
            self.submit("a", tenant, "medium", number, LONGEST, 0)

    @rule(
        task=st.sampled_from(TASKS),
        tenant=st.sampled_from(TENANTS),
        priority=st.sampled_from(PRIORITIES),
        number=st.integers(2, 4),
        takes=st.sampled_from([5, LONGEST]),
        gpu=st.sampled_from([0, 0, 1]),
    )
    def submit(self, task: str, tenant: str, priority: str, number: int, takes: int, gpu: int) -> None:
        self.sim.submit_many(
            task,
            [((), {"tenant": tenant})] * number,
            partition_by="tenant",
            takes=takes,
            priority=priority,
            resources={"gpu": 1} if gpu else {},
            timeout=LONGEST,
        )

    @rule(seconds=st.sampled_from([10, 60]))
    def time_passes(self, seconds: int) -> None:
        self.sim.run(self.sim.seconds + seconds)

    @precondition(lambda self: Job.objects.filter(state="pending").exists())
    @rule(data=st.data(), priority=st.sampled_from(PRIORITIES))
    def set_priority(self, data: st.DataObject, priority: str) -> None:
        waiting = list(Job.objects.filter(state="pending").order_by("pk"))
        job = data.draw(st.sampled_from(waiting))
        job_manager.set_priority(job.id, priority)
        self.changed_at[job.partition] = self.now

    @rule(task=st.sampled_from(TASKS))
    def pause_or_resume(self, task: str) -> None:
        with suppress(UnknownTask):  # no job has named it yet
            if task in self.paused:
                job_manager.resume_task(task)
                self.resumed_at = self.now
            else:
                job_manager.pause_task(task)
            self.paused ^= {task}

    @invariant()
    def nobody_starves(self) -> None:
        """The first by rank of each tenant: whatever head start others have, it is not longer in their way."""
        self.sim.run(self.sim.seconds + 15)
        free = Job.objects.filter(state="pending", resources={}).exclude(task__in=self.paused)
        for tenant in TENANTS:
            first = free.filter(partition=tenant).order_by("rank").first()
            if first is not None:
                served = Job.objects.filter(partition=tenant).aggregate(at=Max("queued_at"))["at"]
                due = datetime.fromtimestamp(first.rank, UTC)  # by its priority
                began = (first.eligible_at, due, served, self.resumed_at, self.changed_at.get(tenant))
                since = max(moment for moment in began if moment)
                assert self.now - since <= BOUND, (tenant, self.now - since)

    def teardown(self) -> None:
        for task in self.paused:
            job_manager.resume_task(task)
        self.sim.run_until_idle()
        assert not Job.objects.unfinished().exists()
        self.all.close()


@pytest.mark.django_db
def test_no_order_of_events_lets_a_tenant_starve() -> None:
    how = settings(
        max_examples=4,
        stateful_step_count=12,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
    )
    run_state_machine_as_test(Waits, settings=how)
