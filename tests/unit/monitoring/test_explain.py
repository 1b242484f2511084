"""Why a job waits: each answer is held against what admission does then, and again once the cause is gone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import override_settings

from jobs import job, job_manager
from jobs.admission import limits, passes, publishing, queries
from jobs.admission.limits import lookahead
from jobs.admission.limits.ordering import MOST_RESERVATIONS
from jobs.admission.publishing import Breaker
from jobs.exceptions import JobNotFound
from jobs.execution import heartbeats
from jobs.execution.context import JobSnoozed
from jobs.models import Job, Limit, Pool, Worker, transitions
from jobs.monitoring import explain
from jobs.monitoring.explain import Holder, Reason, Why, holders
from tests.app import stages
from tests.app.stages import Clock

pytestmark = pytest.mark.django_db


@job(name="explain.plain")
def plain() -> None: ...


@job(name="explain.one", max_concurrent=1)
def one_at_a_time() -> None: ...


@job(name="explain.each", max_concurrent=1, partition_by="customer")
def one_each(customer: str) -> None: ...


@job(name="explain.slow", rate="1/m")
def slow() -> None: ...


@job(name="explain.file", partition_by="path", access="shared")
def read(path: str) -> None: ...


@job(name="explain.twice", max_retries=3, retry_delay=5)
def twice() -> None: ...


@pytest.fixture(autouse=True)
def _calm(clock: Clock) -> Iterator[None]:
    """No look-ahead, workers that stay alive however far the clock goes."""
    with override_settings(JOBS=CALM):
        yield


CALM = {"LOOK_AHEAD": 0, "STALE_AFTER": 10**9, "RESERVE_AFTER": 60, "RETRY": {"jitter": False}}


def why(row: Job) -> Why:
    return job_manager.why(row.id)


def kinds(said: Why) -> list[str]:
    return [reason.kind for reason in said.blockers]


def remark(said: Why, kind: str) -> Reason:
    return next(reason for reason in said.reasons if reason.kind == kind and not reason.blocks)


def away() -> Breaker:
    breaker = Breaker()
    breaker.failed()
    return breaker


# --- one blocker after the other, against admission -------------------------------------------------------------------


@dataclass
class Case:
    """A job that one thing keeps, what must be said of it, and how that thing is taken away."""

    row: Job
    kind: str
    sentence: str
    cure: Callable[[], object]
    holders: tuple[Job, ...] = ()
    look_ahead: int = 0


def _stop(row: Job) -> Callable[[], object]:
    return lambda: job_manager.cancel_job(row.id)


def _paused(_: Clock) -> Case:
    stages.start_worker()
    job_manager.pause_pool("default", "a new disk", actor="ada")
    row = job_manager.submit(plain)
    said = "Pool “default” was paused by ada just now: a new disk."
    return Case(row, "pool_paused", said, lambda: job_manager.resume_pool("default"))


def _draining(clock: Clock) -> Case:
    stages.start_worker()
    job_manager.drain_pool("default", "moving house.", actor="ada")
    row = job_manager.submit(plain)
    clock.forward(600)
    said = "Pool “default” was set to drain by ada 10 min ago: moving house."
    return Case(row, "pool_draining", said, lambda: job_manager.resume_pool("default"))


def _no_worker(_: Clock) -> Case:
    row = job_manager.submit(plain)
    return Case(row, "no_worker", "No worker serves pool “default” just now.", stages.start_worker)


def _no_slot(_: Clock) -> Case:
    stages.start_worker(slots=1)
    busy, row = job_manager.submit(plain), job_manager.submit(plain)
    stages.queue(busy)
    said = "The one slot of pool “default” is taken: 1 job in flight."
    return Case(row, "no_slot", said, _stop(busy), (busy,))


def _no_slot_ahead(_: Clock) -> Case:
    stages.start_worker(slots=1)
    busy, row = job_manager.submit(plain), job_manager.submit(slow)
    stages.queue(busy)
    said = (
        "The one slot of pool “default” is taken: 1 job in flight, and it is under a rate, "
        "so no job is admitted before a slot is free."
    )
    return Case(row, "no_slot", said, _stop(busy), (busy,), look_ahead=1)


def _no_slot_behind(clock: Clock) -> Case:
    stages.start_worker(slots=1)
    busy, paced = job_manager.submit(plain), job_manager.submit(slow)
    clock.forward(1)
    row = job_manager.submit(plain)
    stages.queue(busy)
    said = (
        "The one slot of pool “default” is taken: 1 job in flight, and a job ahead of it is under a rate, "
        "so no job is admitted before a slot is free."
    )
    return Case(row, "no_slot", said, _stop(paced), (busy,), look_ahead=1)


def _pool_limit(_: Clock) -> Case:
    stages.start_worker()
    Pool.objects.update(max_concurrent=2)
    first, second, row = job_manager.submit_many(plain, [([], {})] * 3)
    stages.queue(first)
    stages.claim(second)
    said = "Pool “default” may have 2 jobs in flight at once, and 2 are."
    return Case(row, "pool_limit", said, _stop(first), (first, second))


def _system(_: Clock) -> Case:
    stages.start_worker()
    Pool.objects.create(name="gpu")
    Limit.objects.filter(name="system").update(size=1)
    elsewhere, row = job_manager.submit(plain, pool="gpu"), job_manager.submit(plain)
    stages.queue(elsewhere)
    said = "All pools together may have 1 job in flight at once, and 1 is."
    return Case(row, "limit", said, _stop(elsewhere), (elsewhere,))


def _task_limit(_: Clock) -> Case:
    stages.start_worker()
    first, row = job_manager.submit_many(one_at_a_time, [([], {})] * 2)
    job_manager.submit(plain)
    stages.queue(first)
    said = "Limit “explain.one” allows 1 job in flight at once, and 1 is."
    return Case(row, "limit", said, _stop(first), (first,))


def _partition_limit(_: Clock) -> Case:
    stages.start_worker()
    first, other, row = (job_manager.submit(one_each, [name]) for name in ("acme", "else", "acme"))
    stages.queue(first)
    stages.queue(other)
    said = "Limit “explain.each” allows 1 job in flight at once in partition “acme”, and 1 is."
    return Case(row, "limit", said, _stop(first), (first,))


def _special_partition(_: Clock) -> Case:
    """A row for this very partition stands in place of the general one."""
    stages.start_worker()
    first, row = (job_manager.submit(one_each, ["acme"]) for _ in range(2))
    Limit.objects.create(
        name="big", task="explain.each", pool="default", partition_by="customer", partition="acme", size=0
    )
    job_manager.cancel_job(first.id)
    said = "Limit “big” allows no job in flight in partition “acme”."
    return Case(row, "limit", said, Limit.objects.filter(name="big").delete)


def _own_limit(_: Clock) -> Case:
    stages.start_worker()
    first, row = job_manager.submit(plain), job_manager.submit(plain, max_concurrent=1)
    stages.queue(first)
    said = "Its own limit allows 1 job in flight at once of task “explain.plain”, and 1 is."
    return Case(row, "own_limit", said, _stop(first), (first,))


def _writer_waits(_: Clock) -> Case:
    stages.start_worker()
    first, second = (job_manager.submit(read, ["a"]) for _ in range(2))
    row = job_manager.submit("explain.write", metadata={"path": "a"}, partition_by="path", access="exclusive")
    stages.queue(first)
    job_manager.cancel_job(second.id)
    said = "It needs partition “a” for itself, and 1 job of it is in flight."
    return Case(row, "access", said, _stop(first), (first,))


def _reader_waits(_: Clock) -> Case:
    stages.start_worker()
    writer = job_manager.submit("explain.write", metadata={"path": "a"}, partition_by="path", access="exclusive")
    row = job_manager.submit(read, ["a"])
    stages.queue(writer)
    return Case(row, "access", "A job that needs partition “a” for itself is in flight.", _stop(writer), (writer,))


def _reader_behind_a_writer(clock: Clock) -> Case:
    stages.start_worker()
    reader = job_manager.submit(read, ["a"])
    stages.queue(reader)
    clock.forward(1)
    writer = job_manager.submit("explain.write", metadata={"path": "a"}, partition_by="path", access="exclusive")
    clock.forward(1)
    row = job_manager.submit(read, ["a"])
    said = "Jobs ahead of it wait for partition “a”: readers do not overtake writers, nor writers readers."
    return Case(row, "access", said, _stop(writer), (writer,))


def _memory(_: Clock) -> Case:
    stages.start_worker()
    first, row = (job_manager.submit(plain, memory_mb=size) for size in (6000, 4000))
    stages.queue(first)
    Pool.objects.update(max_memory_mb=8000)
    said = "It needs 4,000 MB of memory: 6,000 of 8,000 are taken, so its pool is 2,000 short of memory."
    return Case(row, "budget", said, _stop(first), (first,))


def _resource(_: Clock) -> Case:
    stages.start_worker()
    Pool.objects.update(resources={"gpu": 1.5})
    first, row = (job_manager.submit(plain, resources={"gpu": 1}) for _ in range(2))
    stages.queue(first)
    said = "It needs 1 of “gpu”: 1 of 1.5 are taken, so its pool is 0.5 short of “gpu”."
    return Case(row, "budget", said, _stop(first), (first,))


def _impossible(_: Clock) -> Case:
    stages.start_worker()
    row = job_manager.submit(plain, cpu_weight=4)
    Pool.objects.update(max_cpu_weight=2)
    said = "It needs 4 of CPU weight, and its pool has 2 in all: it can never start."
    return Case(row, "impossible", said, lambda: Pool.objects.update(max_cpu_weight=4))


def _reserved(clock: Clock) -> Case:
    stages.start_worker()
    Pool.objects.update(max_memory_mb=8)
    running, large = job_manager.submit(plain, memory_mb=4, timeout=300), job_manager.submit(plain, memory_mb=6)
    stages.claim(running)
    clock.forward(120)
    row = job_manager.submit(plain, memory_mb=3)
    said = "It would fit, but the room is kept for a larger job, which should start in 3 min."
    return Case(row, "reserved", said, _stop(large), (large,))


def _rate(clock: Clock) -> Case:
    stages.start_worker()
    first = job_manager.submit(slow)
    assert stages.admit()
    assert stages.fresh(first).state == "queued"
    row = job_manager.submit(slow)
    said = "Rate “explain.slow rate” limits starts: the next one may come in 1 min."
    return Case(row, "rate", said, lambda: clock.forward(61))


def _rate_of_none(_: Clock) -> Case:
    stages.start_worker()
    row = job_manager.submit(slow)
    rows = Limit.objects.filter(name="explain.slow rate")
    rows.update(size=0)
    return Case(row, "rate", "Rate “explain.slow rate” allows no start.", lambda: rows.update(size=1))


CASES = [
    _paused,
    _draining,
    _no_worker,
    _no_slot,
    _no_slot_ahead,
    _no_slot_behind,
    _pool_limit,
    _system,
    _task_limit,
    _partition_limit,
    _special_partition,
    _own_limit,
    _writer_waits,
    _reader_waits,
    _reader_behind_a_writer,
    _memory,
    _resource,
    _impossible,
    _reserved,
    _rate,
    _rate_of_none,
]


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__.strip("_"))
def test_what_keeps_a_job(make: Callable[[Clock], Case], clock: Clock) -> None:
    case = make(clock)
    with override_settings(JOBS={**CALM, "LOOK_AHEAD": case.look_ahead}):
        _check(case)


def _check(case: Case) -> None:
    said = why(case.row)
    assert kinds(said) == [case.kind]
    assert said.sentence == said.blockers[0].sentence == case.sentence
    assert {holder.id for holder in said.blockers[0].holders} == {row.id for row in case.holders}
    assert not said.is_next
    stages.admit()
    assert stages.fresh(case.row).state == "pending"

    case.cure()
    said = why(case.row)
    assert kinds(said) == []
    assert said.is_next
    assert said.sentence == "It can run: the next admission takes it."
    stages.admit()
    assert stages.fresh(case.row).state == "queued"


def test_the_broker_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    stages.start_worker()
    row = job_manager.submit(plain)
    with monkeypatch.context() as patched:
        patched.setattr(publishing, "breaker", away())
        assert kinds(why(row)) == ["broker_away"]
        assert passes.admit("default") == 0
    assert why(row).is_next


def test_the_system_limit_has_no_row() -> None:
    stages.start_worker()
    row = job_manager.submit(plain)
    Limit.objects.filter(name="system").delete()
    assert why(row).is_next
    with override_settings(JOBS={"MAX_CONCURRENT": 5}):
        assert kinds(why(row)) == ["no_system_limit"]
        with pytest.raises(LookupError, match=r"manage\.py migrate"):
            stages.admit()


def test_the_pool_is_gone() -> None:
    row = job_manager.submit(plain)
    Pool.objects.all().delete()
    assert kinds(why(row)) == ["no_pool"]
    assert stages.admit() == []


def test_nobody_is_asked_twice_who_closed_the_pool() -> None:
    stages.start_worker()
    job_manager.pause_pool("default")
    said = why(job_manager.submit(plain))
    assert said.sentence == "Pool “default” was paused just now."
    assert said.blockers[0].person == said.blockers[0].text == ""


@pytest.mark.parametrize("acts", [("pause_pool", "drain_pool"), ("drain_pool", "pause_pool")])
def test_who_closed_a_pool_first_and_why_stays(acts: tuple[str, str], clock: Clock) -> None:
    stages.start_worker()
    row = job_manager.submit(plain)
    for act, reason, person in zip(acts, ("new disk", "moving house"), ("ada", "bob"), strict=True):
        getattr(job_manager, act)("default", reason, actor=person)
        clock.forward(60)
    assert Pool.objects.values_list("paused_by", "pause_reason").get(name="default") == ("ada", "new disk")
    said = {(reason.person, reason.text, reason.since) for reason in why(row).blockers}
    assert said == {("ada", "new disk", clock.moment - timedelta(0, 120)), ("", "", clock.moment - timedelta(0, 60))}


def test_all_that_is_in_the_way_is_told() -> None:
    Pool.objects.update(max_memory_mb=8, max_concurrent=1)
    first, row = (job_manager.submit(one_at_a_time, memory_mb=6) for _ in range(2))
    stages.claim(first)
    job_manager.pause_pool("default", actor="ada")
    assert kinds(why(row)) == ["pool_paused", "no_worker", "pool_limit", "limit", "budget"]


def test_several_things_in_one_sentence() -> None:
    row = job_manager.submit(plain)
    Pool.objects.update(max_concurrent=0)
    assert why(row).sentence == ("No worker serves pool “default” just now; and one more thing is in the way.")
    Limit.objects.filter(name="system").update(size=0)
    assert why(row).sentence == "No worker serves pool “default” just now; and 2 more things are in the way."


# --- data -------------------------------------------------------------------------------------------------------------


def test_a_budget_in_numbers() -> None:
    stages.start_worker()
    first, row = (job_manager.submit(plain, memory_mb=size) for size in (6, 4))
    stages.queue(first)
    Pool.objects.update(max_memory_mb=8)
    (reason,) = why(row).blockers
    assert (reason.limit, reason.size, reason.used, reason.need, reason.short_by) == ("memory_mb", 8, 6, 4, 2)
    assert reason.pool == "default"


def test_a_rate_says_until_when(clock: Clock) -> None:
    stages.start_worker()
    job_manager.submit(slow)
    stages.admit()
    (reason,) = why(job_manager.submit(slow)).blockers
    assert reason.until is not None
    assert abs((reason.until - clock.moment).total_seconds() - 60) < 0.001


@pytest.mark.parametrize(
    ("look_ahead", "taken", "said"),
    [
        (1, 4, ", as many as LOOK_AHEAD admits; of jobs that take milliseconds its workers admit up to 22."),
        (1, 22, ", as many as LOOK_AHEAD admits."),
        (0, 2, "."),
    ],
)
def test_workers_may_let_in_more_than_another_process_knows(look_ahead: int, taken: int, said: str) -> None:
    stages.start_worker(slots=2)
    rows = job_manager.submit_many(plain, [([], {})] * (taken + 1))
    for row in rows[:taken]:
        stages.queue(row)
    with override_settings(JOBS={"LOOK_AHEAD": look_ahead, "STALE_AFTER": 10**9}):
        (reason,) = why(rows[taken]).blockers
        assert reason.sentence == f"All 2 slots of pool “default” are taken: {taken} jobs in flight{said}"
        with lookahead.watched():
            (reason,) = why(rows[taken]).blockers
            assert "milliseconds" not in reason.sentence  # a feeder knows


def test_few_holders_are_named_and_the_others_counted() -> None:
    stages.start_worker()
    rows = job_manager.submit_many(plain, [([], {})] * 14)
    named = job_manager.run_job("its key", one_at_a_time).job
    for row in (*rows[:13], named):
        stages.queue(row)
    Pool.objects.update(max_concurrent=14)
    (reason,) = why(rows[13]).blockers
    assert (len(reason.holders), reason.more_holders) == (holders.MOST, 4)
    assert reason.holders[0] == Holder(rows[0].id, "explain.plain", None, "queued")
    Pool.objects.update(max_concurrent=None)
    Limit.objects.filter(name="explain.one").update(size=1)
    (reason,) = why(job_manager.submit(one_at_a_time)).blockers
    assert reason.holders == (Holder(named.id, "explain.one", "its key", "queued"),)
    assert reason.more_holders == 0


def test_the_command_that_starts_a_worker() -> None:
    (reason,) = why(job_manager.submit(plain)).blockers
    assert reason.command == "celery -A jobcenter worker -Q default -c 4"


def test_plain_data_is_json_and_leaves_out_what_says_nothing(clock: Clock) -> None:
    stages.start_worker()
    job_manager.submit(slow)
    stages.admit()
    row = job_manager.submit(slow)
    data = json.loads(json.dumps(why(row).as_dict()))
    (reason,) = data["reasons"]
    until = (clock.moment + timedelta(seconds=60)).isoformat()
    assert data["job_id"] == str(row.id)
    assert (data["state"], data["position"], data["is_next"]) == ("pending", {"number": 0, "more": False}, False)
    assert set(reason) == {"kind", "sentence", "blocks", "pool", "limit", "until"}
    assert reason["until"][:19] == until[:19]


def test_plain_data_names_the_holders() -> None:
    stages.start_worker(slots=1)
    busy, row = job_manager.submit(plain), job_manager.submit(plain)
    stages.queue(busy)
    (reason,) = json.loads(json.dumps(why(row).as_dict()))["reasons"]
    assert reason["holders"] == [{"id": str(busy.id), "task": "explain.plain", "key": None, "state": "queued"}]
    assert (reason["size"], reason["used"]) == (1, 1)


def test_as_text(clock: Clock) -> None:
    stages.start_worker()
    Pool.objects.update(max_concurrent=12)
    rows = job_manager.submit_many(plain, [([], {})] * 12)
    for each in rows:
        stages.queue(each)
    row = job_manager.submit(slow)
    job_manager.submit(slow)
    lines = str(why(row)).splitlines()
    said = "Pool “default” may have 12 jobs in flight at once, and 12 are."
    assert lines[:2] == [f"{row.id} is pending.", f"- {said}"]
    assert lines[2] == f"    held by {rows[0].id}  explain.plain  queued"
    assert lines[-1] == "    and 2 more"


def test_whoever_may_not_see_a_holder_learns_how_many_there_are() -> None:
    seen, hidden = uuid4(), uuid4()
    held = tuple(Holder(pk, "t", None, "running") for pk in (seen, hidden))
    said = Why(uuid4(), "pending", (Reason("limit", "Full.", holders=held, more_holders=3),))
    (reason,) = said.seen_by({seen}).reasons
    assert (reason.holders, reason.more_holders) == (held[:1], 4)
    assert said.holder_ids == {seen, hidden}
    assert str(hidden) not in str(said.seen_by(set()))
    assert "held by 5 more" in str(said.seen_by(set()))


def test_it_is_few_statements(django_assert_max_num_queries: Any) -> None:
    stages.start_worker(slots=1)
    busy, row = job_manager.submit(plain), job_manager.submit(plain)
    why(row)  # this process meets the lane
    with django_assert_max_num_queries(3):  # job, look, position
        why(row)
    stages.queue(busy)
    with django_assert_max_num_queries(4):  # and who holds
        why(row)
    job_manager.pause_pool("default")
    with django_assert_max_num_queries(5):  # and who closed
        why(row)


def test_a_job_that_is_not_there() -> None:
    with pytest.raises(JobNotFound):
        explain.why(uuid4())


# --- turns ------------------------------------------------------------------------------------------------------------


def test_the_place_in_the_lane(clock: Clock) -> None:
    stages.start_worker(slots=2)
    rows = []
    for _ in range(4):
        rows.append(job_manager.submit(plain))
        clock.forward(1)
    said = [why(row) for row in rows]
    assert [str(one.position) for one in said] == ["0", "1", "2", "3"]
    assert [one.is_next for one in said] == [True, True, False, False]
    assert said[3].sentence == (
        "It can run and waits for its turn: 3 jobs of its kind are ahead of it, and there is room for 2 jobs."
    )
    stages.admit()
    assert [stages.fresh(row).state for row in rows] == ["queued", "queued", "pending", "pending"]


def test_other_lanes_come_first(clock: Clock) -> None:
    stages.start_worker(slots=1)
    job_manager.submit(one_at_a_time)
    job_manager.submit(slow)
    clock.forward(1)
    row = job_manager.submit(plain)
    said = why(row)
    assert (said.lanes_before, said.is_next, kinds(said)) == (2, False, [])
    assert "2 other kinds of jobs are ahead of it" in said.sentence
    job_manager.set_priority(row.id, "high")
    said = why(row)
    assert (said.lanes_before, said.is_next) == (0, True)


def test_one_behind_another_of_its_lane_is_told_the_lanes_situation_and_its_place() -> None:
    stages.start_worker()
    rows = job_manager.submit_many(one_at_a_time, [([], {})] * 3)
    stages.queue(rows[0])
    said = why(rows[2])
    assert kinds(said) == ["limit"]
    assert remark(said, "turn").sentence == "1 job of its kind is ahead of it."
    assert said.lanes_before is None
    job_manager.cancel_job(rows[0].id)
    said = why(rows[2])
    assert (kinds(said), said.is_next) == ([], False)  # the one in front will take the room
    assert why(rows[1]).is_next


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A look that sees two lanes."""
    queries._snapshot_sql.cache_clear()
    for module in (queries, sys.modules["jobs.admission.limits.snapshot"]):
        monkeypatch.setattr(module, "MOST_LANES", 2)
    yield
    queries._snapshot_sql.cache_clear()  # nothing looks before the number is what it was


def test_a_crowded_pool(narrow: None) -> None:
    """With more lanes than one look sees the job's own may be missing: it is put among them."""
    stages.start_worker()
    rows = [job_manager.submit(one_each, [str(number)]) for number in range(5)]
    held = [job_manager.submit(one_each, [str(number)]) for number in range(5)]
    for row in rows:
        stages.queue(row)
    for row in held:
        said = why(row)
        assert kinds(said) == ["limit"]
        assert remark(said, "crowded").sentence.startswith("More kinds of jobs wait in this pool")
    job_manager.cancel_job(rows[3].id)
    assert kinds(why(held[3])) == []


# --- large jobs -------------------------------------------------------------------------------------------------------


def _large(timeout: float | None) -> Job:
    """A job that waits for memory which another one has."""
    stages.start_worker()
    stages.claim(job_manager.submit(plain, memory_mb=4, timeout=timeout))
    Pool.objects.update(max_memory_mb=8)
    return job_manager.submit(plain, memory_mb=6)


def test_room_will_be_kept(clock: Clock) -> None:
    row = _large(timeout=300)
    told = remark(why(row), "no_reservation")
    assert (told.sentence, told.until) == (
        "If it still waits in 1 min, room is kept for it.",
        clock.moment + timedelta(0, 60),
    )


def test_room_is_kept(clock: Clock) -> None:
    row = _large(timeout=300)
    start = clock.moment + timedelta(seconds=300 + 10)  # and the grace
    clock.forward(120)
    told = remark(why(row), "reservation")
    assert told.sentence == "Room is kept for it: it should start in 3 min."
    assert told.until is not None
    assert abs((told.until - start).total_seconds()) < 0.001
    second = job_manager.submit(plain, memory_mb=6)
    assert (
        remark(why(second), "reservation").sentence
        == "Room is kept for the first job of its kind: it should start in 3 min."
    )


def test_no_room_can_be_kept_while_nobody_knows_when_others_end(clock: Clock) -> None:
    row = _large(timeout=None)
    clock.forward(120)
    said = "No room can be kept for it: 1 job that takes what it needs has no time-out."
    assert remark(why(row), "no_reservation").sentence == said


def test_no_room_is_kept_while_something_else_is_in_the_way(clock: Clock) -> None:
    row = _large(timeout=300)
    job_manager.set_priority(row.id, "high")
    Limit.objects.filter(name="system").update(size=1)
    clock.forward(120)
    assert kinds(why(row)) == ["limit", "budget"]
    assert "something else than a budget blocks it, too" in remark(why(row), "no_reservation").sentence


def test_no_room_is_kept_behind_one_that_may_never_end(clock: Clock) -> None:
    row = _large(timeout=300)
    clock.forward(1)
    second = job_manager.submit(plain, memory_mb=7)
    clock.forward(120)
    assert _has_room_kept(row)
    said = "No room can be kept for it: a job ahead of it, for which room is kept, has no time-out."
    assert remark(why(second), "no_reservation").sentence == said


def test_room_is_kept_for_so_many_only(clock: Clock) -> None:
    stages.start_worker()
    stages.claim(job_manager.submit(plain, memory_mb=100, timeout=300))
    Pool.objects.update(max_memory_mb=100)
    rows = [job_manager.submit(plain, memory_mb=number, timeout=10) for number in range(1, MOST_RESERVATIONS + 2)]
    clock.forward(120)
    told = [remark(why(row), "no_reservation") for row in rows if not _has_room_kept(row)]
    assert [one.sentence for one in told] == ["No room can be kept for it: room is kept for 20 other jobs already."]


def _has_room_kept(row: Job) -> bool:
    return any(reason.kind == "reservation" for reason in why(row).reasons)


def test_nothing_is_planned_for_a_job_that_can_never_start(clock: Clock) -> None:
    row = _large(timeout=300)
    Pool.objects.update(max_memory_mb=5)
    clock.forward(120)
    assert [reason.kind for reason in why(row).reasons] == ["impossible"]


# --- other states -----------------------------------------------------------------------------------------------------


def test_submitted_to_run_later(clock: Clock) -> None:
    row = job_manager.submit(plain, run_after=300)
    said = why(row)
    assert (kinds(said), said.sentence) == (["delay"], "It was submitted to run later: in 5 min.")
    assert said.blockers[0].until == clock.moment + timedelta(seconds=300)
    clock.forward(301)
    assert (kinds(why(row)), why(row).reasons[0].kind) == ([], "due")


def test_a_retry_waits_for_its_turn(clock: Clock) -> None:
    row = job_manager.submit(twice)

    def fail() -> None:
        raise TimeoutError("no answer")

    stages.perform(row, fail)
    said = why(row)
    assert (said.state, kinds(said)) == ("scheduled", ["retry"])
    assert said.sentence == "The last attempt failed (TimeoutError: no answer): attempt 2 of 4 comes in 5 s."
    assert said.blockers[0].until == clock.moment + timedelta(seconds=5)


def test_a_job_puts_itself_off() -> None:
    row = job_manager.submit(plain)

    def sleepy() -> None:
        raise JobSnoozed(30)

    stages.perform(row, sleepy)
    assert (kinds(why(row)), why(row).sentence) == (
        ["snooze"],
        "Snoozed by its own code: it runs again in 30 s. This uses no retry.",
    )


def test_not_started(clock: Clock) -> None:
    row = job_manager.submit(plain, start=False)
    clock.forward(60)
    said = why(row)
    assert kinds(said) == ["not_started"]
    assert said.sentence.startswith("It was submitted 1 min ago with start=False, and was not started")
    stages.start_worker()
    job_manager.start_job(row.id)
    assert why(row).is_next


def test_paused_by_somebody(clock: Clock) -> None:
    row = job_manager.submit(plain)
    transitions.move("pause", "id = %s", [stages.key(row)], sets={"reason": "not today"}, actor="ada")
    clock.forward(60)
    said = why(row)
    assert said.sentence == "It was paused by ada 1 min ago: not today."
    assert (said.blockers[0].person, said.blockers[0].text) == ("ada", "not today")
    assert said.blockers[0].since == clock.moment - timedelta(seconds=60)


def test_blocked() -> None:
    said = why(stages.put(job_manager.submit(plain), "blocked"))
    assert (kinds(said), said.sentence) == (["dependencies"], "It waits for other jobs to end.")


def test_queued_and_sent(clock: Clock) -> None:
    stages.start_worker()
    row = job_manager.submit(plain)
    stages.admit()
    clock.forward(5)
    said = why(row)
    assert kinds(said) == ["sent"]
    assert said.sentence == "Its message was sent 5 s ago: it waits for a free process of a worker."


def test_queued_and_nobody_there() -> None:
    worker = stages.start_worker()
    row = job_manager.submit(plain)
    stages.admit()
    heartbeats.retire(worker)
    said = why(row)
    assert kinds(said) == ["no_worker"]
    assert said.blockers[0].command == "celery -A jobcenter worker -Q default -c 4"


def test_queued_and_not_sent(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    stages.start_worker()
    row = job_manager.submit(plain)
    stages.queue(row)
    assert kinds(why(row)) == ["unsent"]
    monkeypatch.setattr(publishing, "breaker", away())
    assert kinds(why(row)) == ["broker_away"]


def test_queued_and_not_answered() -> None:
    stages.start_worker()
    row = job_manager.submit(plain)
    for times in ("once", "2 times"):
        stages.queue(row)
        transitions.move("release", "id = %s", [stages.key(row)])
        stages.queue(row)
        assert times in remark(why(row), "unanswered").sentence
        Job.objects.filter(pk=row.pk).update(state="pending")


def test_queued_and_not_known(clock: Clock) -> None:
    stages.start_worker()
    row = job_manager.submit(plain)
    stages.queue(row)
    Job.objects.filter(pk=row.pk).update(unknown_since=clock.moment)
    clock.forward(60)
    reason = next(reason for reason in why(row).blockers if reason.kind == "unknown_task")
    assert reason.sentence == (
        "A worker reported 1 min ago that it does not know task “explain.plain”: unless another worker knows it, "
        "the job fails in 9 min."
    )


def test_running(clock: Clock) -> None:
    worker = stages.start_worker()
    row = job_manager.submit(plain)
    stages.claim(row, worker)
    clock.forward(90)
    said = why(row)
    assert kinds(said) == []
    assert said.reasons[0].kind == "runs"
    assert "since 1 min 30 s" in said.sentence
    job_manager.cancel_job(row.id, reason="enough", actor="ada")
    clock.forward(10)
    said = why(row)
    assert kinds(said) == ["cancel_requested"]
    assert said.sentence == (
        "It was asked to stop by ada 10 s ago: enough, and has not stopped yet: its worker cannot stop the code from "
        "outside. It stops at its next `check()`, or ends by itself."
    )


def test_running_where_it_can_be_stopped(clock: Clock) -> None:
    worker = stages.start_worker()
    Worker.objects.filter(pk=worker).update(can_stop=True)
    row = job_manager.submit(plain, grace=30)
    stages.claim(row, worker)
    job_manager.cancel_job(row.id)
    assert why(row).sentence.endswith("not stopped yet: its worker stops its process in 30 s.")
    clock.forward(31)
    assert why(row).sentence.endswith("not stopped yet: its worker stops it now.")
    job_manager.cancel_job(row.id, force=True)
    assert why(row).sentence.endswith("not stopped yet: its worker stops its process now.")


def test_running_on_a_worker_that_is_silent(clock: Clock) -> None:
    worker = stages.start_worker()
    row = job_manager.submit(plain)
    stages.claim(row, worker)
    with override_settings(JOBS={"STALE_AFTER": 20}):
        clock.forward(19)
        assert [reason.kind for reason in why(row).reasons] == ["runs"]
        clock.forward(11)
        told = remark(why(row), "worker_silent")
    assert told.sentence.startswith("The last heartbeat of its worker came 30 s ago")
    assert told.since == Worker.objects.get().beat_at


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
def test_an_end_says_so(state: str) -> None:
    row = stages.put(job_manager.submit(plain), state, reason="enough", error_message="no such scene")
    said = why(row)
    told = "no such scene" if state == "failed" else "enough"
    assert (said.blockers, said.sentence) == ((), f"It has ended: {state} just now: {told}.")


def test_long_names_and_line_breaks_are_clipped() -> None:
    job_manager.pause_pool("default", "one\ntwo " + "x" * 400, actor="a" * 150)
    said = why(job_manager.submit(plain))
    assert "one two xxx" in said.sentence
    assert len(said.sentence) < 500


def test_the_preview_sees_other_pools_where_a_limit_spans_them_as_admission_does() -> None:
    Pool.objects.create(name="gpu")
    job_manager.submit(plain)
    stages.queue(job_manager.submit(plain, pool="gpu"))
    seen = limits.preview("default")
    assert seen is not None
    assert (len(seen.in_flight), seen.sees_everywhere) == (0, False)
    Limit.objects.filter(name="system").update(size=5)
    seen = limits.preview("default")
    assert seen is not None
    assert (len(seen.in_flight), seen.sees_everywhere) == (1, True)
    assert limits.preview("nowhere") is None


def test_a_job_as_the_first_of_its_lane_is_what_the_look_makes_of_it() -> None:
    Pool.objects.update(resources={"gpu": 2})
    row = job_manager.submit(one_each, ["acme"], memory_mb=5, resources={"gpu": 1}, timeout=3.5, rate="1/m")
    seen = limits.take_snapshot("default")
    assert seen is not None
    (head,) = seen.heads
    mine = limits.head_of(row)
    assert head._replace(lane="", rank=0, eligible_at=0) == mine._replace(lane="", rank=0, eligible_at=0)
    assert mine.rank == pytest.approx(head.rank)
    assert mine.eligible_at == pytest.approx(head.eligible_at)


def test_a_lane_that_is_not_there_stands_nowhere() -> None:
    job_manager.submit(plain)
    seen = limits.take_snapshot("default")
    assert seen is not None
    with pytest.raises(LookupError):
        limits.position_of(seen, "nowhere")
