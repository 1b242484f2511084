"""What the steward repaired, and what retention deleted: sent as signals, logged, and kept in the lease's row.

The row is what another process, an operator's, can read: jobs that were deleted have no event any more.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from django.db import Error, transaction

from jobs import signals
from jobs.core.conf import settings
from jobs.core.db.clock import DbNow
from jobs.maintenance.leader import OFFICE
from jobs.models import Job, Lease

logger = logging.getLogger("jobs.drift")
retention = logging.getLogger("jobs.retention")

REPAIRED: Counter[str] = Counter()  # since this process began; the kinds are those of `steward.drift`


def repaired(kind: str, number: int) -> int:
    """Count, log and send a signal; returns the number."""
    if number:
        REPAIRED[kind] += number
        _change(lambda lease: _add(lease.figures, kind, number))
        logger.warning("drift: %s: %d repaired", kind, number, extra={"kind": kind, "number": number})
        signals.drift_found.send_robust(Job, kind=kind, number=number)
    return number


def pruned(gone: Mapping[str, int]) -> None:
    """Tell how many jobs a run has deleted, where there were any."""
    if gone:
        _change(lambda lease: lease.figures.update(pruned={**gone, "at": lease.now.isoformat()}))
        told = ", ".join(f"{number:,} {state}" for state, number in sorted(gone.items()))
        retention.info("retention: deleted %s", told, extra={"deleted": dict(gone)})
        signals.jobs_pruned.send_robust(Job, counts=dict(gone))


def figures() -> dict[str, Any]:
    """What is kept: `pruned` (jobs by state in the last run that deleted any, and when), `repaired` (by kind)."""
    kept = Lease.objects.using(settings.DATABASE).filter(name=OFFICE).values_list("figures", flat=True).first() or {}
    return {"pruned": kept.get("pruned", {}), "repaired": kept.get("repaired", {})}


def _add(kept: dict[str, Any], kind: str, number: int) -> None:
    so_far = kept.setdefault("repaired", {})
    so_far[kind] = so_far.get(kind, 0) + number


def _change(change: Callable[[Any], object]) -> None:
    """Locked: beside the leader a command may be pruning. A database that is away takes no figure along with it."""
    using = settings.DATABASE
    try:
        with transaction.atomic(using=using):
            for lease in Lease.objects.using(using).select_for_update().filter(name=OFFICE).annotate(now=DbNow()):
                change(lease)
                lease.save(using=using, update_fields=["figures"])
    except Error as error:
        logger.warning("steward: a figure is not kept: %s", error)
