"""Why this worker is terminating which attempt. Kept until the attempt's end is recorded, with the right reason.

Used by Celery's event loop, the heartbeat and the guard: every step is one operation on a dict.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from uuid import UUID

from jobs.execution.termination import Termination, stronger

_KEPT = 60.0  # seconds; Celery's own news of a death comes within ten


@dataclass(frozen=True)
class Entry:
    """A termination, and since when its process knows that it must end; None while it got no signal."""

    verdict: Termination
    told_at: float | None
    written_at: float = field(default_factory=time.monotonic)


_entries: dict[UUID, Entry] = {}


def pronounce(attempt_id: UUID, verdict: Termination, *, is_told: bool) -> None:
    """Write a verdict down before its process is touched; one that stands and weighs more stays."""
    before = _entries.get(attempt_id)
    told_at = before.told_at if before else None
    if is_told and told_at is None:
        told_at = time.monotonic()
    _entries[attempt_id] = Entry(stronger(before.verdict if before else None, verdict) or verdict, told_at)


def withdraw(attempt_id: UUID, before: Entry | None = None) -> None:
    """Nothing was done: what stood before stands again. Else a process counts as told that was never told."""
    if before is None:
        _entries.pop(attempt_id, None)
    else:
        _entries[attempt_id] = before


def entry(attempt_id: UUID) -> Entry | None:
    """What stands on an attempt."""
    return _entries.get(attempt_id)


def verdict_on(attempt_id: UUID) -> Termination | None:
    """The verdict that stands on an attempt."""
    found = _entries.get(attempt_id)
    return found.verdict if found else None


def is_empty() -> bool:
    """Whether nothing was pronounced lately."""
    return not _entries


def forget_old(held: Collection[UUID]) -> None:
    """Drop what will not be asked for any more. An attempt that is still held may have a long grace: it stays."""
    oldest = time.monotonic() - _KEPT
    for attempt_id, found in list(_entries.items()):
        if found.written_at < oldest and attempt_id not in held:
            _entries.pop(attempt_id, None)
