"""What the steward of this process had to repair, counted by kind: the metric behind `drift_found`."""

from __future__ import annotations

import logging
from collections import Counter

from jobs import signals
from jobs.models import Job

logger = logging.getLogger("jobs.drift")

REPAIRED: Counter[str] = Counter()  # since this process began; the kinds are those of `steward.drift`


def repaired(kind: str, number: int) -> int:
    """Count, and tell whoever listens; returns the number."""
    if number:
        REPAIRED[kind] += number
        logger.warning("drift: %s: %d repaired", kind, number, extra={"kind": kind, "number": number})
        signals.drift_found.send_robust(Job, kind=kind, number=number)
    return number
