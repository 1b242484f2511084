"""What has room: lanes, slots, budgets, rates. Counts, never stores; rates are the exception."""

from __future__ import annotations

from jobs.admission import queries
from jobs.admission.limits import lookahead
from jobs.admission.limits.blockers import Blocker
from jobs.admission.limits.lanes import Facts, facts_of
from jobs.admission.limits.ordering import AdmissionPlan, QueuePosition, first_lanes, how_many, pick, plan, position_of
from jobs.admission.limits.snapshot import InFlight, LaneHead, Snapshot, head_of, preview, take_snapshot
from jobs.admission.limits.tally import Tally
from jobs.models import SYSTEM_LIMIT

__all__ = [
    "SYSTEM_LIMIT",
    "AdmissionPlan",
    "Blocker",
    "Facts",
    "InFlight",
    "LaneHead",
    "QueuePosition",
    "Snapshot",
    "Tally",
    "facts_of",
    "first_lanes",
    "has_pending",
    "has_room",
    "head_of",
    "how_many",
    "lookahead",
    "pick",
    "plan",
    "pools_with_room",
    "position_of",
    "preview",
    "take_snapshot",
]


def has_room(pool: str) -> bool:
    """Whether an admission could move anything, as far as the pool's own maximum and its slots go; cheap."""
    return bool(queries.with_room(pool, lookahead.at_most()))


def has_pending(pool: str) -> bool:
    """Whether anybody waits in a pool."""
    return queries.has_pending(pool)


def pools_with_room() -> list[str]:
    """The pools of which that is so, by name."""
    return queries.with_room(None, lookahead.at_most())
