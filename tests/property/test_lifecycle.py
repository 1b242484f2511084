"""Random orders of everything that may happen to jobs, by several workers, with doorbells lost, late and repeated.

What must hold after each step: one unfinished job per key, never more in flight than the limits allow, one outcome for
each attempt, and a history that replays to the row. At the end whoever is left runs what waits, until all has ended.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from django.test import override_settings
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jobs import Answer, job, job_manager
from jobs.admission import passes
from jobs.admission.publishing import JobMessage
from jobs.exceptions import JobAborted, JobFailed
from jobs.execution import claims, heartbeats, rescue
from jobs.execution.attempt import run_body
from jobs.execution.claims import Claimed
from jobs.execution.context import JobSnoozed
from jobs.execution.failures.failure import RetryJob
from jobs.maintenance import lost_messages, promoter, republisher
from jobs.models import Attempt, Job, JobEvent, Limit, Pool
from jobs.states import EDGES, IN_FLIGHT
from jobs.testing import drain
from tests.app import stages
from tests.app.stages import Clock

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
KEYS = ["a", "b"]
ENDS: dict[str, BaseException | None] = {
    "complete": None,
    "raise": ValueError("no"),
    "fail": JobFailed("no"),
    "snooze": JobSnoozed(30),
    "retry": RetryJob(countdown=5),
    "abort": JobAborted("told to stop"),
    "checkpoint": None,  # keeps something first: see `_keeping`
}
WISHES = [
    "start",
    "cancel",
    "cancel what runs",
    "retry",
    "pause",
    "pause what runs",
    "resume",
    "resume what was to pause",
]
NEVER_STALE = {"STALE_AFTER": 10**9, "MAX_RESCUES": 2, "RETRY": {"jitter": False, "initial_delay": 5}, "LOOK_AHEAD": 1}


@job(name="property.work")
def work() -> str:
    return "done"


class Lifecycle(RuleBasedStateMachine):
    """One database, a virtual clock, and a handful of workers."""

    def __init__(self) -> None:
        super().__init__()
        self.all = ExitStack()
        self.all.enter_context(override_settings(JOBS=NEVER_STALE))
        self.rolled_back = self.all.enter_context(_rolled_back())
        self.clock = Clock(NOON, self.all)
        self.messages: list[JobMessage] = self.all.enter_context(
            stages.collected()
        )  # each may be answered again at any time
        self.claims: list[Claimed] = []  # what bodies somewhere are running, or believe to be
        self.workers: list[UUID] = []
        self.hired: list[UUID] = []  # the dead as well
        self.claimed = 0

    @initialize(pool=st.integers(1, 3), system=st.integers(1, 4))
    def limit(self, pool: int, system: int) -> None:
        Pool.objects.filter(name="default").update(max_concurrent=pool)
        Limit.objects.filter(name="system").update(size=system)
        self.limits = pool, system
        self.hire()
        self.hire()
        for retries in range(3):
            job_manager.submit(work, max_retries=retries)

    # --- people and programs

    @rule(
        key=st.sampled_from([None, None, *KEYS]),
        priority=st.sampled_from(["low", "medium", "critical"]),
        later=st.sampled_from([0, 0, 20]),
        retries=st.integers(0, 2),
        start=st.sampled_from([True, True, False]),
    )
    def submit(self, key: str | None, priority: str, later: int, retries: int, start: bool) -> None:
        options: dict[str, Any] = {"priority": priority, "run_after": later, "max_retries": retries, "start": start}
        if key is None:
            job_manager.submit(work, **options)
            return
        held = Job.objects.unfinished().filter(key=key).first()
        answer = job_manager.run_job(key, work, **options)
        assert answer.created == (held is None)
        assert held is None or answer.job.id == held.id

    @rule(data=st.data(), wish=st.sampled_from(WISHES))
    def somebody_wishes(self, data: st.DataObject, wish: str) -> None:
        among = {
            "start": Job.objects.filter(state="paused"),
            "cancel": Job.objects.all(),
            "cancel what runs": Job.objects.filter(state="running"),
            "retry": Job.objects.final(),
            "pause": Job.objects.all(),
            "pause what runs": Job.objects.filter(state="running"),
            "resume": Job.objects.all(),
            "resume what was to pause": Job.objects.filter(state="running", pause_requested_at__isnull=False),
        }
        rows = list(among[wish].order_by("pk"))
        if rows:
            row = data.draw(st.sampled_from(rows))
            getattr(self, wish.split(maxsplit=1)[0])(row)

    def start(self, row: Job) -> None:
        held = row.reason == "not started"
        assert job_manager.start_job(row.id) == (Answer.STARTED if held else Answer.ALREADY_STARTED)

    def pause(self, row: Job) -> None:
        impossible = row.is_final or (row.state == "running" and row.cancel_requested_at is not None)
        expected = Answer.REQUESTED if row.state == "running" else Answer.PAUSED
        if row.state == "running" and row.pause_requested_at is not None:
            impossible = row.cancel_requested_at is not None
        assert job_manager.pause_job(row.id, reason="a wish") == (Answer.NOT_POSSIBLE if impossible else expected)

    def resume(self, row: Job) -> None:
        is_held = row.state == "paused" or (row.state == "running" and row.pause_requested_at is not None)
        assert job_manager.resume_job(row.id) == (Answer.RESUMED if is_held else Answer.NOT_PAUSED)
        now = Job.objects.get(pk=row.pk)
        assert now.state != "paused"
        assert (now.pause_requested_at, now.checkpoint) == (None if is_held else row.pause_requested_at, row.checkpoint)

    def cancel(self, row: Job) -> None:
        expected = Answer.ALREADY_FINAL if row.is_final else Answer.CANCELLED
        assert job_manager.cancel_job(row.id) == (Answer.REQUESTED if row.state == "running" else expected)

    def retry(self, row: Job) -> None:
        taken = row.key is not None and Job.objects.unfinished().filter(key=row.key).exists()
        expected = Answer.NOT_FINAL if row.state == "completed" else Answer.KEY_TAKEN if taken else Answer.REQUEUED
        assert job_manager.retry_job(row.id) == expected

    @rule(seconds=st.sampled_from([0, 1, 5, 30, 700]))
    def time_passes(self, seconds: int) -> None:
        """And the steward does what it causes."""
        self.clock.forward(seconds)
        for chore in (promoter.promote, republisher.publish, lost_messages.release, passes.admit_everywhere):
            chore()

    # --- workers

    @precondition(lambda self: len(self.workers) < 3)
    @rule()
    def hire(self) -> None:
        self.workers.append(stages.start_worker(slots=2))
        self.hired.append(self.workers[-1])

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), overtaken=st.booleans())
    def die(self, data: st.DataObject, overtaken: bool) -> None:
        """The worker is declared dead, and another may take its jobs at once; its bodies must change nothing more."""
        worker = data.draw(st.sampled_from(self.workers))
        self.workers.remove(worker)
        heartbeats.retire(worker)
        rescued = rescue.rescue(rescue.attempts_of_the_fenced(100), "its worker is dead", "steward")
        if overtaken:
            passes.admit_everywhere()
            for message in self._fresh_bells(among={one.id for one in rescued}):
                assert self._claim(message, None)

    @rule(data=st.data(), end=st.sampled_from(sorted(ENDS)), twice=st.sampled_from([False, False, True]))
    def go_on(self, data: st.DataObject, end: str, twice: bool) -> None:
        """A body ends, and perhaps reports twice; the workers take the doorbells that they should take."""
        if self.claims:
            claimed = data.draw(st.sampled_from(self.claims))
            if not twice:
                self.claims.remove(claimed)
            self._finish(claimed, end)
        passes.admit_everywhere()
        for message in self._fresh_bells(among=set(Job.objects.values_list("pk", flat=True))):
            if self.workers:
                assert self._claim(message, data.draw(st.sampled_from(self.workers)))

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def answer_wrongly(self, data: st.DataObject) -> None:
        """A worker takes any doorbell that ever rang, or is dead itself."""
        message = data.draw(st.sampled_from(sorted(self.messages, key=_job_of)))
        worker = data.draw(st.sampled_from(self.hired))
        is_fresh = Job.objects.filter(state="queued", attempt_id=message.pairs[0][1]).exists()
        assert self._claim(message, worker) == (is_fresh and worker in self.workers)

    def _fresh_bells(self, among: set[UUID]) -> list[JobMessage]:
        queued = set(Job.objects.filter(state="queued", pk__in=among).values_list("attempt_id", flat=True))
        return sorted((message for message in self.messages if message.pairs[0][1] in queued), key=_job_of)

    def _claim(self, message: JobMessage, worker: UUID | None) -> bool:
        ((job_id, attempt_id),) = message.pairs
        claimed = claims.claim(job_id, attempt_id, worker)
        if claimed is None:
            return False
        self.claims.append(claimed)
        self.claimed += 1
        return True

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), end=st.sampled_from(sorted(ENDS)))
    def finish_what_was_overtaken(self, data: st.DataObject, end: str) -> None:
        """A body ends while another has its job, if there is one."""
        runs = dict(Job.objects.filter(state="running").values_list("pk", "attempt_id"))
        late = [one for one in self.claims if runs.get(one.row["id"], one.row["attempt_id"]) != one.row["attempt_id"]]
        if late:
            self._finish(data.draw(st.sampled_from(late)), end)

    def _finish(self, claimed: Claimed, end: str) -> None:
        before = Job.objects.get(pk=claimed.row["id"])
        run_body(claimed, self._keeping(claimed) if end == "checkpoint" else _ending(ENDS[end]))
        after = Job.objects.get(pk=before.pk)
        if before.state == "running" and before.attempt_id == claimed.row["attempt_id"]:
            asked = before.cancel_requested_at is not None and end != "complete"
            assert after.state == "cancelled" if asked else after.state != "running"
            if before.pause_requested_at is not None and not asked:
                assert after.state == "paused" or (after.is_final and end not in ("checkpoint", "snooze"))
            assert Attempt.objects.get(pk=claimed.row["attempt_id"]).outcome
        else:
            assert (after.state, after.attempt_id) == (before.state, before.attempt_id)
            assert after.event_seq == before.event_seq + 1
            assert after.events.get(seq=after.event_seq).name == "stale"

    def _keeping(self, claimed: Claimed) -> Any:
        """A body that keeps its number, which the next attempt finds."""

        def body() -> str:
            assert claimed.context.resume_data == claimed.row["checkpoint"]
            claimed.context.checkpoint(claimed.row["attempt"])
            return "done"

        return body

    @invariant()
    def what_was_kept_is_of_this_run(self) -> None:
        for row in Job.objects.filter(checkpoint__isnull=False):
            assert 1 <= row.checkpoint <= row.attempt

    # --- what must hold

    @invariant()
    def one_unfinished_job_per_key(self) -> None:
        keys = Counter(Job.objects.unfinished().exclude(key=None).values_list("key", flat=True))
        assert not keys or max(keys.values()) == 1

    @invariant()
    def never_more_in_flight_than_allowed(self) -> None:
        if hasattr(self, "limits"):
            assert Job.objects.filter(state__in=IN_FLIGHT).count() <= min(self.limits)

    @invariant()
    def one_outcome_per_attempt(self) -> None:
        attempts = {attempt.pk: attempt for attempt in Attempt.objects.all()}
        assert len(attempts) == self.claimed
        running = set(Job.objects.filter(state="running").values_list("attempt_id", flat=True))
        assert {pk for pk, attempt in attempts.items() if attempt.finished_at is None} == running
        assert all(bool(attempt.outcome) == (attempt.finished_at is not None) for attempt in attempts.values())
        closing = [name for name, edge in EDGES.items() if edge.outcome]
        ends = Counter(
            JobEvent.objects.filter(name__in=closing, from_state="running").values_list("attempt_id", flat=True)
        )
        assert set(ends) == set(attempts) - running
        assert not ends or max(ends.values()) == 1

    @invariant()
    def the_history_replays_to_the_row(self) -> None:
        for row in Job.objects.prefetch_related("events"):
            events = sorted(row.events.all(), key=lambda event: event.seq)
            assert [event.seq for event in events] == list(range(1, row.event_seq + 1))
            state = ""
            for event in events:
                assert event.from_state == state
                edge = EDGES.get(event.name)
                assert edge is None or ((state in edge.sources or not state) and event.to_state in edge.targets)
                assert edge is not None or event.to_state == state
                state = event.to_state
            assert state == row.state

    def teardown(self) -> None:
        try:
            if hasattr(self, "limits"):
                self._everything_comes_to_an_end()
        finally:
            self.all.close()

    def _everything_comes_to_an_end(self) -> None:
        for worker in self.workers:
            heartbeats.retire(worker)
        rescue.rescue(rescue.attempts_of_the_fenced(100), "its worker is dead", "steward")
        for claimed in self.claims:  # those that no worker stood for
            run_body(claimed, work.body)
        drain()
        left = set(Job.objects.unfinished().values_list("state", flat=True))
        assert left <= {"paused"}


def _job_of(message: JobMessage) -> UUID:
    """Ids of jobs are ordered by time, so what is drawn is the same in each run; the order of admission is not."""
    return message.pairs[0][0]


def _ending(end: BaseException | None) -> Any:
    def body() -> str:
        if end is not None:
            raise end
        return "done"

    return body


class _rolled_back:  # noqa: N801 - reads as a function where it is used
    """A transaction that is undone at the end."""

    def __enter__(self) -> None:
        self.block = transaction.atomic()
        self.block.__enter__()

    def __exit__(self, *_: object) -> None:
        transaction.set_rollback(True)
        self.block.__exit__(None, None, None)


@pytest.mark.django_db
def test_every_order_of_operations() -> None:
    how = settings(max_examples=25, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Lifecycle, settings=how)
