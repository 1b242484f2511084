"""What may keep a waiting job: the kinds, which are what `why` tells as data, and one of them with its figures."""

from __future__ import annotations

from typing import NamedTuple

PAUSED, DRAINING, NO_WORKER, NO_SLOT, POOL_FULL = "pool_paused", "pool_draining", "no_worker", "no_slot", "pool_limit"
LIMIT, OWN_LIMIT, ACCESS, RATE = "limit", "own_limit", "access", "rate"
TASK_PAUSED = "task_paused"
BUDGET, RESERVED = "budget", "reserved"


class Blocker(NamedTuple):
    """One thing in the way of a job.

    `limit` names the limit row, budget or partition; `size` is what it allows and `used` what of it is taken; `need` is
    the job's own. `until` (epoch seconds) is when it ends by itself, None where that is not known. `partition` is the
    value that the limit counts by.
    """

    kind: str
    limit: str = ""
    size: float | None = None
    used: float | None = None
    need: float | None = None
    until: float | None = None
    partition: str = ""
