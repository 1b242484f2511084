"""The order of lanes, decided from a snapshot made by hand: no database, no clock."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from django.test import override_settings

from jobs.admission import limits
from jobs.admission.limits.blockers import RESERVED
from jobs.admission.limits.lanes import Facts
from jobs.admission.limits.rules import Rule, Rules
from jobs.admission.limits.snapshot import InFlight, LaneHead, PoolFacts, Snapshot
from jobs.admission.limits.tally import Tally
from jobs.admission.queries import Candidate

NOW = 1_000_000.0
GB = {"memory_mb": 100.0}
PER_CUSTOMER = ("render", "", "render", "customer", "", "concurrency", 2.0, 1.0, 1, 1.0)


def _head(name: str, rank: float = NOW, *, critical: bool = False, waited: float = 0, **facts: Any) -> LaneHead:
    return LaneHead(name, rank, NOW - waited, critical, Facts("render", **facts))


def _in_flight(number: int = 1, *, newest: float = NOW, ends: tuple[float, ...] = (), **facts: Any) -> InFlight:
    return InFlight("default", Facts("render", **facts), number, newest, ends)


def _snapshot(
    *heads: LaneHead,
    in_flight: tuple[InFlight, ...] = (),
    rules: Any = (),
    budgets: Any = None,
    slots: int = 100,
    last_served: Any = None,
) -> Snapshot:
    pool = PoolFacts("default", False, False, None, budgets or {})
    return Snapshot(NOW, pool, slots, 0, Rules(rules, None), {}, last_served or {}, in_flight, heads, False)


def _order(snapshot: Snapshot) -> list[str]:
    return [head.lane for head in limits.plan(snapshot, 200).lanes]


def _of(customer: str, **more: Any) -> dict[str, Any]:
    return {"partition_by": "customer", "partition": customer, **more}


def test_without_partitions_the_rank_decides() -> None:
    assert _order(_snapshot(_head("b", 2), _head("a", 1), _head("c", 3))) == ["a", "b", "c"]


def test_who_has_less_in_flight_comes_before_who_waits_for_longer() -> None:
    snapshot = _snapshot(
        _head("busy", 1, **_of("acme")),
        _head("idle", 2, **_of("bob")),
        _head("nobody's", 3),
        in_flight=(_in_flight(2, **_of("acme")), _in_flight(1)),
    )
    assert _order(snapshot) == ["idle", "nobody's", "busy"]


def test_turns_are_taken_where_nobody_has_anything_in_flight() -> None:
    """One slot: at the moment of choosing all shares are 0, and a backlog is always of the better rank."""
    heads = _head("backlog", NOW - 99, **_of("acme")), _head("newcomer", NOW - 50, **_of("bob"))
    before, after = ({("customer", "acme"): NOW - ago} for ago in (51, 49))
    assert _order(_snapshot(*heads)) == ["backlog", "newcomer"]
    assert _order(_snapshot(*heads, last_served=before)) == ["backlog", "newcomer"]  # who comes waits for one turn
    assert _order(_snapshot(*heads, last_served=after)) == ["newcomer", "backlog"]
    urgent = _head("urgent", NOW - 52, **_of("bob"))
    assert _order(_snapshot(heads[0], urgent, last_served=before)) == ["urgent", "backlog"]


def test_a_weight_of_two_is_twice_the_share() -> None:
    vip = ("vip", "", "render", "customer", "acme", "concurrency", None, 1.0, 1, 2.0)
    in_flight = (_in_flight(3, **_of("acme")), _in_flight(2, **_of("bob")))
    snapshot = _snapshot(
        _head("acme", 2, **_of("acme")), _head("bob", 1, **_of("bob")), in_flight=in_flight, rules=[vip]
    )
    assert _order(snapshot) == ["acme", "bob"]


@pytest.mark.parametrize(
    ("rows", "weight"),
    [
        ([("half", "", "", "customer", "acme", "concurrency", None, 1.0, 1, 0.5)], 0.5),
        ([("all", "", "", "customer", "", "concurrency", None, 1.0, 1, 0.25)], 0.25),
        (
            [
                ("all", "", "", "customer", "", "concurrency", 9.0, 1.0, 1, 3.0),
                ("acme", "", "render", "customer", "acme", "rate", None, 1.0, 1, 0.5),
            ],
            0.5,
        ),
        ([], 1.0),
    ],
)
def test_the_row_that_names_the_partition_says_its_weight(rows: list[Any], weight: float) -> None:
    """The system-wide row, and a limit that a task declares, match everything with their weight of 1."""
    others = ("system", "", "", "", "", "concurrency", 5.0, 1.0, 1, 1.0), PER_CUSTOMER
    rules = Rules([*others, *rows], None)
    assert rules.of(Facts("render", **_of("acme")), "default").weight == weight


def test_rows_of_single_partitions_are_found_without_going_through_all() -> None:
    number = 500
    rows = [(f"vip{n}", "", "", "customer", f"c{n}", "concurrency", 5.0, 1.0, 1, 1.0) for n in range(number)]
    heads = [_head(f"lane{n}", **_of(f"c{n}")) for n in range(number)]
    snapshot = _snapshot(*heads, rules=rows)
    with patch.object(Rule, "counts", autospec=True, side_effect=Rule.counts) as asked:
        assert len(snapshot.shared) == number
        limits.plan(snapshot, 200)
    assert asked.call_count == number


def test_critical_jobs_come_first_whoever_they_are_of() -> None:
    snapshot = _snapshot(
        _head("idle", 1, **_of("bob")),
        _head("busy", 2, critical=True, **_of("acme")),
        in_flight=(_in_flight(9, **_of("acme")),),
    )
    assert _order(snapshot) == ["busy", "idle"]


@pytest.mark.parametrize(
    ("rank", "newest", "first"),
    [(NOW - 101, NOW - 101, "busy"), (NOW - 99, NOW - 101, "idle"), (NOW - 101, NOW - 99, "idle")],
)
def test_who_was_not_served_for_long_is_served_once(rank: float, newest: float, first: str) -> None:
    snapshot = _snapshot(
        _head("idle", NOW, **_of("bob")),
        _head("busy", rank, **_of("acme")),
        in_flight=(_in_flight(2, newest=newest, **_of("acme")),),
    )
    with override_settings(JOBS={"AGED_AFTER": 100}):
        assert _order(snapshot)[0] == first
        tally = Tally(snapshot)
        tally.take(snapshot.heads[1])
        assert tally.turns.order(snapshot.heads[1])[0] == 2  # and has waited for nothing then


def test_a_lane_without_room_is_passed_over() -> None:
    snapshot = _snapshot(
        _head("full", 1, **_of("acme")),
        _head("free", 2, **_of("bob")),
        in_flight=(_in_flight(2, **_of("acme")),),
        rules=[PER_CUSTOMER],
    )
    assert _order(snapshot) == ["free"]


def test_what_is_taken_moves_its_partition_back() -> None:
    plan = limits.plan(_snapshot(_head("a", 1, **_of("acme")), _head("b", 50, **_of("bob")), slots=2), 200)
    waiting = [Candidate("a", n, f"a{n}", False) for n in range(1, 5)] + [Candidate("b", 50, "b50", False)]
    assert [one.id for one in limits.pick(plan, waiting, limits.first_lanes(plan))] == ["a1", "b50", "a2", "a3"]


def test_the_limits_hold_while_it_is_picked() -> None:
    snapshot = _snapshot(_head("a", 1, **_of("acme")), _head("b", 9, **_of("bob")), rules=[PER_CUSTOMER])
    plan = limits.plan(snapshot, 200)
    assert limits.first_lanes(plan) == {"a": 2, "b": 2}
    waiting = [Candidate(lane, n, f"{lane}{n}", False) for lane in "ab" for n in range(2)]
    assert {one.id for one in limits.pick(plan, waiting, limits.first_lanes(plan))} == {"a0", "a1", "b0", "b1"}


def test_what_was_not_read_of_a_lane_may_be_better_than_all_others() -> None:
    snapshot, waiting = (
        _snapshot(_head("a", 1), _head("b", 100)),
        [Candidate("a", 1, "a1", False), Candidate("b", 9, "b", False)],
    )
    assert [one.id for one in limits.pick(limits.plan(snapshot, 200), waiting, {"a": 1, "b": 1})] == ["a1"]
    assert [one.id for one in limits.pick(limits.plan(snapshot, 200), waiting, {"a": 2, "b": 2})] == ["a1", "b"]


def test_a_waiting_writer_keeps_readers_behind_it() -> None:
    reader, writer = _of("/srv", access="shared"), _of("/srv", access="exclusive")
    snapshot = _snapshot(
        _head("early reader", 1, **reader), _head("writer", 2, **writer), in_flight=(_in_flight(1, **reader),)
    )
    assert _order(snapshot) == ["early reader"]
    snapshot = _snapshot(
        _head("writer", 1, **writer), _head("late reader", 2, **reader), in_flight=(_in_flight(1, **reader),)
    )
    assert _order(snapshot) == []
    snapshot = _snapshot(_head("writer", 1, **writer), _head("late reader", 2, **reader))
    plan = limits.plan(snapshot, 200)
    waiting = [Candidate("writer", 1, "w", False), Candidate("late reader", 2, "r", False)]
    assert [one.id for one in limits.pick(plan, waiting, limits.first_lanes(plan))] == ["w"]


def test_later_readers_of_the_same_lane_do_not_pass_a_waiting_writer() -> None:
    reader, writer = _of("/srv", access="shared"), _of("/srv", access="exclusive")
    heads = _head("readers", 1, **reader), _head("writer", 2, **writer)
    plan = limits.plan(_snapshot(*heads, in_flight=(_in_flight(1, **reader),)), 200)
    assert not plan.is_simple
    waiting = [Candidate("readers", rank, f"r{rank}", False) for rank in (1, 3, 4)]
    assert [one.id for one in limits.pick(plan, waiting, limits.first_lanes(plan))] == ["r1"]


def test_a_reader_kept_by_a_limit_holds_back_those_behind_it_in_the_same_look() -> None:
    reader = _of("/srv", access="shared")
    plan = limits.plan(_snapshot(_head("single", 1, max_concurrent=1, **reader), _head("any", 3, **reader)), 200)
    asked = limits.first_lanes(plan)
    assert asked["single"] == 2
    waiting = [
        Candidate("single", 1, "s1", False),
        Candidate("single", 2, "s2", False),
        Candidate("any", 3, "a", False),
    ]
    assert [one.id for one in limits.pick(plan, waiting, asked)] == ["s1"]


# --- rates and the snapshot-ahead


def _busy(number: int, *heads: LaneHead, next_arrivals: Any = None) -> Snapshot:
    """Two slots, each with one job ahead, so many of them taken."""
    return replace(
        _snapshot(*heads, slots=2, in_flight=(_in_flight(number),) if number else ()), next_arrivals=next_arrivals or {}
    )


def _picked(snapshot: Snapshot, *waiting: Candidate) -> list[str]:
    plan = limits.plan(snapshot, 200)
    assert not plan.is_simple
    asked = limits.first_lanes(plan)
    return [one.id for one in limits.pick(plan, [one for one in waiting if one.lane in asked], asked)]


@pytest.mark.parametrize(("number", "room"), [(0, 2), (1, 1), (2, 0), (3, 0)])
def test_what_is_under_a_rate_is_not_admitted_ahead_of_a_slot(number: int, room: int) -> None:
    plan = limits.plan(_busy(number, _head("paced", 1, rate="60/s burst 60")), 200)
    assert (limits.how_many(plan) if plan.lanes else 0) == room


def test_who_comes_behind_a_paced_job_does_not_take_its_slot() -> None:
    """Else a pool with a backlog, whose snapshot-ahead is always taken, would never have a slot for it."""
    before, paced, behind = _head("before", 1), _head("paced", 2, rate="6/m"), _head("behind", 3)
    assert _order(_busy(2, before, paced, behind)) == ["before"]
    waiting = [
        Candidate("before", 1, "b1", False),
        Candidate("before", 5, "b5", False),
        Candidate("behind", 3, "x", False),
    ]
    assert _picked(_busy(2, before, paced, behind), *waiting) == ["b1"]
    assert _picked(_busy(1, paced, behind), Candidate("paced", 2, "p", False), waiting[2]) == ["p", "x"]
    closed = {("render rate", ""): NOW + 9}
    assert _order(_busy(2, before, paced, behind, next_arrivals=closed)) == ["before", "behind"]


# --- large jobs


def _blocked_by(snapshot: Snapshot, lane: str) -> list[str]:
    tally = limits.plan(snapshot, 200).tally
    return [one.kind for head in snapshot.heads if head.lane == lane for one in limits.blockers_of(tally, head)]


TURN = Facts("render", **_of("acme")).turn_with_large
LARGE: dict[str, Any] = {"memory_mb": 80, "timeout": 100.0}


def test_room_is_kept_for_a_large_job_that_has_waited() -> None:
    in_flight = (_in_flight(5, ends=(NOW + 50,) * 5, memory_mb=10, timeout=60.0),)
    small: dict[str, Any] = {"memory_mb": 10}
    heads = (
        _head("large", 1, waited=61, **LARGE),
        _head("small", 2, timeout=60.0, **small),
        _head("short", 3, timeout=39.0, **small),
        _head("endless", 4, **small),
        _head("tiny", 5, memory_mb=1),
        _head("better", 0.5, timeout=60.0, **small),
        _head("other", 6, disk_mb=5),
    )
    snapshot = _snapshot(*heads, in_flight=in_flight, budgets=GB)
    assert {
        name: _blocked_by(snapshot, name) for name in ("large", "small", "short", "endless", "better", "other")
    } == {
        "large": ["budget"],
        "small": [],
        "short": [],
        "endless": [],
        "better": [],
        "other": [],
    }
    tight = _snapshot(
        *heads, in_flight=(*in_flight, _in_flight(1, ends=(NOW + 500,), memory_mb=20, timeout=600.0)), budgets=GB
    )
    assert {name: _blocked_by(tight, name) for name in ("large", "small", "short", "endless", "better", "other")} == {
        "large": ["budget"],
        "small": [RESERVED],
        "short": [],
        "endless": [RESERVED],
        "better": [],
        "other": [],
    }


def test_no_room_is_kept_before_it_has_waited_nor_where_nobody_can_say_when() -> None:
    in_flight = (_in_flight(3, ends=(NOW + 50,) * 3, memory_mb=10, timeout=60.0),)
    small = _head("small", 2, memory_mb=20, timeout=600.0)
    young = _snapshot(_head("large", 1, waited=59, **LARGE), small, in_flight=in_flight, budgets=GB)
    assert _blocked_by(young, "small") == []
    endless = (_in_flight(3, memory_mb=10),)
    assert (
        _blocked_by(_snapshot(_head("large", 1, waited=61, **LARGE), small, in_flight=endless, budgets=GB), "small")
        == []
    )


def test_a_large_job_that_fits_now_keeps_its_room_from_who_comes_after_it() -> None:
    snapshot = _snapshot(
        _head("large", 1, waited=61, **LARGE),
        _head("small", 2, memory_mb=30, timeout=60.0),
        in_flight=(_in_flight(1, ends=(NOW + 50,), memory_mb=10, timeout=60.0),),
        budgets=GB,
    )
    assert _order(snapshot) == ["large"]
    assert _blocked_by(snapshot, "small") == [RESERVED]


@pytest.mark.parametrize(("turn", "newcomer"), [(0, [RESERVED]), (NOW - 61, [RESERVED]), (NOW - 59, [])])
def test_the_first_large_job_of_a_tenant_binds_who_passes_by_the_share_alone(turn: float, newcomer: list[str]) -> None:
    small: dict[str, Any] = {"memory_mb": 30, "timeout": 60.0}
    snapshot = _snapshot(
        _head("large", 3, waited=61, **LARGE, **_of("acme")),
        _head("new", 4, **small, **_of("bob")),
        _head("older", 2, **small, **_of("cy")),
        _head("urgent", 5, critical=True, **small, **_of("dan")),
        in_flight=(_in_flight(1, ends=(NOW + 50,), **small, **_of("acme")),),
        budgets=GB,
        last_served={TURN: turn},
    )
    assert {name: _blocked_by(snapshot, name) for name in ("large", "new", "older", "urgent")} == {
        "large": ["budget"],
        "new": newcomer,
        "older": [],
        "urgent": [],
    }


def test_who_takes_the_room_that_was_kept_gives_the_turn_to_other_tenants() -> None:
    heads = [_head(who, rank, waited=61, **LARGE, **_of(who)) for rank, who in enumerate(("acme", "bob"))]
    tally = limits.plan(_snapshot(*heads, budgets=GB), 200).tally
    assert [one.head.lane for one in tally.reservations.entries if one.is_guaranteed] == ["acme", "bob"]
    tally.take(heads[0])
    assert tally.turns.last_served[TURN] == NOW
    assert [one.head.lane for one in tally.reservations.entries] == ["bob"]
    late = limits.plan(_snapshot(*heads, budgets=GB, last_served={TURN: NOW - 61}), 200).tally
    assert [one.head.lane for one in late.reservations.entries] == ["bob", "acme"]
