"""The signals a job's life sends, each after the commit that made it true.

Every receiver is called with `job` (the row as written), `attempt` (its id or None), `from_state`, `to_state`, `actor`
and `at`; those of `jobs_pruned` and `drift_found`, which tell of many jobs at once, with what stands beside them. A
receiver that raises is logged and changes nothing: the record is already in the database.
"""

from __future__ import annotations

from django.dispatch import Signal

job_submitted = Signal()
job_transitioned = Signal()
job_started = Signal()
job_completed = Signal()
job_failed = Signal()
job_retrying = Signal()
job_paused = Signal()
job_resumed = Signal()
job_cancel_requested = Signal()
job_cancelled = Signal()
job_rescued = Signal()
jobs_pruned = Signal()  # counts: how many jobs retention has deleted, by state
drift_found = Signal()  # kind, number: what reconciliation has found and repaired, see `steward.drift`

BY_EDGE: dict[str, Signal] = {
    "create": job_submitted,
    "claim": job_started,
    "complete": job_completed,
    "fail": job_failed,
    "retry": job_retrying,
    "pause": job_paused,
    "resume": job_resumed,
    "cancel": job_cancelled,
    "rescue": job_rescued,
}
