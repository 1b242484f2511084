"""What a seed means: the faults with their moments, and the orders with what each may end as. Draws, and does nothing.

Every list here is drawn by a generator of its own, so that more of one kind does not shift the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from jobs.client.task import JobTask
from tests.app.jobs import fail_first, nap, snooze_first, toil
from tests.app.limited import mixed, one_by_one, spanning

WORKERS = 2
PROCESSES = 3  # of each worker
SYSTEM = 5  # jobs in flight at once, of the six that the workers have room for
LIMITED = {spanning.name: 3}  # at once
PARTITIONED = {mixed.name: 2, one_by_one.name: 1}  # at once, for each customer
EVERY = (2.0, 6.0)  # seconds between two faults
PACE = 0.25  # seconds between two handfuls of orders
KEYS = 6
CUSTOMERS = 4

# How often each happens beside the others, and how long it lasts, in seconds.
WEIGHTS = {
    "child killed": 30,
    "worker killed": 14,
    "feeder killed": 6,
    "worker frozen": 14,
    "broker flushed": 12,
    "broker restarted": 8,
    "database restarted": 10,
    "doorbells repeated": 6,
}
LASTING = {"worker frozen": (4.0, 7.0), "broker restarted": (0.5, 4.0), "database restarted": (0.2, 4.0)}


@dataclass(frozen=True)
class Fault:
    """`at` seconds from the start `kind` happens to the one that `victim` (0 to 1) points at, for `lasting` seconds."""

    at: float
    kind: str
    victim: float
    lasting: float


@dataclass(frozen=True)
class Order:
    """One job to submit. `ends` are the states it may end in, beside being cancelled where `cancel_after` is given."""

    kind: str
    task: JobTask
    args: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""
    cancel_after: float | None = None
    ends: frozenset[str] = frozenset({"completed"})


def faults(seed: int, seconds: float) -> Iterator[Fault]:
    """The faults of a soak of so many seconds, in their order."""
    dice = Random(f"faults {seed}")  # noqa: S311 - chance, no secret
    at = dice.uniform(*EVERY)
    while at < seconds:
        (kind,) = dice.choices([*WEIGHTS], [*WEIGHTS.values()])
        yield Fault(at, kind, dice.random(), dice.uniform(*LASTING.get(kind, (0, 0))))
        at += dice.uniform(*EVERY)


def orders(seed: int) -> Iterator[list[Order]]:
    """Handfuls of orders without end, one for each PACE."""
    dice = Random(f"orders {seed}")  # noqa: S311 - the same
    while True:
        yield [_order(dice) for _ in range(dice.choice((0, 1, 1, 2, 2, 3, 6)))]


def _order(dice: Random) -> Order:
    draw, weight = zip(*_KINDS, strict=True)
    (kind,) = dice.choices(draw, weight)
    order: Order = kind(dice)
    if dice.random() >= 0.08:
        return order
    after = dice.choice((0.0, dice.uniform(0, 3)))
    return Order(order.kind, order.task, order.args, order.options, order.key, after, order.ends | {"cancelled"})


def _short(dice: Random) -> Order:
    return Order("short", nap, (round(dice.uniform(0, 0.05), 3),))


def _long(dice: Random) -> Order:
    return Order("long", toil, (round(dice.uniform(1, 5), 1),))


def _failing(dice: Random) -> Order:
    return Order("failing", fail_first, (9999,), {"max_retries": dice.choice((0, 0, 2))}, ends=frozenset({"failed"}))


def _retried(dice: Random) -> Order:
    times = dice.randint(1, 4)
    return Order("retried", fail_first, (times,), {"max_retries": times})


def _snoozing(dice: Random) -> Order:
    return Order("snoozing", snooze_first, (dice.randint(1, 3), round(dice.uniform(0.1, 1), 2)))


def _later(dice: Random) -> Order:
    return Order("later", nap, (0.01,), {"run_after": round(dice.uniform(0.2, 4), 2)})


def _keyed(dice: Random) -> Order:
    return Order("keyed", nap, (0.1,), key=f"key {dice.randrange(KEYS)}")


def _limited(dice: Random) -> Order:
    return Order("limited", spanning, (round(dice.uniform(0.05, 0.4), 2),))


def _partitioned(dice: Random) -> Order:
    return Order("partitioned", dice.choice((mixed, one_by_one)), (f"customer {dice.randrange(CUSTOMERS)}",))


def _once(dice: Random) -> Order:
    seconds = round(dice.uniform(0.1, 1), 2)
    return Order("once", nap, (seconds,), {"at_most_once": True}, ends=frozenset({"completed", "failed"}))


_KINDS = (
    (_short, 40),
    (_long, 7),
    (_failing, 8),
    (_retried, 9),
    (_snoozing, 6),
    (_later, 6),
    (_keyed, 6),
    (_limited, 8),
    (_partitioned, 8),
    (_once, 5),
)
