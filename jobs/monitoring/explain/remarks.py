"""What is told beside the blockers of a pending job: whose turn comes first, and what was planned for a large one."""

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


def told(stand: QueuePosition, now: datetime, position: Bounded, *, is_next: bool, is_kept: bool) -> Iterator[Reason]:
    """Remarks, the one about its turn last; there is always one where nothing else keeps the job."""
    if any(blocker.kind in (BUDGET, RESERVED) for blocker in stand.blockers):
        yield from _reservation(stand, now, "the first job of its lane" if position.number else "it")
    if stand.tally.snapshot.is_crowded:
        said = "More lanes wait in this pool than one admission sees: each begins at another one."
        yield Reason(CROWDED, said, blocks=False)
    if is_kept:
        first = _first(stand, position)
        if first:
            yield Reason(TURN, f"{first[0].upper()}{first[1:]} before it.", blocks=False)
    elif is_next:
        yield Reason(TURN, "Nothing is in its way: the next admission takes it.", blocks=False)
    else:
        first = _first(stand, position) or "others are"
        room = jobs(free_slots(stand.tally))
        said = f"Nothing is in its way but its turn: {first} before it, and there is room for {room}."
        yield Reason(TURN, said, blocks=False)


def _first(stand: QueuePosition, position: Bounded) -> str:
    """ "3 jobs of its lane and 2 other lanes are", or nothing where nobody is before it."""
    parts = []
    if position.number:
        parts.append(f"{position} {'job' if position.number == 1 else 'jobs'} of its lane")
    if stand.ahead and not stand.blockers:
        parts.append(f"{len(stand.ahead):,} other {'lane' if len(stand.ahead) == 1 else 'lanes'}")
    many = len(parts) > 1 or not parts or not parts[0].startswith("1 ")
    return f"{' and '.join(parts)} {'are' if many else 'is'}" if parts else ""


def _reservation(stand: QueuePosition, now: datetime, whom: str) -> Iterator[Reason]:
    """What becomes of a job that is too large for what is free."""
    tally, head = stand.tally, stand.head
    if any(head.facts.needs.get(name, 0) > size for name, size in tally.snapshot.pool.budgets.items()):
        return  # it was said that it can never start
    kept = next((one for one in tally.reservations.entries if one.head.lane == head.lane), None)
    due = moment(head.eligible_at + settings.RESERVE_AFTER)
    if kept is not None:
        start = moment(kept.start)
        soon = f", which should start {when(start, now)}" if start > now else ""
        yield Reason(RESERVATION, f"Room is kept for {whom}{soon}.", blocks=False, until=start)
    elif due > now:
        said = f"If it still waits {when(due, now)}, room is kept for {whom}."
        yield Reason(NO_RESERVATION, said, blocks=False, until=due)
    else:
        yield Reason(NO_RESERVATION, f"No room can be kept for {whom}: {_obstacle(stand)}.", blocks=False)


def _obstacle(stand: QueuePosition) -> str:
    """Why a job that has waited for long enough has no reservation."""
    if {blocker.kind for blocker in stand.blockers} - LARGE:
        return "more than a budget is in its way"
    if len(stand.tally.reservations.entries) >= MOST_RESERVATIONS:
        return f"it is kept for {MOST_RESERVATIONS} others already"
    endless = in_flight_without_end(stand.tally, stand.head.facts)
    if endless:
        has = "has" if endless == 1 else "have"
        return f"{jobs(endless)} that {'takes' if endless == 1 else 'take'} what it needs {has} no time-out"
    return "a job in front of it, for which room is kept, has no time-out"
