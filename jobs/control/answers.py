"""What a request of a person answers."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID


class Answer(StrEnum):
    """What became of a request."""

    STARTED = "STARTED"
    ALREADY_STARTED = "ALREADY_STARTED"
    CANCELLED = "CANCELLED"
    REQUESTED = "REQUESTED"
    STOPPED = "STOPPED"
    ALREADY_FINAL = "ALREADY_FINAL"
    REQUEUED = "REQUEUED"
    KEY_TAKEN = "KEY_TAKEN"
    NOT_FINAL = "NOT_FINAL"
    CHANGED = "CHANGED"
    PAUSED = "PAUSED"
    DRAINING = "DRAINING"
    RESUMED = "RESUMED"
    NOT_PAUSED = "NOT_PAUSED"
    NOT_POSSIBLE = "NOT_POSSIBLE"


MISSING = "MISSING"
"""The answer for an id without a job."""

Answers = dict[UUID, str]
"""One `Answer`, or `MISSING`, for each job of a request."""
