"""The soak's plan: a seed means one schedule, whatever the machine; every fault that it draws can be done."""

import itertools
from collections import Counter

import pytest

from tests.soak import harm, plan

HOUR = 3600.0


@pytest.mark.parametrize("seed", [1, 7])
def test_a_seed_means_one_schedule(seed: int) -> None:
    assert [*plan.faults(seed, HOUR)] == [*plan.faults(seed, HOUR)] != [*plan.faults(seed + 1, HOUR)]
    first, again = (list(itertools.islice(plan.orders(seed), 500)) for _ in range(2))
    assert first == again != list(itertools.islice(plan.orders(seed + 1), 500))


def test_a_longer_soak_begins_as_a_shorter_one() -> None:
    short, long = [*plan.faults(3, 60)], [*plan.faults(3, 600)]
    assert long[: len(short)] == short
    assert all(fault.at < 60 for fault in short)


def test_every_kind_of_fault_and_order_is_drawn_and_can_be_done() -> None:
    drawn = Counter(fault.kind for fault in plan.faults(1, HOUR))
    assert set(drawn) == set(plan.WEIGHTS) == set(harm.ACTS)
    assert set(plan.LASTING) <= set(plan.WEIGHTS)
    orders = list(itertools.chain.from_iterable(itertools.islice(plan.orders(1), 2000)))
    assert {order.kind for order in orders} == {
        "short",
        "long",
        "failing",
        "retried",
        "snoozing",
        "later",
        "keyed",
        "limited",
        "partitioned",
        "once",
    }
    assert any(order.cancel_after == 0 for order in orders)
    assert all(("cancelled" in order.ends) == (order.cancel_after is not None) for order in orders)
