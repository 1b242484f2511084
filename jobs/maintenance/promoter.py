"""Chore: what was scheduled for later, and is due, may run now."""

from __future__ import annotations

from collections.abc import Iterator

from jobs.core.conf import settings
from jobs.core.db.dialects import dialect
from jobs.models import transitions

BATCH = 500


def promote() -> int:
    """Move due jobs to pending, the longest due first; returns how many."""
    return sum(steps())


def steps() -> Iterator[int]:
    """The same, one batch for each `next`."""
    due = dialect(settings.DATABASE).pick_skip_locked(
        "SELECT id FROM jobs_job WHERE state = 'scheduled' AND run_after <= {now} ORDER BY run_after LIMIT %s"
    )
    moved = BATCH
    while moved == BATCH:
        moved = len(transitions.move("due", due, [BATCH], actor="steward"))
        yield moved
