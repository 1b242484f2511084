"""The invariant I1: whatever can be moved is moved by somebody alive, within its time.

Called for one job's history as of one moment, where a worker lives; it reads the limits beside that, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from jobs.admission import limits
from jobs.core.conf import settings
from jobs.models import Attempt, Hook, Pool, Worker
from jobs.states import NOT_RUNNING

if TYPE_CHECKING:
    from tests.invariants import History

PATIENCE = 15.0  # seconds after which something alive should have moved a job that can be moved
AFTER_GRACE = 5.0  # seconds after its grace in which prefork ends what was asked to stop


def forgotten(history: History, now: datetime, alive: Sequence[Worker]) -> Iterator[str]:
    """What has been left standing for too long, or waits without a word of why."""
    for check in (_waiting(history, now), _running(history, now), _hooks(history, now, alive)):
        for told in check:
            yield f"I1: {told} [job {history.job.id} {history.job.task}: {history.story}]"


def _waiting(history: History, now: datetime) -> Iterator[str]:
    job, late, moved_at = history.job, now - timedelta(seconds=PATIENCE), _moved_at(history)
    if job.state == "scheduled" and (job.run_after is None or job.run_after < late):
        yield f"due since {job.run_after}, and still scheduled"
    if job.fallback_due and moved_at < late:
        yield f"failed at {moved_at}, and nothing was submitted in its place"
    if job.state in NOT_RUNNING and job.expires_at is not None and job.expires_at < late:
        yield f"expired at {job.expires_at}, and still waiting"
    if job.state == "paused" and not (job.reason or job.paused_by):
        yield "paused, and nothing says why"
    if job.state == "pending" and moved_at < late and _has_room(job.pool):
        yield f"pending since {moved_at} in a pool with room"
    if job.state == "queued" and moved_at < late and job.published_at is None:
        yield f"queued since {moved_at} and never published"


def _running(history: History, now: datetime) -> Iterator[str]:
    late = now - timedelta(seconds=PATIENCE)
    silent = late - timedelta(seconds=2 * settings.STALE_AFTER + settings.LEASE)  # the steward may have died with it
    for attempt in history.attempts:
        worker = attempt.worker
        if attempt.finished_at is not None or worker is None:
            continue
        if worker.fenced_at is not None and worker.fenced_at < late:
            yield f"running on a worker that was declared dead at {worker.fenced_at}"
        if worker.fenced_at is None and worker.beat_at < silent:
            yield f"running on a worker that is silent since {worker.beat_at}"
        if _should_be_stopped(history, attempt, worker, now):
            yield f"asked to stop at {history.job.cancel_requested_at}, and still running where it can be stopped"


def _should_be_stopped(history: History, attempt: Attempt, worker: Worker, now: datetime) -> bool:
    """On prefork, by a worker that lives: there grace and a few seconds are all it has."""
    asked_at, lives = history.job.cancel_requested_at, now - timedelta(seconds=settings.STALE_AFTER)
    if asked_at is None or not worker.can_stop or worker.fenced_at is not None or worker.beat_at < lives:
        return False
    grace = settings.GRACE if history.job.grace is None else history.job.grace
    since: datetime = max(asked_at, attempt.started_at)
    return since < now - timedelta(seconds=grace + AFTER_GRACE)


def _hooks(history: History, now: datetime, alive: Sequence[Worker]) -> Iterator[str]:
    """Of a run that has ended, where a worker serves the pool: not taken, and not asked for again in time."""
    job, moved_at = history.job, _moved_at(history)
    if not any(job.pool in worker.pools for worker in alive):
        return
    for hook in history.hooks:
        has_ended = job.is_final or job.run > hook.run
        if has_ended and max([moved_at, *_busy_until(hook)]) < now - timedelta(seconds=PATIENCE):
            yield f"run {hook.run} ended, and its hooks were not run since {moved_at}"


def _busy_until(hook: Hook) -> Iterator[datetime]:
    """Whoever has taken them has so long; whoever was asked for them is asked again after so long."""
    if hook.claimed_at is not None:
        yield hook.claimed_at + timedelta(seconds=settings.HOOK_TIMEOUT)
    if hook.requested_at is not None:
        yield hook.requested_at + timedelta(seconds=settings.LOST_AFTER / 2 * 2 ** min(hook.requests, 6))


def _moved_at(history: History) -> datetime:
    edges = history.edges()
    return edges[-1].at if edges else history.job.created_at


def _has_room(pool: str) -> bool:
    seen = limits.take_snapshot(pool)
    if seen is None:
        raise AssertionError(f"I1: a job waits in {pool!r}, which is none of {list(Pool.objects.all())}")
    return bool(limits.plan(seen, 1).lanes)
