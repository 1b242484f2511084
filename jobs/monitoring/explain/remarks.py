"""Remarks beside the blockers of a pending job: how many jobs are ahead, and the room kept for a large one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from jobs.admission.limits import QueuePosition, free_slots
from jobs.admission.limits.blockers import BUDGET, RESERVED
from jobs.admission.limits.ordering import LARGE, MOST_RESERVATIONS
from jobs.core.conf import settings
from jobs.monitoring.counting import Bounded
from jobs.monitoring.explain.answer import Reason
from jobs.monitoring.explain.holders import in_flight_without_end
from jobs.monitoring.explain.wording import jobs, moment, when

TURN, RESERVATION, NO_RESERVATION, CROWDED = "turn", "reservation", "no_reservation", "crowded"


def remarks(
    stand: QueuePosition, now: datetime, position: Bounded, *, is_next: bool, is_kept: bool
) -> Iterator[Reason]:
    """The remarks, the one about its turn last; a job that nothing blocks has at least one."""
    if any(blocker.kind in (BUDGET, RESERVED) for blocker in stand.blockers):
        yield from _reservation(stand, now, "the first job of its kind" if position.number else "it")
    if stand.tally.snapshot.is_crowded:
        text = "More kinds of jobs wait in this pool than one admission looks at: each admission starts with others."
        yield Reason(CROWDED, text, blocks=False)
    if is_kept:
        first = _first(stand, position)
        if first:
            yield Reason(TURN, f"{first[0].upper()}{first[1:]} ahead of it.", blocks=False)
    elif is_next:
        yield Reason(TURN, "It can run: the next admission takes it.", blocks=False)
    else:
        first = _first(stand, position) or "others are"
        room = jobs(free_slots(stand.tally))
        text = f"It can run and waits for its turn: {first} ahead of it, and there is room for {room}."
        yield Reason(TURN, text, blocks=False)


def _first(stand: QueuePosition, position: Bounded) -> str:
    """ "3 jobs of its kind and 2 other kinds of jobs are", or nothing when no job is ahead of it."""
    parts = []
    if position.number:
        parts.append(f"{position} {'job' if position.number == 1 else 'jobs'} of its kind")
    if stand.ahead and not stand.blockers:
        parts.append(f"{len(stand.ahead):,} other {'kind' if len(stand.ahead) == 1 else 'kinds'} of jobs")
    many = len(parts) > 1 or not parts or not parts[0].startswith("1 ")
    return f"{' and '.join(parts)} {'are' if many else 'is'}" if parts else ""


def _reservation(stand: QueuePosition, now: datetime, whom: str) -> Iterator[Reason]:
    """Whether room is kept for a job that needs more than is free."""
    tally, head = stand.tally, stand.head
    if any(head.facts.needs.get(name, 0) > size for name, size in tally.snapshot.pool.budgets.items()):
        return  # another reason says that it can never start
    kept = next((one for one in tally.reservations.entries if one.head.lane == head.lane), None)
    due = moment(head.eligible_at + settings.RESERVE_AFTER)
    if kept is not None:
        start = moment(kept.start)
        soon = f": it should start {when(start, now)}" if start > now else ""
        yield Reason(RESERVATION, f"Room is kept for {whom}{soon}.", blocks=False, until=start)
    elif due > now:
        text = f"If it still waits {when(due, now)}, room is kept for {whom}."
        yield Reason(NO_RESERVATION, text, blocks=False, until=due)
    else:
        yield Reason(NO_RESERVATION, f"No room can be kept for {whom}: {_obstacle(stand)}.", blocks=False)


def _obstacle(stand: QueuePosition) -> str:
    """Why a job that has waited for long enough has no reservation."""
    if {blocker.kind for blocker in stand.blockers} - LARGE:
        return "something else than a budget blocks it, too"
    if len(stand.tally.reservations.entries) >= MOST_RESERVATIONS:
        return f"room is kept for {MOST_RESERVATIONS} other jobs already"
    endless = in_flight_without_end(stand.tally, stand.head.facts)
    if endless:
        has = "has" if endless == 1 else "have"
        return f"{jobs(endless)} that {'takes' if endless == 1 else 'take'} what it needs {has} no time-out"
    return "a job ahead of it, for which room is kept, has no time-out"
