"""Chore: publish what was admitted but never sent, because a process died in between or the broker was away."""

from __future__ import annotations

from jobs.admission import publishing
from jobs.admission.publishing import JobMessage
from jobs.core.conf import settings
from jobs.maintenance.counters import repaired
from jobs.models import Job

BATCH = 500


def publish() -> int:
    """Send the messages that have waited for longer than PUBLISH_AFTER, the best rank first; returns how many."""
    if publishing.breaker.is_open:
        return 0
    waiting = Job.objects.using(settings.DATABASE).unsent(settings.PUBLISH_AFTER).order_by("rank", "id")
    rows = waiting.values_list("pool", "task", "id", "attempt_id")[:BATCH]
    bells = [JobMessage(pool, task, ((job_id, attempt_id),)) for pool, task, job_id, attempt_id in rows if attempt_id]
    return repaired("unsent", publishing.publish(bells))
