"""The one way from pending to queued: by rank, within every limit, and told to the transport."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.test import override_settings

from jobs import job, job_manager
from jobs.admission import passes, publishing
from jobs.admission.publishing import JobMessage
from jobs.admission.wakeup import own_feeder
from jobs.execution import attempt
from jobs.models import Job, Limit, Pool
from tests.app import stages
from tests.app.stages import Clock, refusing

pytestmark = pytest.mark.django_db
HOUR = 3600


@job(name="admission.nothing")
def nothing(*_: Any) -> None: ...


@job(name="admission.limited", rate="6/m")
def limited() -> None: ...


@pytest.fixture(autouse=True)
def unlimited() -> Iterator[None]:
    with override_settings(JOBS={"LOOK_AHEAD": 0}):
        yield


def _submit(count: int, **options: Any) -> list[Job]:
    return job_manager.submit_many(nothing, [([n], {}) for n in range(count)], **options)


def _states(rows: list[Job]) -> list[str]:
    return [stages.fresh(row).state for row in rows]


def test_without_a_worker_nothing_is_admitted(sent: list[JobMessage]) -> None:
    rows = _submit(2)
    assert passes.admit("default") == 0
    assert (_states(rows), sent) == (["pending"] * 2, [])


def test_a_message_is_sent_for_each_admitted_job(sent: list[JobMessage]) -> None:
    stages.start_worker()
    rows = _submit(2)
    assert passes.admit("default") == 2
    fresh = [stages.fresh(row) for row in rows]
    assert [row.state for row in fresh] == ["queued"] * 2
    assert {message.pairs[0] for message in sent} == {(row.id, row.attempt_id) for row in fresh}
    assert {(message.pool, message.task, len(message.pairs)) for message in sent} == {("default", nothing.name, 1)}
    assert all(row.queued_at and row.published_at for row in fresh)
    assert len({row.attempt_id for row in fresh}) == 2
    assert row_events(fresh[0]) == ["create", "admit"]


def row_events(row: Job) -> list[str]:
    stages.check_history(row)
    return stages.edges(row)


def test_the_best_ranked_go_first(clock: Clock, sent: list[JobMessage]) -> None:
    low, medium, high = (_submit(1, priority=word)[0] for word in ("low", "medium", "high"))
    clock.forward(1.5 * HOUR)  # a head start is time: what waits for longer than it is before what is better
    late_high = _submit(1, priority="high")[0]
    critical = _submit(1, priority="critical")[0]
    stages.start_worker(slots=1)
    passes.admit("default")
    order = []
    while sent:
        ((job_id, attempt_id),) = sent.pop().pairs
        order.append(job_id)
        assert attempt.perform(job_id, attempt_id, nothing.body, None)
    assert order == [critical.id, high.id, medium.id, late_high.id, low.id]


def test_equal_ranks_go_in_the_order_of_submission(clock: Clock) -> None:
    stages.start_worker(slots=1)
    rows = _submit(3)
    ((job_id, _),) = stages.admit()[0].pairs
    assert job_id == rows[0].id


def test_never_more_than_the_live_slots_and_the_look_ahead() -> None:
    stages.start_worker(slots=2)
    rows = _submit(5)
    with override_settings(JOBS={"LOOK_AHEAD": 1}):
        assert len(stages.admit()) == 4
        assert len(stages.admit()) == 0
    assert _states(rows) == ["queued"] * 4 + ["pending"]


def test_the_pools_maximum() -> None:
    Pool.objects.filter(name="default").update(max_concurrent=2)
    stages.start_worker()
    rows = _submit(4)
    assert len(stages.admit()) == 2
    stages.put(rows[0], "completed")
    assert len(stages.admit()) == 1
    assert _states(rows) == ["completed", "queued", "queued", "pending"]


def test_the_system_wide_maximum_counts_every_pool() -> None:
    Pool.objects.create(name="gpu")
    Limit.objects.filter(name="system").update(size=3)
    stages.start_worker(pools=["default", "gpu"])
    _submit(2, pool="gpu")
    _submit(4)
    with stages.collected():
        assert passes.admit_everywhere() == 3
    assert Job.objects.filter(state="queued").count() == 3


def test_the_setting_is_the_system_wide_maximum_where_the_row_says_nothing() -> None:
    stages.start_worker()
    _submit(4)
    with override_settings(JOBS={"MAX_CONCURRENT": 1}):
        assert len(stages.admit()) == 1


@pytest.mark.parametrize("closed", ["paused_at", "draining_at"])
def test_a_closed_pool_admits_nothing(closed: str) -> None:
    stages.start_worker()
    (row,) = _submit(1)
    Pool.objects.update(**{closed: row.created_at})
    assert stages.admit() == []


def test_only_pending_jobs_of_this_pool_are_admitted() -> None:
    Pool.objects.create(name="gpu")
    stages.start_worker(pools=["default", "gpu"])
    rows = [*_submit(1, pool="gpu"), *_submit(1, run_after=HOUR), *_submit(1, start=False)]
    assert stages.admit() == []
    assert _states(rows) == ["pending", "scheduled", "paused"]


def test_more_than_a_batch_is_admitted_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "BATCH", 2)
    stages.start_worker()
    rows = _submit(5)
    assert len(stages.admit()) == 5
    assert _states(rows) == ["queued"] * 5


def test_an_admission_is_few_statements(django_assert_max_num_queries: Any) -> None:
    """However many jobs: room twice, two savepoints, lock, look, facts of lanes that are new, move, events, mark.

    What a batch costs on a real server: integration/test_statements.py.
    """
    stages.start_worker()
    _submit(50)
    with django_assert_max_num_queries(12):
        stages.admit()


def test_with_the_broker_known_to_be_away_jobs_stay_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    breaker = publishing.Breaker()
    breaker.failed()
    monkeypatch.setattr(publishing, "breaker", breaker)
    stages.start_worker()
    rows = _submit(2)
    assert passes.admit("default") == 0
    assert _states(rows) == ["pending"] * 2


@pytest.mark.django_db(transaction=True)
def test_a_submit_admits_after_its_commit(sent: list[JobMessage]) -> None:
    stages.start_worker()
    with transaction.atomic():
        (row,) = _submit(1)
        assert sent == []
    assert [message.pairs[0][0] for message in sent] == [row.id]


@pytest.mark.django_db(transaction=True)
def test_a_process_with_a_feeder_wakes_it_instead(sent: list[JobMessage], monkeypatch: pytest.MonkeyPatch) -> None:
    wakes: list[int] = []
    monkeypatch.setattr(own_feeder, "wake", lambda: wakes.append(1))
    stages.start_worker()
    _submit(1)
    passes.after_finish("default")
    assert (len(wakes), sent) == (2, [])


@pytest.mark.django_db(transaction=True)
def test_a_database_that_refuses_the_admission_harms_neither_submit_nor_finish(
    sent: list[JobMessage], caplog: pytest.LogCaptureFixture
) -> None:
    stages.start_worker()
    with refusing("UPDATE OF state ON jobs_job WHEN NEW.state = 'queued'"):
        (row,) = _submit(1)
        passes.after_finish("default")
        with pytest.raises(DatabaseError):
            passes.admit("default")
    assert "refused by the test" in caplog.text
    assert stages.fresh(row).state == "pending"
    assert passes.admit("default") == 1


def test_a_rate_says_when_to_come_back(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    stages.start_worker()
    moment = 1000.0
    monkeypatch.setattr("jobs.admission.passes.time.monotonic", lambda: moment)
    rows = job_manager.submit_many(limited, [([], {})] * 3)
    with stages.collected():
        assert passes.admit("default") == 1
        assert passes.seconds_until_open() == pytest.approx(10, abs=0.01)
        assert passes.admit_opened() == 0
        for _ in range(2):
            moment += 10.001
            clock.forward(10.001)
            assert passes.seconds_until_open() == 0
            assert passes.admit_opened() == 1
    assert passes.seconds_until_open() is None  # no job waits any more
    assert _states(rows) == ["queued"] * 3


def test_a_rate_that_nobody_waits_for_any_more_is_forgotten(clock: Clock) -> None:
    stages.start_worker()
    rows = job_manager.submit_many(limited, [([], {})] * 2)
    with stages.collected():
        assert passes.admit("default") == 1
        assert passes.seconds_until_open() is not None
        stages.put(rows[1], "cancelled")
        assert passes.admit("default") == 0
    assert passes.seconds_until_open() is None


def test_a_rate_that_only_the_submit_names_holds_from_pass_to_pass(clock: Clock, sent: list[JobMessage]) -> None:
    stages.start_worker()
    _submit(5, rate="10/m burst 2")
    assert passes.admit("default") == 2
    assert passes.admit("default") == 0
    clock.forward(6.1)
    assert passes.admit("default") == 1


def test_a_tenant_long_unserved_goes_before_those_with_nothing_in_flight(clock: Clock, sent: list[JobMessage]) -> None:
    """Else a tenant whose jobs are long would have one of them at a time, for as long as others come."""
    stages.start_worker(slots=2)
    _tenants("long", "long")
    assert passes.admit("default") == 2
    (waiting,) = _tenants("long")
    clock.forward(HOUR + 1)
    new = _tenants("other", priority="high")  # whose head start makes it old as well
    clock.forward(1)
    stages.start_worker(slots=3)
    assert passes.admit("default") == 1
    assert _states([waiting, *new]) == ["queued", "pending"]


def _tenants(*names: str, **options: Any) -> list[Job]:
    calls = [((), {"tenant": name}) for name in names]
    return job_manager.submit_many("admission.of_tenants", calls, partition_by="tenant", **options)


def test_with_one_slot_partitions_take_turns(clock: Clock, sent: list[JobMessage]) -> None:
    worker = stages.start_worker(slots=1)
    _of("acme")
    passes.admit("default")
    order: list[str] = []
    while len(order) < 6:
        clock.forward(1)
        ((job_id, attempt_id),) = sent.pop().pairs
        order.append(Job.objects.get(pk=job_id).partition)
        if len(order) == 2:
            _of("bob")
        clock.forward(1)
        assert attempt.perform(job_id, attempt_id, nothing.body, worker)
    assert order == ["acme", "acme", "acme", "bob", "acme", "bob"]


def _of(who: str) -> None:
    job_manager.submit_many(nothing, [((), {})] * 20, partition_by="who", metadata={"who": who})


@pytest.mark.parametrize("milliseconds", range(0, 1000, 111))
def test_a_reservation_is_not_in_the_way_of_the_job_that_it_is_for(
    clock: Clock, sent: list[JobMessage], milliseconds: int
) -> None:
    clock.forward(milliseconds / 1000)
    Pool.objects.update(max_memory_mb=100)
    large = job_manager.submit(nothing, memory_mb=80, timeout=60)
    clock.forward(HOUR)
    stages.start_worker()
    small = job_manager.submit(nothing, memory_mb=30, timeout=60)
    assert passes.admit("default") == 1
    assert _states([large, small]) == ["queued", "pending"]


def test_who_finds_the_lock_busy_comes_back_later_each_time(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its holder may have been stopped in the midst of a pass, with the lock."""
    stages.start_worker()
    job_manager.submit("steward.nobody")
    monkeypatch.setattr(passes, "_lock", lambda pool, spanning: False)
    waits = []
    for _ in range(8):
        assert passes.admit("default") == 0
        waits.append(passes.seconds_until_open() or 0.0)
    assert waits[0] <= passes.BACK_IN[0] < waits[3] < waits[-1] <= passes.BACK_IN[1]
    monkeypatch.undo()
    assert passes.admit("default") == 1
    assert passes.seconds_until_open() is None
