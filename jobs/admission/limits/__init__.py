"""Which jobs have room: slots, limits, budgets, rates. Counted from the jobs in flight; only rates are stored."""

from __future__ import annotations

from jobs.admission import queries
from jobs.admission.limits import lookahead
from jobs.admission.limits.blockers import Blocker, blockers_of, free_slots, pool_blockers
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
    "blockers_of",
    "facts_of",
    "first_lanes",
    "free_slots",
    "has_pending",
    "has_room",
    "head_of",
    "how_many",
    "lookahead",
    "pick",
    "plan",
    "pool_blockers",
    "pools_with_room",
    "position_of",
    "preview",
    "take_snapshot",
]


def has_room(pool: str) -> bool:
    """Whether the pool's slots and its own maximum have room for a job that waits; cheap."""
    return bool(queries.with_room(pool, lookahead.at_most()))


def has_pending(pool: str) -> bool:
    """Whether any job waits in a pool."""
    return queries.has_pending(pool)


def pools_with_room() -> list[str]:
    """The names of the pools that have room."""
    return queries.with_room(None, lookahead.at_most())
